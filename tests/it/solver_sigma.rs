//! The solvers over noise levels: against diffusers and k-diffusion (tests/golden/make_sigma.py),
//! their order on Gaussian data, their cost, their statistics and their errors.

use crate::says::assert_says;
use serde::Deserialize;
use serde_json::{Map, Value};
use unnoise::noise::torch_cpu;
use unnoise::solver::{
    Interpreter, Network, Options, Row, SchedulerConfig, Term, Trajectory, find, record,
};

const SAMPLES: usize = 4;
const NUMEL: usize = SAMPLES * 3 * 8 * 8;

#[derive(Deserialize)]
struct Golden {
    elements: Vec<usize>,
    cases: Vec<Case>,
    k_diffusion: Vec<KDiffusion>,
}

/// A run of a scheduler class.
#[derive(Deserialize)]
struct Case {
    config: Value,
    steps: usize,
    seed: u64,
    eta: Option<f64>,
    #[serde(default)]
    overwrites: bool,
    #[serde(flatten)]
    end: End,
}

/// A run of one of k-diffusion's samplers.
#[derive(Deserialize)]
struct KDiffusion {
    solver: String,
    steps: usize,
    seed: u64,
    keys: Map<String, Value>,
    eta: Option<f64>,
    #[serde(flatten)]
    end: End,
}

/// The final x.
#[derive(Deserialize)]
struct End {
    sum: f64,
    sum_abs: f64,
    elements: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/sigma.json")).unwrap()
}

impl End {
    /// What differs from `x` by more than `tolerance`, relative to the size of all elements; of
    /// elements below a thousandth, to that.
    fn complaint(&self, x: &[f64], elements: &[usize], tolerance: f64) -> Option<String> {
        let mean = (self.sum_abs / NUMEL as f64).max(1e-3);
        let all = mean * NUMEL as f64;
        let mut pairs = vec![
            ("sum", self.sum, x.iter().sum(), all),
            ("sum of |x|", self.sum_abs, x.iter().map(|v| v.abs()).sum(), all),
        ];
        let chosen = self.elements.iter().zip(elements);
        pairs.extend(chosen.map(|(&v, &e)| ("an element", v, x[e], v.abs().max(mean))));
        let off = |&&(_, expected, found, scale): &&(&str, f64, f64, f64)| {
            let close = (expected - found).abs() <= tolerance * scale;
            !close
        };
        let first = pairs.iter().find(off);
        first
            .map(|(what, expected, found, _)| format!("{what}: expected {expected}, found {found}"))
    }
}

/// x[b, c, h, w] = (((c 8 + h) 8 + w) 4 + b) / 768.
fn start() -> Vec<f64> {
    let place = |i: usize| (i % (NUMEL / SAMPLES) * SAMPLES + i / (NUMEL / SAMPLES)) as f64;
    (0..NUMEL).map(|i| place(i) / NUMEL as f64).collect()
}

/// The final x from [`start`], with the draws of one of PyTorch's generators after it.
fn run(
    trajectory: &Trajectory,
    seed: u64,
    network: impl FnMut(&[f64], f64) -> Vec<f64>,
) -> Vec<f64> {
    let draws = torch_cpu(seed, trajectory.draws - 1, 1, NUMEL, 0..1);
    let start = start();
    Interpreter::new(trajectory).samples(SAMPLES).run(NUMEL, network, |draw, z| {
        match (draw.index as usize).checked_sub(1) {
            None => z.copy_from_slice(&start),
            Some(i) => {
                let drawn = &draws[i * NUMEL..][..NUMEL];
                z.iter_mut().zip(drawn).for_each(|(z, v)| *z = f64::from(*v));
            }
        }
    })
}

/// The same table where x becomes the network's scaled input before each evaluation, as in the
/// loops of diffusers' own tests.
fn overwritten(mut trajectory: Trajectory) -> Trajectory {
    let mut rows = Vec::new();
    for mut row in trajectory.rows {
        if let Some(eval) = &mut row.eval {
            let scale = std::mem::replace(&mut eval.prediction.c_in, 1.0);
            rows.push(Row { x: scale * Term::X, ..Row::default() });
        }
        rows.push(row);
    }
    trajectory.rows = rows;
    trajectory
}

/// Options with these keys set by hand.
pub fn options(solver: &str, steps: usize, keys: &[(&str, Value)]) -> Options {
    let set = keys.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    Options { set, ..Options::new(solver, steps) }
}

/// The solver that a configuration asks for.
fn solver_of(config: &SchedulerConfig) -> &'static str {
    unnoise::solver::SolverInfo::of(config).unwrap().name
}

