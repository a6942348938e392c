//! DDIM inversion: the deterministic DDIM step, taken from the data to the noise
//! (Song et al. 2020, arXiv:2010.02502, section 4.3).

use super::Term::{Eps, X0};
use super::{Kind, Level, PredictionType, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "ddim-inversion",
    family: "DDPM",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Song et al. 2020, arXiv:2010.02502, eq. 14",
    schedulers: &["DDIMInverseScheduler"],
    plus_plus: false,
    fixes: &[],
    record: ddim_inversion,
}];

/// From s to the next noisier level t:
///
/// ```text
/// x_t = alpha_t x0 + sigma_t eps,   x0 and eps from x_s by the network's output at time t
/// ```
///
/// x starts as the data: draw 0 stands for the sample to invert. It lies at alpha_bar 1, or
/// alpha_bar_0 unless `set_alpha_to_one`; the timesteps visited, floor(T / n) apart, are those of
/// DDIM, in rising order.
fn ddim_inversion(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    rec.initial_noise(1.0);
    if run.timesteps.is_empty() {
        for step in run.levels.windows(2).rev() {
            let (to, from) = (step[0], step[1]);
            rec.denoise_told(from, to);
            rec.update(to.alpha * X0 + to.sigma * Eps);
        }
        return Ok(());
    }
    let stride = run.alpha_bar().len() / run.steps;
    for &t in &run.timesteps {
        let from = t.checked_sub(stride).map_or(start(run), |s| run.level(s));
        let to = run.level(t);
        rec.denoise_told(from, to);
        rec.update(to.alpha * X0 + to.sigma * Eps);
    }
    Ok(())
}

/// The level of the data.
fn start(run: &Setting) -> Level {
    if run.keys.set_alpha_to_one {
        Level { time: 0.0, alpha: 1.0, sigma: 0.0 }
    } else {
        run.level(0)
    }
}

/// At sigma 0 no eps follows from x and a prediction of x0.
fn check(run: &Setting) -> Result<()> {
    run.without_eta()?;
    let origin = &run.config.origin;
    let first = match run.timesteps.first() {
        Some(_) => start(run),
        None => run.levels[run.levels.len() - 1],
    };
    let in_x0 = run.keys.prediction_type == PredictionType::Sample || run.network.denoiser;
    if first.sigma == 0.0 && in_x0 && run.timesteps.is_empty() {
        return Err(Error::invalid(
            format!("{origin}: final_sigmas_type"),
            "sigma_min to invert with a network that predicts x0: the data then has some noise",
            "zero",
            "set final_sigmas_type to sigma_min",
        ));
    }
    if first.sigma == 0.0 && in_x0 {
        return Err(Error::invalid(
            format!("{origin}: set_alpha_to_one"),
            "false to invert with a network that predicts x0: the data then has some noise",
            "true",
            "set set_alpha_to_one to false",
        ));
    }
    Ok(())
}
