//! Reads golden vectors, see tests/golden/make_network.py and make_trajectories.py.

use safetensors::SafeTensors;
use std::path::PathBuf;

/// A tensor of a golden file.
#[derive(Clone, Debug)]
pub struct Golden {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The folder of the package: where cargo says when it runs the tests, and not where they were
/// built, as they may be run on another machine.
pub fn root() -> PathBuf {
    let told = std::env::var_os("CARGO_MANIFEST_DIR");
    told.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// `tests/golden/<path>`.
pub fn path(path: &str) -> PathBuf {
    root().join("tests/golden").join(path)
}

/// The same as text, as [`unnoise::model::Model::open`] takes it.
pub fn spec(name: &str) -> String {
    path(name).display().to_string()
}

/// Tensor `key` of `tests/golden/<file>`; None if the file does not have it.
pub fn maybe(file: &str, key: &str) -> Option<Golden> {
    let bytes = std::fs::read(path(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let tensors = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{file}: {e}"));
    let view = tensors.tensor(key).ok()?;
    assert_eq!(view.dtype(), safetensors::Dtype::F32, "{file}: {key}");
    let (chunks, rest) = view.data().as_chunks::<4>();
    assert!(rest.is_empty());
    let values = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Some(Golden { shape: view.shape().to_vec(), values })
}

/// Tensor `key` of `tests/golden/<file>`.
pub fn load(file: &str, key: &str) -> Golden {
    maybe(file, key).unwrap_or_else(|| panic!("{file} has no {key}"))
}

/// A JSON file of `tests/golden`.
pub fn json(file: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(path(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The tiny models of make_network.py that have a folder of their own.
pub const TINY: &[&str] = &[
    "class-table",
    "scale-shift",
    "resnet-resampling",
    "attn-resnet-both",
    "resnet-blocks",
    "class-number",
    "no-mid",
    "one-block",
    "old-names",
];
