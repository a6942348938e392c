//! Latents become pictures: the decoder by itself, whole and in tiles, and whole pipelines, against
//! diffusers (tests/golden/dit/make_decoder.py).

use super::emulated::{Build, Emulated};
use super::evaluate::relative_l2;
use super::says::assert_says;
use super::{binary, device, golden};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Backend, Observer, RunInputs};
use unnoise::model::Model;
use unnoise::noise::NoiseKind;
use unnoise::ops::solver_step::run_words;
use unnoise::program::{Decoder, NoiseMode, Options, Program, TABLE_BYTES, Tiling};
use unnoise::sampler::{Classes, Precision, Request, Sampler, Tiles, inspect};
use unnoise::solver::{Draw, Expr, Row, Term, Trajectory};
use unnoise::tensor::DType;

fn open(name: &str) -> Model {
    Model::open(&golden::spec(&format!("dit/{name}"))).unwrap()
}

/// A program that only decodes: its one row sets the state to a draw of the host's.
fn program(model: &Model, batch: usize, decoder: &Decoder) -> Program {
    let trajectory = Trajectory {
        times: vec![0.0],
        rows: vec![Row {
            x: Expr::from(Term::Noise(0)),
            draws: vec![Draw { step: 0, stream: 0, index: 0 }],
            ..Row::default()
        }],
        draws: 1,
        ..Trajectory::default()
    };
    let options = Options {
        storage: DType::F32,
        batch,
        state: model.state,
        guided: false,
        labels: vec![0],
        texts: Vec::new(),
        noise: NoiseMode::Table,
        hoist: true,
        fuse: true,
        trace: false,
        table_bytes: TABLE_BYTES,
        projection: Default::default(),
    };
    Program::build_with(&model.graph, &trajectory, &options, Some(decoder))
}

fn decoder(model: &Model, storage: DType, tiling: Tiling, samples: usize) -> Decoder {
    let [_, h, w] = model.state;
    let decoder = model.decoder.as_ref().unwrap();
    let graphs = tiling.parts([h, w]).into_iter().map(|part| decoder.graph(part).unwrap());
    Decoder { graphs: graphs.collect(), storage, samples, tiling }
}

fn decode(model: &Model, z: &[f32], decoder: &Decoder, backend: &dyn Backend) -> Vec<f32> {
    let batch = z.len() / model.state.iter().product::<usize>();
    let program = program(model, batch, decoder);
    program.check_values().unwrap();
    let mut session = backend.prepare(&program, &model.weights().unwrap()).unwrap();
    let inputs = RunInputs {
        run: vec![0; run_words(batch)],
        condition: vec![0; batch],
        draws: z.to_vec(),
        ..Default::default()
    };
    let mut out = vec![f32::NAN; program.output_len];
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let stats = session.run(&inputs, &mut observer, &mut out).unwrap();
    assert_eq!(stats.readbacks, 1);
    out
}

const WHOLE: Tiling = Tiling { side: usize::MAX, stride: usize::MAX };

#[test]
fn decoders_agree_with_diffusers() {
    let halves = [(DType::F32, 1e-5), (DType::F16, 2e-2), (DType::BF16, 1e-1)];
    for (name, side) in [("pipeline", 4), ("decoder", 8)] {
        let (model, file) = (open(name), format!("dit/{name}/decoded.safetensors"));
        let z = golden::load(&file, "z").values;
        for backend in device::backends() {
            for (key, tiling) in [("whole", WHOLE), ("tiled", Tiling::of(side))] {
                let expected = golden::load(&file, key).values;
                for (storage, most) in halves.into_iter().filter(|(s, _)| backend.supports(*s)) {
                    let decoder = decoder(&model, storage, tiling, 1);
                    let error = relative_l2(&decode(&model, &z, &decoder, backend), &expected);
                    let what = format!("{name} {key} on {} in {storage}", backend.name());
                    println!("{what}: relative L2 {error:.2e}");
                    assert!(error <= most, "{what}: {error:e}");
                }
            }
        }
    }
}

