//! Runs that start from pictures or keep a part of them: against diffusers
//! (tests/golden/make_edit.py), and by what they promise.

use super::evaluate::relative_l2;
use super::{device, golden};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::{Backend, Observer};
use unnoise::model::Model;
use unnoise::noise::torch_cpu;
use unnoise::sampler::{Arrays, Classes, Precision, Request, Sampler, Task};
use unnoise::solver::{
    Edit, Given, Interpreter, Network, Options, Projection, SOLVERS, SchedulerConfig, SolverInfo,
    Start, Trajectory, record,
};

const NUMEL: usize = 4 * 3 * 8 * 8;

fn picture() -> Vec<f64> {
    let place = |i: usize| {
        let (b, chw) = (i / 192, i % 192);
        (chw * 4 + b) as f64 / (NUMEL as f64 / 2.0) - 1.0
    };
    (0..NUMEL).map(place).collect()
}

/// The final state on the host; the mask keeps the upper half.
fn run(trajectory: &Trajectory) -> Vec<f64> {
    let data = picture();
    let mask: Vec<f64> = (0..4 * 64).map(|i| if i % 64 < 32 { 0.0 } else { 1.0 }).collect();
    let shape = [3, 8, 8];
    let given = Given { data: &data, mask: &mask, projection: Projection::Mask, shape };
    let draws = torch_cpu(0, trajectory.draws, 1, NUMEL, 0..1);
    let network = |x: &[f64], t: f64| x.iter().map(|x| x * t / (t + 1.0)).collect();
    Interpreter::new(trajectory).samples(4).given(given).run(NUMEL, network, |draw, z| {
        let from = draw.index as usize * NUMEL;
        z.iter_mut().zip(&draws[from..]).for_each(|(z, d)| *z = f64::from(*d));
    })
}

/// How far x is from a case, over the mean of |x|.
fn error(case: &Value, elements: &Value, x: &[f64]) -> f64 {
    let mean = case["sum_abs"].as_f64().unwrap() / NUMEL as f64;
    let sum: f64 = x.iter().sum();
    let abs: f64 = x.iter().map(|v| v.abs()).sum();
    let mut worst = (sum - case["sum"].as_f64().unwrap()).abs() / NUMEL as f64 / mean;
    worst = worst.max((abs / NUMEL as f64 / mean - 1.0).abs());
    for (e, expected) in
        elements.as_array().unwrap().iter().zip(case["elements"].as_array().unwrap())
    {
        let expected = expected.as_f64().unwrap();
        let off = (x[e.as_u64().unwrap() as usize] - expected).abs();
        assert!(off.is_finite(), "{case}");
        worst = worst.max(off / expected.abs().max(mean));
    }
    worst
}

fn options(case: &Value, solver: &str, edit: Edit) -> Options {
    let steps = case["steps"].as_u64().unwrap() as usize;
    Options { edit, ..Options::new(solver, steps) }
}

