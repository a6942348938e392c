//! Pipelines that are told a text, against diffusers and transformers
//! (tests/golden/text/make_text.py): tokens, pictures, the plan, and what is refused.

use super::evaluate::relative_l2;
use super::says::assert_says;
use super::{device, golden};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::{Backend, Observer};
use unnoise::error::Result;
use unnoise::model::{Model, Tokenizer};
use unnoise::noise::NoiseKind;
use unnoise::sampler::{Classes, Precision, Request, Sampler, inspect};

fn open(name: &str) -> Model {
    Model::open(&golden::spec(&format!("text/{name}"))).unwrap()
}

#[test]
fn tokens_are_those_of_transformers() {
    let known = golden::json("text/tokens.json");
    let prompts: Vec<String> = serde_json::from_value(known["prompts"].clone()).unwrap();
    assert!(prompts.len() > 7);
    for name in ["base", "linear"] {
        let expected: Vec<Vec<u32>> = serde_json::from_value(known[name].clone()).unwrap();
        let tokenizer = Tokenizer::open(&golden::path(&format!("text/{name}/tokenizer"))).unwrap();
        for (prompt, expected) in prompts.iter().zip(expected) {
            assert_eq!(tokenizer.tokens(prompt, 16).unwrap(), expected, "{name}: {prompt:?}");
        }
    }
}

/// The pipeline of a run, and the run.
fn run(name: &str) -> (Model, Request) {
    let (solver, steps, guidance) = match name {
        "base" => ("ddim", 4, 7.5),
        "base-unguided" => ("ddim", 3, 1.0),
        _ => ("euler", 5, 3.0),
    };
    let (prompts, negative) = match name {
        "linear" => (["red and ".repeat(30), "a red heart".into()], Some("cat, of".into())),
        _ => (["a red heart".into(), "cat of Émile’s 12".into()], None),
    };
    let request = Request {
        solver: Some(solver.into()),
        steps: Some(steps),
        guidance: Some(guidance),
        prompts: prompts.to_vec(),
        negative_prompt: negative,
        count: 2,
        seed: 5,
        noise: NoiseKind::TorchCpu,
        precision: Precision::F32,
        ..Request::default()
    };
    (open(name.split('-').next().unwrap()), request)
}

fn sample(model: &Model, request: &Request, backend: &dyn Backend) -> Vec<f32> {
    let mut sampler = Sampler::compile(model, request, backend).unwrap();
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let indices: Vec<usize> = sampler.indices().collect();
    let samples = sampler.sample(&indices, &mut observer).unwrap();
    assert_eq!(samples.stats.readbacks, 1);
    samples.data
}

/// Pictures `[N, 3, H, W]` in [-1, 1] against images `[N, H, W, 3]` in [0, 1]: the mean and the
/// largest difference, of 1.
fn differences(pictures: &[f32], images: &[f32]) -> (f32, f32) {
    let numel = images.len() / 2;
    let pixels = numel / 3;
    let difference = |i: usize| {
        let (sample, pixel, c) = (i / numel, i % numel / 3, i % 3);
        let v = pictures[sample * numel + c * pixels + pixel];
        ((v / 2.0 + 0.5).clamp(0.0, 1.0) - images[i]).abs()
    };
    let all = (0..images.len()).map(difference);
    (all.clone().sum::<f32>() / images.len() as f32, all.fold(0.0, f32::max))
}

#[test]
fn pictures_are_those_of_diffusers() {
    for name in ["base", "base-unguided", "linear"] {
        let (model, request) = run(name);
        let expected = |key: &str| golden::load("text/runs.safetensors", &format!("{name}.{key}"));
        for backend in device::backends() {
            let what = format!("{name} on {}", backend.name());
            let latents = Request { latents: true, ..request.clone() };
            let error =
                relative_l2(&sample(&model, &latents, backend), &expected("latents").values);
            println!("{what}: latents {error:.2e}");
            assert!(error < 1e-4, "{what}: latents {error:e}");
            let pictures = sample(&model, &request, backend);
            let (mean, most) = differences(&pictures, &expected("images").values);
            println!("{what}: images {mean:.2e}, at most {most:.2e}");
            assert!(mean < 1e-5 && most < 1.0 / 255.0, "{what}: {mean:e}, {most:e}");
            if backend.supports(unnoise::tensor::DType::F16) {
                let half = Request { precision: Precision::F16, ..request.clone() };
                let (mean, _) =
                    differences(&sample(&model, &half, backend), &expected("images").values);
                assert!(mean < 1.0 / 255.0, "{what} in f16: {mean:e}");
            }
        }
    }
}

/// Layer by layer, in the loop, and a prompt after the other, the pictures are the same.
#[test]
fn every_plan_draws_the_same() {
    let (model, request) = run("linear");
    let fused = sample(&model, &request, &Cpu);
    for (fuse, hoist) in [(false, false), (true, false), (false, true)] {
        let found = sample(&model, &Request { fuse, hoist, ..request.clone() }, &Cpu);
        let error = relative_l2(&found, &fused);
        assert!(error < 1e-5, "fuse {fuse}, hoist {hoist}: {error:e}");
    }
    let backwards = request.prompts.iter().rev().cloned().collect();
    let found = sample(&model, &Request { prompts: backwards, ..request.clone() }, &Cpu);
    assert!(relative_l2(&found, &fused) > 1e-2, "another order, other pictures");
    let one = Request { prompts: vec![request.prompts[0].clone()], ..request };
    let alone = sample(&model, &one, &Cpu);
    let numel = alone.len() / 2;
    assert!(relative_l2(&alone[..numel], &fused[..numel]) < 1e-5);
}

