//! Multistep consistency sampling (Song et al. 2023, arXiv:2303.01469).

use super::Term::X0;
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "consistency",
    family: "consistency",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Song et al. 2023, arXiv:2303.01469, Alg. 1",
    schedulers: &["CMStochasticIterativeScheduler"],
    plus_plus: false,
    fixes: &[],
    record: consistency,
}];

/// Algorithm 1: x0 = f(x, sigma), then noise up to the next level; the network is f, the identity
/// at the smallest level sigma_min (the paper's epsilon), where the run ends:
///
/// ```text
/// x' = x0 + s_noise sqrt(sigma'^2 - sigma_min^2) z
/// ```
fn consistency(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    let sigma_min = run.levels[run.levels.len() - 1].ratio();
    rec.initial_noise(run.initial_scale());
    for step in run.levels.windows(2) {
        let (level, next) = (step[0], step[1]);
        let variance = next.ratio().powi(2) - sigma_min.powi(2);
        rec.denoise(level);
        let mut x = next.alpha * X0;
        if variance > 0.0 {
            x = x + (next.alpha * run.keys.s_noise * variance.sqrt()) * rec.noise();
        }
        rec.update(x);
    }
    Ok(())
}
