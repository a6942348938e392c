//! What is asked of the files of EDM's networks, and what is refused.

use super::edm::{HASHED, open, tiny};
use super::says::assert_says;
use super::{golden, hash_weights};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

/// The folder of a tiny model with keys of its config.json replaced, null to remove one.
fn edited(name: &str, edits: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = golden::path("edm").join(name);
    let text = fs::read_to_string(from.join("config.json")).unwrap();
    let mut config: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    for (key, value) in edits.as_object().unwrap() {
        match value {
            Value::Null => config.remove(key),
            value => config.insert(key.clone(), value.clone()),
        };
    }
    fs::write(dir.path().join("config.json"), json!(config).to_string()).unwrap();
    dir
}

#[test]
fn malformed_configurations_are_refused() {
    for (edits, parts) in [
        (json!({"model_type": "UNet"}), &["config.json: model_type", "SongUNet, DhariwalUNet"][..]),
        (json!({"img_resolution": null}), &["img_resolution", "whole number", "no such key"]),
        (json!({"img_resolution": 9}), &["img_resolution", "a multiple of 2", "9"]),
        (json!({"img_channels": 0}), &["img_channels", "from 1", "0"]),
        (json!({"label_dim": -1}), &["label_dim", "-1"]),
        (json!({"channel_mult": []}), &["channel_mult", "1 to 12 integers", "[]"]),
        (json!({"channel_mult": [1, 0]}), &["channel_mult", "[1,0]"]),
        (json!({"attn_resolutions": 4}), &["attn_resolutions", "a list", "4"]),
        (json!({"num_blocks": 65}), &["num_blocks", "0 to 64", "65"]),
        (json!({"model_channels": 7}), &["model_channels", "an even number", "7"]),
        (json!({"model_channels": 2}), &["model_channels", "from 4 on", "2"]),
        (json!({"model_channels": 18}), &["its 18 channels", "divided by 4 groups"]),
        (json!({"embedding_type": "sine"}), &["embedding_type", "positional, fourier"]),
        (json!({"encoder_type": "both"}), &["encoder_type", "standard, skip, residual"]),
        (json!({"decoder_type": "residual"}), &["decoder_type", "standard, skip"]),
        (json!({"resample_filter": [1, 2, 1]}), &["resample_filter", "an even number"]),
        (json!({"resample_filter": [1, -1]}), &["resample_filter", "with a sum"]),
        (json!({"sigma_data": 0}), &["sigma_data", "a number above 0"]),
        (json!({"sigma_min": 2, "sigma_max": 1}), &["sigma_max", "above sigma_min (2)"]),
        (json!({"beta_d": 19.9}), &["beta_d", "only the keys", "sigma_data"]),
        (json!({"_class_name": "VPPrecond", "sigma_data": null, "M": 1}), &["M", "from 2"]),
    ] {
        let dir = edited("ddpmpp-edm", &edits);
        let mut expected = vec!["config.json"];
        if edits.get("model_channels") == Some(&json!(18)) {
            expected.clear();
        }
        expected.extend(parts);
        assert_says(open(dir.path()).map(|_| ()), &expected);
    }
    // What only the other network has.
    let dir = edited("adm-edm", &json!({"encoder_type": "skip"}));
    assert_says(open(dir.path()).map(|_| ()), &["encoder_type", "only the keys"]);
    // A head must have as many channels as any other.
    let dir = edited("adm-edm", &json!({"model_channels": 200}));
    assert_says(open(dir.path()).map(|_| ()), &["model_channels", "3 heads divide", "200"]);
}

