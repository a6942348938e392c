//! The reverse transitions of a forward process between two of its levels.

use super::Level;

/// q(x_s | x_t, x0) from level t to the cleaner s (Ho et al. 2020, arXiv:2006.11239, eq. 6 and 7;
/// for any alpha and sigma Kingma et al. 2021, arXiv:2107.00630, appendix A.2): mean `x0 X0 + x X`,
/// variance beta_tilde. With alpha_{t|s} = alpha_t / alpha_s, and the variance of q(x_t | x_s),
/// beta = sigma_t^2 - alpha_{t|s}^2 sigma_s^2:
///
/// ```text
/// mean = alpha_s beta / sigma_t^2 x0 + alpha_{t|s} sigma_s^2 / sigma_t^2 x_t
/// beta_tilde = sigma_s^2 / sigma_t^2 beta
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct Posterior {
    pub x0: f64,
    pub x: f64,
    pub beta: f64,
    pub beta_tilde: f64,
}

impl Posterior {
    /// From one level to the next.
    pub fn of(from: Level, to: Level) -> Posterior {
        let alpha = from.alpha / to.alpha;
        let kept = (to.sigma / from.sigma).powi(2);
        let beta = from.sigma * from.sigma - (alpha * to.sigma).powi(2);
        Posterior {
            x0: to.alpha * beta / (from.sigma * from.sigma),
            x: alpha * kept,
            beta,
            beta_tilde: kept * beta,
        }
    }
}
