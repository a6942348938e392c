//! Networks and trajectories against PyTorch's golden vectors, on every backend present.

use super::evaluate::{Evaluation, relative_l2};
use super::{device, golden, hash_weights::HashWeights};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Backend, Observer, WeightSource};
use unnoise::model::Model;
use unnoise::noise::NoiseKind;
use unnoise::sampler::{Classes, Precision, Request, Sampler};
use unnoise::tensor::DType;

/// Relative L2 of one evaluation.
const F32: f64 = 1e-5;
const F16: f64 = 5e-3;
/// Three bits fewer than f16.
const BF16: f64 = 8.0 * F16;
/// Relative L2 of the end of a trajectory in f32.
const TRAJECTORY: f64 = 1e-3;

fn storages(backend: &dyn Backend) -> Vec<(DType, f64)> {
    let all = [(DType::F32, F32), (DType::F16, F16), (DType::BF16, BF16)];
    all.into_iter().filter(|(dtype, _)| backend.supports(*dtype)).collect()
}

/// Evaluates samples of a golden file that share a time together, and compares them.
pub fn compare(model: &Model, weights: &dyn WeightSource, file: &str, backend: &dyn Backend) {
    let (x, t, y) = (golden::load(file, "x"), golden::load(file, "t"), golden::load(file, "y"));
    let labels = golden::maybe(file, "labels").map(|l| l.values);
    let numel = x.values.len() / t.values.len();
    // The output has twice the channels where it also holds a variance; x takes the first half.
    let stride = y.values.len() / t.values.len();
    let mut times = t.values.clone();
    times.dedup();
    for (storage, tolerance) in storages(backend) {
        for &time in &times {
            let samples: Vec<usize> =
                (0..t.values.len()).filter(|i| t.values[*i] == time).collect();
            let gather = |from: &[f32], step: usize| -> Vec<f32> {
                let parts = samples.iter().map(|i| &from[i * step..i * step + numel]);
                parts.flatten().copied().collect()
            };
            let of = |l: &Vec<f32>| samples.iter().map(|i| l[*i] as u32).collect::<Vec<_>>();
            let found = Evaluation {
                graph: &model.graph,
                weights,
                state: model.state,
                time: f64::from(time),
                labels: &labels.as_ref().map(of).unwrap_or_default(),
                x: &gather(&x.values, numel),
                storage,
                fuse: true,
                hoist: true,
            }
            .run(backend);
            let error = relative_l2(&found, &gather(&y.values, stride));
            let name = backend.name();
            println!("{file} t={time} on {name} in {storage}: relative L2 {error:.2e}");
            assert!(error <= tolerance, "{file} t={time} {name} {storage}: {error:e}");
        }
    }
}

#[test]
fn digits_agrees_with_pytorch() {
    for name in ["digits", "digits-edm", "digits-ve", "digits-cm"] {
        let model = Model::open(name).unwrap();
        let weights = model.weights().unwrap();
        for backend in device::backends() {
            compare(&model, &weights, &format!("network/{name}.safetensors"), backend);
        }
    }
}

#[test]
fn every_option_agrees_with_pytorch() {
    for name in golden::TINY {
        let model = Model::open(&golden::spec(&format!("network/{name}"))).unwrap();
        let weights = model.weights().unwrap();
        for backend in device::backends() {
            compare(&model, &weights, &format!("network/{name}/golden.safetensors"), backend);
        }
    }
}

/// 35.7 million parameters; on a software GPU driver this takes seconds.
#[test]
fn ddpm_cifar10_agrees_with_pytorch() {
    let model = Model::open("ddpm-cifar10").unwrap();
    for backend in device::backends() {
        compare(&model, &HashWeights, "network/ddpm-cifar10.safetensors", backend);
    }
}

/// Runs one entry of trajectories.json on `backend` and returns the relative L2 of its end.
fn trajectory(model: &Model, run: &serde_json::Value, name: &str, backend: &dyn Backend) -> f64 {
    let file = format!("trajectories/{name}.safetensors");
    let (expected, labels) = (golden::load(&file, "x"), golden::load(&file, "labels"));
    let request = Request {
        solver: Some(run["scheduler"].as_str().unwrap().to_lowercase()),
        steps: Some(run["steps"].as_u64().unwrap() as usize),
        guidance: run["guidance"].as_f64(),
        eta: run["eta"].as_f64(),
        clipped_eps: run["clipped"].as_bool(),
        classes: Classes::List(labels.values.iter().map(|l| *l as u32).collect()),
        count: labels.values.len(),
        seed: run["seed"].as_u64().unwrap(),
        noise: NoiseKind::TorchCpu,
        precision: Precision::F32,
        ..Request::default()
    };
    let mut sampler = Sampler::compile(model, &request, backend).unwrap();
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let indices: Vec<usize> = sampler.indices().collect();
    let samples = sampler.sample(&indices, &mut observer).unwrap();
    relative_l2(&samples.data, &expected.values)
}

/// `digits` with one key of its scheduler changed.
fn digits_with(dir: &Path, key: &str, value: &str) -> Model {
    let from = golden::root().join("models/digits");
    std::fs::create_dir(dir.join("scheduler")).unwrap();
    for file in ["config.json", "diffusion_pytorch_model.safetensors", "unnoise.json"] {
        std::fs::copy(from.join(file), dir.join(file)).unwrap();
    }
    let file = "scheduler/scheduler_config.json";
    let text = std::fs::read_to_string(from.join(file)).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config[key] = value.into();
    std::fs::write(dir.join(file), config.to_string()).unwrap();
    Model::open(dir.to_str().unwrap()).unwrap()
}

#[test]
fn trajectories_agree_with_diffusers() {
    let report = golden::json("trajectories/trajectories.json");
    let runs = report["runs"].as_object().unwrap();
    assert!(runs.contains_key("ddim-50") && runs.contains_key("ddpm-100"));
    for (name, run) in runs {
        let dir = tempfile::tempdir().unwrap();
        let model = match run["variance_type"].as_str() {
            Some(variance) => digits_with(dir.path(), "variance_type", variance),
            None => Model::open("digits").unwrap(),
        };
        for backend in device::backends() {
            let error = trajectory(&model, run, name, backend);
            println!("{name} on {}: relative L2 {error:.2e}", backend.name());
            assert!(error <= TRAJECTORY, "{name} on {}: {error:e}", backend.name());
        }
    }
}
