//! Every solver and its options as a program on every device, against the interpreter in f64 with
//! the exact model as its network and the same noise.

use super::device;
use super::device_solver::{SEED, philox_draw};
use serde_json::json;
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Backend, Observer, RunInputs, RunStats};
use unnoise::model::Model;
use unnoise::program::{self, NoiseMode, Program, TABLE_BYTES};
use unnoise::solver::{
    Adaptive, GuidanceOptions, Interpreter, Network, Options, Real, Row, SOLVERS, SchedulerConfig,
    Trajectory, find, record,
};
use unnoise::tensor::DType;

const BATCH: usize = 6;
const STEPS: usize = 4;
/// Of a guided run. The model has no classes, so that both outputs are the same and guidance
/// changes nothing but the way to the samples; CFG++ takes it for 0.6.
const WEIGHT: f64 = 0.6;

/// Beside the own class of each solver.
const SCHEDULES: &[&str] = &["edm", "linear", "flow", "ve", "vp"];

/// A solver with options of its own.
struct Variant {
    options: Options,
    guided: bool,
}

/// Enough steps of an adaptive solver to come to the end, by tight tolerances; an inversion begins
/// at data with some noise.
fn options(solver: &str) -> Options {
    let mut options = Options::new(solver, STEPS);
    if solver == "ddim-inversion" {
        options.set.insert("set_alpha_to_one".into(), json!(false));
    }
    if let "ode-rk45" | "dpm-adaptive" = solver {
        options.steps = 100;
        options.set.extend(["rtol", "atol"].map(|key| (key.into(), json!(1e-3))));
    }
    options
}

fn variant(solver: &str, set: serde_json::Value) -> Variant {
    let serde_json::Value::Object(set) = set else { panic!("{set} is no object") };
    let mut options = options(solver);
    options.set.extend(set);
    Variant { options, guided: false }
}

/// The options that change what a program does.
fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for solver in ["ddim", "tcd", "dpmpp-2m-sde"] {
        for eta in [0.3, 1.0] {
            let mut variant = variant(solver, json!({}));
            variant.options.eta = Some(eta);
            all.push(variant);
        }
    }
    let threshold =
        json!({"thresholding": true, "dynamic_thresholding_ratio": 0.7, "sample_max_value": 1.2});
    for solver in ["ddim", "ddpm", "dpm-solver-multistep", "unipc", "deis", "sa-solver"] {
        all.push(variant(solver, threshold.clone()));
    }
    for solver in ["ddim", "heun", "dpmpp-2m"] {
        let mut variant = variant(solver, json!({"clip_sample": true}));
        variant.options.clipped_eps = true;
        all.push(variant);
    }
    let algorithms = ["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"];
    for (algorithm, most) in algorithms.into_iter().zip([3, 3, 2, 3]) {
        for order in 1..=most {
            for shape in ["midpoint", "heun"] {
                let set = json!({"algorithm_type": algorithm, "solver_order": order,
                    "solver_type": shape, "final_sigmas_type": "sigma_min"});
                if algorithm != "sde-dpmsolver" {
                    all.push(variant("dpm-solver-singlestep", set.clone()));
                }
                all.push(variant("dpm-solver-multistep", set));
            }
        }
    }
    for order in 1..=3 {
        all.push(variant("deis", json!({"solver_order": order})));
        all.push(variant("lms", json!({"solver_order": order})));
        all.push(variant("unipc", json!({"solver_order": order, "solver_type": "bh1"})));
        all.push(variant("unipc", json!({"solver_order": order, "predict_x0": false})));
        for algorithm in ["data_prediction", "noise_prediction"] {
            let set = json!({"predictor_order": order, "corrector_order": order,
                "algorithm_type": algorithm});
            all.push(variant("sa-solver", set));
        }
    }
    all.push(variant("dpm-adaptive", json!({"solver_order": 2})));
    for solver in ["edm", "euler", "dpm2"] {
        all.push(variant(solver, json!({"s_churn": 1.2, "s_noise": 1.01})));
    }
    for solver in ["pc", "ode-rk45", "dpm-adaptive"] {
        all.push(variant(solver, json!({"reduce": "batch"})));
    }
    for solver in ["ddim", "euler", "euler-ancestral", "dpmpp-2m", "pc", "ode-rk45"] {
        let defined = find(solver).unwrap().plus_plus;
        for plus_plus in [false, true].into_iter().filter(|plus| !plus || defined) {
            let mut variant = variant(solver, json!({}));
            let guidance = GuidanceOptions { plus_plus, ..GuidanceOptions::default() };
            variant.options.guidance = GuidanceOptions {
                rescale: if plus_plus { 0.0 } else { 0.4 },
                interval: if plus_plus { guidance.interval } else { (0.3, 4.0) },
                ..guidance
            };
            variant.guided = true;
            all.push(variant);
        }
    }
    all
}

