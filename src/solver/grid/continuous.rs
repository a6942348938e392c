//! Runs of processes in continuous time.

use super::super::schedule::linspace;
use super::super::{FinalSigmas, Level, Process, SigmaSchedule, Sigmas};
use super::{DATA, Grid, Keys};

/// n sigmas from the largest to the smallest, then 0 or the smallest once more.
pub(super) fn edm(keys: &Keys, process: &Process, steps: usize) -> Vec<Level> {
    let (first, last) = process.range(0.0);
    let sigmas = match keys.sigma_schedule {
        SigmaSchedule::Karras => Sigmas::Karras,
        SigmaSchedule::Exponential => Sigmas::Exponential,
    };
    let levels = sigmas.between(first, last, steps, keys.rho).into_iter().map(|s| process.level(s));
    let end = match keys.final_sigmas_type {
        FinalSigmas::Zero => DATA,
        FinalSigmas::SigmaMin => process.level(last),
    };
    levels.chain([end]).collect()
}

/// n sigmas geometric between the squares of the two ends, as the class takes t = sigma^2 of
/// Karras et al. 2022, table 1, for sigma; then 0.
pub(super) fn karras_ve(process: &Process, steps: usize) -> Vec<Level> {
    let (first, last) = process.range(0.0);
    let sigmas = Sigmas::Exponential.between(first * first, last * last, steps, 1.0);
    sigmas.into_iter().map(|s| process.level(s)).chain([DATA]).collect()
}

/// Every floor(N / n)-th of the N levels of the training, from the largest on, then the smallest
/// (Song et al. 2023, arXiv:2303.01469, Alg. 1).
pub(super) fn consistency(keys: &Keys, process: &Process, steps: usize) -> Vec<Level> {
    let total = keys.num_train_timesteps;
    let (first, last) = process.range(0.0);
    let all = Sigmas::Karras.between(first, last, total, keys.rho);
    let chosen = all.into_iter().step_by(total / steps).take(steps);
    chosen.chain([last]).map(|s| process.level(s)).collect()
}

/// n sigmas geometric, then 0. The network is told sigma at n times from 1 to `sampling_eps`, which
/// are not quite those of the sigmas.
pub(super) fn score_ve(keys: &Keys, process: &Process, steps: usize) -> Vec<Level> {
    let (first, last) = process.range(0.0);
    let sigmas = Sigmas::Exponential.between(first, last, steps, 1.0);
    let told = linspace(1.0, keys.sampling_eps, steps).into_iter().map(|t| process.at(t).time);
    let level = |(time, sigma)| Level { time, alpha: 1.0, sigma };
    told.zip(sigmas).map(level).chain([DATA]).collect()
}

/// n times evenly spaced: from 1 to `sampling_eps` of a score model and then to the data, or angles
/// from 1 to the data.
pub(super) fn evenly(keys: &Keys, process: &Process, grid: Grid, steps: usize) -> Vec<Level> {
    let times = match grid {
        Grid::Angle => linspace(1.0, 0.0, steps + 1).into_iter().take(steps).map(angle).collect(),
        _ => linspace(1.0, keys.sampling_eps, steps),
    };
    times.into_iter().map(|t| process.at(t)).chain([DATA]).collect()
}

/// The angle, in quarter turns, whose sine is `sin(t pi / 2)^2`.
fn angle(t: f64) -> f64 {
    let quarter = std::f64::consts::FRAC_PI_2;
    (t * quarter).sin().powi(2).asin() / quarter
}
