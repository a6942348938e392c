//! Solvers against diffusers (tests/golden/make_solvers.py), closed forms and their contracts.

use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use unnoise::noise::torch_cpu;
use unnoise::solver::Term::{Eps, History, Saved, X, X0};
use unnoise::solver::{
    Coordinates, Interpreter, Level, Network, Options, Preconditioning, PredictionType, Recorder,
    SchedulerConfig, Term, TimestepSpacing, Trajectory, record,
};

#[derive(Deserialize)]
struct Golden {
    elements: Vec<usize>,
    cases: Vec<Case>,
    timesteps: BTreeMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
struct Case {
    solver: String,
    config: serde_json::Value,
    options: CaseOptions,
    sum: f64,
    sum_abs: f64,
    elements: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct CaseOptions {
    steps: usize,
    seed: u64,
    #[serde(default)]
    eta: f64,
    #[serde(default)]
    clipped_eps: bool,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/solvers.json")).unwrap()
}

fn options(solver: &str, steps: usize) -> Options {
    Options::new(solver, steps)
}

/// The network's output for one element.
struct Output {
    f: f64,
    variance: f64,
}

/// The final x of one element.
fn run(
    trajectory: &Trajectory,
    network: impl Fn(f64, f64) -> Output,
    draw: impl Fn(usize) -> f64,
) -> f64 {
    let learned = trajectory.rows.iter().any(|r| r.eval.is_some_and(|e| e.log_variance.is_some()));
    let network = |x: &[f64], t: f64| {
        let Output { f, variance } = network(x[0], t);
        if learned { vec![f, variance] } else { vec![f] }
    };
    Interpreter::new(trajectory).run(1, network, |d, z| z[0] = draw(d.index as usize))[0]
}

fn with(learned_variance: bool) -> Network {
    Network { learned_variance, ..Network::default() }
}

fn config(keys: &str) -> SchedulerConfig {
    let text = format!("{{\"_class_name\": \"DDPMScheduler\"{keys}}}");
    SchedulerConfig::parse(&text, "scheduler_config.json").unwrap()
}

/// diffusers keeps alpha_bar and x in f32: x0 = (x - sigma F) / alpha then divides a difference
/// that cancels by an alpha of 6e-3 (linear) or 5e-5 (cosine) at the last timestep.
const RTOL: f64 = 2e-4;

#[test]
fn trajectories_end_where_diffusers_ends() {
    const NUMEL: usize = 4 * 3 * 8 * 8;
    let golden = golden();
    assert!(golden.cases.len() > 200);
    for case in &golden.cases {
        let name = format!("{} {:?} {}", case.solver, case.options, case.config);
        let CaseOptions { steps, seed, eta, clipped_eps } = case.options;
        let config = SchedulerConfig::parse(&case.config.to_string(), "golden").unwrap();
        let learned = case.config["variance_type"] == "learned_range";
        let options = Options { eta: Some(eta), clipped_eps, ..Options::new(&case.solver, steps) };
        let trajectory = record(&config, &options, with(learned)).unwrap();
        let draws = torch_cpu(seed, trajectory.draws, 1, NUMEL, 0..1);
        let element = |e: usize| {
            let network = |x, t| Output { f: x * t / (t + 1.0), variance: x / 4.0 };
            run(&trajectory, network, |draw| f64::from(draws[draw * NUMEL + e]))
        };
        let x: Vec<f64> = (0..NUMEL).map(element).collect();

        let mean_abs = case.sum_abs / NUMEL as f64;
        let check = |what: &str, expected: f64, found: f64, scale: f64| {
            let close = (expected - found).abs() <= RTOL * scale;
            assert!(close, "{name}: {what}: expected {expected}, found {found}");
        };
        check("sum", case.sum, x.iter().sum(), case.sum_abs);
        check("sum of |x|", case.sum_abs, x.iter().map(|v| v.abs()).sum(), case.sum_abs);
        for (&e, &expected) in golden.elements.iter().zip(&case.elements) {
            check(&format!("element {e}"), expected, x[e], expected.abs().max(mean_abs));
        }
    }
}

#[test]
fn timesteps_are_those_of_diffusers() {
    let golden = golden();
    for (name, spacing) in TimestepSpacing::NAMES {
        for (i, &expected) in golden.timesteps[*name].iter().enumerate() {
            let timesteps = spacing.timesteps(1000, i + 1, 0);
            let found: usize = timesteps.iter().enumerate().map(|(j, t)| (j + 1) * t).sum();
            assert_eq!(found, expected, "{name}, {} steps: {timesteps:?}", i + 1);
        }
    }
}

proptest! {
    #[test]
    fn timesteps_fall_strictly_and_stay_in_range(
        (total, steps) in (1usize..3000).prop_flat_map(|t| (Just(t), 1..=t)),
        spacing in prop::sample::select(TimestepSpacing::NAMES),
    ) {
        let timesteps = spacing.1.timesteps(total, steps, 0);
        prop_assert_eq!(timesteps.len(), steps);
        prop_assert!(timesteps[0] < total);
        prop_assert!(timesteps.is_sorted_by(|a, b| a > b), "{} {:?}", spacing.0, timesteps);
    }
}

/// The exact denoiser of data N(0, s^2) at the timestep t, as an eps prediction:
/// x0 = alpha s^2 x / (alpha^2 s^2 + sigma^2), eps = (x - alpha x0) / sigma.
fn gaussian_eps(alpha_bar: &[f64], s: f64, x: f64, t: f64) -> Output {
    let a = alpha_bar[t as usize];
    let x0 = a.sqrt() * s * s * x / (a * s * s + 1.0 - a);
    Output { f: (x - a.sqrt() * x0) / (1.0 - a).sqrt(), variance: 0.0 }
}

/// The probability flow keeps x / sqrt(alpha_bar s^2 + 1 - alpha_bar).
#[test]
fn ddim_converges_to_the_ode_with_order_one() {
    let config = config(r#", "clip_sample": false"#);
    let alpha_bar = config.schedule().alpha_bar;
    let s = 0.5;
    let error = |steps: usize| {
        let trajectory = record(&config, &options("ddim", steps), Network::default()).unwrap();
        let found = run(&trajectory, |x, t| gaussian_eps(&alpha_bar, s, x, t), |_| 1.0);
        let a = alpha_bar[trajectory.times[0] as usize];
        (found / (s / (a * s * s + 1.0 - a).sqrt()) - 1.0).abs()
    };
    let errors: Vec<f64> = [25, 50, 100, 200].into_iter().map(error).collect();
    for pair in errors.windows(2) {
        let order = (pair[0] / pair[1]).log2();
        assert!((0.8..1.2).contains(&order), "observed order {order}: {errors:?}");
    }
    assert!(errors[3] < 0.02, "{errors:?}");
}

/// beta is the exact reverse variance for unit Gaussian data and beta_tilde that for a single
/// point (Ho et al. 2020, section 3.2): from the variance of q(x_t), every row leads to that of its
/// next timestep, over any subsequence of the timesteps.
#[test]
fn ddpm_keeps_the_variance_of_the_forward_process() {
    for (name, s) in [("fixed_large", 1.0), ("fixed_small", 1e-9)] {
        let config = config(&format!(
            r#", "clip_sample": false, "variance_type": "{name}", "timestep_spacing": "trailing""#
        ));
        let alpha_bar = config.schedule().alpha_bar;
        let forward = |a: f64| a * s * s + 1.0 - a;
        let trajectory = record(&config, &options("ddpm", 40), Network::default()).unwrap();
        let rows = &trajectory.rows[1..];
        let at = |i: usize| rows.get(i).map_or(1.0, |_| alpha_bar[trajectory.times[i] as usize]);
        for (i, row) in rows.iter().enumerate() {
            let p = row.eval.unwrap().prediction;
            let f = gaussian_eps(&alpha_bar, s, 1.0, trajectory.times[i]).f;
            let c = |term| row.x.coefficient(term);
            let gain = c(X) + c(X0) * (p.x0_x + p.x0_f * f);
            let variance = gain * gain * forward(at(i)) + c(Term::Noise(0)).powi(2);
            let expected = forward(at(i + 1));
            assert!((variance - expected).abs() < 1e-12, "{name}, row {i}: {variance}, {expected}");
        }
    }
}

/// The learned range reaches from beta_tilde to beta.
#[test]
fn learned_variance_lies_between_the_fixed_ones() {
    let of = |name: &str| config(&format!(r#", "variance_type": "{name}""#));
    let rows = |name, learned| record(&of(name), &options("ddpm", 10), with(learned)).unwrap().rows;
    let (small, large) = (rows("fixed_small", false), rows("fixed_large", false));
    for (i, row) in rows("learned_range", true).iter().enumerate().skip(1) {
        let sigma = |rows: &[unnoise::solver::Row]| rows[i].x.coefficient(Term::Noise(0));
        let range = row.eval.unwrap().log_variance;
        assert_eq!(range.is_some(), !row.draws.is_empty(), "row {i}");
        if let Some((min, max)) = range {
            assert!(((0.5 * min).exp() / sigma(&small) - 1.0).abs() < 1e-12, "row {i}");
            assert!(((0.5 * max).exp() / sigma(&large) - 1.0).abs() < 1e-12, "row {i}");
            assert_eq!(row.x.coefficient(Term::Noise(0)), 1.0);
        }
    }
}

/// The order in which a serial generator serves diffusers: x_T, then one draw for each step that
/// adds noise - of ddpm all but t = 0, of ddim all or none.
#[test]
fn draws_are_counted_in_serial_order() {
    let leading = config("");
    let offset = config(r#", "steps_offset": 1"#);
    for (config, solver, eta, draws) in [
        (&leading, "ddpm", 0.0, 10),
        (&offset, "ddpm", 0.0, 11),
        (&leading, "ddim", 0.0, 1),
        (&leading, "ddim", 0.3, 11),
    ] {
        let options = Options { eta: Some(eta), ..options(solver, 10) };
        let trajectory = record(config, &options, Network::default()).unwrap();
        assert_eq!(trajectory.draws, draws, "{solver}, eta {eta}");
        let rows = trajectory.rows.iter().enumerate();
        let all: Vec<_> = rows.flat_map(|(i, row)| row.draws.iter().map(move |d| (i, d))).collect();
        for (index, (row, draw)) in all.into_iter().enumerate() {
            let name = (draw.step as usize, draw.stream, draw.index as usize);
            assert_eq!(name, (row, 0, index), "{solver}, eta {eta}");
        }
    }
}

const UNIT: Level = Level { time: 0.0, alpha: 1.0, sigma: 1.0 };

fn eps() -> Preconditioning {
    let coordinates = Coordinates::VarianceExploding;
    Preconditioning { coordinates, ..Preconditioning::new(PredictionType::Epsilon) }
}

/// All three predictions of the same x0 and eps are read as these; a clip changes x0, and eps with
/// it only in its consistent form.
#[test]
fn predictions_agree_on_x0_and_eps() {
    let (alpha, sigma, x0, eps) = (0.8, 0.6, 1.5, -0.7);
    let x = alpha * x0 + sigma * eps;
    let read = |model: Preconditioning| {
        let f = match model.prediction {
            PredictionType::Epsilon => eps,
            PredictionType::Sample => x0,
            PredictionType::VPrediction => alpha * eps - sigma * x0,
            PredictionType::Score => -eps / sigma,
            PredictionType::ScaledScore => -eps,
            PredictionType::Flow => eps - x0,
        };
        let mut rec = Recorder::new(model);
        rec.initial_noise(1.0);
        rec.denoise(Level { time: 3.0, alpha, sigma });
        rec.update(1.0 * X0 + 100.0 * Eps);
        run(&rec.finish(), |_, _| Output { f, variance: 0.0 }, |_| x)
    };
    for (_, prediction) in PredictionType::NAMES {
        for (clip, clipped_eps, expected) in [
            (None, false, x0 + 100.0 * eps),
            (None, true, x0 + 100.0 * eps),
            (Some(1.0), false, 1.0 + 100.0 * eps),
            (Some(1.0), true, 1.0 + 100.0 * (x - alpha) / sigma),
        ] {
            let found =
                read(Preconditioning { clip, clipped_eps, ..Preconditioning::new(*prediction) });
            let close = (found - expected).abs() < 1e-12 * 100.0;
            assert!(close, "{prediction:?} {clip:?} {clipped_eps}: {found}, {expected}");
        }
    }
}

/// dx/dt = x from t = 0 to 1 by a network F = x, written as solvers of two evaluations a step and
/// of two predictions a step: the saved copy and the history do what their names say.
#[test]
fn two_rows_a_step_and_history_reach_order_two() {
    let heun = |steps: usize| {
        let h = 1.0 / steps as f64;
        let mut rec = Recorder::new(eps());
        rec.initial_noise(1.0);
        for _ in 0..steps {
            rec.denoise(UNIT);
            rec.save(1.0 * X + (0.5 * h) * Eps);
            rec.update(1.0 * X + h * Eps);
            rec.denoise(UNIT);
            rec.update(1.0 * Saved + (0.5 * h) * Eps);
        }
        rec.finish()
    };
    let adams_bashforth = |steps: usize| {
        let h = 1.0 / steps as f64;
        let mut rec = Recorder::new(eps());
        rec.initial_noise(1.0);
        for i in 0..steps {
            rec.denoise(Level { time: i as f64, ..UNIT });
            rec.push(Eps);
            let slope = if i == 0 { 1.0 * Eps } else { 1.5 * Eps - 0.5 * History(0) };
            rec.update(1.0 * X + h * slope);
        }
        rec.finish()
    };
    let error = |trajectory: &Trajectory| {
        let x = run(trajectory, |x, _| Output { f: x, variance: 0.0 }, |_| 1.0);
        (x - std::f64::consts::E).abs()
    };
    for (name, few, many) in [
        ("heun", heun(40), heun(80)),
        ("adams-bashforth", adams_bashforth(40), adams_bashforth(80)),
    ] {
        let order = (error(&few) / error(&many)).log2();
        assert!((1.9..2.1).contains(&order), "{name}: observed order {order}");
    }
    assert_eq!((heun(4).nfe(), heun(4).times.len(), heun(4).history), (8, 1, 0));
    assert_eq!((adams_bashforth(4).nfe(), adams_bashforth(4).history), (4, 1));
}