/// Samples together, and one after another.
#[test]
fn samples_are_decoded_alike_together() {
    let model = open("decoder");
    let z = golden::load("dit/decoder/decoded.safetensors", "z").values;
    for tiling in [WHOLE, Tiling::of(8)] {
        for backend in device::backends() {
            let [one, two] = [1, 2].map(|samples| {
                decode(&model, &z, &decoder(&model, DType::F32, tiling, samples), backend)
            });
            let error = relative_l2(&two, &one);
            assert!(error < 1e-6, "{} {tiling:?}: {error:e}", backend.name());
        }
    }
}

/// The decoder's values take the place of the loop's, and its tiles that of each other.
#[test]
fn a_decoder_lies_in_the_arenas_of_the_loop() {
    let model = open("decoder");
    let of = |tiling| program(&model, 1, &decoder(&model, DType::F32, tiling, 1));
    let (whole, tiled) = (of(WHOLE), of(Tiling::of(8)));
    assert!(tiled.memory.activation_bytes < whole.memory.activation_bytes);
    let decoded = |program: &Program| program.bodies.iter().filter(|body| !body.steps()).count();
    assert_eq!(decoded(&whole), 1);
    // Nine sizes of tiles of 8, 7 and 1 latents, and what makes one picture of them.
    assert_eq!(decoded(&tiled), 10);
    assert_eq!(tiled.rows.len(), 1 + 9 + 1);
    assert!(whole.memory.activation_bytes as f64 <= 1.5 * whole.memory.lower_bound_bytes as f64);
}

fn request(run: &str, latents: bool) -> Request {
    let (solver, steps, guidance) = match run {
        "ddim" => ("ddim", 5, 4.0),
        "ddim-unguided" => ("ddim", 3, 1.0),
        _ => ("dpmpp-2m", 6, 1.5),
    };
    Request {
        solver: Some(solver.into()),
        steps: Some(steps),
        guidance: Some(guidance),
        classes: Classes::List(vec![207, 2]),
        count: 2,
        seed: 5,
        noise: NoiseKind::TorchCpu,
        precision: Precision::F32,
        latents,
        ..Request::default()
    }
}

fn sample(model: &Model, request: &Request, backend: &dyn Backend) -> (Vec<f32>, [usize; 3]) {
    let mut sampler = Sampler::compile(model, request, backend).unwrap();
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let indices: Vec<usize> = sampler.indices().collect();
    let mut data = Vec::new();
    for indices in indices.chunks(sampler.batch()) {
        let samples = sampler.sample(indices, &mut observer).unwrap();
        assert_eq!(samples.stats.readbacks, 1);
        data.extend(samples.data);
    }
    (data, sampler.shape())
}

#[test]
fn pipelines_agree_with_diffusers() {
    let model = open("pipeline");
    for run in ["ddim", "ddim-unguided", "dpmpp-2m"] {
        let expected =
            |key: &str| golden::load("dit/pipeline/runs.safetensors", &format!("{run}.{key}"));
        for backend in device::backends() {
            let what = format!("{run} on {}", backend.name());
            let (latents, shape) = sample(&model, &request(run, true), backend);
            assert_eq!(shape, [4, 8, 8]);
            let error = relative_l2(&latents, &expected("latents").values);
            println!("{what}: latents {error:.2e}");
            assert!(error < 1e-3, "{what}: latents {error:e}");
            let (pictures, shape) = sample(&model, &request(run, false), backend);
            assert_eq!(shape, [3, 16, 16]);
            let error = relative_l2(&pictures, &expected("pictures").values);
            println!("{what}: pictures {error:.2e}");
            assert!(error < 1e-3, "{what}: pictures {error:e}");
            let bytes = pictures.iter().map(|v| (v / 2.0 + 0.5).clamp(0.0, 1.0));
            let images = expected("images").values;
            let most = bytes.zip(&images).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most < 1.0 / 255.0, "{what}: images {most}");
        }
    }
}

