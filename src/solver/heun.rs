//! Heun's method on the probability-flow ODE (Karras et al. 2022, arXiv:2206.00364).

use super::Term::{Saved, X};
use super::{Kind, Level, Recorder, Setting, SolverInfo, ode};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "heun",
    family: "probability-flow ODE",
    kind: Kind::Ode,
    nfe_per_step: 2,
    nfe_extra: -1,
    order: 2,
    reference: "Karras et al. 2022, arXiv:2206.00364, Alg. 1",
    schedulers: &["HeunDiscreteScheduler"],
    plus_plus: false,
    fixes: &[],
    record: heun,
}];

/// Algorithm 1: a step of [`step`] between each two levels.
pub(super) fn heun(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for levels in run.levels.windows(2) {
        step(rec, levels[0], levels[1]);
    }
    Ok(())
}

/// Line 4 to 8 in the coordinates of the levels, d = x0 dalpha + eps dsigma:
///
/// ```text
/// x' = x + d(x, sigma)
/// x' = x + (d(x, sigma) + d(x', sigma')) / 2   unless sigma' = 0
/// ```
pub(super) fn step(rec: &mut Recorder, level: Level, next: Level) {
    let corrects = next.sigma != 0.0;
    rec.denoise(level);
    let d = ode::increment(level, next);
    if corrects {
        rec.save(1.0 * X + 0.5 * d.clone());
    }
    rec.update(1.0 * X + d.clone());

    if corrects {
        rec.denoise(next);
        rec.update(1.0 * Saved + 0.5 * d);
    }
}
