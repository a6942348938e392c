//! Networks of features against PyTorch (tests/golden/make_eval.py), on every device.

use super::evaluate::relative_l2;
use super::says::assert_says;
use super::{device, golden, hash_weights};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tempfile::tempdir;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::{Backend, Observer};
use unnoise::features::Features;
use unnoise::model::Extractor;

/// Features and logits of samples `[n, C, H, W]`, `batch` at a time.
fn run(
    extractor: &Extractor,
    shape: [usize; 3],
    samples: &[u8],
    batch: usize,
    backend: &dyn Backend,
) -> Vec<f32> {
    let mut features = Features::compile(extractor, shape, batch, backend).unwrap();
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let parts = samples.chunks(batch * shape.iter().product::<usize>());
    parts.flat_map(|part| features.of(part, &mut observer).unwrap()).collect()
}

/// What a golden file says of its images: their shape, bytes, and rows of features and logits.
fn expected(file: &str) -> ([usize; 3], Vec<u8>, Vec<f32>) {
    let [x, features, logits] = ["x", "features", "logits"].map(|key| golden::load(file, key));
    let bytes = x.values.iter().map(|v| *v as u8).collect();
    let (d, k) = (features.shape[1], logits.shape[1]);
    let pairs = features.values.chunks(d).zip(logits.values.chunks(k));
    let rows = pairs.flat_map(|(features, logits)| [features, logits].concat()).collect();
    ([x.shape[1], x.shape[2], x.shape[3]], bytes, rows)
}

#[test]
fn the_classifier_agrees_with_pytorch() {
    let extractor = Extractor::open(&golden::spec("eval/classifier")).unwrap();
    assert_eq!((extractor.features(), extractor.classes()), (10, 5));
    let (shape, samples, rows) = expected("eval/classifier/golden.safetensors");
    for backend in device::backends() {
        let found = run(&extractor, shape, &samples, 2, backend);
        let error = relative_l2(&found, &rows);
        assert!(error < 1e-5, "{}: {error}", backend.name());
    }
}

#[test]
fn features_depend_on_the_sample_alone() {
    let extractor = Extractor::open("digits-classifier").unwrap();
    let byte = |i: usize| ((i * 2_654_435_761) >> 7) as u8;
    let samples: Vec<u8> = (0..90 * 1024).map(byte).collect();
    let shape = [1, 32, 32];
    for backend in device::backends() {
        let one = run(&extractor, shape, &samples, 64, backend);
        assert_eq!(one.len(), 90 * 74);
        let later = run(&extractor, shape, &samples[23 * 1024..], 64, backend);
        assert!(one[23 * 74..] == later, "{}: other neighbours, other bits", backend.name());
    }
}

#[test]
fn colours_are_read_as_their_mean() {
    let extractor = Extractor::open("digits-classifier").unwrap();
    let byte = |i: usize| ((i * 2_654_435_761) >> 7) as u8 | 1;
    let grey: Vec<u8> = (0..2 * 1024).map(byte).collect();
    let shifted = |pixels: &[u8], by: i8| -> Vec<u8> {
        pixels.iter().map(|v| v.wrapping_add_signed(if *v == 255 { 0 } else { by })).collect()
    };
    let colours = grey.chunks(1024).flat_map(|g| [shifted(g, 1), g.to_vec(), shifted(g, -1)]);
    let colours = colours.flatten().collect::<Vec<u8>>();
    let wanted = run(&extractor, [1, 32, 32], &grey, 2, &Cpu);
    assert!(run(&extractor, [3, 32, 32], &colours, 2, &Cpu) == wanted);
    assert_says(extractor.input([3, 28, 28]).map_err(|e| e.to_string()), &["[3, 28, 28]"]);
    assert_says(extractor.input([2, 32, 32]).map_err(|e| e.to_string()), &["[2, 32, 32]"]);
}

/// The Inception weights by formula, as make_eval.py has them.
fn write_inception(path: &Path) {
    let shapes = golden::json("eval/inception.json");
    let shapes = shapes.as_object().unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .iter()
        .map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            let values = hash_weights::values(name, &shape).into_iter().map(|v| {
                if name.ends_with("bn.weight") {
                    1.0 + v
                } else if name.ends_with("bn.running_var") {
                    (1.0 + 5.0 * v) / 6.0
                } else {
                    v
                }
            });
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            (name.clone(), shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn inception_agrees_with_pytorch() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("inception.safetensors");
    write_inception(&path);
    let extractor = Extractor::inception(&path).unwrap();
    assert!(extractor.canonical());
    let (shape, samples, rows) = expected("eval/inception.safetensors");
    for backend in device::backends() {
        let found = run(&extractor, shape, &samples, 1, backend);
        let error = relative_l2(&found, &rows);
        assert!(error < 2e-5, "{}: {error}", backend.name());
    }
    // Grey images are three equal channels.
    let (grey, size) = (&samples[..40 * 32], [1, 40, 32]);
    let found = run(&extractor, size, grey, 1, &Cpu);
    assert!(found == run(&extractor, shape, &grey.repeat(3), 1, &Cpu));
}

#[test]
fn what_is_no_network_of_features_is_refused() {
    let open = |spec: &str| Extractor::open(spec).map_err(|e| e.to_string());
    assert_says(open("inception"), &["--features inception", "digits-classifier", "neither"]);
    let inception = |path: &Path| Extractor::inception(path).map_err(|e| e.to_string());
    let folder = tempdir().unwrap();
    let pickle = folder.path().join("inception.pth");
    fs::write(&pickle, "x").unwrap();
    assert_says(inception(&pickle), &["inception.pth", "models/convert/inception.py", ".pth"]);
    let other = golden::path("eval/classifier/model.safetensors");
    assert_says(inception(&other), &["model.safetensors", "missing: Conv2d_1a_3x3.conv.weight"]);

    let from = golden::path("eval/classifier");
    let copy = |edit: (&str, &str)| {
        let text = fs::read_to_string(from.join("config.json")).unwrap();
        assert!(text.contains(edit.0), "{edit:?}");
        fs::write(folder.path().join("config.json"), text.replace(edit.0, edit.1)).unwrap();
        let weights = "model.safetensors";
        fs::copy(from.join(weights), folder.path().join(weights)).unwrap();
        open(folder.path().to_str().unwrap())
    };
    copy(("", "")).unwrap();
    let cases: &[((&str, &str), &[&str])] = &[
        (("ConvClassifier", "UNet2DModel"), &["_class_name", "ConvClassifier", "UNet2DModel"]),
        (("\"classes\": 5", "\"classes\": 6"), &["classes.weight", "[6, 10]", "[5, 10]"]),
        (("\"image_size\": 16", "\"image_size\": 4"), &["image_size", "3 stages", "found 4"]),
        (("\"channels\"", "\"widths\""), &["config.json: channels", "no such key"]),
    ];
    for (edit, parts) in cases {
        assert_says(copy(*edit), parts);
    }
    let extractor = Extractor::open("digits-classifier").unwrap();
    let shape = Features::compile(&extractor, [3, 28, 32], 1, &Cpu).map(drop);
    let parts = ["digits-classifier", "[1, 32, 32]", "[3, 28, 32]"];
    assert_says(shape.map_err(|e| e.to_string()), &parts);
}