/// The kernels of CUDA on the emulator: rows that decode follow those that step.
#[test]
fn the_kernels_of_cuda_decode_too() {
    if !device::emulator() {
        return;
    }
    let emulated = Emulated::new(Build::Plain);
    let (pictures, _) = sample(&open("pipeline"), &request("ddim", false), &emulated);
    let expected = golden::load("dit/pipeline/runs.safetensors", "ddim.pictures").values;
    let error = relative_l2(&pictures, &expected);
    assert!(error < 1e-3, "{error:e}");
    let model = open("decoder");
    let z = golden::load("dit/decoder/decoded.safetensors", "z").values;
    let tiled = decoder(&model, DType::F32, Tiling::of(8), 2);
    let error = relative_l2(
        &decode(&model, &z, &tiled, &emulated),
        &golden::load("dit/decoder/decoded.safetensors", "tiled").values,
    );
    assert!(error < 1e-5, "{error:e}");
}

/// A picture depends on its index alone, however many are drawn or decoded beside it.
#[test]
fn pictures_do_not_depend_on_the_batch() {
    let model = open("pipeline");
    for backend in device::backends() {
        let drawn = |batch| {
            let request = Request {
                count: 3,
                batch: Some(batch),
                noise: NoiseKind::Native,
                ..request("ddim", false)
            };
            sample(&model, &request, backend).0
        };
        let (three, two) = (drawn(3), drawn(2));
        let error = relative_l2(&two, &three);
        assert!(error < 1e-5, "{}: {error:e}", backend.name());
    }
}

#[test]
fn inspect_names_the_decoder_and_its_memory() {
    let model = open("pipeline");
    let found = inspect(&model, &request("ddim", false), None).unwrap();
    let bare = inspect(&model, &request("ddim", true), None).unwrap();
    let decoder = found.decoder.as_ref().expect("a decoder");
    assert_eq!((decoder.picture, decoder.tiles, decoder.samples), ([3, 16, 16], 1, 2));
    // decoder.* and post_quant_conv.* of the file.
    assert_eq!(decoder.parameters, parameters("dit/pipeline/vae", &["decoder.", "post_quant"]));
    assert!(bare.decoder.is_none());
    assert_eq!(found.launches_per_step, bare.launches_per_step);
    assert_eq!(found.flops_per_step, bare.flops_per_step);
    assert!(found.weight_bytes > bare.weight_bytes && found.launches > bare.launches);
    assert!(found.allocated_bytes > bare.allocated_bytes);
    let text = found.to_string();
    for said in ["decoder      ", "to 3x16x16", "decoder.mid_block.attentions.0", "picture_tile"] {
        assert!(text.contains(said), "no {said} in {text}");
    }
    assert_eq!(found.graph[found.layers - 1].name, "decoder.conv_out");
}

/// Elements of the tensors of a folder whose names begin so.
fn parameters(folder: &str, beginnings: &[&str]) -> usize {
    let file = format!("{folder}/diffusion_pytorch_model.safetensors");
    let bytes = std::fs::read(golden::path(&file)).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let own = tensors.tensors().into_iter();
    let own = own.filter(|(name, _)| beginnings.iter().any(|b| name.starts_with(b)));
    own.map(|(_, view)| view.shape().iter().product::<usize>()).sum()
}

/// The decoder of Stable Diffusion at 512 px is whole; at 1024 px it is cut into tiles of 64.
#[test]
fn large_states_are_cut() {
    for (side, tiles) in [(64, 1), (128, 9)] {
        let dir = tempfile::tempdir().unwrap();
        large(dir.path(), side);
        let model = Model::open(dir.path().to_str().unwrap()).unwrap();
        let request = Request { classes: Classes::List(vec![1]), ..Request::default() };
        let found = inspect(&model, &request, None).unwrap();
        let decoder = found.decoder.as_ref().unwrap();
        assert_eq!((decoder.picture, decoder.tiles), ([3, 8 * side, 8 * side], tiles));
        assert_eq!(decoder.parameters, 49_490_199);
        // What a card of 8 GB must hold beside the weights of the network.
        println!("{side}: {} bytes", found.activation_bytes);
        assert!(found.activation_bytes < 3 << 30, "{side}: {}", found.activation_bytes);
        let whole = Request { tiles: Tiles::Whole, ..request };
        assert_eq!(inspect(&model, &whole, None).unwrap().decoder.unwrap().tiles, 1);
    }
}

