//! The DPM-Solver family against diffusers and k-diffusion (tests/golden/make_dpm.py), and against
//! closed forms on Gaussian data.

use serde::Deserialize;
use unnoise::noise::torch_cpu;
use unnoise::solver::Term::{Noise, X};
use unnoise::solver::{
    Interpreter, Network, Options, SchedulerConfig, SolverInfo, Trajectory, find, record,
};

#[derive(Deserialize)]
struct Golden {
    elements: Vec<usize>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    solver: Option<String>,
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
    eta: Option<f64>,
    s_noise: Option<f64>,
}

const SAMPLES: usize = 4;
const NUMEL: usize = SAMPLES * 3 * 8 * 8;

/// diffusers keeps the sigmas, their logarithms and every coefficient in f32. Where the step is
/// small, lambda_t - lambda_s and exp(-h) - 1 cancel, and x0 = (x - sigma F) / alpha divides by an
/// alpha of 6e-3 (linear) or 5e-5 (cosine). An inversion multiplies by exp(-h), which is large.
fn tolerance(case: &Case) -> f64 {
    let inverse = case.config["_class_name"] == "DPMSolverMultistepInverseScheduler";
    if case.options.steps >= 50 || inverse { 1e-3 } else { 2e-4 }
}

/// A case's trajectory, run as the script runs it.
fn run_case(case: &Case) -> Result<Vec<f64>, String> {
    let CaseOptions { steps, seed, eta, s_noise } = case.options;
    let config = SchedulerConfig::parse(&case.config.to_string(), "golden").map_err(text)?;
    let own = || SolverInfo::of(&config).map(|solver| solver.name.to_string());
    let solver = case.solver.clone().map_or_else(own, Ok).map_err(text)?;
    let denoiser = case.solver.is_some();
    let set = s_noise.map(|s| ("s_noise".to_string(), s.into())).into_iter().collect();
    let options = Options { eta, set, ..Options::new(&solver, steps) };
    let network = Network { denoiser, ..Network::default() };
    let trajectory = record(&config, &options, network).map_err(text)?;
    let draws = torch_cpu(seed, trajectory.draws, 1, NUMEL, 0..1);
    let learned = case.config["variance_type"] == "learned_range";
    let output = |x: &[f64], t: f64| -> Vec<f64> {
        let f = |x: &f64| match denoiser {
            true => (x / (1.0 + t * t).sqrt()).tanh(),
            false => x * t / (t.abs() + 1.0),
        };
        let with_variance =
            |x: &[f64]| -> Vec<f64> { x.iter().map(f).chain(x.iter().map(|x| x / 4.0)).collect() };
        match learned {
            true => x.chunks(NUMEL / SAMPLES).flat_map(with_variance).collect(),
            false => x.iter().map(f).collect(),
        }
    };
    Ok(Interpreter::new(&trajectory).samples(SAMPLES).run(NUMEL, output, |draw, z| {
        let first = draw.index as usize * NUMEL;
        z.iter_mut().zip(&draws[first..]).for_each(|(z, d)| *z = f64::from(*d));
    }))
}

fn text(e: unnoise::error::Error) -> String {
    e.to_string()
}

/// How far a case is from its golden numbers, relative to the size of x.
fn distance(case: &Case, x: &[f64], elements: &[usize]) -> f64 {
    let mean = case.sum_abs / NUMEL as f64;
    let sum: f64 = x.iter().sum();
    let sum_abs: f64 = x.iter().map(|v| v.abs()).sum();
    let totals = [(case.sum, sum), (case.sum_abs, sum_abs)];
    let totals = totals.map(|(expected, found)| (expected - found).abs() / case.sum_abs);
    let of = |(&e, &expected): (&usize, &f64)| (expected - x[e]).abs() / expected.abs().max(mean);
    let worst = elements.iter().zip(&case.elements).map(of).chain(totals);
    worst.fold(0.0, |a, b| if b.is_nan() { f64::NAN } else { a.max(b) })
}