#[test]
fn varied_pictures_are_those_of_diffusers() {
    let golden = golden::json("edit.json");
    let mut wrong = Vec::new();
    let cases = golden["vary"].as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let config = SchedulerConfig::parse(&case["config"].to_string(), "golden").unwrap();
        let strength = case["strength"].as_f64().unwrap();
        let edit = Edit { start: Start::Known, strength, keep: false };
        let solver = SolverInfo::of(&config).unwrap().name;
        let options = options(case, solver, edit);
        let trajectory = record(&config, &options, Network::default()).unwrap();
        let error = error(case, &golden["elements"], &run(&trajectory));
        if error > 5e-4 {
            wrong.push(format!("{error:.1e} {} {} {strength}", case["config"], case["steps"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn repainted_pictures_are_those_of_diffusers() {
    let golden = golden::json("edit.json");
    let cases = golden["repaint"].as_array().unwrap();
    assert!(cases.len() >= 18);
    for case in cases {
        let config = SchedulerConfig::parse(&case["config"].to_string(), "golden").unwrap();
        let edit = Edit { keep: true, ..Edit::default() };
        let mut options = options(case, "repaint", edit);
        for key in ["jump_length", "jump_n_sample"] {
            options.set.insert(key.into(), case[key].clone());
        }
        let trajectory = record(&config, &options, Network::default()).unwrap();
        let x = run(&trajectory);
        let error = error(case, &golden["elements"], &x);
        assert!(error < 5e-4, "{error:.1e} {case}");
        let kept = (0..NUMEL).filter(|i| i % 64 < 32);
        kept.for_each(|i| assert_eq!(x[i], picture()[i], "what is known stays"));
    }
}

/// Numbers that look like a picture.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i as f32 * 0.37).sin() + (i as f32 * 0.011).cos()) / 2.0).collect()
}

fn sample(model: &Model, request: &Request, backend: &dyn Backend) -> Vec<f32> {
    let mut sampler = Sampler::compile(model, request, backend).unwrap();
    let (stop, all) = (AtomicBool::new(false), sampler.indices().collect::<Vec<_>>());
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let mut data = Vec::new();
    for part in all.chunks(sampler.batch()) {
        let samples = sampler.sample(part, &mut observer).unwrap();
        assert_eq!(samples.stats.readbacks, 1);
        data.extend(samples.data);
    }
    data
}

/// A tiny model of three channels, 8 high and 12 wide.
fn tiny() -> Model {
    Model::open(&golden::spec("network/resnet-blocks")).unwrap()
}

fn request(task: Task, solver: &str) -> Request {
    Request {
        solver: Some(solver.into()),
        steps: Some(8),
        count: 3,
        batch: Some(2),
        precision: Precision::F32,
        task: Some(task),
        ..Request::default()
    }
}

/// Digits in grey, the size of the model.
fn digits(task: Task, solver: &str) -> Request {
    Request { classes: Classes::List(vec![3, 5]), ..request(task, solver) }
}

#[test]
fn what_a_mask_keeps_is_kept_to_the_bit_on_every_backend() {
    let model = Model::open("digits").unwrap();
    let pictures = Arrays::new(values(2 * 1024), [2, 1, 32, 32]);
    let half = (0..1024).map(|i| if i % 32 < 16 { 0.0 } else { 1.0 }).collect();
    let masks = Arrays::new(half, [1, 1, 32, 32]);
    for solver in ["ddim", "dpmpp-2m", "heun", "euler-ancestral", "repaint"] {
        let strength = if solver == "heun" { Some(0.5) } else { None };
        let (pictures, masks) = (pictures.clone(), masks.clone());
        let task = Task::Inpaint { pictures: pictures.clone(), masks, strength };
        let mut request = digits(task, solver);
        if solver == "repaint" {
            request.set.insert("jump_length".into(), 2.into());
            request.set.insert("jump_n_sample".into(), 2.into());
        }
        for backend in device::backends() {
            let x = sample(&model, &request, backend);
            for (i, x) in x.iter().enumerate().filter(|(i, _)| i % 32 < 16) {
                assert_eq!(*x, pictures.data[i % 2048], "{solver} on {}", backend.name());
            }
            let drawn = x.iter().enumerate().filter(|(i, _)| i % 32 >= 16);
            let same = drawn.filter(|(i, x)| **x == pictures.data[i % 2048]).count();
            assert_eq!(same, 0, "{solver} on {}: the rest is drawn", backend.name());
        }
    }
}

/// Means of channels or squares end as they were given.
#[test]
fn means_that_are_known_are_kept() {
    let model = tiny();
    let [c, h, w] = model.state;
    assert_eq!([h, w], [8, 12]);
    if c == 1 {
        let task = Task::Colorize { pictures: Arrays::new(values(96), [1, 1, 8, 12]) };
        let error = request(task, "ddim").check(&model).unwrap_err().to_string();
        assert!(error.contains("several channels"), "{error}");
    }
    let small = Arrays::new(values(c * 24), [1, c, 4, 6]);
    let request = request(Task::Upscale { pictures: small.clone() }, "ddim");
    for backend in device::backends() {
        let x = sample(&model, &request, backend);
        for (i, square) in small.data.iter().enumerate() {
            let (k, y, u) = (i / 24, i / 6 % 4, i % 6);
            let at = |j: usize| (k * 8 + 2 * y + j / 2) * 12 + 2 * u + j % 2;
            for n in 0..3 {
                let mean = (0..4).map(|j| x[n * c * 96 + at(j)]).sum::<f32>() / 4.0;
                assert!((mean - square).abs() < 1e-5, "{mean} for {square}: {}", backend.name());
            }
        }
    }
}

#[test]
fn colours_are_found_for_grey_pictures() {
    let model = Model::open(&golden::spec("network/scale-shift")).unwrap();
    let [c, h, w] = model.state;
    assert_eq!(c, 3);
    let grey = Arrays::new(values(h * w), [1, 1, h, w]);
    let request = request(Task::Colorize { pictures: grey.clone() }, "ddim");
    for backend in device::backends() {
        let x = sample(&model, &request, backend);
        for n in 0..3 {
            for (i, grey) in grey.data.iter().enumerate() {
                let mean = (0..3).map(|k| x[(n * 3 + k) * h * w + i]).sum::<f32>() / 3.0;
                assert!((mean - grey).abs() < 1e-5, "{mean} for {grey} on {}", backend.name());
            }
        }
    }
}

/// A picture that was inverted comes back, and between two states lies a way.
#[test]
fn inverted_pictures_come_back() {
    let model = Model::open("digits").unwrap();
    let backend = &Cpu;
    let drawn = Request { task: None, ..digits(Task::Resume { states: one() }, "ddim") };
    let drawn = Request { guidance: Some(1.0), count: 2, steps: Some(40), ..drawn };
    let pictures = sample(&model, &drawn, backend);
    let pictures = Arrays::new(pictures, [2, 1, 32, 32]);
    let task = Task::Vary { pictures: pictures.clone(), strength: None };
    let invert = Request { solver: Some("ddim-inversion".into()), task: Some(task), ..drawn };
    let states = Arrays::new(sample(&model, &invert, backend), [2, 1, 32, 32]);
    let deviation = states.data.iter().map(|v| v * v).sum::<f32>() / states.data.len() as f32;
    assert!((0.5..2.0).contains(&deviation), "states are like noise: {deviation}");

    let back = Request { solver: Some("ddim".into()), ..invert };
    let task = Some(Task::Resume { states: states.clone() });
    let again = sample(&model, &Request { task, ..back.clone() }, backend);
    let off = again.iter().zip(&pictures.data[..]).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    let mean = off / again.len() as f32;
    assert!(mean < 0.02, "mean square {mean}");

    let task = Some(Task::Interpolate { states });
    let way = sample(&model, &Request { task, count: 3, ..back }, backend);
    assert!(relative_l2(&way[..1024], &again[..1024]) < 1e-5, "the first place is the first");
}

/// An inversion adds no noise of its own, though its first level may have some.
#[test]
fn inversions_take_pictures_as_they_are() {
    let model = Model::open("digits").unwrap();
    for solver in ["ddim-inversion", "dpm-solver-inversion"] {
        let pictures = Arrays::new(values(1024), [1, 1, 32, 32]);
        let task = Task::Vary { pictures, strength: None };
        let set = json!({"set_alpha_to_one": false}).as_object().unwrap().clone();
        let set = if solver == "ddim-inversion" { set } else { Default::default() };
        let request = Request { steps: Some(5), count: 1, set, ..digits(task, solver) };
        let of_seed = |seed| sample(&model, &Request { seed, ..request.clone() }, &Cpu);
        assert_eq!(of_seed(1), of_seed(2), "{solver}");
    }
}

fn one() -> Arrays {
    Arrays::new(vec![0.0; 1024], [1, 1, 32, 32])
}

/// Less strength leaves more of the picture.
#[test]
fn strength_is_how_far_a_picture_goes() {
    let model = Model::open("digits").unwrap();
    let pictures = Arrays::new(values(1024), [1, 1, 32, 32]);
    let distance = |strength| {
        let task = Task::Vary { pictures: pictures.clone(), strength: Some(strength) };
        let request = Request { steps: Some(20), count: 1, ..digits(task, "ddim") };
        let x = sample(&model, &request, &Cpu);
        x.iter().zip(&pictures.data[..]).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
    };
    let distances = [0.1, 0.5, 1.0].map(distance);
    assert!(distances[0] < distances[1] && distances[1] < distances[2], "{distances:?}");
}

/// A sample depends on its index, not on batch or shard; and what does not fit is refused.
#[test]
fn tasks_are_checked_and_sharded() {
    let model = Model::open("digits").unwrap();
    let pictures = Arrays::new(values(2 * 1024), [2, 1, 32, 32]);
    let vary = |strength| Task::Vary { pictures: pictures.clone(), strength };
    let whole = Request { count: 5, ..digits(vary(Some(0.4)), "ddim") };
    let whole = Request { steps: Some(5), ..whole };
    let all = sample(&model, &whole, &Cpu);
    let shard = |index| {
        let shard = unnoise::sampler::Shard { index, of: 2 };
        sample(&model, &Request { shard, batch: Some(3), ..whole.clone() }, &Cpu)
    };
    let parts = [shard(1), shard(2)].concat();
    let error = relative_l2(&parts, &all);
    assert!(error < 1e-5, "relative L2 {error:e}");

    let refused = |request: Request, expected: &str| {
        let message = request.check(&model).unwrap_err().to_string();
        assert!(message.contains(expected), "'{message}' lacks '{expected}'");
    };
    refused(digits(vary(Some(0.05)), "ddim"), "--strength: expected a share of 8 steps");
    refused(digits(vary(Some(1.5)), "ddim"), "--strength: expected a number above 0");
    refused(digits(vary(Some(0.5)), "dpm-adaptive"), "--init: expected a solver whose levels");
    refused(digits(vary(Some(0.5)), "ddim-inversion"), "--mask or --strength");
    let small = Task::Vary { pictures: Arrays::new(vec![0.0; 4], [1, 1, 2, 2]), strength: None };
    refused(digits(small, "ddim"), "--init: expected one or more of 1 channels, 32 high");
    let odd = Task::Upscale { pictures: Arrays::new(vec![0.0; 49], [1, 1, 7, 7]) };
    refused(digits(odd, "ddim"), "--upscale");
    refused(digits(Task::Interpolate { states: one() }, "ddim"), "--interpolate");
    let loud = Arrays::new(vec![2.0; 1024], [1, 1, 32, 32]);
    let task = Task::Inpaint { pictures: one(), masks: loud, strength: None };
    refused(digits(task, "ddim"), "--mask: expected numbers from 0 to 1");
}

/// Every solver whose levels are known beforehand keeps what is known wherever it asks the network;
/// the others say that they do not.
#[test]
fn every_solver_keeps_what_is_known_or_refuses() {
    let mut refused = Vec::new();
    for info in SOLVERS.iter() {
        let text = format!(r#"{{"_class_name": "{}"}}"#, info.schedulers[0]);
        let config = SchedulerConfig::parse(&text, "scheduler_config.json").unwrap();
        for (start, strength) in [(Start::Noise, 1.0), (Start::Known, 0.6), (Start::State, 1.0)] {
            let edit = Edit { start, strength, keep: true };
            let options = Options { edit, ..Options::new(info.name, 10) };
            let Ok(trajectory) = record(&config, &options, Network::default()) else {
                refused.push(info.name);
                continue;
            };
            let rows = &trajectory.rows;
            let evaluations = rows.iter().filter(|row| row.evaluates()).count();
            let known = rows.iter().filter(|row| row.known.is_some()).count();
            assert!(known >= evaluations, "{} {start:?}: {known} of {evaluations}", info.name);
            let last = rows[rows.len() - 1].known.expect(info.name);
            assert_eq!((last.alpha, last.sigma), (1.0, 0.0), "{}", info.name);
        }
    }
    refused.sort_unstable();
    refused.dedup();
    assert_eq!(refused, ["ddim-inversion", "dpm-adaptive", "dpm-solver-inversion", "ode-rk45"]);
}

/// Where churn draws noise but does not raise it, the known part is replaced all the same.
#[test]
fn what_is_known_is_replaced_before_steps_without_churn() {
    let text = r#"{"_class_name": "EDMEulerScheduler"}"#;
    let config = SchedulerConfig::parse(text, "scheduler_config.json").unwrap();
    for solver in ["edm", "euler", "dpm2"] {
        let edit = Edit { start: Start::Noise, strength: 1.0, keep: true };
        let set = json!({"s_churn": 4.0, "s_max": 1.0}).as_object().unwrap().clone();
        let options = Options { edit, set, ..Options::new(solver, 10) };
        let rows = record(&config, &options, Network::default()).unwrap().rows;
        assert!(rows.iter().any(|row| !row.evaluates() && !row.draws.is_empty()), "{solver}");
        for i in (1..rows.len()).filter(|i| rows[*i].evaluates()) {
            assert!(rows[i - 1].known.is_some(), "{solver}: row {i}");
        }
    }
}
