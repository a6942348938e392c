//! UNet2DModel beyond DDPM (tests/golden/ncsnpp): NCSN++'s blocks, k-diffusion's, other embeddings.

use super::evaluate::relative_l2;
use super::hash_weights::HashWeights;
use super::says::assert_says;
use super::{device, golden, parity};
use serde_json::{Map, Value, json};
use std::fs;
use std::sync::atomic::AtomicBool;
use unnoise::backend::Observer;
use unnoise::model::Model;
use unnoise::noise::NoiseKind;
use unnoise::sampler::{Classes, Precision, Request, Sampler};

/// The case that is as large as a published network.
const LARGE: &str = "cifar10";

fn cases() -> Map<String, Value> {
    golden::json("ncsnpp/cases.json").as_object().unwrap().clone()
}

/// A model of this configuration without weights, and a scheduler.
fn open(config: &Value, scheduler: &Value) -> Result<Model, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    fs::write(dir.path().join("scheduler_config.json"), scheduler.to_string()).unwrap();
    Model::open(dir.path().to_str().unwrap()).map_err(|e| e.to_string())
}

/// The configuration of a case with some keys replaced.
fn edited(case: &str, edits: &Value) -> Value {
    let mut config = cases()[case]["config"].clone();
    for (key, value) in edits.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[test]
fn parameters_are_those_of_diffusers() {
    for (name, case) in cases() {
        let model = open(&case["config"], &json!({})).unwrap();
        let of_ours = model.graph.params.iter().filter(|p| p.tensor().is_some());
        let mut found: Vec<_> = of_ours.map(|p| (p.name.clone(), json!(p.shape))).collect();
        let unread = model.graph.unread.iter().filter(|u| u.name != "time_proj.W");
        found.extend(unread.map(|u| (u.name.clone(), json!(u.shape))));
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let shapes = case["shapes"].as_object().unwrap();
        let mut expected: Vec<_> = shapes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn every_block_and_embedding_agrees_with_pytorch() {
    for (name, case) in cases().iter().filter(|(name, _)| *name != LARGE) {
        let model = open(&case["config"], &json!({})).unwrap();
        for backend in device::backends() {
            let file = format!("ncsnpp/{name}.safetensors");
            parity::compare(&model, &HashWeights, &file, backend);
        }
    }
}

#[test]
fn a_network_as_large_as_that_for_cifar10_agrees_with_pytorch() {
    let model = open(&cases()[LARGE]["config"], &json!({})).unwrap();
    for backend in device::backends() {
        parity::compare(&model, &HashWeights, &format!("ncsnpp/{LARGE}.safetensors"), backend);
    }
}

/// As the repositories ncsnpp-ffhq-1024 and ncsnpp-church-256 have them, with what diffusers' class
/// counts of parameters.
#[test]
fn published_configurations_open() {
    let sizes = [
        (1024, 1, 6, vec![16, 32, 64, 128, 256, 512, 512, 512], FFHQ),
        (256, 2, 4, vec![128, 128, 256, 256, 256, 256, 256], CHURCH),
    ];
    for (side, layers, attention, channels, parameters) in sizes {
        let last = channels.len() - 1;
        let of = |plain: &str, attending: &str, at: usize| -> Vec<String> {
            (0..=last).map(|i| if i == at { attending } else { plain }.to_string()).collect()
        };
        let config = json!({
            "_class_name": "UNet2DModel", "_diffusers_version": "0.1.1", "act_fn": "silu",
            "attention_head_dim": null, "block_out_channels": channels,
            "center_input_sample": false, "downsample_padding": 1, "flip_sin_to_cos": true,
            "down_block_types": of("SkipDownBlock2D", "AttnSkipDownBlock2D", attention),
            "up_block_types": of("SkipUpBlock2D", "AttnSkipUpBlock2D", last - attention),
            "freq_shift": 0, "in_channels": 3, "out_channels": 3, "layers_per_block": layers,
            "mid_block_scale_factor": std::f64::consts::SQRT_2, "norm_eps": 1e-6,
            "norm_num_groups": null, "sample_size": side, "time_embedding_type": "fourier",
        });
        let scheduler = json!({
            "_class_name": "ScoreSdeVeScheduler", "_diffusers_version": "0.1.1",
            "correct_steps": 1, "num_train_timesteps": 2000, "sampling_eps": 1e-5,
            "sigma_max": 1348, "sigma_min": 0.01, "snr": 0.15, "tensor_format": "pt",
        });
        let model = open(&config, &scheduler).unwrap();
        assert_eq!(model.state, [3, side, side]);
        assert_eq!(model.graph.parameters(), parameters);
    }
}

const FFHQ: usize = 105_785_896;
const CHURCH: usize = 65_574_549;

/// Relative L2 of the end of a run against diffusers'.
const TRAJECTORY: f64 = 1e-3;

#[test]
fn a_folder_of_score_sde_ve_runs_as_its_pipeline() {
    let model = Model::open(&golden::spec("ncsnpp/pipeline")).unwrap();
    let expected = golden::load("ncsnpp/pipeline/golden.safetensors", "x");
    let request = Request {
        steps: Some(6),
        count: 2,
        seed: 7,
        noise: NoiseKind::TorchCpu,
        precision: Precision::F32,
        // diffusers takes the mean of the norms of a batch.
        set: json!({"reduce": "batch"}).as_object().unwrap().clone(),
        ..Request::default()
    };
    for backend in device::backends() {
        let mut sampler = Sampler::compile(&model, &request, backend).unwrap();
        assert_eq!((sampler.report().solver.as_str(), sampler.report().nfe), ("pc", 12));
        let stop = AtomicBool::new(false);
        let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
        let found = sampler.sample(&[0, 1], &mut observer).unwrap().data;
        let error = relative_l2(&found, &expected.values);
        println!("ScoreSdeVePipeline on {}: relative L2 {error:.2e}", backend.name());
        assert!(error <= TRAJECTORY, "{}: {error:e}", backend.name());
    }
}

#[test]
fn what_diffusers_cannot_run_is_refused() {
    let down = |a: &str, b: &str| json!({"down_block_types": [a, b]});
    let up = |a: &str, b: &str| json!({"up_block_types": [a, b]});
    let cases: &[(&str, Value, &[&str])] = &[
        ("skip-down", json!({"in_channels": 1, "out_channels": 1}), &["in_channels", "3, the"]),
        ("skip-up", json!({"out_channels": 6}), &["out_channels", "3, the", "found 6"]),
        ("skip-up", up("SkipUpBlock2D", "UpBlock2D"), &["up_blocks.1", "Skip blocks to the end"]),
        (
            "skip-down",
            json!({
                "block_out_channels": [8, 12, 12], "up_block_types": vec!["UpBlock2D"; 3],
                "down_block_types": ["DownBlock2D", "SkipDownBlock2D", "DownBlock2D"],
            }),
            &["down_blocks.1: down_block_types", "4x4", "2x2"],
        ),
        ("ncsnpp", json!({"block_out_channels": [32, 48]}), &["attentions.0", "norm groups"]),
        ("skip-up", json!({"norm_num_groups": null}), &["norm_num_groups", "block 0", "null"]),
        ("k", up("UpBlock2D", "UpBlock2D"), &["norm_num_groups", "null"]),
        ("k-attention", json!({"time_embedding_dim": 32}), &["up_blocks.0", "KCrossAttn blocks"]),
        (
            "k",
            json!({"up_block_types": vec!["UpBlock2D"; 2], "norm_num_groups": 4}),
            &["up_blocks.0.resnets.2.concat", "two maps of one size"],
        ),
        ("fourier", down("DownBlock2D", "KDownBlock2D"), &["down_blocks.1", "norm groups", "0"]),
        ("fourier", down("DownEncoderBlock2D", "DownBlock2D"), &["DownEncoderBlock2D"]),
        ("fourier", up("UpDecoderBlock2D", "UpBlock2D"), &["up_block_types", "UpDecoderBlock2D"]),
        ("fourier", down("CrossAttnDownBlock2D", "DownBlock2D"), &["CrossAttnDownBlock2D"]),
        ("heads", json!({"attention_head_dim": 16}), &["attention_head_dim", "12 channels"]),
        ("learned", json!({"num_train_timesteps": null}), &["num_train_timesteps", "learned"]),
        ("learned", json!({"num_train_timesteps": 0}), &["num_train_timesteps", "found 0"]),
    ];
    for (case, edits, parts) in cases {
        assert_says(open(&edited(case, edits), &json!({})), parts);
    }
}

/// Times that the network cannot be told.
#[test]
fn times_that_a_network_does_not_know_are_refused() {
    let check = |case: &str, scheduler: Value, request: Request| {
        let model = open(&cases()[case]["config"], &scheduler).unwrap();
        request.check(&model).map_err(|e| e.to_string())
    };
    let ddpm = |times: usize| json!({"_class_name": "DDPMScheduler", "num_train_timesteps": times});
    let ve = || json!({"_class_name": "ScoreSdeVeScheduler"});
    let of = |solver: &str, steps: usize, class: &[u32]| Request {
        solver: Some(solver.into()),
        steps: Some(steps),
        classes: Classes::List(class.to_vec()),
        ..Request::default()
    };
    check("fourier", ve(), of("pc", 5, &[1])).unwrap();
    check("learned", ddpm(9), of("ddim", 9, &[1])).unwrap();
    check("skip-classes", ve(), of("pc", 5, &[1])).unwrap();
    let cases: &[(_, &[&str])] = &[
        (
            check("fourier", ddpm(1000), of("ddim", 10, &[1])),
            &["--solver", "time_proj", "times above 0", "logarithm", "time 0"],
        ),
        (check("learned", ddpm(10), of("ddpm", 10, &[1])), &["below 9", "time 9"]),
        (check("learned", ve(), of("pc", 5, &[1])), &["whole timesteps", "pc"]),
        (check("learned", ve(), of("ode-rk45", 5, &[1])), &["--solver", "whole timesteps"]),
        (
            check("skip-classes", ve(), of("pc", 5, &[1, 0])),
            &["--class", "from 1 on", "logarithm", "found 0"],
        ),
    ];
    for (found, parts) in cases {
        assert_says(found.clone(), parts);
    }
}
