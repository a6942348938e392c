//! Restart sampling (Xu et al. 2023, arXiv:2306.14878).

use super::Term::X;
use super::config::FromKey;
use super::{Kind, Level, Recorder, Setting, Sigmas, SolverInfo, heun, ode};
use crate::error::{Error, Result};
use serde_json::Value;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "restart",
    family: "SDE",
    kind: Kind::Sde,
    nfe_per_step: 2,
    nfe_extra: -1,
    order: 2,
    reference: "Xu et al. 2023, arXiv:2306.14878, Alg. 1",
    schedulers: &["EulerDiscreteScheduler", "EDMEulerScheduler"],
    plus_plus: false,
    fixes: &[("use_karras_sigmas", "true")],
    record: restart,
}];

/// An interval of noise levels that a run repeats, `[n, K, t_min, t_max]` in JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restart {
    /// Levels from t_max to t_min, both counted, so that a repetition takes one step less.
    pub levels: usize,
    /// Repetitions, K.
    pub times: usize,
    /// The run turns back at its level that is nearest to this.
    pub t_min: f64,
    /// Where it turns back to.
    pub t_max: f64,
}

impl FromKey for Restart {
    fn expected() -> String {
        "[n, K, t_min, t_max]".into()
    }
    fn from_key(value: &Value) -> Option<Restart> {
        let [levels, times, t_min, t_max] = value.as_array()?.as_slice() else { return None };
        let (levels, times) = (usize::from_key(levels)?, usize::from_key(times)?);
        Some(Restart { levels, times, t_min: f64::from_key(t_min)?, t_max: f64::from_key(t_max)? })
    }
}

/// The exponent of the levels in an interval, as in EDM.
const RHO: f64 = 7.0;

/// Algorithm 1: Heun's steps down the levels and, for each [`Restart`] interval, when the level
/// nearest to t_min is reached, K times a jump up and Heun's steps down again:
///
/// ```text
/// x_tmax = x_tmin + sqrt(t_max^2 - t_min^2) z
/// x_tmin = ODE(x_tmax, t_max -> t_min)
/// ```
///
/// A jump is a row without an evaluation. The default interval is that of CIFAR-10 (table 3), with
/// which 18 steps take 43 evaluations.
fn restart(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    ode::needs_any_level(run)?;
    let turns: Vec<(usize, Restart)> =
        run.keys.restart.iter().map(|r| Ok((turn(run, r)?, *r))).collect::<Result<_>>()?;
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for (i, step) in run.levels.windows(2).enumerate() {
        heun::step(rec, step[0], step[1]);
        for (_, interval) in turns.iter().filter(|(at, _)| *at == i + 1) {
            repeat(run, rec, step[1], interval);
        }
    }
    Ok(())
}

/// K times from t_max down to `low`.
fn repeat(run: &Setting, rec: &mut Recorder, low: Level, interval: &Restart) {
    let (t_min, t_max) = (low.ratio(), interval.t_max);
    let sigmas = Sigmas::Karras.between(t_max, t_min, interval.levels, RHO);
    let mut levels: Vec<Level> = sigmas.into_iter().map(|s| run.level_of(s)).collect();
    levels[interval.levels - 1] = low;
    let high = levels[0];
    let lacking = (t_max * t_max - t_min * t_min).sqrt();
    for _ in 0..interval.times {
        let z = rec.noise();
        rec.update((high.alpha / low.alpha) * X + (high.alpha * run.keys.s_noise * lacking) * z);
        for step in levels.windows(2) {
            heun::step(rec, step[0], step[1]);
        }
    }
}

/// The index of the level where an interval turns back.
fn turn(run: &Setting, interval: &Restart) -> Result<usize> {
    let distance = |level: &Level| (level.ratio() - interval.t_min).abs();
    let levels = run.levels.iter().enumerate();
    let nearest = levels.min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
    let (at, level) = nearest.expect("a run has levels");
    let Restart { levels, t_min, t_max, .. } = *interval;
    let first = run.levels[0].ratio();
    if at > 0 && levels >= 2 && level.ratio() < t_max && t_max <= first {
        return Ok(at);
    }
    Err(Error::invalid(
        format!("{}: restart", run.config.origin),
        format!("intervals [n, K, t_min, t_max] with n >= 2 and t_min < t_max <= {first}"),
        format!(
            "n = {levels}, t_min = {t_min} (the run's level {}), t_max = {t_max}",
            level.ratio()
        ),
        "correct the interval, or take more --steps",
    ))
}
