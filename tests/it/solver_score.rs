//! Score-based solvers against diffusers (tests/golden/make_score.py), closed forms, weak orders
//! and stationarity.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use unnoise::noise::torch_cpu;
use unnoise::solver::{Interpreter, Network, Options, Reduce, SchedulerConfig, Trajectory, record};

pub const SAMPLES: usize = 4;
pub const NUMEL: usize = 3 * 8 * 8;

#[derive(Deserialize)]
struct Golden {
    elements: Vec<usize>,
    sde: Vec<SdeCase>,
}

#[derive(Deserialize)]
struct SdeCase {
    config: Value,
    steps: usize,
    seed: u64,
    #[serde(flatten)]
    result: Summary,
}

#[derive(Deserialize)]
pub struct Summary {
    sum: f64,
    sum_abs: f64,
    elements: Vec<f64>,
}

impl Summary {
    pub fn check(&self, name: &str, elements: &[usize], x: &[f64], rtol: f64) {
        let close = |what: &str, expected: f64, found: f64, scale: f64| {
            let near = (expected - found).abs() <= rtol * scale;
            assert!(near, "{name}: {what}: expected {expected}, found {found}");
        };
        let mean_abs = self.sum_abs / x.len() as f64;
        close("sum", self.sum, x.iter().sum(), self.sum_abs);
        close("sum of |x|", self.sum_abs, x.iter().map(|v| v.abs()).sum(), self.sum_abs);
        for (&e, &expected) in elements.iter().zip(&self.elements) {
            close(&format!("element {e}"), expected, x[e], expected.abs().max(mean_abs));
        }
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/score.json")).unwrap()
}

pub fn config(value: Value) -> SchedulerConfig {
    SchedulerConfig::parse(&value.to_string(), "scheduler_config.json").unwrap()
}

pub fn with(solver: &str, steps: usize, set: Value) -> Options {
    let set: Map<String, Value> = serde_json::from_value(set).unwrap();
    Options { set, ..Options::new(solver, steps) }
}

/// diffusers computes in f32 and multiplies x by up to 1e6 on the way.
const RTOL: f64 = 2e-4;

#[test]
fn score_sde_trajectories_end_where_diffusers_ends() {
    let golden = golden();
    for case in &golden.sde {
        let name = format!("{}, {} steps", case.config, case.steps);
        let config = config(case.config.clone());
        let solver = if case.config["_class_name"] == "ScoreSdeVeScheduler" {
            "pc"
        } else {
            "euler-maruyama"
        };
        let set = if solver == "pc" { json!({"reduce": "batch"}) } else { json!({}) };
        let options = with(solver, case.steps, set);
        let trajectory = record(&config, &options, Network::default()).unwrap();
        assert_eq!(trajectory.reduce == Reduce::Batch, solver == "pc");
        let draws = torch_cpu(case.seed, trajectory.draws, SAMPLES, NUMEL, 0..SAMPLES);
        let x = Interpreter::new(&trajectory).samples(SAMPLES).run(
            SAMPLES * NUMEL,
            |x: &[f64], t| x.iter().map(|x| x * t / (t + 1.0)).collect(),
            |draw, z| {
                let at = draw.index as usize * SAMPLES * NUMEL;
                z.iter_mut().zip(&draws[at..]).for_each(|(z, n)| *z = f64::from(*n));
            },
        );
        case.result.check(&name, &golden.elements, &x, RTOL);
    }
}

/// The denoiser of data N(mean, s^2).
fn affine(x: f64, sigma: f64, mean: f64, s: f64) -> f64 {
    mean + s * s * (x - mean) / (s * s + sigma * sigma)
}

/// Mean and variance of what a solver without norms makes of data N(mean, s^2), exactly: x is
/// affine in the draws, so element k answers to draw k alone and the last element to none.
fn moments(trajectory: &Trajectory, mut d: impl FnMut(f64, f64) -> f64) -> (f64, f64) {
    let len = trajectory.draws + 1;
    let network = |x: &[f64], t: f64| x.iter().map(|x| d(*x, t)).collect();
    let x = Interpreter::new(trajectory).run(len, network, |draw, z| {
        z.fill(0.0);
        z[draw.index as usize] = 1.0;
    });
    let mean = x[len - 1];
    (mean, x.iter().map(|x| (x - mean).powi(2)).sum())
}

/// The network is D(x, sigma).
pub const DENOISER: Network = Network::DENOISER;

/// A reverse step of 1 / n makes an error of 1 / n in the moments of the data.
#[test]
fn predictors_have_weak_order_one() {
    let classes = [
        ("ScoreSdeVpScheduler", json!({})),
        ("ScoreSdeSubVpScheduler", json!({})),
        ("ScoreSdeVeScheduler", json!({"sigma_min": 0.01, "sigma_max": 20.0})),
        ("DDPMScheduler", json!({"clip_sample": false, "timestep_spacing": "trailing"})),
    ];
    for ((class, keys), solver) in
        classes.iter().flat_map(|c| ["euler-maruyama", "reverse-diffusion"].map(|s| (c, s)))
    {
        let mut value = keys.clone();
        value["_class_name"] = json!(class);
        let config = config(value);
        let error = |n: usize| {
            let trajectory = record(&config, &Options::new(solver, n), DENOISER).unwrap();
            let (mean, variance) = moments(&trajectory, |x, t| affine(x, t, 0.3, 0.5));
            ((mean - 0.3).abs(), (variance - 0.25).abs())
        };
        let (coarse, fine) = (error(125), error(500));
        assert!(fine.0 < 0.02 && fine.1 < 0.02, "{class} {solver}: {fine:?}");
        let order = (coarse.1 / fine.1).log2() / 2.0;
        assert!((0.8..1.6).contains(&order), "{class} {solver}: {coarse:?} {fine:?}, {order}");
    }
}

fn score_ve(sigma_min: f64, sigma_max: f64) -> SchedulerConfig {
    config(json!({
        "_class_name": "ScoreSdeVeScheduler", "sigma_min": sigma_min, "sigma_max": sigma_max,
    }))
}

/// On data N(0, s^2) with v = s^2 + sigma^2 the dynamics are
/// `x <- (1 - a sigma^2 / v) x + sqrt(2 a) sigma z`, which keeps the variance
/// `v / (1 - a sigma^2 / (2 v))`.
#[test]
fn langevin_dynamics_come_to_rest() {
    let (s, sigma) = (0.5, 0.8);
    let v: f64 = s * s + sigma * sigma;
    for step in [0.02, 0.1, 0.5] {
        let set = json!({"langevin_step": step, "correct_steps": 800});
        let config = score_ve(sigma, sigma * 1.0001);
        let trajectory = record(&config, &with("langevin", 2, set), DENOISER).unwrap();
        assert_eq!(trajectory.nfe(), 1600);
        let (_, variance) = moments(&trajectory, |x, t| affine(x, t, 0.0, s));
        let expected = v / (1.0 - step * sigma * sigma / (2.0 * v));
        assert!((variance / expected - 1.0).abs() < 1e-3, "{step}: {variance} {expected}");
    }
}

/// NCSNv2 finds both halves of a mixture, each with its deviation.
#[test]
fn annealed_langevin_samples_a_mixture() {
    const N: usize = 4000;
    let (s2, sigma_min) = (0.09, 0.05);
    let trajectory =
        record(&score_ve(sigma_min, 8.0), &Options::new("ncsnv2", 150), DENOISER).unwrap();
    assert_eq!(trajectory.nfe(), 150 * 5 + 1);
    let draws = torch_cpu(7, trajectory.draws, 1, N, 0..1);
    let network = |x: &[f64], sigma: f64| -> Vec<f64> {
        let v = s2 + sigma * sigma;
        x.iter().map(|x| (s2 * x + sigma * sigma * (x / v).tanh()) / v).collect()
    };
    let x = Interpreter::new(&trajectory).run(N, network, |draw, z| {
        let from = &draws[draw.index as usize * N..];
        z.iter_mut().zip(from).for_each(|(z, n)| *z = f64::from(*n));
    });
    // Four standard errors of N samples, and the bias of a finite step.
    let right = x.iter().filter(|x| **x > 0.0).count() as f64 / N as f64;
    assert!((right - 0.5).abs() < 4.0 * (0.25 / N as f64).sqrt(), "{right}");
    let mean = x.iter().map(|x| x.abs()).sum::<f64>() / N as f64;
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
    let variance = x.iter().map(|x| (x.abs() - mean).powi(2)).sum::<f64>() / N as f64;
    assert!((variance / s2 - 1.0).abs() < 0.15, "{variance}");
}

#[test]
fn options_out_of_range_are_named() {
    let whole = Network { discrete_time: true, ..Network::default() };
    let config = config(json!({"_class_name": "EulerDiscreteScheduler"}));
    for (solver, network, set, what) in [
        ("ode-rk45", Network::default(), json!({"rtol": -1.0}), "rtol"),
        ("ode-rk45", Network::default(), json!({"rtol": 0.0, "atol": 0.0}), "rtol"),
        ("ode-rk45", Network::default(), json!({"max_steps": 0}), "max_steps"),
        ("dpm-adaptive", Network::default(), json!({"solver_order": 4}), "solver_order"),
        ("dpm-adaptive", whole, json!({}), "--solver"),
        ("langevin", Network::default(), json!({"langevin_step": 2.0}), "langevin_step"),
        ("langevin", Network::default(), json!({"correct_steps": 0}), "correct_steps"),
        ("pc", Network::default(), json!({"snr": 0.0}), "snr"),
    ] {
        let message = record(&config, &with(solver, 10, set), network).unwrap_err().to_string();
        assert!(message.contains(what), "{solver}: {message}");
    }
}
