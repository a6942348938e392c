//! The ODE with fixed and adaptive steps: against scipy and k-diffusion
//! (tests/golden/make_score.py), orders of convergence, tolerances, budgets.

use crate::solver_score::{DENOISER, NUMEL, SAMPLES, Summary, config, with};
use serde::Deserialize;
use serde_json::json;
use unnoise::solver::{
    Adaptive, Coordinates, GuidanceOptions, Interpreter, Method, Network, Options, Preconditioning,
    PredictionType, Progress, Recorder, Reduce, SchedulerConfig, Term, TimeInput, Trajectory,
    record,
};

#[derive(Deserialize)]
struct Golden {
    elements: Vec<usize>,
    adaptive: Vec<AdaptiveCase>,
}

#[derive(Deserialize)]
struct AdaptiveCase {
    method: String,
    sigma_max: f64,
    sigma_min: f64,
    rtol: f64,
    atol: f64,
    accepted: usize,
    rejected: usize,
    #[serde(flatten)]
    result: Summary,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/score.json")).unwrap()
}

/// A network that is D(x, sigma) itself.
fn denoiser() -> Preconditioning {
    Preconditioning {
        coordinates: Coordinates::VarianceExploding,
        time: TimeInput::Sigma,
        ..Preconditioning::new(PredictionType::Sample)
    }
}

fn adaptive(method: Method, sigmas: (f64, f64), tolerance: (f64, f64), budget: usize) -> Adaptive {
    Adaptive {
        method,
        rtol: tolerance.0,
        atol: tolerance.1,
        sigma_start: sigmas.0,
        sigma_end: sigmas.1,
        first_step: 0.05,
        budget,
        model: denoiser(),
        guidance: GuidanceOptions::default(),
        clock: vec![(0.0, 0.0), (1.0, 1.0)],
    }
}

fn trajectory(adaptive: Adaptive, finish: bool) -> Trajectory {
    let mut recorder = Recorder::new(denoiser());
    let scale = adaptive.sigma_start;
    recorder.adaptive(adaptive, scale, finish);
    recorder.finish()
}

/// The state that starts the adaptive cases, as a draw.
fn start(z: &mut [f64]) {
    for (i, z) in z.iter_mut().enumerate() {
        let (b, rest) = (i / NUMEL, i % NUMEL);
        *z = 2.0 * (rest * 4 + b) as f64 / 768.0 - 1.0;
    }
}

/// E[x0 | x] of data at +-1 with deviation 0.1.
fn two_points(x: f64, sigma: f64) -> f64 {
    let (s2, v) = (0.01, 0.01 + sigma * sigma);
    (s2 * x + sigma * sigma * (x / v).tanh()) / v
}

fn elementwise(d: impl Fn(f64, f64) -> f64) -> impl FnMut(&[f64], f64, bool) -> Vec<f64> {
    move |x, sigma, _| x.iter().map(|x| d(*x, sigma)).collect()
}

fn method(name: &str) -> Method {
    match name {
        "rk45" => Method::DormandPrince,
        "dpm2" => Method::DpmSolver12,
        "dpm3" => Method::DpmSolver23,
        other => panic!("{other}"),
    }
}

#[test]
fn adaptive_steps_are_those_of_scipy_and_k_diffusion() {
    let golden = golden();
    for case in &golden.adaptive {
        let name = format!("{} {} {}", case.method, case.rtol, case.atol);
        let sigmas = (case.sigma_max, case.sigma_min);
        let budget = case.accepted + case.rejected + 3;
        let adaptive = adaptive(method(&case.method), sigmas, (case.rtol, case.atol), budget);
        let trajectory = trajectory(adaptive.clone(), false);
        let (x, progress) = Interpreter::new(&trajectory).run_reporting(
            SAMPLES * NUMEL,
            1.0,
            elementwise(two_points),
            |_, z| start(z),
        );
        assert!(adaptive.arrived(&progress[0]), "{name}");
        let steps = (progress[0].accepted, progress[0].rejected);
        assert_eq!(steps, (case.accepted, case.rejected), "{name}");
        // k-diffusion's tolerances are f32 numbers.
        case.result.check(&name, &golden.elements, &x, 1e-6);
    }
}

