//! Opening models: layouts, configurations, the graph's parameters against diffusers' own.

use super::golden;
use super::says::assert_says;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use unnoise::graph::{Frequencies, Layer, Shape};
use unnoise::model::Model;
use unnoise::solver::VarianceType;

/// Copies the tiny model `name` into a new folder.
fn copy(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = golden::path("network").join(name);
    fs::create_dir(dir.path().join("scheduler")).unwrap();
    for file in ["config.json", WEIGHTS, "scheduler/scheduler_config.json"] {
        fs::copy(from.join(file), dir.path().join(file)).unwrap();
    }
    dir
}

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn open(path: &Path) -> Result<Model, String> {
    Model::open(path.to_str().unwrap()).map_err(|e| e.to_string())
}

/// Opens `name` with keys of its config.json replaced.
fn open_edited(name: &str, edits: &Value) -> Result<Model, String> {
    let dir = copy(name);
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value) in edits.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::write(&path, config.to_string()).unwrap();
    open(dir.path())
}

/// The built-in models that have a network.
fn networks() -> impl Iterator<Item = &'static str> {
    Model::builtin_names().filter(|name| *name != "mixture")
}

#[test]
fn parameters_are_those_of_diffusers() {
    let known = golden::json("network/shapes.json");
    let known = known.as_object().unwrap();
    assert_eq!(known.len(), golden::TINY.len() + networks().count());
    for (name, expected) in known {
        let builtin = networks().any(|b| b == name);
        let spec = if builtin { name.clone() } else { golden::spec(&format!("network/{name}")) };
        let model = Model::open(&spec).unwrap();
        let mut params: Vec<_> = model.graph.params.iter().collect();
        params.sort_by(|a, b| a.name.cmp(&b.name));
        let found: Vec<(String, Value)> =
            params.iter().map(|p| (p.name.clone(), json!(p.shape))).collect();
        let shapes = expected["shapes"].as_object().unwrap();
        let shapes: Vec<_> = shapes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(found, shapes, "{name}");
        assert_eq!(json!(model.graph.parameters()), expected["parameters"], "{name}");
    }
}

#[test]
fn ddpm_cifar10_has_its_published_size() {
    let model = Model::open("ddpm-cifar10").unwrap();
    assert_eq!(model.graph.parameters(), 35_746_307);
    assert_eq!((model.state, model.classes, model.learned_variance), ([3, 32, 32], None, false));
    assert_eq!(model.scheduler().unwrap().keys.variance_type, Some(VarianceType::FixedLarge));
}

