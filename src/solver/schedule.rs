//! Noise schedules and timestep spacings of discrete-time models:
//! `q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I)`, t = 0 .. T - 1.
//!
//! All arithmetic is f64. diffusers keeps betas, their running product and everything derived from
//! it in f32, so its coefficients carry a relative error of about 1e-7, and up to 3e-4 where
//! `1 - alpha_bar` cancels at the first timesteps or a capped beta (0.999) leaves `1 - beta`.

use super::words::words;

words! {
    /// How beta_t runs from t = 0 to T - 1.
    pub enum BetaSchedule {
        /// beta from start to end (Ho et al. 2020, arXiv:2006.11239, section 4).
        Linear = "linear",
        /// sqrt(beta) from start to end (Rombach et al. 2022, arXiv:2112.10752).
        ScaledLinear = "scaled_linear",
        /// The cosine schedule (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17).
        SquaredcosCapV2 = "squaredcos_cap_v2",
        /// From start to end along a logistic curve (Xu et al. 2022, arXiv:2203.02923, GeoDiff).
        Sigmoid = "sigmoid",
        /// ln(SNR) Laplace distributed (Hang et al. 2024, arXiv:2407.03297, table 1).
        Laplace = "laplace",
        /// alpha_bar falls exponentially, from 1 to exp(-12).
        Exp = "exp",
    }
}

impl BetaSchedule {
    /// beta_0 .. beta_{T-1}. `start` and `end` do not enter the schedules that give alpha_bar.
    pub fn betas(self, t: usize, start: f64, end: f64) -> Vec<f64> {
        match self {
            BetaSchedule::Linear => linspace(start, end, t),
            BetaSchedule::ScaledLinear => {
                linspace(start.sqrt(), end.sqrt(), t).into_iter().map(|b| b * b).collect()
            }
            BetaSchedule::Sigmoid => {
                let beta = |u: f64| start + (end - start) / (1.0 + (-u).exp());
                linspace(-6.0, 6.0, t).into_iter().map(beta).collect()
            }
            BetaSchedule::SquaredcosCapV2 => betas_of(t, MAX_BETA, |u| cosine(u, SHIFT)),
            BetaSchedule::Laplace => betas_of(t, MAX_BETA, laplace),
            BetaSchedule::Exp => betas_of(t, MAX_BETA, |u| (-12.0 * u).exp()),
        }
    }
}

/// `n` evenly spaced values from `start` to `end`, both included; `[start]` for n = 1.
pub(super) fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let step = (end - start) / (n.max(2) - 1) as f64;
    (0..n).map(|i| if i > 0 && i + 1 == n { end } else { start + i as f64 * step }).collect()
}

/// The largest beta of Nichol & Dhariwal 2021, section 3.2, and their s.
const MAX_BETA: f64 = 0.999;
const SHIFT: f64 = 0.008;

/// `beta_t = 1 - f((t + 1) / T) / f(t / T)`, at most `max` (eq. 17); f is alpha_bar up to a factor.
fn betas_of(t: usize, max: f64, f: impl Fn(f64) -> f64) -> Vec<f64> {
    let at = |i: usize| f(i as f64 / t as f64);
    (0..t).map(|i| (1.0 - at(i + 1) / at(i)).min(max)).collect()
}

/// `f(u) = cos((u + s) / (1 + s) pi / 2)^2`.
fn cosine(u: f64, s: f64) -> f64 {
    ((u + s) / (1.0 + s) * std::f64::consts::FRAC_PI_2).cos().powi(2)
}

/// `sqrt(s / (1 + s))` of the SNR s whose logarithm is the Laplace distribution's quantile; a small
/// number keeps it finite at both ends.
fn laplace(u: f64) -> f64 {
    const SMALL: f64 = 1e-6;
    let quantile = -0.5 * (1.0 - 2.0 * (0.5 - u).abs() + SMALL).ln();
    let snr = if u > 0.5 { -quantile } else { quantile }.exp();
    (snr / (1.0 + snr)).sqrt()
}

/// alpha_bar_t, t = 0 .. T - 1, falling.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub alpha_bar: Vec<f64>,
}

impl Schedule {
    /// `alpha_bar_t = prod_{s <= t} (1 - beta_s)`.
    pub fn from_betas(betas: &[f64]) -> Schedule {
        let mut product = 1.0;
        let running = |beta: &f64| {
            product *= 1.0 - beta;
            product
        };
        Schedule { alpha_bar: betas.iter().map(running).collect() }
    }