/// The built-in schedules and the defaults of a class, for the exact model.
fn configs(class: &str) -> Vec<(String, SchedulerConfig)> {
    let scheduler = |name: &&str| {
        let mut model = Model::open("mixture").unwrap();
        model.set_schedule(name).unwrap();
        (name.to_string(), model.scheduler().unwrap())
    };
    let text = json!({"_class_name": class, "clip_sample": false}).to_string();
    let own = (class.to_string(), SchedulerConfig::parse(&text, class).unwrap());
    [own].into_iter().chain(SCHEDULES.iter().map(scheduler)).collect()
}

/// Whether a row needs norms or quantiles.
fn asks_for_norms(row: &Row, guided: bool, adaptive: bool) -> bool {
    let eval = row.eval.is_some_and(|eval| {
        let guidance = eval.guidance;
        eval.prediction.threshold.is_some() || guided && guidance.on && guidance.rescale != 0.0
    });
    adaptive || eval || row.snr.is_some()
}

/// One launch of the solver a row, two where it asks for norms; the device counts them all, and
/// reads back once.
fn wrong_launches(p: &Program, t: &Trajectory, guided: bool, stats: &RunStats) -> Option<String> {
    let bodies = p.rows.iter().map(|row| &p.bodies[row.body].launches);
    for (i, (launches, row)) in bodies.clone().zip(&t.rows).enumerate() {
        let solver = launches.iter().filter(|l| l.layer.ends_with(Program::SOLVER)).count();
        let expected = 1 + usize::from(asks_for_norms(row, guided, t.adaptive.is_some()));
        if solver != expected {
            return Some(format!("row {i}: {solver} launches of the solver, not {expected}"));
        }
    }
    let launches = (p.prologue.len() + bodies.map(Vec::len).sum::<usize>()) as u64;
    let wrong = (stats.launches, stats.readbacks) != (launches, 1) || p.rows.len() != t.rows.len();
    wrong.then(|| format!("{stats:?} of {launches} launches"))
}

fn compile(model: &Model, trajectory: &Trajectory, guided: bool) -> Program {
    let options = program::Options {
        storage: DType::F32,
        batch: BATCH,
        state: model.state,
        guided,
        labels: vec![],
        texts: Vec::new(),
        noise: NoiseMode::Philox,
        hoist: true,
        fuse: true,
        trace: false,
        table_bytes: TABLE_BYTES,
        projection: Default::default(),
    };
    Program::build(&model.graph, trajectory, &options)
}

fn on_device(
    model: &Model,
    program: &Program,
    guided: bool,
    backend: &dyn Backend,
) -> (Vec<f32>, RunStats) {
    let mut session = backend.prepare(program, &model.weights().unwrap()).unwrap();
    let weight = if guided { WEIGHT as f32 } else { 1.0 };
    let mut run = vec![SEED as u32, (SEED >> 32) as u32, 0, 0];
    run.extend((0..BATCH as u32).flat_map(|sample| [sample, weight.to_bits()]));
    let condition = vec![0; if guided { 2 * BATCH } else { BATCH }];
    let inputs = RunInputs { run, condition, ..RunInputs::default() };
    let (stop, mut out) = (AtomicBool::new(false), vec![f32::NAN; program.output_len]);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let stats = session.run(&inputs, &mut observer, &mut out).unwrap();
    (out, stats)
}