#[test]
fn digits_comes_with_its_settings() {
    let model = Model::open("digits").unwrap();
    assert_eq!((model.name.as_str(), model.state), ("digits", [1, 32, 32]));
    assert_eq!(model.classes, Some(11));
    let s = &model.settings;
    assert_eq!((s.solver.as_deref(), s.steps, s.guidance), (Some("ddim"), Some(50), Some(2.0)));
    assert_eq!((s.null_class, s.clipped_eps), (Some(10), Some(true)));
    assert_eq!(s.class_names, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    model.weights().unwrap();
}

#[test]
fn golden_vectors_fit_their_models() {
    let folders = golden::TINY.iter().map(|name| (name.to_string(), format!("{name}/golden")));
    let builtins = networks().map(|name| (String::new(), name.to_string()));
    for (folder, file) in folders.chain(builtins) {
        let name =
            if folder.is_empty() { file.clone() } else { golden::spec("network/") + &folder };
        let model = Model::open(&name).unwrap();
        let file = format!("network/{file}.safetensors");
        let (x, y) = (golden::load(&file, "x"), golden::load(&file, "y"));
        assert_eq!(x.shape[1..], model.state, "{file}");
        let Shape::Map { h, w, c } = model.graph.node(model.graph.output).shape else {
            panic!("{file}: a row")
        };
        assert_eq!(y.shape, [x.shape[0], c, h, w], "{file}");
        assert!(y.values.iter().all(|v| v.is_finite()));
        assert_eq!(golden::load(&file, "t").shape, [x.shape[0]]);
        let labels = golden::maybe(&file, "labels");
        assert_eq!(labels.is_some(), model.classes.is_some(), "{file}");
    }
}

#[test]
fn options_reach_the_graph() {
    let layers = |name: &str| -> Vec<Layer> {
        let model = Model::open(&golden::spec(&format!("network/{name}"))).unwrap();
        model.graph.nodes.into_iter().map(|n| n.layer).collect()
    };
    let has = |name: &str, ok: &dyn Fn(&Layer) -> bool| layers(name).iter().any(ok);
    assert!(has("resnet-blocks", &|l| *l == Layer::State { scale: 2.0, offset: -1.0 }));
    let halves = |l: &Layer, pad: usize| match l {
        Layer::Conv2d { window, .. } => (window.stride, window.before) == (2, [pad; 2]),
        _ => false,
    };
    assert!(has("scale-shift", &|l| halves(l, 0)));
    assert!(has("class-table", &|l| halves(l, 1)));
    assert!(has("scale-shift", &|l| {
        let shifted = |f: &Frequencies| matches!(f, Frequencies::Exponential { shift: 1.0, .. });
        matches!(l, Layer::TimeEmbedding { flip: false, frequencies, .. } if shifted(frequencies))
    }));
    assert!(has("scale-shift", &|l| matches!(l, Layer::Attention { heads: 1, .. })));
    assert!(has("class-table", &|l| matches!(l, Layer::Attention { heads: 3, .. })));
    assert!(has("class-number", &|l| matches!(l, Layer::LabelEmbedding { .. })));
    assert!(has("attn-resnet-both", &|l| *l == Layer::Downsample));
    let rescaled = layers("resnet-resampling");
    let third = |l: &&Layer| matches!(l, Layer::Add { scale } if (scale - 2.0 / 3.0).abs() < 1e-6);
    assert_eq!(rescaled.iter().filter(third).count(), 3, "two residual blocks and the attention");
}

#[test]
fn a_config_without_a_key_takes_the_default_of_the_class() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"_class_name": "UNet2DModel", "sample_size": 32});
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    fs::write(dir.path().join("scheduler_config.json"), "{}").unwrap();
    let model = open(dir.path()).unwrap();
    assert_eq!(model.state, [3, 32, 32]);
    // What UNet2DModel() of diffusers 0.42.1 has.
    assert_eq!(model.graph.parameters(), 274_056_163);
}

