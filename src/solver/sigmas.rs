//! Spacings of noise levels that do not come from timesteps.

use super::schedule::linspace;
use super::words::words;
use statrs::function::beta::inv_beta_reg;

words! {
    /// How the noise levels of a run lie between the smallest and the largest.
    pub enum Sigmas {
        /// sigma^(1 / rho) evenly spaced (Karras et al. 2022, arXiv:2206.00364, eq. 5).
        Karras = "karras",
        /// ln(sigma) evenly spaced.
        Exponential = "exponential",
        /// ln(sigma) along a power of evenly spaced numbers, the exponent being rho.
        Polyexponential = "polyexponential",
        /// At quantiles of a beta distribution (Lee et al. 2024, arXiv:2407.12173).
        Beta = "beta",
        /// Align Your Steps for Stable Diffusion 1.5 (Sabour et al. 2024, arXiv:2404.14507, table).
        AlignYourSteps = "align-your-steps",
    }
}

/// The levels of Align Your Steps for ten steps, the end included.
const ALIGN_YOUR_STEPS: [f64; 11] =
    [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029];

impl Sigmas {
    /// `n` noise levels from `first` to `last`, both included; `[first]` for n = 1. `rho` is the
    /// exponent of the spacings that have one. Align Your Steps has eleven levels of its own, which
    /// are interpolated in the logarithm for another number.
    pub fn between(self, first: f64, last: f64, n: usize, rho: f64) -> Vec<f64> {
        let ramp = linspace(0.0, 1.0, n);
        let (log_first, log_last) = (first.ln(), last.ln());
        let at = |u: f64| match self {
            Sigmas::Karras => {
                let (first, last) = (first.powf(1.0 / rho), last.powf(1.0 / rho));
                (first + u * (last - first)).powf(rho)
            }
            Sigmas::Exponential => (log_first + u * (log_last - log_first)).exp(),
            Sigmas::Polyexponential => {
                (log_last + (1.0 - u).powf(rho) * (log_first - log_last)).exp()
            }
            Sigmas::Beta => last + beta_quantile(1.0 - u) * (first - last),
            Sigmas::AlignYourSteps => align_your_steps(u),
        };
        ramp.into_iter().map(at).collect()
    }
}

/// The quantile of the distribution Beta(0.6, 0.6) of Lee et al. 2024, section 4.
fn beta_quantile(p: f64) -> f64 {
    const SHAPE: f64 = 0.6;
    if p <= 0.0 || p >= 1.0 { p } else { inv_beta_reg(SHAPE, SHAPE, p) }
}

/// The level at a fraction `u` of the way down the table.
fn align_your_steps(u: f64) -> f64 {
    let at = u * (ALIGN_YOUR_STEPS.len() - 1) as f64;
    let below = (at.floor() as usize).min(ALIGN_YOUR_STEPS.len() - 2);
    let (low, high) = (ALIGN_YOUR_STEPS[below], ALIGN_YOUR_STEPS[below + 1]);
    (low.ln() + (at - below as f64) * (high / low).ln()).exp()
}