/// The samples of the interpreter, and whether adaptive steps came to the end.
fn on_host<R: Real>(model: &Model, trajectory: &Trajectory, guided: bool) -> (Vec<f64>, bool) {
    let mixture = model.mixture.as_ref().unwrap();
    let d = mixture.dimensions();
    let network = |x: &[R], time, _| -> Vec<R> {
        let x: Vec<f64> = x.iter().map(|x| x.wide()).collect();
        x.chunks(d).flat_map(|x| mixture.denoise(x, time)).map(R::of).collect()
    };
    let noise = |draw, out: &mut [R]| {
        let mut z = vec![0.0; out.len()];
        z.chunks_mut(d).enumerate().for_each(|(sample, z)| philox_draw(draw, sample, z));
        out.iter_mut().zip(z).for_each(|(out, z)| *out = R::of(z));
    };
    let w = if guided { WEIGHT } else { 1.0 };
    let interpreter = Interpreter::new(trajectory).samples(BATCH);
    let (x, progress) = interpreter.run_reporting(BATCH * d, w, network, noise);
    let arrived = |a: &Adaptive| progress.iter().all(|p| a.arrived(p));
    let arrived = trajectory.adaptive.as_ref().is_none_or(arrived);
    (x.into_iter().map(R::wide).collect(), arrived)
}

/// |a - b| / |b|, of as many elements as b has.
fn relative(found: &[f64], expected: &[f64]) -> f64 {
    let square = |(x, y): (&f64, &f64)| (x - y).powi(2);
    let off: f64 = found.iter().zip(expected).map(square).sum();
    (off / expected.iter().map(|x| x * x).sum::<f64>()).sqrt()
}

/// f32 leaves 1e-7 of the largest noise, 80 times the data, in every x.
const TOLERANCE: f64 = 1e-4;
/// Adaptive steps differ by the rounding of their errors, and the samples by a part of what the
/// steps may err.
const ADAPTIVE_TOLERANCE: f64 = 20.0;

/// What differs, on all backends; `None` where rounding to f32 alone, on the host, makes another
/// sample: a run that diverges, or begins with noise a million times the data.
fn differences(name: &str, trajectory: &Trajectory, guided: bool) -> Option<Vec<String>> {
    let model = Model::open("mixture").unwrap();
    let (expected, arrived) = on_host::<f64>(&model, trajectory, guided);
    if let Some(bad) = expected.iter().find(|x| !x.is_finite()) {
        return Some(vec![format!("{name}: the interpreter ends at {bad}")]);
    }
    let mut wrong = Vec::new();
    let tolerance = match &trajectory.adaptive {
        Some(adaptive) => ADAPTIVE_TOLERANCE * adaptive.rtol,
        None => {
            let rounded = on_host::<f32>(&model, trajectory, guided).0;
            if relative(&rounded, &expected) > 0.5 * TOLERANCE {
                return None;
            }
            TOLERANCE
        }
    };
    if !arrived {
        wrong.push(format!("{name}: the steps do not come to the end"));
    }
    let program = compile(&model, trajectory, guided);
    for backend in device::backends() {
        let name = format!("{name} on {}", backend.name());
        let (found, stats) = on_device(&model, &program, guided, backend);
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        let error = relative(&found, &expected);
        // A NaN is wrong too.
        if error.is_nan() || error > tolerance {
            wrong.push(format!("{name}: relative L2 {error:e}: {found:?}, not {expected:?}"));
        }
        let launches = wrong_launches(&program, trajectory, guided, &stats);
        wrong.extend(launches.map(|why| format!("{name}: {why}")));
    }
    Some(wrong)
}

fn network() -> Network {
    Network { denoiser: true, ..Network::default() }
}

#[test]
fn every_solver_ends_where_the_interpreter_ends() {
    let mut wrong = Vec::new();
    for solver in SOLVERS.iter() {
        let options = options(solver.name);
        let mut ran = 0;
        for (schedule, config) in configs(solver.schedulers[0]) {
            let Ok(trajectory) = record(&config, &options, network()) else { continue };
            let name = format!("{} under {schedule}", solver.name);
            if let Some(found) = differences(&name, &trajectory, false) {
                ran += 1;
                wrong.extend(found);
            }
        }
        if ran == 0 {
            wrong.push(format!("{} runs under no schedule", solver.name));
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_option_ends_where_the_interpreter_ends() {
    let mut wrong = Vec::new();
    for Variant { options, guided } in variants() {
        let class = unnoise::solver::find(&options.solver).unwrap().schedulers[0];
        let name = format!("{options:?}");
        let mut refused = Vec::new();
        let found = configs(class).into_iter().find_map(|(schedule, config)| {
            let recorded = record(&config, &options, network());
            let trajectory = recorded.map_err(|why| refused.push(why.to_string())).ok()?;
            differences(&format!("{name} under {schedule}"), &trajectory, guided)
        });
        wrong.extend(found.unwrap_or(vec![format!("{name} runs nowhere: {}", refused.join("; "))]));
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
