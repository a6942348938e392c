//! DPM-Solver-2's midpoint on the probability-flow ODE (k-diffusion).

use super::Term::{Saved, X};
use super::churn::Churn;
use super::{Kind, Level, Recorder, Setting, SolverInfo, ode};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "dpm2",
    family: "probability-flow ODE",
    kind: Kind::Ode,
    nfe_per_step: 2,
    nfe_extra: -1,
    order: 2,
    reference: "Crowson 2022, k-diffusion; Lu et al. 2022, arXiv:2206.00927, Alg. 1",
    schedulers: &["KDPM2DiscreteScheduler"],
    plus_plus: false,
    fixes: &[],
    record: dpm2,
}];

/// A step of [`step`] between each two levels, with churn before it as in Karras et al. 2022
/// (arXiv:2206.00364), Alg. 2.
fn dpm2(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    ode::needs_any_level(run)?;
    let churn = Churn::of(run)?;
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for levels in run.levels.windows(2) {
        let level = churn.raise(rec, levels[0]);
        step(run, rec, level, levels[1]);
    }
    Ok(())
}

/// The midpoint rule, with the middle in ln(sigma) as r = 1/2 of DPM-Solver-2 has it;
/// d = x0 dalpha + eps dsigma:
///
/// ```text
/// sigma_m = sqrt(sigma sigma')
/// x_m = x + d(x, sigma), from sigma to sigma_m
/// x' = x + d(x_m, sigma_m), from sigma to sigma'
/// ```
///
/// To sigma' = 0, whose logarithm has no middle, the step is Euler's.
fn step(run: &Setting, rec: &mut Recorder, level: Level, next: Level) {
    rec.denoise(level);
    if next.sigma == 0.0 {
        rec.update(1.0 * X + ode::increment(level, next));
        return;
    }
    let middle = run.level_of((level.ratio() * next.ratio()).sqrt());
    rec.save(X);
    rec.update(1.0 * X + ode::increment(level, middle));

    rec.denoise(middle);
    rec.update(1.0 * Saved + ode::increment(level, next));
}
