//! The DPM-Solver family on Gaussian data N(0, S^2), whose denoiser
//! `x0 = alpha S^2 x / (alpha^2 S^2 + sigma^2)` is linear: the probability flow keeps
//! x / sqrt(alpha^2 S^2 + sigma^2), and the reverse SDE its marginal's variance.

use serde_json::json;
use unnoise::solver::Term::Noise;
use unnoise::solver::{Interpreter, Network, Options, SchedulerConfig, Trajectory, find, record};

const S: f64 = 0.5;
/// Timesteps of the training, evenly spaced in lambda.
const T: usize = 961;
const LAMBDA: f64 = 2.5;

fn alpha_bar(t: f64) -> f64 {
    let lambda = LAMBDA - 2.0 * LAMBDA * t / (T - 1) as f64;
    1.0 / (1.0 + (-2.0 * lambda).exp())
}

/// The variance of x.
fn variance(t: f64) -> f64 {
    alpha_bar(t) * S * S + 1.0 - alpha_bar(t)
}

fn x0(x: &[f64], t: f64) -> Vec<f64> {
    let gain = alpha_bar(t).sqrt() * S * S / variance(t);
    x.iter().map(|x| gain * x).collect()
}

/// n steps evenly spaced in lambda, down to the first timestep and no further.
fn trajectory(solver: &str, class: &str, steps: usize, keys: &[(&str, &str)]) -> Trajectory {
    let beta = |t: usize| match t {
        0 => 1.0 - alpha_bar(0.0),
        _ => 1.0 - alpha_bar(t as f64) / alpha_bar(t as f64 - 1.0),
    };
    let mut config = json!({
        "_class_name": class,
        "num_train_timesteps": T,
        "trained_betas": (0..T).map(beta).collect::<Vec<_>>(),
        "prediction_type": "sample",
        "lower_order_final": false,
        "final_sigmas_type": "sigma_min",
    });
    for (key, value) in keys {
        config[*key] = json!(value);
    }
    let config = SchedulerConfig::parse(&config.to_string(), "config").unwrap();
    record(&config, &Options::new(solver, steps), Network::default()).unwrap()
}

/// The observed order of convergence between the last two of these numbers of steps.
fn order(error: impl Fn(usize) -> f64, steps: [usize; 2]) -> f64 {
    let [few, many] = steps.map(error);
    (few / many).log2() / (steps[1] as f64 / steps[0] as f64).log2()
}

const MULTI: &str = "DPMSolverMultistepScheduler";
const SINGLE: &str = "DPMSolverSinglestepScheduler";

#[test]
fn ode_solvers_converge_with_their_order() {
    let names = [
        ("dpm-solver-1", MULTI),
        ("dpmpp-1", MULTI),
        ("dpmpp-2m", MULTI),
        ("dpmpp-3m", MULTI),
        ("dpm-solver-2m", MULTI),
        ("dpm-solver-3m", MULTI),
        ("dpmpp-2s", SINGLE),
        ("dpmpp-3s", SINGLE),
        ("dpm-solver-2", SINGLE),
        ("dpm-solver-3", SINGLE),
    ];
    for ((name, class), solver_type) in
        names.into_iter().flat_map(|n| [(n, "midpoint"), (n, "heun")])
    {
        let error = |steps: usize| {
            let run = trajectory(name, class, steps, &[("solver_type", solver_type)]);
            let x = Interpreter::new(&run).run(1, x0, |_, z| z[0] = 1.0)[0];
            (x / (variance(0.0) / variance((T - 1) as f64)).sqrt() - 1.0).abs()
        };
        let expected = f64::from(find(name).unwrap().order);
        let observed = order(error, [240, 480]);
        let close = (observed - expected).abs() < 0.2;
        assert!(close, "{name}, {solver_type}: order {observed}, not {expected}");
        assert!(error(48) < 0.05, "{name}, {solver_type}: {}", error(48));
    }
}

/// From data to noise, and the same sample back from it.
#[test]
fn inversion_ends_in_the_noise_that_leads_to_the_sample() {
    let class = "DPMSolverMultistepInverseScheduler";
    let error = |steps: usize| {
        let run = trajectory("dpm-solver-inversion", class, steps, &[]);
        let x = Interpreter::new(&run).run(1, x0, |_, z| z[0] = 1.0)[0];
        (x / (variance((T - 1) as f64) / variance(0.0)).sqrt() - 1.0).abs()
    };
    let observed = order(error, [240, 480]);
    assert!((observed - 2.0).abs() < 0.2, "order {observed}");
    assert!(error(96) < 0.01, "{}", error(96));
}

/// The variance at the end if the start has that of the marginal: x is linear in the draws.
fn final_variance(run: &Trajectory, start: f64) -> f64 {
    let response = |k: usize| {
        let noise = |draw: unnoise::solver::Draw, z: &mut [f64]| {
            z[0] = f64::from(u8::from(draw.index as usize == k));
        };
        Interpreter::new(run).run(1, x0, noise)[0]
    };
    let scale = run.rows[0].x.coefficient(Noise(0));
    let initial = (response(0) / scale).powi(2) * start;
    initial + (1..run.draws).map(|k| response(k).powi(2)).sum::<f64>()
}

/// Of a Gaussian the variance is all there is to its law: its error falls with the weak order.
#[test]
fn sde_solvers_keep_the_variance_of_the_marginal() {
    for (name, class) in [
        ("dpmpp-1-sde", MULTI),
        ("dpmpp-2m-sde", MULTI),
        ("dpmpp-3m-sde", MULTI),
        ("dpm-solver-2m-sde", MULTI),
        ("dpmpp-2s-sde", SINGLE),
    ] {
        let last = (T - 1) as f64;
        let error = |steps: usize| {
            let run = trajectory(name, class, steps, &[]);
            (final_variance(&run, variance(last)) / variance(0.0) - 1.0).abs()
        };
        let expected = f64::from(find(name).unwrap().order);
        let observed = order(error, [120, 240]);
        assert!((observed - expected).abs() < 0.2, "{name}: order {observed}, not {expected}");
        assert!(error(96) < 0.1, "{name}: {}", error(96));
    }
}

/// The solvers of k-diffusion write x where alpha is 1 and end with x0 of the first timestep.
#[test]
fn ancestral_solvers_keep_the_variance_of_the_marginal() {
    let class = "DPMSolverSDEScheduler";
    let last = (T - 1) as f64;
    let end = alpha_bar(0.0) * S.powi(4) / variance(0.0);
    for name in ["dpmpp-sde", "dpmpp-2s-ancestral"] {
        let error = |steps: usize| {
            let run = trajectory(name, class, steps + 1, &[]);
            (final_variance(&run, variance(last) / alpha_bar(last)) / end - 1.0).abs()
        };
        let expected = f64::from(find(name).unwrap().order);
        let observed = order(error, [120, 240]);
        assert!((observed - expected).abs() < 0.2, "{name}: order {observed}, not {expected}");
        assert!(error(96) < 0.1, "{name}: {}", error(96));
    }
}
