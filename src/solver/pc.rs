//! Predictor-corrector sampling (Song et al. 2021, arXiv:2011.13456, section 4.2).

use super::Term::{Eps, X};
use super::reverse_diffusion::predict;
use super::{Kind, Recorder, Setting, Snr, SolverInfo};
use crate::error::Result;
use std::f64::consts::SQRT_2;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "pc",
    family: "SDE",
    kind: Kind::Sde,
    nfe_per_step: 2,
    nfe_extra: 0,
    order: 1,
    reference: "Song et al. 2021, arXiv:2011.13456, Alg. 2-5",
    schedulers: &["ScoreSdeVeScheduler", "ScoreSdeVpScheduler", "ScoreSdeSubVpScheduler"],
    plus_plus: false,
    fixes: &[],
    record: pc,
}];

/// At each level `correct_steps` steps of Langevin dynamics (Alg. 4, 5), then a step of reverse
/// diffusion to the next (Alg. 2, 3):
///
/// ```text
/// e = 2 a (snr |z| / |score|)^2,    a = (alpha / alpha')^2: 1 for VE, 1 - beta for VP
/// x <- x + e score + sqrt(2 e) z,   score = -eps / sigma
/// ```
///
/// The order is that of the authors' code, so that the run ends in the predictor's mean.
fn pc(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    let steps = run.levels.len() - 1;
    rec.reduce(run.keys.reduce);
    rec.initial_noise(run.initial_scale());
    for (i, pair) in run.levels.windows(2).enumerate() {
        let (level, next) = (pair[0], pair[1]);
        for _ in 0..run.keys.correct_steps {
            rec.denoise(level);
            let z = rec.noise();
            rec.snr(Snr { ratio: run.keys.snr, factor: (level.alpha / next.alpha).powi(2) });
            rec.update(1.0 * X - (1.0 / level.sigma) * Eps + SQRT_2 * z);
        }
        predict(rec, level, next, i + 1 < steps);
    }
    Ok(())
}