/// Opens `ncsnpp-edm` with one tensor changed by `change` (None removes it), and its weights.
fn with_tensor(key: &str, change: impl Fn(&[usize]) -> Option<Vec<usize>>) -> Result<(), String> {
    let dir = edited("ncsnpp-edm", &json!({}));
    let bytes = fs::read(golden::path("edm/ncsnpp-edm/model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut kept = Vec::new();
    for (name, view) in tensors.tensors() {
        let shape = match name == key {
            true => change(view.shape()),
            false => Some(view.shape().to_vec()),
        };
        let Some(shape) = shape else { continue };
        let mut data = view.data().to_vec();
        data.resize(4 * shape.iter().product::<usize>(), 0);
        if name == key {
            // What the values were does not matter.
            data.fill(0x3e);
        }
        kept.push((name, shape, data));
    }
    let views = kept.iter().map(|(name, shape, data)| {
        let dtype = safetensors::Dtype::F32;
        (name, safetensors::tensor::TensorView::new(dtype, shape.clone(), data).unwrap())
    });
    let path = dir.path().join("diffusion_pytorch_model.safetensors");
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    let model = open(dir.path())?;
    model.weights().map(|_| ()).map_err(|e| e.to_string())
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let same = |shape: &[usize]| Some(shape.to_vec());
    assert!(with_tensor("model.enc.8x8_conv.weight", same).is_ok());
    // Of three parts of one tensor the message speaks once.
    let qkv = "model.enc.4x4_block0.qkv.weight";
    assert_says(with_tensor(qkv, |_| None), &["1 missing", qkv]);
    let halved = |shape: &[usize]| Some(vec![shape[0] / 2, shape[1], 1, 1]);
    assert_says(with_tensor(qkv, halved), &[qkv, "expected shape [48, 16]", "[24, 16, 1, 1]"]);
    // A convolution with a filter behind it is stored without.
    let residual = "model.enc.4x4_aux_residual.weight";
    let larger = |shape: &[usize]| Some(vec![shape[0], shape[1], 6, 6]);
    assert_says(with_tensor(residual, larger), &[residual, "expected shape [8, 3, 3, 3]"]);
    let freqs = "model.map_noise.freqs";
    assert_says(with_tensor(freqs, |_| None), &["1 missing", freqs]);
    // A filter that is not config.json's; a file may do without it.
    let filter = "model.dec.8x8_up.conv0.resample_filter";
    assert_says(with_tensor(filter, same), &[filter, "0.015625 at index 0", "as config.json"]);
    assert!(with_tensor(filter, |_| None).is_ok());
}

/// iDDPM's checkpoints hold the noise levels of the training beside the network.
#[test]
fn noise_levels_of_a_checkpoint_are_not_read() {
    let dir = edited("adm-iddpm", &json!({}));
    let model = open(dir.path()).unwrap();
    let mut tensors: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for param in &model.graph.params {
        tensors.extend(param.tensor().map(|shape| (param.name.clone(), shape)));
    }
    let save = |tensors: &BTreeMap<String, Vec<usize>>| {
        let bytes: Vec<Vec<u8>> =
            tensors.values().map(|shape| vec![0; 4 * shape.iter().product::<usize>()]).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
            let dtype = safetensors::Dtype::F32;
            (name, safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
        });
        let path = dir.path().join("diffusion_pytorch_model.safetensors");
        fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        model.weights().map(|_| ()).map_err(|e| e.to_string())
    };
    save(&tensors).unwrap();
    tensors.insert("u".into(), vec![801]);
    save(&tensors).unwrap();
    tensors.insert("u".into(), vec![7]);
    assert_says(save(&tensors), &["u: expected shape [801]", "[7]"]);
}

/// Hash weights stand for whole tensors: the golden file's network had them under its own names.
#[test]
fn parts_are_of_whole_tensors() {
    let (model, _) = tiny(HASHED);
    let qkv: Vec<_> =
        model.graph.params.iter().filter(|p| p.name == "model.dec.2x2_in0.qkv.bias").collect();
    assert_eq!(qkv.len(), 3);
    let all = hash_weights::values(&qkv[0].name, &qkv[0].tensor().unwrap());
    for (part, param) in qkv.iter().enumerate() {
        let expected: Vec<f32> = all.iter().skip(part).step_by(3).copied().collect();
        assert_eq!(param.of(all.clone()), expected);
    }
}

/// Zeros stand for no class: they are one class more, to guide away from.
#[test]
fn a_class_for_none_is_there() {
    let (model, _) = tiny("ddpmpp-edm");
    assert_eq!((model.classes, model.settings.null_class), (Some(6), Some(5)));
    let (model, _) = tiny("ncsnpp-edm");
    assert_eq!((model.classes, model.settings.null_class), (None, None));
}