#[test]
fn unknown_classes_keys_and_values_are_named() {
    let cases: &[(Value, &[&str])] = &[
        (json!({"_class_name": "UNet3DModel"}), &["_class_name", "UNet2DModel", "UNet3DModel"]),
        (json!({"speed": 3}), &["config.json: speed", "only the keys", "norm_eps"]),
        (json!({"time_embedding_type": "none"}), &["time_embedding_type", "positional, fourier"]),
        (
            json!({"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]}),
            &["down_block_types", "AttnDownBlock2D", "\"CrossAttnDownBlock2D\""],
        ),
        (json!({"up_block_types": ["UpBlock2D", 3]}), &["up_block_types", "AttnUpBlock2D", "3"]),
        (json!({"mid_block_type": "Other"}), &["mid_block_type", "UNetMidBlock2D, null", "Other"]),
        (json!({"act_fn": "tanh"}), &["act_fn", "silu, swish, gelu, relu, mish", "tanh"]),
        (json!({"downsample_type": "fir"}), &["downsample_type", "conv, resnet", "fir"]),
        (json!({"upsample_type": "fir"}), &["upsample_type", "conv, resnet", "fir"]),
        (
            json!({"resnet_time_scale_shift": "spatial"}),
            &["resnet_time_scale_shift", "default, scale_shift", "spatial"],
        ),
        (json!({"class_embed_type": "projection"}), &["null, timestep, identity", "projection"]),
        (json!({"class_embed_type": "identity"}), &["class_embeddings.safetensors beside"]),
        (json!({"downsample_padding": 2}), &["downsample_padding", "from 0 to 1", "found 2"]),
        (json!({"in_channels": "1"}), &["in_channels", "an integer", "found \"1\""]),
        (json!({"in_channels": 1.5}), &["in_channels", "found 1.5"]),
        (json!({"layers_per_block": 0}), &["layers_per_block", "found 0"]),
        (json!({"norm_eps": 0}), &["norm_eps", "above 0"]),
        (json!({"mid_block_scale_factor": 0}), &["mid_block_scale_factor", "not 0"]),
        (json!({"norm_eps": 1e39}), &["norm_eps", "the range of f32", "found 1e+39"]),
        (json!({"norm_eps": 1e-60}), &["norm_eps", "above 0", "e-60"]),
        (json!({"mid_block_scale_factor": 1e39}), &["mid_block_scale_factor", "range of f32"]),
        (json!({"mid_block_scale_factor": 1e-60}), &["mid_block_scale_factor", "not 0"]),
        (json!({"freq_shift": 1e39}), &["freq_shift", "the range of f32", "found 1e+39"]),
        (json!({"center_input_sample": 1}), &["center_input_sample", "true or false"]),
        (json!({"dropout": "much"}), &["dropout", "a number"]),
        (json!({"num_class_embeds": -1}), &["num_class_embeds", "found -1"]),
    ];
    for (edits, parts) in cases {
        assert_says(open_edited("class-table", edits), parts);
    }
}

#[test]
fn impossible_configurations_say_why() {
    let cases: &[(Value, &[&str])] = &[
        (json!({"block_out_channels": [8, 12, 12]}), &["down_block_types", "3 entries", "found 2"]),
        (json!({"up_block_types": ["UpBlock2D"]}), &["up_block_types", "2 entries", "found 1"]),
        (json!({"block_out_channels": []}), &["block_out_channels", "found []"]),
        (json!({"block_out_channels": [8, 1_000_000_000_000_u64]}), &["block_out_channels"]),
        (json!({"sample_size": 100_000}), &["sample_size", "from 1 to 8192", "found 100000"]),
        (json!({"sample_size": 0}), &["sample_size", "from 1 to 8192", "found 0"]),
        (
            json!({"block_out_channels": [4_294_967_295_u64, 12]}),
            &["block_out_channels", "from 1 to 65536", "found [4294967295,12]"],
        ),
        (json!({"sample_size": 9}), &["sample_size", "2 divides", "9 x 9"]),
        (json!({"sample_size": [8, 9]}), &["sample_size", "8 x 9"]),
        (json!({"sample_size": [8, 8, 8]}), &["sample_size", "[height, width]"]),
        (json!({"sample_size": null}), &["sample_size", "no size"]),
        (
            json!({"attention_head_dim": 13}),
            &["attention_head_dim", "at most the 12 channels of block 1", "found 13"],
        ),
        (
            // The last attention of such a block has the channels of the next.
            json!({
                "block_out_channels": [32, 64], "attention_head_dim": 64, "mid_block_type": null,
                "norm_num_groups": 8, "down_block_types": ["KDownBlock2D", "KDownBlock2D"],
                "up_block_types": ["KCrossAttnUpBlock2D", "KUpBlock2D"],
            }),
            &["attention_head_dim", "at most the 32 channels of the map", "found 64"],
        ),
        (
            json!({"norm_num_groups": 3}),
            &["norm_num_groups", "a divisor of the 8 channels of block 0", "found 3"],
        ),
        (json!({"norm_num_groups": null}), &["norm_num_groups", "found null"]),
        (
            json!({"attn_norm_num_groups": 5}),
            &["attn_norm_num_groups", "12 channels of the mid block", "found 5"],
        ),
        (json!({"out_channels": 3}), &["out_channels", "in_channels (1), or 2", "found 3"]),
        (json!({"freq_shift": 4}), &["freq_shift", "half of block_out_channels[0]"]),
    ];
    for (edits, parts) in cases {
        assert_says(open_edited("class-table", edits), parts);
    }
}

#[test]
fn malformed_config_text_is_named() {
    for (text, found) in [("", "not JSON"), ("{\"a\": ", "not JSON"), ("[1]", "[1]")] {
        let dir = copy("one-block");
        fs::write(dir.path().join("config.json"), text).unwrap();
        assert_says(open(dir.path()), &["config.json", "a JSON object", found]);
    }
    let dir = copy("one-block");
    fs::write(dir.path().join("config.json"), "{}").unwrap();
    assert_says(open(dir.path()), &["_class_name", "no such key"]);
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let dir = copy("class-table");
    fs::write(dir.path().join("unnoise.json"), r#"{"steps": 3, "steps": 4}"#).unwrap();
    assert_says(open(dir.path()), &["unnoise.json: steps", "stands once", "found 3, then 4"]);
}

#[test]
fn every_layout_opens() {
    let flat = copy("one-block");
    let model = open(flat.path()).unwrap();
    model.weights().unwrap();
    let by_file = open(&flat.path().join(WEIGHTS)).unwrap();
    by_file.weights().unwrap();
    assert_eq!(by_file.graph, model.graph);

    let beside = copy("one-block");
    let scheduler = beside.path().join("scheduler/scheduler_config.json");
    fs::rename(scheduler, beside.path().join("scheduler_config.json")).unwrap();
    let origin = open(beside.path()).unwrap().scheduler().unwrap().origin;
    assert!(
        origin.ends_with("scheduler_config.json") && !origin.contains("scheduler/"),
        "{origin}"
    );

    let pipeline = copy("one-block");
    let unet = pipeline.path().join("unet");
    fs::create_dir(&unet).unwrap();
    for file in ["config.json", WEIGHTS] {
        fs::rename(pipeline.path().join(file), unet.join(file)).unwrap();
    }
    write_index(pipeline.path(), "DDPMPipeline", "UNet2DModel");
    for place in [pipeline.path(), &unet, &unet.join(WEIGHTS)] {
        let found = open(place).unwrap();
        found.weights().unwrap();
        assert_eq!(found.graph, model.graph);
    }
    let variant = unet.join("diffusion_pytorch_model.fp16.safetensors");
    fs::rename(unet.join(WEIGHTS), variant).unwrap();
    open(pipeline.path()).unwrap().weights().unwrap();
    assert_eq!(open(pipeline.path()).unwrap().range(), [-1.0, 1.0]);
    write_index(pipeline.path(), "ScoreSdeVePipeline", "UNet2DModel");
    assert_eq!(open(pipeline.path()).unwrap().range(), [0.0, 1.0]);
    assert_eq!(open(&unet).unwrap().range(), [0.0, 1.0]);
    write_index(pipeline.path(), "DDPMPipeline", "UNet2DConditionModel");
    assert_says(open(pipeline.path()), &["model_index.json: text_encoder", "CLIPTextModel"]);
    write_index(pipeline.path(), "DDPMPipeline", "UNet3DConditionModel");
    assert_says(open(pipeline.path()), &["model_index.json: unet", "UNet3DConditionModel"]);
}

fn write_index(dir: &Path, pipeline: &str, unet: &str) {
    let index = json!({
        "_class_name": pipeline, "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", unet],
    });
    fs::write(dir.join("model_index.json"), index.to_string()).unwrap();
}

#[test]
fn a_pipeline_of_series_opens() {
    let dir = tempfile::tempdir().unwrap();
    write_index(dir.path(), "DanceDiffusionPipeline", "UNet1DModel");
    fs::create_dir(dir.path().join("unet")).unwrap();
    let config =
        json!({"_class_name": "UNet1DModel", "sample_size": 4096, "extra_in_channels": 64});
    fs::write(dir.path().join("unet/config.json"), config.to_string()).unwrap();
    assert_eq!(open(dir.path()).unwrap().state, [2, 1, 4096]);
}

#[test]
fn a_pipeline_with_more_parts_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let index = json!({
        "_class_name": "LDMPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DModel"], "vqvae": ["diffusers", "VQModel"],
    });
    fs::write(dir.path().join("model_index.json"), index.to_string()).unwrap();
    assert_says(
        open(dir.path()),
        &["model_index.json", "only unet and scheduler", "found also vqvae"],
    );
}

