//! UNetModel of guided-diffusion, improved-diffusion and consistency_models: golden vectors of
//! tests/golden/adm/make_adm.py, from files with the original names.

use super::evaluate::{Evaluation, relative_l2};
use super::golden;
use super::says::assert_says;
use super::{device, hash_weights};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;
use unnoise::backend::{Backend, Observer};
use unnoise::model::Model;
use unnoise::noise::NoiseKind;
use unnoise::sampler::{Classes, Precision, Request, Sampler};
use unnoise::solver::{BetaSchedule, PredictionType, TimestepSpacing, VarianceType};
use unnoise::tensor::DType;

/// Relative L2 of an evaluation, and of the end of a trajectory, in f32.
const EVALUATION: f64 = 1e-5;
const TRAJECTORY: f64 = 1e-3;

fn cases() -> Vec<(String, Value)> {
    let Value::Object(cases) = golden::json("adm/cases.json") else { panic!("no cases") };
    cases.into_iter().collect()
}

/// Those of the script: `hash_weights`, but for the norms' weights, which are about 1.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let plain = shape.len() == 1 && name.ends_with(".weight") && !name.contains("norm");
    let about = if plain { 1.0 } else { 0.0 };
    hash_weights::values(name, shape).into_iter().map(|v| v + about).collect()
}

