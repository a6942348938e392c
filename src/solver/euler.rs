//! Euler's method on the probability-flow ODE (Karras et al. 2022, arXiv:2206.00364).

use super::churn::Churn;
use super::{Kind, Recorder, Setting, SolverInfo, ode};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "euler",
    family: "probability-flow ODE",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Karras et al. 2022, arXiv:2206.00364, Alg. 2 without lines 9 to 11",
    schedulers: &["EulerDiscreteScheduler", "EDMEulerScheduler"],
    plus_plus: true,
    fixes: &[],
    record: euler,
}];

/// Algorithm 2 with Euler steps, dx/dsigma = (x - x0) / sigma = eps:
///
/// ```text
/// x' = x + (sigma' - sigma) eps = x0 + sigma' eps
/// ```
///
/// The second form holds in any coordinates, `x' = alpha' x0 + sigma' eps`, and is CFG++ (Chung et
/// al. 2024, arXiv:2406.08070, Alg. 2) where eps is the unconditional one. S_churn > 0 adds noise
/// before a step and evaluates there; diffusers evaluates before it adds.
fn euler(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    let churn = Churn::of(run)?;
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for step in run.levels.windows(2) {
        let (level, next) = (churn.raise(rec, step[0]), step[1]);
        rec.denoise(level);
        rec.update(ode::arrival(next));
    }
    Ok(())
}
