//! Stochastic Adams solver (Xue et al. 2023, arXiv:2309.05019).

use super::Term::{Eps, History, Saved, X, X0};
use super::adams::{Adams, Integrand, LEAST_ALPHA, Slope};
use super::{AlgorithmType, Draw, Expr, Kind, Level, Process, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "sa-solver",
    family: "exponential integrator",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 2,
    reference: "Xue et al. 2023, arXiv:2309.05019, Alg. 1",
    schedulers: &["SASolverScheduler"],
    plus_plus: false,
    fixes: &[],
    record: sa_solver,
}];

/// Algorithm 1: at each level the network speaks once; SA-Corrector (eq. 17) uses it with the noise
/// that led here, then SA-Predictor (eq. 14) goes on with fresh noise:
///
/// ```text
/// x_i   <- a x_{i-1} + sum_j b_j m_{i-j} + c z_{i-1},   j = 0 .. corrector_order - 1
/// x_{i+1} = a x_i    + sum_j b_j m_{i-j} + c z_i,       j = 0 .. predictor_order - 1
/// ```
///
/// with a, b, c of [`Adams`] and m the x0 (`data_prediction`) or eps (`noise_prediction`). In x0, a
/// line through two points takes 1/2 for its first moment, which the authors find better in few
/// steps. The corrector, left out by a corrector_order of 0, has the tau of the step that it
/// corrects. Every step draws, even where tau is 0.
fn sa_solver(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    let (prediction, integrand) = match run.keys.algorithm_type {
        AlgorithmType::NoisePrediction => (Eps, Integrand::Noise),
        _ => (X0, Integrand::Data),
    };
    let slope = if integrand == Integrand::Data { Slope::Half } else { Slope::Exact };
    let adams = |from, to| Adams { from, to, integrand, tau: tau(run, from), slope };
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    let mut last: Option<Draw> = None;
    for (i, step) in run.levels.windows(2).enumerate() {
        let (from, to) = (step[0], step[1]);
        rec.denoise(from);
        let known = |count| known(run, i, prediction.into(), count);
        let z = rec.noise();

        let mut x: Expr = X.into();
        let corrects = |_: &Draw| run.keys.corrector_order > 0;
        if let Some(last) = last.replace(rec.name(z)).filter(corrects) {
            let corrector = adams(run.levels[i - 1], from);
            x = corrector.step(Saved, &known(order(run, run.keys.corrector_order, i, 1)));
            if corrector.noise() > 0.0 {
                x = x + corrector.noise() * rec.again(last);
            }
        }

        let predictor = adams(from, to);
        rec.save(x.clone());
        rec.push(prediction);
        let next = predictor.step(x, &known(order(run, run.keys.predictor_order, i, 0)));
        rec.update(next + predictor.noise() * z);
    }
    Ok(())
}

/// The order at level i: what the history allows, less in the last steps with
/// `lower_order_final`. A corrector has one prediction more.
fn order(run: &Setting, most: usize, i: usize, more: usize) -> usize {
    let steps = run.levels.len() - 1;
    let left = if run.keys.lower_order_final { steps - i + 2 * more } else { most };
    most.min(i + 1).min(left)
}

/// The prediction at level i and those before it, `count` in all.
fn known(run: &Setting, i: usize, newest: Expr, count: usize) -> Vec<(f64, Expr)> {
    let past = (1..count).map(|j| (run.levels[i - j].lambda(), History(j - 1).into()));
    [(run.levels[i].lambda(), newest)].into_iter().chain(past).collect()
}

/// tau of a step that starts at `level`: 1, or eta if given, in the middle of the process, else 0.
fn tau(run: &Setting, level: Level) -> f64 {
    let inside = match run.process {
        Process::Discrete(_) | Process::Flow { .. } => (200.0..=800.0).contains(&level.time),
        _ => (NOISY.0..=NOISY.1).contains(&level.ratio()),
    };
    if inside { run.options.eta.unwrap_or(1.0) } else { 0.0 }
}

/// sigma / alpha at the timesteps 200 and 800 of the linear schedule (Ho et al. 2020): the same
/// middle where time is continuous.
const NOISY: (f64, f64) = (0.7236, 25.736);

fn check(run: &Setting) -> Result<()> {
    let (keys, origin) = (&run.keys, &run.config.origin);
    if keys.algorithm_type == AlgorithmType::NoisePrediction && run.levels[0].alpha < LEAST_ALPHA {
        return Err(Error::invalid(
            format!("{origin}: algorithm_type"),
            "data_prediction where the first level is pure noise",
            keys.algorithm_type.name(),
            "set algorithm_type to data_prediction, or rescale_betas_zero_snr to false",
        ));
    }
    Ok(())
}
