//! Analytic-DPM: the optimal variance of the ancestral step (Bao et al. 2022, arXiv:2201.06503).

use super::Term::{X, X0};
use super::ancestral::Posterior;
use super::{Kind, Level, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "analytic-ddpm",
    family: "DDPM",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Bao et al. 2022, arXiv:2201.06503, theorem 1",
    schedulers: &["DDPMScheduler"],
    plus_plus: false,
    fixes: &[],
    record: analytic_ddpm,
}];

/// The ancestral step of [`Posterior`] from t to s with the variance that is best in KL divergence,
/// theorem 1 for lambda^2 = beta_tilde: that of q(x_s | x_t, x0) and that of its mean,
///
/// ```text
/// v = beta_tilde + (alpha_s beta / sigma_t^2)^2 u_t,   u_t = E Var(x0 | x_t) / d
/// ```
///
/// Key `gamma` gives g_t = E |eps(x_t, t)|^2 / d (the paper's beta_bar Gamma) for every timestep, a
/// mean over noised data; then `u_t = (sigma_t / alpha_t)^2 (1 - g_t)`, no less than 0. Without it,
/// u_t is the most that data of deviation `sigma_data` allows:
///
/// ```text
/// u_t = sigma_t^2 sigma_data^2 / (alpha_t^2 sigma_data^2 + sigma_t^2)
/// ```
///
/// exact for Gaussian data, else an upper bound (no data of that variance has a score of less
/// norm), and as sigma_data grows that of theorem 2. The last step draws nothing.
fn analytic_ddpm(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    rec.initial_noise(run.initial_scale());
    for (i, step) in run.levels.windows(2).enumerate() {
        let (from, to) = (step[0], step[1]);
        let q = Posterior::of(from, to);
        rec.denoise(from);
        let mean = q.x0 * X0 + q.x * X;
        if i + 2 == run.levels.len() {
            rec.update(mean);
            continue;
        }
        let variance = q.beta_tilde + q.x0 * q.x0 * uncertainty(run, from);
        let z = rec.noise();
        rec.update(mean + variance.sqrt() * z);
    }
    Ok(())
}

/// u_t at a level.
fn uncertainty(run: &Setting, level: Level) -> f64 {
    match &run.keys.gamma {
        Some(gamma) => level.ratio().powi(2) * (1.0 - gamma[level.time as usize]).max(0.0),
        None => {
            let data = run.keys.sigma_data;
            let total = (level.alpha * data).hypot(level.sigma);
            (level.sigma * data / total).powi(2)
        }
    }
}

/// gamma has a value for each timestep; with it, no step starts at pure noise.
fn check(run: &Setting) -> Result<()> {
    run.without_eta()?;
    let origin = &run.config.origin;
    let Some(gamma) = &run.keys.gamma else { return Ok(()) };
    let timesteps = run.alpha_bar().len();
    let bad = gamma.iter().find(|g| !(0.0..f64::INFINITY).contains(*g));
    let found = match bad {
        Some(g) => g.to_string(),
        None if gamma.len() != timesteps => format!("{} values", gamma.len()),
        None if run.levels[0].alpha == 0.0 => "a first timestep of pure noise".into(),
        None => return Ok(()),
    };
    Err(Error::invalid(
        format!("{origin}: gamma"),
        format!("a mean of eps^2, 0 or more, for each of {timesteps} noisy timesteps"),
        found,
        "correct gamma, or leave it out",
    ))
}