    /// The cosine schedule of `t` timesteps with s = `shift`, in which alpha_bar falls to no less
    /// than `least` of itself from one to the next (Nichol & Dhariwal 2021, eq. 17; C_2 and C_1 of
    /// Karras et al. 2022, arXiv:2206.00364, table 1).
    pub fn cosine(t: usize, shift: f64, least: f64) -> Schedule {
        Schedule::from_betas(&betas_of(t, 1.0 - least, |u| cosine(u, shift)))
    }

    /// Shifts and scales sqrt(alpha_bar) so that it ends at exactly 0 and starts where it did
    /// (Lin et al. 2023, arXiv:2305.08891, Alg. 1). Needs two timesteps at least.
    pub fn rescale_zero_terminal_snr(self) -> Schedule {
        let root: Vec<f64> = self.alpha_bar.iter().map(|a| a.sqrt()).collect();
        let (first, last) = (root[0], root[root.len() - 1]);
        let rescale = |r: f64| ((r - last) * first / (first - last)).powi(2);
        Schedule { alpha_bar: root.into_iter().map(rescale).collect() }
    }

    /// The last timestep, where alpha_bar is 0, becomes one that has a finite noise ratio: 2^-24,
    /// the smallest number that f16 holds.
    pub fn floor_terminal_snr(mut self) -> Schedule {
        if let Some(last) = self.alpha_bar.last_mut().filter(|a| **a == 0.0) {
            *last = 2f64.powi(-24);
        }
        self
    }

    /// sigma / alpha of a training timestep.
    pub fn ratio(&self, t: usize) -> f64 {
        let a = self.alpha_bar[t];
        ((1.0 - a) / a).sqrt()
    }

    /// sigma / alpha between two timesteps, linear in the time; `t` is limited to the schedule.
    pub fn ratio_at(&self, t: f64) -> f64 {
        let last = self.alpha_bar.len() - 1;
        let t = t.clamp(0.0, last as f64);
        let below = t.floor() as usize;
        let (low, high) = (self.ratio(below), self.ratio((below + 1).min(last)));
        low + t.fract() * (high - low)
    }

    /// The timestep, perhaps fractional, at which sigma / alpha is `ratio`: linear in ln(ratio)
    /// between two timesteps, the first or last outside the schedule.
    pub fn time_of(&self, ratio: f64) -> f64 {
        let reached = self.alpha_bar.partition_point(|a| ((1.0 - a) / a).sqrt() <= ratio);
        let low = reached.saturating_sub(1).min(self.alpha_bar.len().saturating_sub(2));
        let high = (low + 1).min(self.alpha_bar.len() - 1);
        if low == high {
            return low as f64;
        }
        let (log_low, log_high) = (self.ratio(low).ln(), self.ratio(high).ln());
        let w = ((ratio.max(1e-10).ln() - log_low) / (log_high - log_low)).clamp(0.0, 1.0);
        (1.0 - w) * low as f64 + w * high as f64
    }
}

words! {
    /// Which of the T training timesteps a run of n steps visits (Lin et al. 2023, table 2).
    pub enum TimestepSpacing {
        /// Multiples of floor(T / n), counted from 0, plus `steps_offset`.
        Leading = "leading",
        /// From T - 1 to 0, both included.
        Linspace = "linspace",
        /// Every T / n, counted down from T - 1.
        Trailing = "trailing",
    }
}

impl TimestepSpacing {
    /// `n` timesteps of `t`, strictly falling, for 1 <= n <= t. Halves round to even and products
    /// round as NumPy's `linspace` and `arange` round them, so the integers are diffusers'. Where
    /// rounding makes its `trailing` list one longer, ending in -1, that timestep is left out.
    pub fn timesteps(self, t: usize, n: usize, steps_offset: usize) -> Vec<usize> {
        match self {
            TimestepSpacing::Leading => (0..n).rev().map(|i| i * (t / n) + steps_offset).collect(),
            TimestepSpacing::Linspace => linspace(0.0, (t - 1) as f64, n)
                .into_iter()
                .rev()
                .map(|u| u.round_ties_even() as usize)
                .collect(),
            TimestepSpacing::Trailing => trailing(t, t, n),
        }
    }
}

/// Every `total` / n timesteps, counted down from `reached` - 1. NumPy's `arange` steps by the
/// difference of its first two elements, as they are rounded.
pub(super) fn trailing(reached: usize, total: usize, n: usize) -> Vec<usize> {
    let (from, stride) = (reached as f64, total as f64 / n as f64);
    let step = from - (from - stride);
    let at = |i: usize| (from - i as f64 * step).round_ties_even() as usize;
    (0..n).map(at).take_while(|t| *t > 0).map(|t| t - 1).collect()
}
