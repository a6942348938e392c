//! Reverse diffusion sampling (Song et al. 2021, arXiv:2011.13456, appendix E).

use super::Term::{Eps, X};
use super::{Expr, Kind, Level, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "reverse-diffusion",
    family: "SDE",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Song et al. 2021, arXiv:2011.13456, eq. 46",
    schedulers: &["ScoreSdeVpScheduler", "ScoreSdeSubVpScheduler", "ScoreSdeVeScheduler"],
    plus_plus: false,
    fixes: &[("correct_steps", "0")],
    record: reverse_diffusion,
}];

/// Eq. 46 along the levels of the run; the last step leaves out its noise (appendix G).
fn reverse_diffusion(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    let steps = run.levels.len() - 1;
    rec.initial_noise(run.initial_scale());
    for (i, pair) in run.levels.windows(2).enumerate() {
        predict(rec, pair[0], pair[1], i + 1 < steps);
    }
    Ok(())
}

/// One step. Forwards, the chain goes from a level to the noisier one by `x + f x + G z` (eq. 45):
///
/// ```text
/// f = alpha / alpha' - 1,    G^2 = sigma^2 - (alpha / alpha')^2 sigma'^2
/// x' = x - f x - G^2 / sigma eps + G z                                          (eq. 46)
/// ```
///
/// where the primes belong to the cleaner level. VP has G^2 = beta and f = sqrt(1 - beta) - 1, VE
/// has G^2 = sigma^2 - sigma'^2 and f = 0 (Alg. 2 and 3).
pub(super) fn predict(rec: &mut Recorder, level: Level, next: Level, noisy: bool) {
    let ratio = level.alpha / next.alpha;
    let g2 = level.sigma.powi(2) - (ratio * next.sigma).powi(2);
    rec.denoise(level);
    let mean: Expr = (2.0 - ratio) * X - (g2 / level.sigma) * Eps;
    if noisy {
        let z = rec.noise();
        rec.update(mean + g2.sqrt() * z);
    } else {
        rec.update(mean);
    }
}
