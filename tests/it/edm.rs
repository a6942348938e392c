//! EDM's networks and preconditionings against the code of their authors
//! (tests/golden/edm/make_edm.py).

use super::evaluate::{Evaluation, relative_l2};
use super::hash_weights::HashWeights;
use super::{device, golden};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Backend, Observer, RunInputs, WeightSource};
use unnoise::model::Model;
use unnoise::ops::solver_step::run_words;
use unnoise::program::{self, NoiseMode, Program, TABLE_BYTES};
use unnoise::solver::{
    Interpreter, Kind, Level, Network, Options, Preconditioning, SOLVERS, SchedulerConfig,
    TimeInput, Trajectory, record,
};
use unnoise::tensor::DType;

const TINY: &[&str] = &[
    "ddpmpp-edm",
    "ncsnpp-edm",
    "ddpmpp-vp",
    "ncsnpp-ve",
    "skip-skip",
    "standard-skip",
    "adm-iddpm",
    "adm-edm",
    "adm-vp",
];

/// Its weights are made by hash.
pub const HASHED: &str = "adm-iddpm";

/// Opens a tiny model, whose folder is beside the script.
pub fn tiny(name: &str) -> (Model, Box<dyn WeightSource>) {
    if name == HASHED {
        let dir = tempfile::tempdir().unwrap();
        let file = golden::path(&format!("edm/{name}/config.json"));
        fs::copy(file, dir.path().join("config.json")).unwrap();
        return (open(dir.path()).unwrap(), Box::new(HashWeights));
    }
    let model = Model::open(&golden::spec(&format!("edm/{name}/model.safetensors"))).unwrap();
    let weights = model.weights().unwrap();
    (model, Box::new(weights))
}

pub fn open(path: &Path) -> Result<Model, String> {
    Model::open(path.to_str().unwrap()).map_err(|e| e.to_string())
}

/// How the model's output is read.
fn reading(model: &Model) -> Preconditioning {
    let (coordinates, prediction) = model.form.unwrap();
    let time = model.time.unwrap();
    Preconditioning { coordinates, time, ..Preconditioning::new(prediction) }
}

fn network(model: &Model) -> Network {
    Network {
        learned_variance: model.learned_variance,
        form: model.form,
        time: model.time,
        ..Network::default()
    }
}

/// The relative L2 of F and of D at every noise level of a golden file, the largest of each.
fn errors(
    model: &Model,
    weights: &dyn WeightSource,
    file: &str,
    storage: DType,
    backend: &dyn Backend,
) -> (f64, f64) {
    let load = |key: &str| golden::load(file, key).values;
    let (x, sigmas, labels) = (load("x"), load("sigma"), load("labels"));
    let (times, f, d) = (load("t"), load("f"), load("d"));
    let numel = x.len() / sigmas.len();
    let mut worst = (0f64, 0f64);
    // A device makes its kernels anew for each.
    let step = if backend.name() == "cpu" { 1 } else { 3 };
    for (i, sigma) in sigmas.iter().enumerate().step_by(step) {
        let of = |v: &[f32]| v[i * numel..(i + 1) * numel].to_vec();
        let level = Level { time: f64::NAN, alpha: 1.0, sigma: f64::from(*sigma) };
        let reading = reading(model);
        let prediction = reading.at(level);
        let label = [labels[i] as u32];
        // Theirs is computed in f32: of VP a difference of nearly equal numbers, to 1 in 3e4 here.
        let (time, theirs) = (reading.time(level), f64::from(times[i]));
        assert!((time - theirs).abs() <= 1e-4 * theirs.abs(), "{file}: {time} {theirs}");
        let scaled = |x: &f32, by: f64| (f64::from(*x) * by) as f32;
        let input: Vec<f32> = of(&x).iter().map(|x| scaled(x, prediction.c_in)).collect();
        let found = Evaluation {
            graph: &model.graph,
            weights,
            state: model.state,
            time: theirs,
            labels: if model.classes.is_some() { &label } else { &[] },
            x: &input,
            storage,
            fuse: true,
            hoist: true,
        }
        .run(backend);
        let denoised: Vec<f32> = of(&x)
            .iter()
            .zip(&found)
            .map(|(x, f)| scaled(x, prediction.x0_x) + scaled(f, prediction.x0_f))
            .collect();
        let (ef, ed) = (relative_l2(&found, &of(&f)), relative_l2(&denoised, &of(&d)));
        println!("{file} sigma={sigma} in {storage} on {}: {ef:.2e} {ed:.2e}", backend.name());
        worst = (worst.0.max(ef), worst.1.max(ed));
    }
    worst
}

