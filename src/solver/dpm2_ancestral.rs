//! DPM-Solver-2's midpoint with ancestral noise (k-diffusion).

use super::Term::{Eps, Saved, X};
use super::euler_ancestral::down_and_up;
use super::{Kind, Recorder, Setting, SolverInfo, ode};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "dpm2-ancestral",
    family: "SDE",
    kind: Kind::Sde,
    nfe_per_step: 2,
    nfe_extra: -1,
    order: 2,
    reference: "Crowson 2022, k-diffusion; Lu et al. 2022, arXiv:2206.00927, Alg. 1",
    schedulers: &["KDPM2AncestralDiscreteScheduler"],
    plus_plus: false,
    fixes: &[],
    record: dpm2_ancestral,
}];

/// DPM-Solver-2's step down to sigma_down, then noise up to sigma' (both of
/// [`down_and_up`]; sigma is the level of x / alpha, here written with alpha = 1):
///
/// ```text
/// sigma_m = sqrt(sigma sigma_down)
/// x_m = x + (sigma_m - sigma) eps(x, sigma)
/// x' = x + (sigma_down - sigma) eps(x_m, sigma_m) + sigma_up z
/// ```
///
/// eta is 1 unless set. To sigma_down = 0 the step is Euler's.
fn dpm2_ancestral(run: &Setting, rec: &mut Recorder) -> Result<()> {
    ode::needs_any_level(run)?;
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for step in run.levels.windows(2) {
        let (level, next) = (step[0], step[1]);
        let sigma = level.ratio();
        let (down, up) = down_and_up(sigma, next.ratio(), run.options.eta.unwrap_or(1.0));

        rec.denoise(level);
        if down == 0.0 {
            rec.update(1.0 * X + ode::increment(level, next));
            continue;
        }
        let middle = run.level_of((sigma * down).sqrt());
        rec.save(X);
        rec.update(1.0 * X + ode::increment(level, middle));

        rec.denoise(middle);
        let mut x = (next.alpha / level.alpha) * Saved + (next.alpha * (down - sigma)) * Eps;
        if up > 0.0 {
            x = x + (next.alpha * run.keys.s_noise * up) * rec.noise();
        }
        rec.update(x);
    }
    Ok(())
}