#[test]
fn what_is_not_a_model_is_told_apart() {
    let unknown = |spec: &str| Model::open(spec).map_err(|e| e.to_string());
    let names = "(digits, digits-edm, digits-ve, digits-cm, ddpm-cifar10, mixture), a folder";
    assert_says(unknown("digit"), &["model \"digit\"", names, "no such file or folder"]);
    assert_says(unknown("/no/such/model.safetensors"), &["/no/such", "no such file or folder"]);
    let dir = tempfile::tempdir().unwrap();
    assert_says(open(dir.path()), &["config.json or", "model_index.json", "neither"]);
    let other = dir.path().join("model.ckpt");
    fs::write(&other, "x").unwrap();
    assert_says(open(&other), &["model.ckpt", ".safetensors file", "a pickle"]);
    fs::remove_file(&other).unwrap();
    let other = dir.path().join("model.txt");
    fs::write(&other, "x").unwrap();
    assert_says(open(&other), &["model.txt", ".safetensors file", "a file of another kind"]);
    let alone = dir.path().join("alone.safetensors");
    fs::write(&alone, "x").unwrap();
    assert_says(open(&alone), &["alone.safetensors", "a safetensors file", "1 bytes in all"]);
}

#[test]
fn missing_scheduler_and_weights_name_the_file() {
    let dir = copy("one-block");
    fs::remove_file(dir.path().join("scheduler/scheduler_config.json")).unwrap();
    let places = ["scheduler/scheduler_config.json or", "/scheduler_config.json", "no such file"];
    let planned = open(dir.path()).unwrap();
    assert!(!planned.has_scheduler());
    assert_says(planned.scheduler().map_err(|e| e.to_string()), &places);

    let weights = |dir: &TempDir| open(dir.path()).unwrap().weights().map_err(|e| e.to_string());
    let dir = copy("one-block");
    fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
    assert_says(weights(&dir), &[WEIGHTS, ".fp16.safetensors", "none of them"]);
    fs::write(dir.path().join("diffusion_pytorch_model.bin"), "x").unwrap();
    let parts = ["a pickle", "diffusion_pytorch_model.bin", "safe_serialization=True"];
    assert_says(weights(&dir), &parts);

    let none = Model::open("ddpm-cifar10").unwrap().weights().map_err(|e| e.to_string());
    assert_says(none, &["ddpm-cifar10", "a built-in configuration only"]);
}

