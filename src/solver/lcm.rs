//! Latent consistency models (Luo et al. 2023, arXiv:2310.04378).

use super::Term::{X, X0};
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "lcm",
    family: "consistency",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Luo et al. 2023, arXiv:2310.04378, Alg. 3",
    schedulers: &["LCMScheduler"],
    plus_plus: false,
    fixes: &[],
    record: lcm,
}];

/// Deviation of the data in the boundary scalings.
const SIGMA_DATA: f64 = 0.5;

/// Algorithm 3 with the consistency function f (t is the timestep times `timestep_scaling`):
///
/// ```text
/// f = c_skip x + c_out x0,   c_skip = s^2 / (t^2 + s^2),   c_out = t / sqrt(t^2 + s^2),   s = 0.5
/// x' = sqrt(alpha_bar') f + sqrt(1 - alpha_bar') z   and at the end f
/// ```
fn lcm(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    rec.initial_noise(1.0);
    for (i, &t) in run.timesteps.iter().enumerate() {
        let scaled = t as f64 * run.keys.timestep_scaling;
        let norm = scaled.hypot(SIGMA_DATA);
        let (c_skip, c_out) = ((SIGMA_DATA / norm).powi(2), scaled / norm);

        rec.denoise(run.level(t));
        let f = c_skip * X + c_out * X0;
        match run.timesteps.get(i + 1) {
            Some(&s) => {
                let next = run.level(s);
                let z = rec.noise();
                rec.update(next.alpha * f + next.sigma * z);
            }
            None => rec.update(f),
        }
    }
    Ok(())
}
