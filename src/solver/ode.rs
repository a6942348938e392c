//! The probability-flow ODE in the coordinates of its levels, `x = alpha x0 + sigma eps`:
//!
//! ```text
//! dx = x0 dalpha + eps dsigma
//! ```
//!
//! With alpha = 1 that is dx/dsigma = (x - x0) / sigma (Karras et al. 2022, arXiv:2206.00364, eq. 1
//! and 3), with alpha = 1 - sigma the velocity eps - x0 of a rectified flow (Liu et al. 2022,
//! arXiv:2209.03003, eq. 1).

use super::Term::{Eps, X0};
use super::{Expr, Level, Setting};
use crate::error::{Error, Result};

/// `x0 dalpha + eps dsigma` from one level to another, with this row's predictions.
pub(super) fn increment(from: Level, to: Level) -> Expr {
    (to.alpha - from.alpha) * X0 + (to.sigma - from.sigma) * Eps
}

/// Where x comes to if x0 and eps stay what they are.
pub(super) fn arrival(to: Level) -> Expr {
    to.alpha * X0 + to.sigma * Eps
}

/// Holds that the network may be asked between the levels of the run.
///
/// # Errors
/// It knows whole timesteps only.
pub(super) fn needs_any_level(run: &Setting) -> Result<()> {
    if !run.network.discrete_time {
        return Ok(());
    }
    Err(Error::invalid(
        format!("--solver {}", run.options.solver),
        "a network that takes any noise level",
        "one that knows whole timesteps only",
        "use --solver heun or dpmpp-2m, which stay at the levels of the run",
    ))
}
