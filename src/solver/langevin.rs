//! Annealed Langevin dynamics (Song & Ermon 2019, arXiv:1907.05600; 2020, arXiv:2006.09011).

use super::Term::{Eps, X, X0};
use super::{Kind, Level, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[
    NCSN,
    SolverInfo {
        name: "ncsnv2",
        nfe_per_step: 5,
        nfe_extra: 1,
        reference: "Song & Ermon 2020, arXiv:2006.09011, Alg. 1 and section 3.3",
        fixes: &[("correct_steps", "5")],
        record: |run, rec| {
            let step = technique_4(&noisy(run), run.keys.correct_steps);
            langevin(run, rec, step, true)
        },
        ..NCSN
    },
];

const NCSN: SolverInfo = SolverInfo {
    name: "langevin",
    family: "score-based",
    kind: Kind::Sde,
    nfe_per_step: 100,
    nfe_extra: 0,
    order: 1,
    reference: "Song & Ermon 2019, arXiv:1907.05600, Alg. 1",
    schedulers: &["ScoreSdeVeScheduler"],
    plus_plus: false,
    fixes: &[("correct_steps", "100")],
    record: |run, rec| langevin(run, rec, NCSN_STEP, false),
};

/// epsilon / (2 sigma_L^2) with the epsilon = 2e-5 and sigma_L = 0.01 of the 2019 paper, whose
/// Alg. 1 writes alpha / 2 where that of 2020 has alpha.
const NCSN_STEP: f64 = 0.1;

/// At each level `correct_steps` steps of Langevin dynamics with a step proportional to its
/// variance, alpha = a sigma^2 (a is epsilon / sigma_L^2), score = -eps / sigma:
///
/// ```text
/// x <- x + alpha score + sqrt(2 alpha) z
/// ```
///
/// `denoise` ends with x0 = x + sigma_L^2 score, one evaluation more (2020, section 3.3).
/// `langevin_step` sets a by hand.
fn langevin(run: &Setting, rec: &mut Recorder, step: f64, denoise: bool) -> Result<()> {
    run.without_eta()?;
    let step = run.keys.langevin_step.unwrap_or(step);
    if !(step > 0.0 && step < 2.0) {
        return Err(Error::invalid(
            "langevin_step",
            "a number above 0 and below 2, where Langevin dynamics diverge",
            step.to_string(),
            "choose one in it, or leave it out",
        ));
    }
    if run.keys.correct_steps == 0 {
        let expected = "1 or more Langevin steps a level";
        return Err(Error::invalid("correct_steps", expected, "0", "leave it out or raise it"));
    }
    let levels = noisy(run);
    rec.initial_noise(run.initial_scale());
    for level in &levels {
        let alpha = step * level.sigma.powi(2);
        for _ in 0..run.keys.correct_steps {
            rec.denoise(*level);
            let z = rec.noise();
            rec.update(1.0 * X - (alpha / level.sigma) * Eps + (2.0 * alpha).sqrt() * z);
        }
    }
    if denoise {
        rec.denoise(levels[levels.len() - 1]);
        rec.update(X0);
    }
    Ok(())
}

/// The levels that have noise.
fn noisy(run: &Setting) -> Vec<Level> {
    run.levels.iter().copied().filter(|level| level.sigma > 0.0).collect()
}

/// The step that brings x best from the deviation of one level to that of the next in T steps
/// (2020, proposition 3 and technique 4). With gamma the ratio of two levels, the variance
/// that a point of data leaves is, over sigma^2,
///
/// ```text
/// (1 - a)^(2 T) (gamma^2 - 2 / (2 - a)) + 2 / (2 - a)
/// ```
///
/// It should be 1; the smallest on a grid is the nearest.
fn technique_4(levels: &[Level], steps: usize) -> f64 {
    const GRID: u32 = 1000;
    let (first, last) = (levels[0].sigma, levels[levels.len() - 1].sigma);
    let gamma = (first / last).powf(1.0 / (levels.len() - 1).max(1) as f64);
    let variance = |a: f64| {
        let stationary = 2.0 / (2.0 - a);
        (1.0 - a).powf(2.0 * steps as f64) * (gamma * gamma - stationary) + stationary
    };
    let candidates = (1..GRID).map(|i| f64::from(i) / f64::from(GRID));
    candidates.min_by(|a, b| variance(*a).total_cmp(&variance(*b))).expect("the grid has points")
}