#[test]
fn the_norm_is_taken_over_a_sample_or_over_the_batch() {
    let of = |reduce, samples| {
        let adaptive = adaptive(Method::DpmSolver23, (14.0, 0.03), (0.05, 0.0078), 40);
        let trajectory = Trajectory { reduce, ..trajectory(adaptive, false) };
        Interpreter::new(&trajectory).samples(samples).run_reporting(
            SAMPLES * NUMEL,
            1.0,
            elementwise(two_points),
            |_, z| {
                start(z);
                // The last sample is easier than the others.
                z[3 * NUMEL..].iter_mut().for_each(|z| *z *= 0.01);
            },
        )
    };
    let (together, whole) = (of(Reduce::Batch, SAMPLES), of(Reduce::Sample, 1));
    let apart = together.0.iter().zip(&whole.0).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-12, "a batch steps as one long sample does: {apart}");
    let steps = |progress: &Progress| (progress.accepted, progress.rejected);
    assert!(together.1.iter().all(|progress| steps(progress) == steps(&whole.1[0])));
    let apart = of(Reduce::Sample, SAMPLES).1;
    let steps: Vec<_> = apart.iter().map(|p| p.accepted).collect();
    assert_ne!(steps[0], steps[3], "each sample steps by itself: {steps:?}");
}

/// The denoiser of data N(0, 0.5^2), on which the ODE keeps x / sqrt(0.25 + sigma^2).
fn gaussian(x: f64, sigma: f64) -> f64 {
    0.25 * x / (0.25 + sigma * sigma)
}

fn exact(x: f64, from: f64, to: f64) -> f64 {
    x * ((0.25 + to * to) / (0.25 + from * from)).sqrt()
}

#[test]
fn one_step_of_each_pair_has_its_order() {
    for (method, order) in
        [(Method::DormandPrince, 5.0), (Method::DpmSolver12, 2.0), (Method::DpmSolver23, 3.0)]
    {
        let sigma = 1.5;
        let error = |h: f64| {
            // Everything is within tolerance, and the end is far away.
            let one = Adaptive { first_step: h, ..adaptive(method, (sigma, 1e-6), (1e9, 1e9), 1) };
            let d = elementwise(gaussian);
            let (x, progress) =
                Interpreter::new(&trajectory(one, false))
                    .run_reporting(1, 1.0, d, |_, z| z[0] = 1.0);
            assert_eq!((progress[0].accepted, progress[0].rejected), (1, 0));
            (x[0] - exact(sigma, sigma, sigma * (-h).exp())).abs()
        };
        let observed = (error(0.1) / error(0.05)).log2();
        assert!((observed - order - 1.0).abs() < 0.2, "{method:?}: local order {observed}");
    }
}

#[test]
fn the_error_follows_the_tolerance_in_f64_and_f32() {
    for (method, most) in [(Method::DormandPrince, 10.0), (Method::DpmSolver23, 60.0)] {
        let mut before = f64::INFINITY;
        for tolerance in [1e-2, 1e-3, 1e-4, 1e-5] {
            let a = adaptive(method, (80.0, 0.002), (tolerance, tolerance), 2000);
            let trajectory = trajectory(a, false);
            let d = elementwise(gaussian);
            let x = Interpreter::new(&trajectory).run_guided(1, 1.0, d, |_, z| z[0] = 1.0)[0];
            let error = (x - exact(80.0, 80.0, 0.002)).abs();
            assert!(error < most * tolerance, "{method:?} {tolerance}: {error}");
            assert!(error < before, "{method:?} {tolerance}: {error} after {before}");
            before = error;
            if tolerance >= 1e-4 {
                let narrow = Interpreter::new(&trajectory).run(
                    1,
                    |x: &[f32], t| vec![gaussian(f64::from(x[0]), t) as f32],
                    |_, z| z[0] = 1.0,
                )[0];
                let error = (f64::from(narrow) - exact(80.0, 80.0, 0.002)).abs();
                assert!(error < most * tolerance, "f32, {method:?} {tolerance}: {error}");
            }
        }
    }
}