/// A pipeline of configurations: a small transformer before the decoder of Stable Diffusion.
fn large(dir: &Path, side: usize) {
    let write = |path: &str, value: Value| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    };
    let part = |class: &str| json!(["diffusers", class]);
    write(
        "model_index.json",
        json!({"_class_name": "DiTPipeline", "scheduler": part("DDIMScheduler"),
            "transformer": part("Transformer2DModel"), "vae": part("AutoencoderKL")}),
    );
    write(
        "transformer/config.json",
        json!({"_class_name": "DiTTransformer2DModel", "sample_size": side, "num_layers": 1,
            "patch_size": 8, "num_attention_heads": 2, "attention_head_dim": 8}),
    );
    write(
        "vae/config.json",
        json!({"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512],
            "up_block_types": vec!["UpDecoderBlock2D"; 4], "layers_per_block": 2,
            "sample_size": 512}),
    );
}

#[test]
fn folders_that_do_not_fit_together_are_refused() {
    let refused = |file: &str, change: &dyn Fn(&mut Value), expected: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        large(dir.path(), 16);
        let path = dir.path().join(file);
        let mut value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(&path, value.to_string()).unwrap();
        let opened = Model::open(dir.path().to_str().unwrap());
        assert_says(opened.map(drop).map_err(|e| e.to_string()), expected);
    };
    let vae = "vae/config.json";
    refused(
        vae,
        &|v| v["latent_channels"] = json!(8),
        &["latent_channels", "expected 4", "found 8"],
    );
    refused(vae, &|v| v["norm_num_groups"] = json!(48), &["norm_num_groups", "divisor of the 128"]);
    refused(vae, &|v| v["up_block_types"] = json!(["UpDecoderBlock2D"]), &["4 entries", "found 1"]);
    refused(vae, &|v| v["scaling_factor"] = json!(0), &["scaling_factor", "not 0"]);
    refused(vae, &|v| v["_class_name"] = json!("VQModel"), &["expected AutoencoderKL", "VQModel"]);
    refused(vae, &|v| v["mystery"] = json!(1), &["mystery", "only the keys"]);
    let index = "model_index.json";
    refused(index, &|v| v["vae"][1] = json!("VQModel"), &["vae", "AutoencoderKL"]);
    refused(index, &|v| v["text_encoder"] = json!(["a", "b"]), &["only transformer and scheduler"]);
    refused(index, &|v| v["id2label"] = json!([1]), &["id2label", "names of classes"]);
}

#[test]
fn the_program_draws_pictures_and_latents() {
    let place = binary::Place::new();
    let model = golden::spec("dit/pipeline");
    let run = |out: &str, rest: &str| {
        let flags = "--device cpu --count 2 --steps 2 --class 0,2";
        place.run(&format!("sample {model} {flags} --out {out} {rest}"))
    };
    let done = run("pictures.png", "");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(image::open(place.path("pictures.png")).unwrap().width() >= 2 * 16);
    for (rest, shape) in [("", "(2, 3, 16, 16,"), ("--latents", "(2, 4, 8, 8,")] {
        let done = run("samples.npy", rest);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let bytes = std::fs::read(place.path("samples.npy")).unwrap();
        let head = String::from_utf8_lossy(&bytes[..128]).into_owned();
        assert!(head.contains(shape), "{head}");
    }
    let bad = run("samples.npy", "--vae-tiles 7");
    assert_eq!(bad.code, 2);
    assert!(bad.stderr.contains("--vae-tiles: expected auto, off"), "{}", bad.stderr);
}
