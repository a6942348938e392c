//! Improved PNDM (Zhang & Chen 2022, arXiv:2204.13902, appendix H.2): the multistep part of PNDM,
//! started in lower orders.

use super::Term::{Eps, History, X};
use super::pndm::ADAMS_BASHFORTH;
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "ipndm",
    family: "probability-flow ODE",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 2,
    reference: "Zhang & Chen 2022, arXiv:2204.13902, appendix H.2",
    schedulers: &["IPNDMScheduler"],
    plus_plus: false,
    fixes: &[],
    record: ipndm,
}];

/// Below this a level is pure noise: x - sigma eps is nothing but rounding.
const LEAST_ALPHA: f64 = 1e-8;

/// The DDIM step along a combination of the last four eps:
///
/// ```text
/// x_t = alpha_t / alpha_s x_s + (sigma_t - alpha_t / alpha_s sigma_s) e
/// e = (55 eps_s - 59 eps_{s-1} + 37 eps_{s-2} - 9 eps_{s-3}) / 24
/// ```
///
/// and in the first three steps (23, -16, 5) / 12, (3, -1) / 2 and eps_s. The weights are those of
/// steps that are equal in the integrated variable, so the method is of higher order only there.
/// Where the first level is pure noise (alpha_s = 0), x0 counts as 0, as in IPNDMScheduler.
fn ipndm(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    rec.initial_noise(run.initial_scale());
    for (i, step) in run.levels.windows(2).enumerate() {
        let (from, to) = (step[0], step[1]);
        rec.denoise(from);
        let weights = ADAMS_BASHFORTH[i.min(3)];
        let past = weights.iter().skip(1).enumerate().map(|(j, w)| *w * History(j));
        let eps = past.fold(weights[0] * Eps, |sum, term| sum + term);
        rec.push(Eps);
        if from.alpha < LEAST_ALPHA {
            rec.update(to.sigma * eps);
            continue;
        }
        let ratio = to.alpha / from.alpha;
        rec.update(ratio * X + (to.sigma - ratio * from.sigma) * eps);
    }
    Ok(())
}
