//! Euler's method with ancestral noise (k-diffusion; the posterior of Ho et al. 2020,
//! arXiv:2006.11239, eq. 7, in noise levels).

use super::Term::{Eps, X0};
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "euler-ancestral",
    family: "SDE",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Crowson 2022, k-diffusion; Song et al. 2020, arXiv:2010.02502, eq. 16",
    schedulers: &["EulerAncestralDiscreteScheduler"],
    plus_plus: true,
    fixes: &[],
    record: euler_ancestral,
}];

/// An Euler step down to sigma_down, then noise up to sigma' (sigma is the level of x / alpha):
///
/// ```text
/// sigma_up^2 = eta^2 sigma'^2 (sigma^2 - sigma'^2) / sigma^2
/// sigma_down^2 = sigma'^2 - sigma_up^2
/// x' = x0 + sigma_down eps + sigma_up z
/// ```
///
/// eta is 1 unless set. CFG++ where eps is the unconditional one.
fn euler_ancestral(run: &Setting, rec: &mut Recorder) -> Result<()> {
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for step in run.levels.windows(2) {
        let (level, next) = (step[0], step[1]);
        let (down, up) = down_and_up(level.ratio(), next.ratio(), run.options.eta.unwrap_or(1.0));

        rec.denoise(level);
        let mut x = next.alpha * X0 + (next.alpha * down) * Eps;
        if up > 0.0 {
            x = x + (next.alpha * run.keys.s_noise * up) * rec.noise();
        }
        rec.update(x);
    }
    Ok(())
}

/// (sigma_down, sigma_up) of an ancestral step between two noise levels of x / alpha, without the
/// difference that cancels where sigma' is far below sigma.
pub(super) fn down_and_up(sigma: f64, next: f64, eta: f64) -> (f64, f64) {
    let ratio = next / sigma;
    let down = next * (1.0 - eta * eta + (eta * ratio).powi(2)).sqrt();
    (down, eta * next * (1.0 - ratio * ratio).sqrt())
}
