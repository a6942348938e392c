//! The stochastic sampler of EDM (Karras et al. 2022, arXiv:2206.00364).

use super::churn::Churn;
use super::{Kind, Recorder, Setting, SolverInfo, heun, ode};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "edm",
    family: "probability-flow ODE",
    kind: Kind::Ode,
    nfe_per_step: 2,
    nfe_extra: -1,
    order: 2,
    reference: "Karras et al. 2022, arXiv:2206.00364, Alg. 2",
    schedulers: &["EulerDiscreteScheduler", "EDMEulerScheduler", "KarrasVeScheduler"],
    plus_plus: false,
    fixes: &[("use_karras_sigmas", "true")],
    record: edm,
}];

/// Algorithm 2: churn up to sigma_hat, then Heun's step from there; Euler's where sigma' = 0, so
/// that n steps take 2 n - 1 evaluations. With S_churn = 0, the default, it is Algorithm 1 on the
/// levels of eq. 5.
fn edm(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    ode::needs_any_level(run)?;
    let churn = Churn::of(run)?;
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for levels in run.levels.windows(2) {
        let hat = churn.raise(rec, levels[0]);
        heun::step(rec, hat, levels[1]);
    }
    Ok(())
}