/// A safetensors file of the tensors that the repository's network has.
fn write_weights(path: &Path, shapes: &Value) {
    let shapes: Vec<(String, Vec<usize>)> = shapes
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
        .collect();
    let data: Vec<Vec<f32>> = shapes.iter().map(|(name, shape)| values(name, shape)).collect();
    let views = shapes.iter().zip(&data).map(|((name, shape), data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(data));
        (name.clone(), view.unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// The files of a case, its flags joined by those of `run`.
fn files(case: &Value, run: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config = case["config"].clone();
    for (key, value) in run.as_object().into_iter().flatten() {
        if !["steps", "seed", "labels"].contains(&key.as_str()) {
            config[key] = value.clone();
        }
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    write_weights(&dir.path().join(FILE), &case["shapes"]);
    dir
}

const FILE: &str = "model.safetensors";

fn open(dir: &TempDir) -> Model {
    Model::open(dir.path().join(FILE).to_str().unwrap()).unwrap()
}

fn evaluate(model: &Model, name: &str, backend: &dyn Backend) {
    let file = format!("adm/{name}.safetensors");
    let weights = model.weights().unwrap();
    let (x, t, y) = (golden::load(&file, "x"), golden::load(&file, "t"), golden::load(&file, "y"));
    let labels = golden::maybe(&file, "labels");
    assert_eq!(y.shape[1] / x.shape[1], if model.learned_variance { 2 } else { 1 }, "{name}");
    let (numel, stride) = (x.values.len() / 2, y.values.len() / 2);
    for i in 0..2 {
        let label = labels.as_ref().map(|l| vec![l.values[i] as u32]).unwrap_or_default();
        let found = Evaluation {
            graph: &model.graph,
            weights: &weights,
            state: model.state,
            time: f64::from(t.values[i]),
            labels: &label,
            x: &x.values[i * numel..(i + 1) * numel],
            storage: DType::F32,
            fuse: true,
            hoist: true,
        }
        .run(backend);
        let error = relative_l2(&found, &y.values[i * stride..i * stride + numel]);
        println!("{name} {i} on {}: relative L2 {error:.2e}", backend.name());
        assert!(error <= EVALUATION, "{name} {i} on {}: {error:e}", backend.name());
    }
}

#[test]
fn evaluations_agree_with_the_repositories() {
    for (name, case) in cases() {
        let dir = files(&case, &Value::Null);
        let model = open(&dir);
        for backend in device::backends() {
            evaluate(&model, &name, backend);
        }
    }
}

#[test]
fn trajectories_agree_with_the_repositories() {
    let mut runs = 0;
    for (name, case) in cases() {
        for (run_name, run) in case["runs"].as_object().unwrap() {
            let dir = files(&case, run);
            let model = open(&dir);
            let expected = golden::load(&format!("adm/{name}-{run_name}.safetensors"), "x");
            for backend in device::backends() {
                let found = sample(&model, run, backend);
                let error = relative_l2(&found, &expected.values);
                println!("{name} {run_name} on {}: relative L2 {error:.2e}", backend.name());
                assert!(error <= TRAJECTORY, "{name} {run_name} {}: {error:e}", backend.name());
            }
            runs += 1;
        }
    }
    assert_eq!(runs, 8);
}

/// The end of a run: solver and steps are those that the flags stand for, unless the run says.
fn sample(model: &Model, run: &Value, backend: &dyn Backend) -> Vec<f32> {
    let labels: Vec<u32> = serde_json::from_value(run["labels"].clone()).unwrap();
    let conditional = model.classes.is_some();
    let request = Request {
        steps: run["steps"].as_u64().map(|n| n as usize),
        count: labels.len(),
        classes: if conditional { Classes::List(labels) } else { Classes::Default },
        seed: run["seed"].as_u64().unwrap(),
        noise: NoiseKind::TorchCpu,
        precision: Precision::F32,
        ..Request::default()
    };
    let mut sampler = Sampler::compile(model, &request, backend).unwrap();
    assert_eq!(sampler.report().notes, [""; 0]);
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let indices: Vec<usize> = sampler.indices().collect();
    sampler.sample(&indices, &mut observer).unwrap().data
}

/// Opens a network with these flags.
fn opened(flags: Value) -> Result<Model, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut config = json!({"_class_name": "UNetModel"});
    for (key, value) in flags.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    Model::open(dir.path().to_str().unwrap()).map_err(|e| e.to_string())
}

/// The published networks by the flags of their README; the sizes are those of the files there.
#[test]
fn published_networks_have_their_size() {
    let imagenet = json!({
        "repository": "guided-diffusion", "attention_resolutions": "32,16,8",
        "class_cond": true, "diffusion_steps": 1000, "image_size": 256, "learn_sigma": true,
        "noise_schedule": "linear", "num_channels": 256, "num_head_channels": 64,
        "num_res_blocks": 2, "resblock_updown": true, "use_fp16": true,
        "use_scale_shift_norm": true, "timestep_respacing": "250"
    });
    let model = opened(imagenet).unwrap();
    assert_eq!((model.state, model.classes), ([3, 256, 256], Some(1000)));
    assert_eq!(model.graph.parameters(), 553_838_086);
    assert_eq!((model.settings.solver.as_deref(), model.settings.steps), (Some("ddpm"), Some(250)));
    let cm = json!({
        "repository": "consistency_models", "training_mode": "consistency_distillation",
        "attention_resolutions": "32,16,8", "class_cond": true, "image_size": 64,
        "num_channels": 192, "num_head_channels": 64, "num_res_blocks": 3,
        "resblock_updown": true, "use_fp16": true, "weight_schedule": "uniform"
    });
    assert_eq!(opened(cm).unwrap().graph.parameters(), 295_899_267);
    let iddpm = json!({
        "repository": "improved-diffusion", "image_size": 64, "num_channels": 128,
        "num_res_blocks": 3, "learn_sigma": true, "diffusion_steps": 4000,
        "noise_schedule": "cosine"
    });
    assert_eq!(opened(iddpm).unwrap().graph.parameters(), 121_063_942);
}

#[test]
fn flags_become_the_configuration_of_a_scheduler() {
    let keys = |flags: Value| opened(flags).unwrap().scheduler().unwrap().keys;
    let linear = keys(json!({"repository": "guided-diffusion", "diffusion_steps": 500}));
    assert_eq!((linear.beta_start, linear.beta_end), (2e-4, 0.04));
    assert_eq!(linear.variance_type, Some(VarianceType::FixedLarge));
    assert_eq!((linear.num_train_timesteps, linear.clip_sample), (500, true));
    let cosine = keys(json!({
        "repository": "improved-diffusion", "noise_schedule": "cosine", "predict_xstart": true,
        "sigma_small": true, "timestep_respacing": "25", "clip_denoised": false
    }));
    assert_eq!(cosine.beta_schedule, BetaSchedule::SquaredcosCapV2);
    assert_eq!(cosine.variance_type, Some(VarianceType::FixedSmall));
    assert_eq!((cosine.prediction_type, cosine.clip_sample), (PredictionType::Sample, false));
    assert_eq!(cosine.timestep_spacing, TimestepSpacing::Linspace);
    let levels = keys(json!({
        "repository": "consistency_models", "training_mode": "consistency_training",
        "sigma_max": 50.0
    }));
    assert_eq!((levels.sigma_min, levels.sigma_max), (Some(0.002), Some(50.0)));
    assert!(levels.clip_denoised);
}

#[test]
fn flags_that_are_not_covered_are_refused_with_what_is() {
    let refused = |flags: Value, words: &[&str]| {
        assert_says(opened(flags), words);
    };
    refused(json!({}), &["config.json: repository", "improved-diffusion", "no such key"]);
    let guided = |key: &str, value: Value| {
        let mut flags = json!({"repository": "guided-diffusion"});
        flags[key] = value;
        flags
    };
    refused(guided("large_size", json!(256)), &["large_size", "low_res"]);
    refused(guided("image_size", json!(63)), &["image_size", "512, 256, 128, 64", "63"]);
    refused(guided("num_channels", json!(100)), &["num_channels", "groups of a norm", "100"]);
    refused(guided("num_heads", json!(3)), &["num_heads: expected a divisor of the 512"]);
    refused(guided("num_head_channels", json!(-2)), &["num_head_channels", "or -1", "-2"]);
    refused(guided("attention_resolutions", json!("16,0")), &["attention_resolutions", "\"16,0\""]);
    refused(guided("channel_mult", json!("1,,2")), &["channel_mult", "joined by commas"]);
    refused(guided("timestep_respacing", json!("ddim30")), &["timestep_respacing", "divisor"]);
    refused(guided("timestep_respacing", json!("10,20")), &["timestep_respacing", "one number"]);
    refused(guided("sigma_small", json!(true)), &["sigma_small", "not among them"]);
    let both = json!({
        "repository": "guided-diffusion", "use_ddim": true, "timestep_respacing": "50"
    });
    refused(both, &["use_ddim", "ddimN"]);
    let cm = json!({"repository": "consistency_models"});
    refused(cm, &["training_mode", "consistency_distillation", "no such key"]);
    let cm = json!({
        "repository": "consistency_models", "training_mode": "edm", "learn_sigma": true
    });
    refused(cm, &["learn_sigma", "no variance"]);
    refused(json!({"_class_name": "SuperResModel"}), &["SuperResModel", "low_res"]);
    refused(json!({"_class_name": "EncoderUNetModel"}), &["classifier"]);
    let message = opened(json!({"_class_name": "UNet"})).unwrap_err();
    assert!(message.contains("UNetModel") && !message.contains("SuperRes"), "{message}");
}