/// The text, its encoder and the keys and values of every cross attention leave the loop.
#[test]
fn a_text_is_read_once_a_run() {
    let (model, request) = run("base");
    let found = inspect(&model, &request, None).unwrap();
    assert_eq!((found.guidance, found.classes), (7.5, None));
    let layers = |rows: &[unnoise::sampler::LaunchRow]| -> Vec<String> {
        rows.iter().map(|row| row.layer.clone()).collect()
    };
    let step = layers(&found.plan[found.step.clone()]);
    let reads = |layer: &String| layer.starts_with("text_encoder") || layer.contains("attn2.to_k");
    assert!(step.len() > 20 && !step.iter().any(reads), "{step:?}");
    assert!(step.iter().any(|layer| layer.contains("attn2")));
    assert!(layers(&found.plan).iter().any(reads));
    let default = Request { guidance: None, steps: None, ..request };
    assert_eq!(inspect(&model, &default, None).unwrap().guidance, 7.5);
    let dir = copy("base");
    fs::write(dir.path().join("unet/unnoise.json"), r#"{"guidance": 3, "steps": 9}"#).unwrap();
    let found = inspect(&opened(&dir).unwrap(), &default, None).unwrap();
    assert_eq!((found.guidance, found.steps), (3.0, 9));
}

/// A copy of a pipeline.
fn copy(name: &str) -> TempDir {
    fn all(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let (path, to) = {
                let entry = entry.unwrap();
                (entry.path(), to.join(entry.file_name()))
            };
            if path.is_dir() {
                fs::create_dir(&to).unwrap();
                all(&path, &to);
            } else {
                fs::copy(&path, &to).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    all(&golden::path(&format!("text/{name}")), dir.path());
    dir
}

fn opened(dir: &TempDir) -> Result<Model, String> {
    Model::open(dir.path().to_str().unwrap()).map_err(|e| e.to_string())
}

#[test]
fn what_is_not_covered_is_named() {
    let cases = [
        ("unet/config.json", "addition_embed_type", json!("text_time"), "null, as Stable"),
        ("unet/config.json", "class_embed_type", json!("timestep"), "null, as Stable"),
        ("unet/config.json", "cross_attention_dim", json!(24), "16, the hidden_size of the text"),
        ("unet/config.json", "attention_head_dim", json!([3, 4]), "a divisor of the 8 channels"),
        ("unet/config.json", "layers_per_block", json!([1, 2, 3]), "or 2, one a block"),
        ("unet/config.json", "down_block_types", json!(["DownBlock2D"]), "2 entries"),
        ("unet/config.json", "norm_num_groups", json!(3), "a divisor of the 8 channels"),
        ("unet/config.json", "sample_size", json!(7), "sides that 2 divides"),
        ("unet/config.json", "out_channels", json!(3), "in_channels (4)"),
        ("unet/config.json", "speed", json!(1), "only the keys"),
        ("text_encoder/config.json", "num_attention_heads", json!(3), "a divisor of hidden_size"),
        ("text_encoder/config.json", "hidden_act", json!("relu"), "quick_gelu, gelu"),
        ("model_index.json", "text_encoder", json!(["transformers", "T5"]), "CLIPTextModel"),
        ("model_index.json", "controlnet", json!(["diffusers", "C"]), "also controlnet"),
    ];
    for (file, key, value, part) in cases {
        let dir = copy("base");
        let path = dir.path().join(file);
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config[key] = value.clone();
        fs::write(&path, config.to_string()).unwrap();
        assert_says(opened(&dir), &[key, part]);
    }
    let dir = copy("base");
    let unet = Model::open(dir.path().join("unet").to_str().unwrap()).map_err(|e| e.to_string());
    assert_says(unet, &["_class_name", "text_encoder and tokenizer", "the network alone"]);
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let (model, request) = run("base");
    let check = |model: &Model, request: Request| request.check(model).map_err(|e| e.to_string());
    let without = Request { prompts: Vec::new(), ..request.clone() };
    assert_says(check(&model, without), &["--prompt: expected a text", "none"]);
    let classes = Request { classes: Classes::List(vec![1]), ..request.clone() };
    assert_says(check(&model, classes), &["--class", "takes a text", "give --prompt"]);
    let digits = Model::open("digits").unwrap();
    let told = Request { prompts: vec!["a three".into()], ..Request::default() };
    assert_says(check(&digits, told), &["--prompt", "digits, which takes no text"]);
    let away = Request { negative_prompt: Some("a three".into()), ..Request::default() };
    assert_says(check(&digits, away), &["--negative-prompt", "leave --negative-prompt out"]);

    for (file, content, part) in [
        ("tokenizer/tokenizer.json", "{", "a tokenizer's file"),
        ("tokenizer/tokenizer.json", "{}", "a tokenizer's file"),
        ("text_encoder/model.safetensors", "short", "model.safetensors"),
    ] {
        let dir = copy("base");
        fs::write(dir.path().join(file), content).unwrap();
        let model = opened(&dir).unwrap();
        let compiled = Sampler::compile(&model, &request, &Cpu).map(drop);
        assert_says(compiled.map_err(|e| e.to_string()), &[file, part]);
    }
    for file in ["tokenizer/vocab.json", "tokenizer/merges.txt"] {
        let dir = copy("linear");
        fs::remove_file(dir.path().join(file)).unwrap();
        let compiled = Sampler::compile(&opened(&dir).unwrap(), &request, &Cpu).map(drop);
        assert_says(compiled.map_err(|e| e.to_string()), &["tokenizer", "fetch the file again"]);
    }
}
