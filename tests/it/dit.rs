//! DiT against PyTorch's golden vectors (tests/golden/dit/make_dit.py), its plan, and what its
//! configuration may not say.

use super::evaluate::{Evaluation, relative_l2};
use super::{device, golden, parity};
use serde_json::{Value, json};
use unnoise::backend::cpu::Cpu;
use unnoise::model::Model;
use unnoise::sampler::{Classes, Request, inspect};
use unnoise::tensor::DType;

const TINY: [&str; 5] = ["base", "patch-1", "patch-4", "silu", "older"];

fn open(name: &str) -> Model {
    Model::open(&golden::spec(&format!("dit/{name}"))).unwrap()
}

#[test]
fn every_option_agrees_with_pytorch() {
    for name in TINY {
        let model = open(name);
        let weights = model.weights().unwrap();
        for backend in device::backends() {
            parity::compare(&model, &weights, &format!("dit/{name}/golden.safetensors"), backend);
        }
    }
}

#[test]
fn layers_one_by_one_are_the_same() {
    for name in TINY {
        let (model, file) = (open(name), format!("dit/{name}/golden.safetensors"));
        let (x, y) = (golden::load(&file, "x"), golden::load(&file, "y"));
        let label = golden::load(&file, "labels").values[1] as u32;
        let (numel, stride) = (x.values.len() / 3, y.values.len() / 3);
        for (fuse, hoist) in [(false, false), (true, false), (false, true)] {
            let found = Evaluation {
                weights: &model.weights().unwrap(),
                labels: &[label],
                fuse,
                hoist,
                ..Evaluation::hashed(&model.graph, model.state, 741.0, &x.values[numel..2 * numel])
            }
            .run(&Cpu);
            let error = relative_l2(&found, &y.values[stride..stride + numel]);
            assert!(error < 1e-5, "{name}, fuse {fuse}, hoist {hoist}: {error:e}");
        }
    }
}

#[test]
fn parameters_are_those_of_diffusers() {
    let known = golden::json("dit/shapes.json");
    for name in TINY {
        let parameters = open(name).graph.parameters();
        assert_eq!(known[name]["parameters"], parameters, "{name}");
    }
}

/// Norm, scale, shift and gate happen as the products load and store: a block is five launches.
/// Beside the blocks there are patches, places, the last linear layer, pixels and the step.
#[test]
fn a_block_is_five_launches() {
    for (name, layers) in [("base", 2), ("patch-1", 2), ("patch-4", 1), ("silu", 3)] {
        let model = open(name);
        let x = vec![0.0; 2 * model.state.iter().product::<usize>()];
        let evaluation = Evaluation {
            labels: &[0, 1],
            ..Evaluation::hashed(&model.graph, model.state, 3.0, &x)
        };
        let program = evaluation.program();
        let step: Vec<&str> = program.step().iter().map(|launch| launch.call.name()).collect();
        let block = ["linear", "attention", "linear", "linear", "linear"];
        let mut expected = vec!["conv2d", "add"];
        (0..layers).for_each(|_| expected.extend(block));
        expected.extend(["linear", "unpatchify", "solver_step"]);
        assert_eq!(step, expected, "{name}");
        program.check_values().unwrap();
    }
}

/// Time and class are no part of the loop, and the null class and the guidance of the pipeline are
/// the defaults.
#[test]
fn a_folder_is_guided_away_from_its_last_class() {
    let model = open("base");
    let request = Request { classes: Classes::List(vec![2]), ..Request::default() };
    let inspection = inspect(&model, &request, None).unwrap();
    assert_eq!((inspection.guidance, inspection.classes), (4.0, Some(6)));
    assert_eq!((inspection.solver.as_str(), inspection.steps), ("ddim", 50));
    let all = Request::default();
    let drawn = inspect(&model, &all, None).unwrap();
    assert_eq!(drawn.launches_per_step, inspection.launches_per_step);
    let in_loop = inspection.plan[inspection.step.clone()].iter();
    let embeds = |layer: &str| layer.contains("emb.") || layer.contains("norm1.linear");
    assert!(in_loop.clone().count() > 10);
    assert!(in_loop.into_iter().all(|row| !embeds(&row.layer)));
}