#[test]
fn settings_are_checked() {
    let cases: &[(Value, &[&str])] = &[
        (json!({"speed": 1}), &["unnoise.json: speed", "only the keys solver, steps"]),
        (json!({"steps": 0}), &["unnoise.json: steps", "from 1 to 1000000", "found 0"]),
        (json!({"steps": 1_000_000_000_000_u64}), &["steps", "from 1 to 1000000"]),
        (json!({"guidance": 1e39}), &["guidance", "the range of f32", "found 1e+39"]),
        (json!({"guidance": "2"}), &["guidance", "a number", "found \"2\""]),
        (json!({"guidance": 2}), &["guidance", "null_class"]),
        (json!({"null_class": 5}), &["null_class", "5 classes", "found 5"]),
        (json!({"class_names": ["a", 1]}), &["class_names", "a list of names"]),
        (json!({"class_names": ["a", "b", "c", "d", "e", "f"]}), &["class_names", "at most 5"]),
        (json!({"solver": 1}), &["solver", "the name of a solver"]),
        (json!({"clipped_eps": "yes"}), &["clipped_eps", "true or false"]),
        (json!({"range": [1, 0]}), &["range", "[black, white]", "found [1,0]"]),
        (json!({"range": [0, 1e39]}), &["range", "[black, white]"]),
    ];
    for (text, parts) in cases {
        let dir = copy("class-table");
        fs::write(dir.path().join("unnoise.json"), text.to_string()).unwrap();
        assert_says(open(dir.path()), parts);
    }
    let dir = copy("class-table");
    fs::write(dir.path().join("unnoise.json"), r#"{"null_class": 4, "guidance": 3}"#).unwrap();
    assert_eq!(open(dir.path()).unwrap().settings.guidance, Some(3.0));
}