#[test]
fn trajectories_end_where_diffusers_and_k_diffusion_end() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/dpm.json")).unwrap();
    assert!(golden.cases.len() > 700);
    let mut wrong = Vec::new();
    for case in &golden.cases {
        let fault = match run_case(case) {
            Err(error) => Some(error),
            Ok(x) => {
                let distance = distance(case, &x, &golden.elements);
                let close = distance <= tolerance(case);
                (!close).then(|| format!("off by {distance:.1e}"))
            }
        };
        if let Some(fault) = fault {
            wrong.push(format!("{:?} {:?} {}: {fault}", case.solver, case.options, case.config));
        }
    }
    let all = golden.cases.len();
    assert!(wrong.is_empty(), "{} of {all} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// A configuration is a solver by name; what no name fits is the class with its keys as they are.
#[test]
fn a_configuration_names_its_solver() {
    let (multi, single) = ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler");
    for (class, keys, expected) in [
        (multi, r#""solver_order": 2"#, "dpmpp-2m"),
        (multi, r#""solver_order": 3"#, "dpmpp-3m"),
        (multi, r#""solver_order": 1"#, "dpmpp-1"),
        (multi, r#""algorithm_type": "sde-dpmsolver++""#, "dpmpp-2m-sde"),
        (multi, r#""algorithm_type": "deis""#, "dpm-solver-multistep"),
        (
            multi,
            r#""algorithm_type": "sde-dpmsolver++", "solver_order": 3"#,
            "dpm-solver-multistep",
        ),
        (
            multi,
            r#""algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min""#,
            "dpm-solver-2m",
        ),
        (single, r#""solver_order": 2"#, "dpmpp-2s"),
        (
            single,
            r#""solver_order": 3, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min""#,
            "dpm-solver-3",
        ),
        ("EDMDPMSolverMultistepScheduler", r#""solver_order": 2"#, "dpmpp-2m"),
        ("DPMSolverMultistepInverseScheduler", r#""solver_order": 3"#, "dpm-solver-inversion"),
        ("DPMSolverSDEScheduler", r#""use_karras_sigmas": true"#, "dpmpp-sde"),
    ] {
        let found = SolverInfo::of(&config(class, keys)).unwrap().name;
        assert_eq!(found, expected, "{class}, {keys}");
    }
}

fn config(class: &str, keys: &str) -> SchedulerConfig {
    let text = format!(r#"{{"_class_name": "{class}", {keys}}}"#);
    SchedulerConfig::parse(&text, "scheduler_config.json").unwrap()
}

#[test]
fn what_there_is_not_is_an_error_that_says_what_there_is() {
    let multi = "DPMSolverMultistepScheduler";
    for (class, keys, solver, eta, expected) in [
        (multi, r#""solver_order": 4"#, None, None, "solver_order: expected 1..=3"),
        (multi, r#""algorithm_type": "data_prediction""#, None, None, "algorithm_type: expected"),
        (
            multi,
            r#""solver_order": 3, "algorithm_type": "sde-dpmsolver",
            "final_sigmas_type": "sigma_min""#,
            None,
            None,
            "solver_order: expected 1..=2 where",
        ),
        (
            multi,
            r#""algorithm_type": "dpmsolver""#,
            None,
            None,
            "final_sigmas_type: expected sigma_min",
        ),
        (
            "DPMSolverSinglestepScheduler",
            r#""algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min""#,
            None,
            None,
            "algorithm_type: expected one of dpmsolver++, sde-dpmsolver++, dpmsolver, deis",
        ),
        (
            "DPMSolverMultistepInverseScheduler",
            r#""algorithm_type": "sde-dpmsolver++""#,
            None,
            None,
            "algorithm_type: expected dpmsolver++ or dpmsolver",
        ),
        (multi, r#""solver_order": 2"#, Some("dpmpp-2m"), Some(0.5), "--eta: expected 0 with"),
        (multi, r#""solver_order": 1"#, Some("dpmpp-1-sde"), Some(0.5), "--eta: expected 1 with"),
    ] {
        let text = format!(r#"{{"_class_name": "{class}", {keys}}}"#);
        let run = |config: SchedulerConfig| {
            let solver = solver.map_or_else(|| Ok(SolverInfo::of(&config)?.name), Ok)?;
            let options = Options { eta, ..Options::new(solver, 10) };
            record(&config, &options, Network::default())
        };
        let error = SchedulerConfig::parse(&text, "config").and_then(run).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// n steps are n evaluations for every order, single-step ones included; dpmpp-sde and
/// dpmpp-2s-ancestral need two a step but for the last, into the data.
#[test]
fn every_step_is_an_evaluation() {
    let network = Network::default();
    for order in ["1", "2", "3"] {
        for class in [
            "DPMSolverMultistepScheduler",
            "DPMSolverSinglestepScheduler",
            "DPMSolverMultistepInverseScheduler",
            "EDMDPMSolverMultistepScheduler",
        ] {
            for steps in 1..30 {
                let config = config(class, &format!(r#""solver_order": {order}"#));
                let solver = SolverInfo::of(&config).unwrap().name;
                let run = record(&config, &Options::new(solver, steps), network).unwrap();
                assert_eq!(run.nfe(), steps, "{solver}, {class}");
            }
        }
    }
    let config = config("DPMSolverSDEScheduler", r#""use_karras_sigmas": true"#);
    for solver in ["dpmpp-sde", "dpmpp-2s-ancestral"] {
        let run = record(&config, &Options::new(solver, 18), network).unwrap();
        assert_eq!((run.nfe(), find(solver).unwrap().nfe_per_step), (35, 2), "{solver}");
    }
}

/// The second draw of a step contains the first: W from s to t is W from s to the middle and on.
#[test]
fn both_halves_of_a_dpmpp_sde_step_follow_one_brownian_path() {
    let config = config("DPMSolverSDEScheduler", r#""use_karras_sigmas": true"#);
    let run: Trajectory =
        record(&config, &Options::new("dpmpp-sde", 12), Network::default()).unwrap();
    let rows = &run.rows[1..run.rows.len() - 1];
    for pair in rows.chunks(2) {
        assert_eq!(pair[1].draws[0], pair[0].draws[0]);
        assert_eq!(pair[1].draws.len(), 2);
        let [old, new] = [0, 1].map(|n| pair[1].x.coefficient(Noise(n)));
        assert!(old > 0.0 && new > 0.0, "{old}, {new}");
    }
    assert_eq!(run.draws, 1 + rows.len());
}

/// The Karras sigmas end where `sigma_min` does: the last step has no length and moves nothing.
#[test]
fn a_step_of_no_length_leaves_x_as_it_is() {
    for class in ["DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"] {
        for (order, solver_type) in [(2, "midpoint"), (2, "heun"), (3, "midpoint"), (3, "heun")] {
            let keys = format!(
                r#""solver_order": {order}, "solver_type": "{solver_type}",
                "final_sigmas_type": "sigma_min", "use_karras_sigmas": true"#
            );
            let config = config(class, &keys);
            let solver = SolverInfo::of(&config).unwrap().name;
            let run = record(&config, &Options::new(solver, 19), Network::default()).unwrap();
            let last = &run.rows[19].x;
            assert!((last.coefficient(X) - 1.0).abs() < 1e-9, "{class}, {order}, {solver_type}");
            assert!(last.terms().all(|(term, c)| term == X || c.abs() < 1e-9), "{last:?}");
        }
    }
}
