//! UNet1DModel (tests/golden/unet1d): networks for waveforms and for plans.

use super::evaluate::relative_l2;
use super::hash_weights::{self, HashWeights};
use super::says::assert_says;
use super::{device, golden, parity};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;
use unnoise::backend::Observer;
use unnoise::model::Model;
use unnoise::noise::NoiseKind;
use unnoise::output::Target;
use unnoise::sampler::{Precision, Request, Sampler};

fn cases() -> Map<String, Value> {
    golden::json("unet1d/cases.json").as_object().unwrap().clone()
}

fn folder(config: &Value, scheduler: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    fs::write(dir.path().join("scheduler_config.json"), scheduler.to_string()).unwrap();
    dir
}

fn open(dir: &Path) -> Result<Model, String> {
    Model::open(dir.to_str().unwrap()).map_err(|e| e.to_string())
}

#[test]
fn parameters_are_those_of_diffusers() {
    for (name, case) in cases() {
        let model = open(folder(&case["config"], &json!({})).path()).unwrap();
        let tensors = model.graph.params.iter().filter_map(|p| Some((p.name.clone(), p.tensor()?)));
        let unread = model.graph.unread.iter().map(|u| (u.name.clone(), u.shape.clone()));
        let mut found: Vec<(String, Vec<usize>)> = tensors.chain(unread).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let shapes = case["shapes"].as_object().unwrap();
        let sides = |v: &Value| serde_json::from_value(v.clone()).unwrap();
        let mut expected: Vec<_> = shapes.iter().map(|(k, v)| (k.clone(), sides(v))).collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn every_option_agrees_with_pytorch() {
    for (name, case) in cases() {
        let model = open(folder(&case["config"], &json!({})).path()).unwrap();
        for backend in device::backends() {
            parity::compare(&model, &HashWeights, &format!("unet1d/{name}.safetensors"), backend);
        }
    }
}

/// A whole folder with the weights of hash_weights.py.
fn waveforms() -> TempDir {
    let case = &cases()["waveform"];
    let dir = folder(&case["config"], &json!({"_class_name": "IPNDMScheduler"}));
    let graph = open(dir.path()).unwrap().graph;
    let mut files = Vec::new();
    for (name, shape) in case["shapes"].as_object().unwrap() {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let stored = graph.unread.iter().find(|u| u.name == *name).and_then(|u| u.values.clone());
        let values = stored.unwrap_or_else(|| hash_weights::values(name, &shape));
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        files.push((name.clone(), shape, bytes));
    }
    let tensors = files.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(tensors, None).unwrap();
    fs::write(dir.path().join("diffusion_pytorch_model.safetensors"), bytes).unwrap();
    dir
}

#[test]
fn a_folder_of_waveforms_runs_as_dance_diffusion() {
    let dir = waveforms();
    let model = open(dir.path()).unwrap();
    assert_eq!(model.state, [2, 1, 48]);
    let expected = golden::load("unet1d/waveforms.safetensors", "x");
    let request = Request {
        steps: Some(8),
        count: 2,
        seed: 7,
        noise: NoiseKind::TorchCpu,
        precision: Precision::F32,
        ..Request::default()
    };
    for backend in device::backends() {
        let mut sampler = Sampler::compile(&model, &request, backend).unwrap();
        let stop = AtomicBool::new(false);
        let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
        let found = sampler.sample(&[0, 1], &mut observer).unwrap().data;
        let error = relative_l2(&found, &expected.values);
        println!("DanceDiffusionPipeline on {}: relative L2 {error:.2e}", backend.name());
        assert!(error <= 1e-3, "{}: {error:e}", backend.name());
    }
}

#[test]
fn a_series_is_written_as_an_array_only() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| Target::open(dir.path().join(name), [1, 1, 48], 2, 1);
    let refused = open("a.png").map_err(|e| e.to_string());
    assert_says(refused, &["--out", "more than one line", "48 values", ".npy"]);
    open("a.npy").unwrap();
    assert!(open("samples").unwrap().is_folder());
}

#[test]
fn what_cannot_be_sampled_is_refused() {
    let cases_of: &[(&str, Value, &[&str])] = &[
        ("planner", json!({"out_block_type": "ValueFunction"}), &["out_block_type", "OutConv1D"]),
        ("planner", json!({"mid_block_type": "ValueFunctionMidBlock1D"}), &["mid_block_type"]),
        ("planner", json!({"use_timestep_embedding": false}), &["use_timestep_embedding", "true"]),
        ("planner", json!({"act_fn": null}), &["act_fn", "an activation", "null"]),
        ("planner", json!({"up_block_types": []}), &["up_block_types", "1 to 3 entries"]),
        (
            "planner",
            json!({"up_block_types": ["UpResnetBlock1D"]}),
            &["up_block_types", "8 values"],
        ),
        ("planner", json!({"out_channels": 5}), &["out_channels", "in_channels (6)", "found 5"]),
        ("planner", json!({"down_block_types": ["DownResnetBlock1D"]}), &["3 entries", "found 1"]),
        ("planner", json!({"sample_size": 18}), &["up_blocks.1.concat", "two maps of one size"]),
        ("planner", json!({"block_out_channels": [8, 12, 24]}), &["group_norm", "norm groups"]),
        ("planner", json!({"downsample_each_block": true}), &["up_blocks.0.concat"]),
        ("waveform", json!({"extra_in_channels": 8}), &["extra_in_channels", "16, the channels"]),
        (
            "waveform",
            json!({"time_embedding_dim": 15, "extra_in_channels": 15}),
            &["time_embedding_dim", "an even number", "found 15"],
        ),
        (
            "waveform",
            json!({"use_timestep_embedding": true, "act_fn": "silu"}),
            &["use_timestep_embedding", "DownBlock1DNoSkip"],
        ),
        (
            "waveform",
            json!({"down_block_types": ["DownBlock1D", "DownBlock1DNoSkip", "DownBlock1D"]}),
            &["down_block_types", "as the first alone"],
        ),
        ("waveform", json!({"block_out_channels": [32, 32, 16]}), &["attentions.0", "heads of 32"]),
        ("short", json!({"sample_size": 12}), &["mid_block.down", "4 or more", "1x3"]),
        ("waveform", json!({"time_embedding_type": "learned"}), &["time_embedding_type"]),
        ("waveform", json!({"sample_rate": "fast"}), &["sample_rate", "a number or null"]),
    ];
    for (case, edits, parts) in cases_of {
        let mut config = cases()[*case]["config"].clone();
        for (key, value) in edits.as_object().unwrap() {
            config[key] = value.clone();
        }
        assert_says(open(folder(&config, &json!({})).path()), parts);
    }
}