#[test]
fn every_option_agrees_with_edm() {
    for name in TINY {
        let (model, weights) = tiny(name);
        for backend in device::backends() {
            let all = [(DType::F32, 1e-5), (DType::F16, 5e-3), (DType::BF16, 4e-2)];
            for (storage, most) in all.into_iter().filter(|(dtype, _)| backend.supports(*dtype)) {
                let file = format!("edm/{name}/golden.safetensors");
                let (f, d) = errors(&model, &*weights, &file, storage, backend);
                assert!(f <= most && d <= most, "{name} {storage}: {f:e} {d:e}");
            }
        }
    }
}

/// The two full-size networks of EDM for CIFAR-10, 56 million parameters each.
fn cifar10(name: &str) {
    let known = &golden::json("edm/cifar10.json")[name];
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), known["config"].to_string()).unwrap();
    let model = open(dir.path()).unwrap();
    assert_eq!(json!(model.graph.parameters()), known["parameters"]);
    for backend in device::backends() {
        let file = format!("edm/cifar10-{name}.safetensors");
        let (f, d) = errors(&model, &HashWeights, &file, DType::F32, backend);
        assert!(f <= 1e-5 && d <= 1e-5, "{name} on {}: {f:e} {d:e}", backend.name());
    }
}

#[test]
fn cifar10_ddpmpp_agrees_with_edm() {
    cifar10("ddpmpp");
}

#[test]
fn cifar10_ncsnpp_agrees_with_edm() {
    cifar10("ncsnpp");
}

/// The end of a run whose draws are given, `[draws, B, C, H, W]`.
fn run(
    model: &Model,
    weights: &dyn WeightSource,
    trajectory: &Trajectory,
    labels: &[u32],
    draws: Vec<f32>,
    backend: &dyn Backend,
) -> Vec<f32> {
    let batch = labels.len();
    let conditional = model.classes.is_some();
    let options = program::Options {
        storage: DType::F32,
        batch,
        state: model.state,
        guided: false,
        labels: if conditional { labels.to_vec() } else { Vec::new() },
        texts: Vec::new(),
        noise: NoiseMode::Table,
        hoist: true,
        fuse: true,
        trace: false,
        table_bytes: TABLE_BYTES,
        projection: Default::default(),
    };
    let program = Program::build(&model.graph, trajectory, &options);
    let mut session = backend.prepare(&program, weights).unwrap();
    let condition = (0..batch as u32).map(|i| if conditional { i } else { 0 }).collect();
    let inputs =
        RunInputs { run: vec![0; run_words(batch)], condition, draws, ..Default::default() };
    let mut out = vec![f32::NAN; program.output_len];
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    session.run(&inputs, &mut observer, &mut out).unwrap();
    out
}