/// What a file says takes the place of that alone.
#[test]
fn settings_are_those_of_the_file_then_of_the_pipeline() {
    for (settings, guidance) in [(json!({"steps": 250}), 4.0), (json!({"guidance": 2}), 2.0)] {
        let dir = tempfile::tempdir().unwrap();
        let config = golden::path("dit/base/config.json");
        std::fs::copy(config, dir.path().join("config.json")).unwrap();
        std::fs::write(dir.path().join("unnoise.json"), settings.to_string()).unwrap();
        let model = Model::open(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(model.settings.guidance, Some(guidance), "{settings}");
        assert_eq!(model.settings.null_class, Some(5));
    }
}

#[test]
fn what_a_configuration_may_not_say_is_named() {
    let text = std::fs::read_to_string(golden::path("dit/base/config.json")).unwrap();
    let good: Value = serde_json::from_str(&text).unwrap();
    let older: Value = {
        let text = std::fs::read_to_string(golden::path("dit/older/config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let cases = [
        (&good, "sample_size", json!(7), "a multiple of patch_size, 2"),
        (&good, "attention_head_dim", json!(5), "a multiple of 4"),
        (&good, "out_channels", json!(5), "in_channels (4), or 8"),
        (&good, "activation_fn", json!("swiglu"), "one of gelu-approximate, gelu"),
        (&good, "norm_type", json!("layer_norm"), "ada_norm_zero"),
        (&good, "num_embeds_ada_norm", Value::Null, "an integer from 1"),
        (&good, "norm_eps", json!(0), "a number above 0"),
        (&good, "cross_attention_dim", Value::Null, "only the keys"),
        (&older, "cross_attention_dim", json!(768), "null, as DiT has it"),
        (&older, "only_cross_attention", json!(true), "false, as DiT has it"),
        (&older, "norm_type", json!("ada_norm_single"), "ada_norm_zero"),
    ];
    for (base, key, value, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut config = base.clone();
        config[key] = value;
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let message = Model::open(dir.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains(key), "'{message}': {expected}");
    }
    let dir = tempfile::tempdir().unwrap();
    let bare = json!({"_class_name": "Transformer2DModel", "sample_size": 8});
    std::fs::write(dir.path().join("config.json"), bare.to_string()).unwrap();
    let message = Model::open(dir.path().to_str().unwrap()).unwrap_err().to_string();
    assert!(message.contains("norm_type: expected ada_norm_zero"), "{message}");
}

/// DiT-XL/2 of 120 classes in 50 steps: what every block would keep of each is more than leaves.
#[test]
fn tables_of_many_classes_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"_class_name": "DiTTransformer2DModel", "out_channels": 8});
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let model = Model::open(dir.path().to_str().unwrap()).unwrap();
    let planned = |classes: u32| {
        let classes = Classes::List((0..classes).collect());
        let solver = Some("ddim".into());
        let request = Request { classes, solver, steps: Some(50), ..Request::default() };
        inspect(&model, &request, None).unwrap()
    };
    let (few, many) = (planned(1), planned(120));
    // Patches, places, 28 blocks of five, the last linear layer, pixels, the step.
    assert_eq!(few.launches_per_step, 2 + 28 * 5 + 3);
    assert!(many.launches_per_step > few.launches_per_step);
    assert!(many.hoisted_bytes < 5 << 28, "{}", many.hoisted_bytes);
}

/// A network of many blocks in f16 is no further off than another.
#[test]
fn half_precision_is_close_over_many_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"_class_name": "DiTTransformer2DModel", "num_attention_heads": 4,
        "attention_head_dim": 16, "num_layers": 12, "sample_size": 8, "out_channels": 8,
        "num_embeds_ada_norm": 3});
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let model = Model::open(dir.path().to_str().unwrap()).unwrap();
    let x = super::hash_weights::values("x", &[model.state.iter().product::<usize>()]);
    let evaluation = |storage| Evaluation {
        labels: &[2],
        storage,
        ..Evaluation::hashed(&model.graph, model.state, 500.0, &x)
    };
    let truth = evaluation(DType::F32).run(&Cpu);
    for backend in device::backends() {
        let halves = [(DType::F16, 1e-2), (DType::BF16, 8e-2)];
        for (storage, most) in halves.into_iter().filter(|(s, _)| backend.supports(*s)) {
            let error = relative_l2(&evaluation(storage).run(backend), &truth);
            println!("{} in {storage}: {error:.2e}", backend.name());
            assert!(error <= most, "{} in {storage}: {error:e}", backend.name());
        }
    }
}