#[test]
fn a_spent_budget_leaves_x_at_the_end_of_its_last_step() {
    for method in [Method::DormandPrince, Method::DpmSolver12, Method::DpmSolver23] {
        let a = adaptive(method, (80.0, 0.002), (1e-3, 1e-3), 4);
        let run = |finish| {
            Interpreter::new(&trajectory(a.clone(), finish)).run_reporting(
                1,
                1.0,
                elementwise(gaussian),
                |_, z| z[0] = 1.0,
            )
        };
        let (x, progress) = run(false);
        let Progress { lambda, accepted, rejected, .. } = progress[0];
        assert_eq!(accepted + rejected, 4);
        assert!(!a.arrived(&progress[0]));
        let sigma = (-lambda).exp();
        assert!(sigma < 79.0 && sigma > 0.01, "{method:?}: {sigma}");
        let expected = exact(80.0, 80.0, sigma);
        assert!((x[0] - expected).abs() < 1e-2 * expected, "{method:?}: {} {expected}", x[0]);
        // The last row predicts x0 from where the sample stands.
        assert_eq!(run(true).0[0], gaussian(x[0], sigma));
    }
}

/// What a network that never gives a number does to an adaptive solver: nothing is accepted.
#[test]
fn an_error_that_is_not_finite_is_rejected() {
    for method in [Method::DormandPrince, Method::DpmSolver23] {
        let a = adaptive(method, (80.0, 0.002), (1e-3, 1e-3), 5);
        let (_, progress) = Interpreter::new(&trajectory(a, false)).run_reporting(
            1,
            1.0,
            elementwise(|_, _| f64::NAN),
            |_, z| z[0] = 1.0,
        );
        assert_eq!((progress[0].accepted, progress[0].rejected), (0, 5), "{method:?}");
        assert!(progress[0].h > 0.0);
    }
}

/// Euler's sigmas geometric from the largest to the smallest, without the last step to 0.
fn ode_config() -> SchedulerConfig {
    config(json!({
        "_class_name": "EulerDiscreteScheduler", "use_exponential_sigmas": true,
        "final_sigmas_type": "sigma_min", "timestep_spacing": "linspace",
    }))
}

/// The ends of a run over sigma, and its error on data N(0, 0.5^2).
fn ode_error(trajectory: &Trajectory) -> f64 {
    let scale = trajectory.rows[0].x.coefficient(Term::Noise(0));
    let mut last = f64::NAN;
    let x = Interpreter::new(trajectory).run(
        1,
        |x: &[f64], sigma| {
            last = sigma;
            vec![gaussian(x[0], sigma)]
        },
        |_, z| z[0] = 1.0,
    )[0];
    (x / exact(scale, scale, last) - 1.0).abs()
}

#[test]
fn rk4_has_order_four() {
    let error = |n| {
        let trajectory = record(&ode_config(), &Options::new("ode-rk4", n), DENOISER).unwrap();
        assert_eq!(trajectory.nfe(), 4 * n);
        ode_error(&trajectory)
    };
    let observed = (error(100) / error(200)).log2();
    assert!((observed - 4.0).abs() < 0.2, "{observed}");
}

#[test]
fn adaptive_solvers_run_from_a_configuration() {
    for solver in ["ode-rk45", "dpm-adaptive"] {
        let options = with(solver, 9, json!({"rtol": 1e-4, "atol": 1e-4, "max_steps": 60}));
        let trajectory = record(&ode_config(), &options, DENOISER).unwrap();
        let adaptive = trajectory.adaptive.as_ref().unwrap();
        assert_eq!((adaptive.rtol, adaptive.atol, adaptive.budget), (1e-4, 1e-4, 60));
        assert!(ode_error(&trajectory) < 1e-2, "{solver}");

        // Told timesteps, as the model was trained; each is exact.
        let discrete = record(&ode_config(), &options, Network::default()).unwrap();
        let clock = &discrete.adaptive.as_ref().unwrap().clock;
        assert_eq!(clock.len(), 1000);
        assert!(clock.iter().enumerate().all(|(t, point)| (point.1 - t as f64).abs() < 1e-9));
        assert!(clock.is_sorted_by(|a, b| a.0 < b.0));
    }
    let budget = record(&ode_config(), &Options::new("ode-rk45", 9), DENOISER).unwrap();
    assert_eq!(budget.adaptive.unwrap().budget, 9, "as many as the run has steps");
}