#[test]
fn trajectories_agree_with_edm_sampler() {
    for name in ["ddpmpp-edm", "ncsnpp-ve", HASHED] {
        let (model, weights) = tiny(name);
        let file = format!("edm/{name}/trajectory.safetensors");
        let load = |key: &str| golden::load(&file, key).values;
        let labels: Vec<u32> = load("labels").iter().map(|l| *l as u32).collect();
        let config = model.scheduler().unwrap();
        let settings = &model.settings;
        assert_eq!((settings.solver.as_deref(), settings.steps), (Some("edm"), Some(18)));
        let churn = json!({"s_churn": 20, "s_min": 0.05, "s_max": 50, "s_noise": 1.003});
        for (key, set) in [("x", json!({})), ("churned", churn)] {
            let set = set.as_object().unwrap().clone();
            let options = Options { set, ..Options::new("edm", 18) };
            let trajectory = record(&config, &options, network(&model)).unwrap();
            assert_eq!(trajectory.nfe(), 35);
            let mut draws = load("latents");
            if key == "churned" {
                draws.extend(load("noises"));
            }
            for backend in device::backends() {
                let found = run(&model, &*weights, &trajectory, &labels, draws.clone(), backend);
                let error = relative_l2(&found, &load(key));
                println!("{name} {key} on {}: relative L2 {error:.2e}", backend.name());
                assert!(error <= 1e-4, "{name} {key} on {}: {error:e}", backend.name());
            }
        }
    }
}

/// A form of their own changes nothing for any solver of the probability flow: with each of the
/// four, data of a Gaussian come out as with the exact denoiser.
#[test]
fn every_solver_reads_every_form() {
    const DATA: f64 = 0.6;
    let text = r#"{"_class_name": "KarrasVeScheduler", "sigma_min": 0.02, "sigma_max": 50.0}"#;
    let config = SchedulerConfig::parse(text, "scheduler_config.json").unwrap();
    let denoised = |x: f64, sigma: f64| DATA * DATA / (DATA * DATA + sigma * sigma) * x;
    let end = |trajectory: &Trajectory, network: &dyn Fn(f64, f64) -> f64| {
        let all = |x: &[f64], t: f64| x.iter().map(|x| network(*x, t)).collect::<Vec<f64>>();
        Interpreter::new(trajectory).run(2, all, |_, z: &mut [f64]| z.copy_from_slice(&[0.7, -1.2]))
    };
    let mut compared = 0;
    for name in ["ddpmpp-edm", "ddpmpp-vp", "ncsnpp-ve"] {
        let (model, _) = tiny(name);
        let reading = reading(&model);
        let sigma_of = |t: f64| match reading.time {
            TimeInput::Log { scale, factor } => (t / scale).exp() / factor,
            TimeInput::Continuous { beta_d, beta_min, scale } => {
                let t = t / scale;
                f64::exp_m1(0.5 * beta_d * t * t + beta_min * t).sqrt()
            }
            other => panic!("{other:?}"),
        };
        // F such that x0_x x + x0_f F is the denoised x.
        let f = |input: f64, t: f64| {
            let sigma = sigma_of(t);
            let p = reading.at(Level { time: t, alpha: 1.0, sigma });
            let x = input / p.c_in;
            (denoised(x, sigma) - p.x0_x * x) / p.x0_f
        };
        for solver in SOLVERS.iter().filter(|solver| solver.kind == Kind::Ode) {
            let options = Options::new(solver.name, 12);
            let own = record(&config, &options, network(&model));
            let exact = record(&config, &options, Network::DENOISER);
            let own = match (own, &exact) {
                (Ok(own), _) => end(&own, &f),
                (Err(_), Err(_)) => continue,
                (Err(error), Ok(_)) => panic!("{name} {}: {error}", solver.name),
            };
            assert!(own.iter().all(|x| x.is_finite()), "{name} {}: {own:?}", solver.name);
            // At sigma 0 only a network of eps can be inverted.
            let Ok(exact) = exact else { continue };
            let exact = end(&exact, &denoised);
            // What an adaptive solver is told comes from a clock of a thousand points.
            let most = if solver.name.contains("rk45") || solver.name.contains("adaptive") {
                1e-3
            } else {
                1e-9
            };
            for (own, exact) in own.iter().zip(&exact) {
                let error = (own - exact).abs() / exact.abs();
                assert!(error <= most, "{name} {}: {own} {exact}", solver.name);
            }
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
}