#[test]
fn trajectories_end_where_diffusers_ends() {
    // diffusers keeps alpha_bar, sigma and x in f32: sigma of the first timesteps carries the
    // cancellation of 1 - alpha_bar, (x - x0) / sigma that of x - x0 over a sigma of 0.01 times a
    // step of up to 12.
    const RTOL: f64 = 5e-4;
    let golden = golden();
    assert!(golden.cases.len() > 500);
    let mut wrong = Vec::new();
    for case in &golden.cases {
        let text = case.config.to_string();
        let name = format!("{text}, {} steps, eta {:?}", case.steps, case.eta);
        let config = SchedulerConfig::parse(&text, "golden").unwrap();
        let solver = solver_of(&config);
        let options = Options { eta: case.eta, ..Options::new(solver, case.steps) };
        let mut trajectory = record(&config, &options, Network::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if case.overwrites {
            trajectory = overwritten(trajectory);
        }
        let network =
            |x: &[f64], t: f64| -> Vec<f64> { x.iter().map(|x| x * t / (t + 1.0)).collect() };
        let x = run(&trajectory, case.seed, network);
        let complaint = case.end.complaint(&x, &golden.elements, RTOL);
        wrong.extend(complaint.map(|what| format!("{solver}: {name}: {what}")));
    }
    let share = format!("{} of {}", wrong.len(), golden.cases.len());
    assert!(wrong.is_empty(), "{share} cases:\n{}", wrong.join("\n"));
}

/// Levels of EDM: Karras, from 80 to 0.002, then 0.
pub const EDM: &str = r#"{"_class_name": "EDMEulerScheduler"}"#;

/// A network that is D(x, sigma).
pub const DENOISER: Network = Network::DENOISER;

pub fn parse(text: &str) -> SchedulerConfig {
    SchedulerConfig::parse(text, "scheduler_config.json").unwrap()
}

#[test]
fn denoised_runs_end_where_k_diffusion_ends() {
    // Both in f64; sigma.json holds eight digits.
    const RTOL: f64 = 1e-6;
    let golden = golden();
    assert!(golden.k_diffusion.len() > 50);
    let config = parse(EDM);
    let mut wrong = Vec::new();
    for case in &golden.k_diffusion {
        let options = Options {
            eta: case.eta,
            set: case.keys.clone(),
            ..Options::new(&case.solver, case.steps)
        };
        let mut trajectory = record(&config, &options, DENOISER).unwrap();
        // The start is x = sigma_max times the fixed values, which diffusers scales otherwise.
        trajectory.rows[0].x = 80.0 * Term::Noise(0);
        let network = |x: &[f64], sigma: f64| -> Vec<f64> {
            x.iter().map(|x| (x / (1.0 + sigma)).tanh()).collect()
        };
        let x = run(&trajectory, case.seed, network);
        let complaint = case.end.complaint(&x, &golden.elements, RTOL);
        let name = format!("{}, {} steps, {:?} {:?}", case.solver, case.steps, case.eta, case.keys);
        wrong.extend(complaint.map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_combinations_are_named() {
    let vp = parse(r#"{"_class_name": "EulerDiscreteScheduler"}"#);
    let edm = parse(EDM);
    let flow = parse(r#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#);
    let whole = Network { discrete_time: true, ..Network::default() };
    let any = Network::default();
    let churn = [("s_churn", Value::from(40.0))];
    let order = [("solver_order", Value::from(5))];
    let low = [("restart", serde_json::json!([[3, 2, 0.06, 0.01]]))];
    let high = [("restart", serde_json::json!([[3, 2, 0.06, 90.0]]))];
    let short = [("restart", serde_json::json!([[1, 2, 0.06, 0.3]]))];
    for (config, solver, keys, network, parts) in [
        (&vp, "euler", &churn[..], any, &["churn on a VP table", "s_churn", "40"][..]),
        (&vp, "edm", &churn, any, &["churn on a VP table"]),
        (&vp, "dpm2", &churn, any, &["churn on a VP table"]),
        (&flow, "edm", &churn, any, &["flow", "s_churn"]),
        (&vp, "edm", &[], whole, &["--solver edm", "whole timesteps only"]),
        (&vp, "dpm2", &[], whole, &["--solver dpm2", "whole timesteps only"]),
        (&vp, "dpm2-ancestral", &[], whole, &["--solver dpm2-ancestral", "whole timesteps only"]),
        (&vp, "restart", &[], whole, &["--solver restart", "whole timesteps only"]),
        (&vp, "lms", &order, any, &["solver_order", "1..=3", "5"]),
        (&edm, "restart", &low, any, &["restart", "t_max = 0.01", "t_min < t_max"]),
        (&edm, "restart", &high, any, &["restart", "t_max = 90"]),
        (&edm, "restart", &short, any, &["restart", "n = 1", "n >= 2"]),
    ] {
        let result = record(config, &options(solver, 18, keys), network);
        assert_says(result.map_err(|error| error.to_string()), parts);
    }
}

/// What the catalogue says of a class leads back to its solver.
#[test]
fn every_class_has_its_solver() {
    for (class, solver) in [
        ("EulerDiscreteScheduler", "euler"),
        ("EDMEulerScheduler", "euler"),
        ("EulerAncestralDiscreteScheduler", "euler-ancestral"),
        ("HeunDiscreteScheduler", "heun"),
        ("LMSDiscreteScheduler", "lms"),
        ("KDPM2DiscreteScheduler", "dpm2"),
        ("KDPM2AncestralDiscreteScheduler", "dpm2-ancestral"),
        ("KarrasVeScheduler", "edm"),
        ("CMStochasticIterativeScheduler", "consistency"),
        ("LCMScheduler", "lcm"),
        ("TCDScheduler", "tcd"),
        ("FlowMatchEulerDiscreteScheduler", "flow-euler"),
        ("FlowMatchHeunDiscreteScheduler", "flow-heun"),
        ("FlowMatchLCMScheduler", "flow-lcm"),
    ] {
        let config = parse(&format!(r#"{{"_class_name": "{class}"}}"#));
        assert_eq!(solver_of(&config), solver, "{class}");
        assert!(find(solver).unwrap().schedulers.contains(&class));
    }
}
