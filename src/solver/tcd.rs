//! Trajectory consistency distillation (Zheng et al. 2024, arXiv:2402.19159).

use super::Term::{Eps, X0};
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "tcd",
    family: "consistency",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Zheng et al. 2024, arXiv:2402.19159, strategic stochastic sampling",
    schedulers: &["TCDScheduler"],
    plus_plus: false,
    fixes: &[],
    record: tcd,
}];

/// The paper's gamma, unless eta is set.
const GAMMA: f64 = 0.3;

/// Strategic stochastic sampling: along the trajectory down to s = floor((1 - gamma) t'), then
/// noise up to the next timestep t' (0 after the last, where no noise is added):
///
/// ```text
/// x_s = sqrt(alpha_bar_s) x0 + sqrt(1 - alpha_bar_s) eps
/// x' = sqrt(alpha_bar' / alpha_bar_s) x_s + sqrt(1 - alpha_bar' / alpha_bar_s) z
/// ```
///
/// x0 is as the network predicts it: TCD neither clips nor thresholds.
fn tcd(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let gamma = run.options.eta.unwrap_or(GAMMA);
    rec.unlimited();
    rec.initial_noise(1.0);
    for (i, &t) in run.timesteps.iter().enumerate() {
        let next = run.timesteps.get(i + 1).copied();
        // diffusers takes this product in f32; in f64 it may fall on the other side of an integer.
        let s = ((1.0 - gamma) as f32 * next.unwrap_or(0) as f32).floor() as usize;
        let level = run.level(s);

        rec.denoise(run.level(t));
        let x_s = level.alpha * X0 + level.sigma * Eps;
        match next {
            Some(next) if gamma > 0.0 => {
                let ratio = run.alpha_bar()[next] / run.alpha_bar()[s];
                let z = rec.noise();
                rec.update(ratio.sqrt() * x_s + (1.0 - ratio).sqrt() * z);
            }
            _ => rec.update(x_s),
        }
    }
    Ok(())
}
