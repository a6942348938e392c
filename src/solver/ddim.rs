//! Denoising diffusion implicit models (Song et al. 2020, arXiv:2010.02502).

use super::Term::{Eps, X0};
use super::{Kind, Level, Recorder, Setting, SolverInfo, ancestral};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "ddim",
    family: "DDPM",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Song et al. 2020, arXiv:2010.02502, eq. 12",
    schedulers: &["DDIMScheduler", "DDIMParallelScheduler"],
    plus_plus: true,
    fixes: &[],
    record: ddim,
}];

/// Eq. 12 with sigma of eq. 16, from t to s, here for any process:
///
/// ```text
/// x_s = alpha_s x0 + sqrt(sigma_s^2 - v) eps + sqrt(v) z,   v = eta^2 beta_tilde
/// ```
///
/// with beta_tilde, the variance of q(x_s | x_t, x0), from [`ancestral::Posterior`]. In discrete
/// time s lies floor(T / n) timesteps before t; past the first timestep alpha_bar is 1, or
/// alpha_bar_0 unless `set_alpha_to_one`. With eta > 0 every step draws, even the last, whose
/// variance may be 0.
fn ddim(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let eta = run.options.eta.unwrap_or(0.0);
    rec.initial_noise(run.initial_scale());
    for (from, to) in steps(run) {
        let variance = eta * eta * ancestral::Posterior::of(from, to).beta_tilde;
        rec.denoise(from);
        // Rounding may leave a last bit below zero at eta = 1.
        let direction = (to.sigma * to.sigma - variance).max(0.0).sqrt();
        let mut x = to.alpha * X0 + direction * Eps;
        if eta > 0.0 {
            x = x + variance.sqrt() * rec.noise();
        }
        rec.update(x);
    }
    Ok(())
}

/// Where each step starts and ends.
fn steps(run: &Setting) -> Vec<(Level, Level)> {
    if run.timesteps.is_empty() {
        return run.levels.windows(2).map(|step| (step[0], step[1])).collect();
    }
    let stride = run.alpha_bar().len() / run.steps;
    let data = Level { time: 0.0, alpha: 1.0, sigma: 0.0 };
    let end = if run.keys.set_alpha_to_one { data } else { run.level(0) };
    let step = |&t: &usize| (run.level(t), t.checked_sub(stride).map_or(end, |s| run.level(s)));
    run.timesteps.iter().map(step).collect()
}
