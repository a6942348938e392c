//! Noise schedules and timestep spacings of discrete-time models:
//! `q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I)`, t = 0 .. T - 1.
//!
//! All arithmetic is f64. diffusers keeps betas, their running product and everything derived from
//! it in f32, so its coefficients carry a relative error of about 1e-7, and up to 3e-4 where
//! `1 - alpha_bar` cancels at the first timesteps or a capped beta (0.999) leaves `1 - beta`.

/// How beta_t runs from t = 0 to T - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BetaSchedule {
    /// beta from start to end (Ho et al. 2020, arXiv:2006.11239, section 4).
    Linear,
    /// sqrt(beta) from start to end (Rombach et al. 2022, arXiv:2112.10752).
    ScaledLinear,
    /// The cosine schedule (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17).
    SquaredcosCapV2,
}

impl BetaSchedule {
    /// The words of scheduler_config.json.
    pub const NAMES: &[(&str, BetaSchedule)] = &[
        ("linear", BetaSchedule::Linear),
        ("scaled_linear", BetaSchedule::ScaledLinear),
        ("squaredcos_cap_v2", BetaSchedule::SquaredcosCapV2),
    ];

    /// beta_0 .. beta_{T-1}. `start` and `end` do not enter the cosine schedule.
    pub fn betas(self, t: usize, start: f64, end: f64) -> Vec<f64> {
        match self {
            BetaSchedule::Linear => linspace(start, end, t),
            BetaSchedule::ScaledLinear => {
                linspace(start.sqrt(), end.sqrt(), t).into_iter().map(|b| b * b).collect()
            }
            BetaSchedule::SquaredcosCapV2 => cosine_betas(t),
        }
    }
}

/// `n` evenly spaced values from `start` to `end`, both included; `[start]` for n = 1.
fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let step = (end - start) / (n.max(2) - 1) as f64;
    (0..n).map(|i| if i > 0 && i + 1 == n { end } else { start + i as f64 * step }).collect()
}

/// `beta_t = 1 - f((t + 1) / T) / f(t / T)`, at most 0.999, with
/// `f(u) = cos((u + s) / (1 + s) pi / 2)^2`, s = 0.008 (eq. 17).
fn cosine_betas(t: usize) -> Vec<f64> {
    const MAX_BETA: f64 = 0.999;
    const S: f64 = 0.008;
    let f = |u: f64| ((u + S) / (1.0 + S) * std::f64::consts::FRAC_PI_2).cos().powi(2);
    let at = |i: usize| f(i as f64 / t as f64);
    (0..t).map(|i| (1.0 - at(i + 1) / at(i)).min(MAX_BETA)).collect()
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

    /// Shifts and scales sqrt(alpha_bar) so that it ends at exactly 0 and starts where it did
    /// (Lin et al. 2023, arXiv:2305.08891, Alg. 1). Needs two timesteps at least.
    pub fn rescale_zero_terminal_snr(self) -> Schedule {
        let root: Vec<f64> = self.alpha_bar.iter().map(|a| a.sqrt()).collect();
        let (first, last) = (root[0], root[root.len() - 1]);
        let rescale = |r: f64| ((r - last) * first / (first - last)).powi(2);
        Schedule { alpha_bar: root.into_iter().map(rescale).collect() }
    }
}

/// Which of the T training timesteps a run of n steps visits (Lin et al. 2023, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestepSpacing {
    /// Multiples of floor(T / n), counted from 0, plus `steps_offset`.
    Leading,
    /// From T - 1 to 0, both included.
    Linspace,
    /// Every T / n, counted down from T - 1.
    Trailing,
}

impl TimestepSpacing {
    /// The words of scheduler_config.json.
    pub const NAMES: &[(&str, TimestepSpacing)] = &[
        ("leading", TimestepSpacing::Leading),
        ("linspace", TimestepSpacing::Linspace),
        ("trailing", TimestepSpacing::Trailing),
    ];

    /// `n` timesteps of `t`, strictly falling, for 1 <= n <= t. Halves round to even and products
    /// round as NumPy's `linspace` and `arange` round them, so the integers are diffusers'. Where
    /// rounding makes its `trailing` list one longer, ending in -1, that timestep is left out.
    pub fn timesteps(self, t: usize, n: usize, steps_offset: usize) -> Vec<usize> {
        let total = t as f64;
        match self {
            TimestepSpacing::Leading => (0..n).rev().map(|i| i * (t / n) + steps_offset).collect(),
            TimestepSpacing::Linspace => linspace(0.0, total - 1.0, n)
                .into_iter()
                .rev()
                .map(|u| u.round_ties_even() as usize)
                .collect(),
            TimestepSpacing::Trailing => {
                // `arange` steps by the difference of its first two elements, as they are rounded.
                let step = total - (total - total / n as f64);
                let at = |i: usize| (total - i as f64 * step).round_ties_even() as usize;
                (0..n).map(|i| at(i) - 1).collect()
            }
        }
    }
}
