//! Weights: conversion, packing, and what is said about every kind of damaged file.

use super::says::assert_says;
use super::{golden, hash_weights};
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use unnoise::backend::{WeightSource, packed};
use unnoise::graph::{Graph, GraphBuilder, Shape};
use unnoise::model::Model;
use unnoise::program::{Pack, Param, Piece};
use unnoise::tensor::DType;
use unnoise::weights::Weights;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Parameters of [`graph`]: `fc.weight` [3, 2], `fc.bias` [3].
fn tensors() -> Tensors {
    let weight = le(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    BTreeMap::from([
        ("fc.weight".to_string(), (Dtype::F32, vec![3, 2], weight)),
        ("fc.bias".to_string(), (Dtype::F32, vec![3], le(&[0.5, 0.0, -1.0]))),
    ])
}

fn graph() -> Graph {
    let mut g = GraphBuilder::new();
    let x = g.state(Shape::Map { h: 1, w: 1, c: 2 }, 1.0, 0.0);
    let y = g.linear("fc", x, 3, true);
    g.finish(y)
}

fn serialize(tensors: &Tensors) -> Vec<u8> {
    let view = |(dtype, shape, data): &'_ (Dtype, Vec<usize>, Vec<u8>)| {
        (*dtype, shape.clone(), data.clone())
    };
    let owned: BTreeMap<&String, _> = tensors.iter().map(|(k, t)| (k, view(t))).collect();
    let views = owned.iter().map(|(k, (dtype, shape, data))| {
        (k, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// Opens and checks a file of these bytes.
fn open(bytes: &[u8]) -> Result<Weights, String> {
    let (_dir, path) = file(bytes);
    open_path(&path)
}

fn open_path(path: &Path) -> Result<Weights, String> {
    let weights = Weights::open(path).map_err(|e| e.to_string())?;
    weights.check(&graph()).map_err(|e| e.to_string())?;
    Ok(weights)
}

fn piece(name: &str, shape: &[usize], pack: Pack, at: usize) -> Piece {
    Piece { param: Param::new(name, shape), left: None, pack, at }
}

/// Opens and checks the small model after `edit`.
fn edited(edit: impl FnOnce(&mut Tensors)) -> Result<Weights, String> {
    let mut t = tensors();
    edit(&mut t);
    open(&serialize(&t))
}

#[test]
fn packs_a_linear_layer_k_major_and_padded() {
    let weights = edited(|_| ()).unwrap();
    let weight = piece("fc.weight", &[3, 2], Pack::Linear, 0);
    let matrix = packed(&weights, std::slice::from_ref(&weight), 4, 8, DType::F32).unwrap();
    assert_eq!(floats(&matrix), [1.0, 3.0, 5.0, 0.0, 2.0, 4.0, 6.0, 0.0]);
    let bias = piece("fc.bias", &[3], Pack::Flat, 0);
    let bias = packed(&weights, &[bias], 1, 3, DType::F32).unwrap();
    assert_eq!(floats(&bias), [0.5, 0.0, -1.0]);
}

#[test]
fn joins_parameters_side_by_side_and_adds_those_in_one_place() {
    let weights = edited(|_| ()).unwrap();
    let weight = |at| piece("fc.weight", &[3, 2], Pack::Linear, at);
    let matrix = packed(&weights, &[weight(0), weight(3)], 8, 16, DType::F32).unwrap();
    let rows = [[1.0, 3.0, 5.0, 1.0, 3.0, 5.0, 0.0, 0.0], [2.0, 4.0, 6.0, 2.0, 4.0, 6.0, 0.0, 0.0]];
    assert_eq!(floats(&matrix), rows.concat());
    let bias = |at| piece("fc.bias", &[3], Pack::Flat, at);
    let vectors = packed(&weights, &[bias(0), bias(2), bias(2)], 1, 5, DType::F32).unwrap();
    assert_eq!(floats(&vectors), [0.5, 0.0, 0.0, 0.0, -2.0]);
    let beyond = packed(&weights, &[bias(3)], 1, 5, DType::F32);
    assert_says(beyond.map_err(|e| e.to_string()), &["fc.bias", "ends at 5", "6"]);
}

#[test]
fn packs_a_convolution_tap_by_tap() {
    // [out 2, in 2, 1, 3 taps]: value = 100 out + 10 in + tap.
    let value = |o: usize, c: usize, tap: usize| (100 * o + 10 * c + tap) as f32;
    let index = (0..12).map(|i| (i / 6, i / 3 % 2, i % 3));
    let values: Vec<f32> = index.map(|(o, c, t)| value(o, c, t)).collect();
    struct One(Vec<f32>);
    impl WeightSource for One {
        fn values(&self, _: &str, _: &[usize]) -> unnoise::error::Result<Vec<f32>> {
            Ok(self.0.clone())
        }
    }
    let conv = piece("conv", &[2, 2, 1, 3], Pack::Conv, 0);
    let bytes = packed(&One(values), &[conv], 4, 24, DType::F32).unwrap();
    let expected: Vec<f32> = (0..3)
        .flat_map(|t| (0..2).flat_map(move |c| [value(0, c, t), value(1, c, t), 0.0, 0.0]))
        .collect();
    assert_eq!(floats(&bytes), expected);
}

#[test]
fn stores_f16_and_refuses_what_it_cannot_hold() {
    let weights = edited(|_| ()).unwrap();
    let bias = [piece("fc.bias", &[3], Pack::Flat, 0)];
    let halves = packed(&weights, &bias, 1, 3, DType::F16).unwrap();
    let expected: Vec<u8> =
        [0.5, 0.0, -1.0].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    assert_eq!(halves, expected);
    let large = edited(|t| t.get_mut("fc.bias").unwrap().2 = le(&[0.0, 1e6, 0.0])).unwrap();
    let refused = packed(&large, &bias, 1, 3, DType::F16);
    let parts = ["fc.bias", "65504", "1000000", "--precision f32"];
    assert_says(refused.map_err(|e| e.to_string()), &parts);
}

#[test]
fn reads_every_float_type() {
    let values = [0.5_f32, 0.0, -1.0];
    let encodings: [(Dtype, Vec<u8>); 3] = [
        (Dtype::F16, values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()),
        (Dtype::BF16, values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()),
        (Dtype::F64, values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect()),
    ];
    for (dtype, bytes) in encodings {
        let bias = (dtype, vec![3], bytes);
        let weights = edited(|t| drop(t.insert("fc.bias".into(), bias))).unwrap();
        assert_eq!(weights.values("fc.bias", &[3]).unwrap(), values, "{dtype}");
    }
}

#[test]
fn old_names_and_one_by_one_convolutions_stand_for_linear_layers() {
    let mut g = GraphBuilder::new();
    let x = g.state(Shape::Map { h: 1, w: 1, c: 2 }, 1.0, 0.0);
    let y = g.linear("attentions.0.to_out.0", x, 3, true);
    let graph = g.finish(y);
    let mut t = tensors();
    for (now, old) in [("fc.weight", "weight"), ("fc.bias", "bias")] {
        let tensor = t.remove(now).unwrap();
        t.insert(format!("attentions.0.proj_attn.{old}"), tensor);
    }
    t.get_mut("attentions.0.proj_attn.weight").unwrap().1 = vec![3, 2, 1, 1];
    let (_dir, path) = file(&serialize(&t));
    let weights = Weights::open(&path).unwrap();
    weights.check(&graph).unwrap();
    let values = weights.values("attentions.0.to_out.0.weight", &[3, 2]).unwrap();
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // A 3x3 convolution is no matrix.
    assert!(weights.values("attentions.0.to_out.0.weight", &[3, 2, 3, 3]).is_err());
}

#[test]
fn a_renamed_checkpoint_is_the_one_it_was() {
    let model = Model::open(&golden::spec("network/old-names")).unwrap();
    let weights = model.weights().unwrap();
    assert!(weights.tensors().any(|(name, _)| name == "mid_block.attentions.0.query.weight"));
    weights.values("mid_block.attentions.0.to_q.weight", &[8, 8]).unwrap();
}

#[test]
fn missing_tensors_are_named_and_counted() {
    let parts = ["w.safetensors", "2 missing: fc.weight, fc.bias", "do not belong together"];
    assert_says(edited(BTreeMap::clear), &parts);
    assert_says(edited(|t| drop(t.remove("fc.bias"))), &["1 missing: fc.bias"]);
    let digits = Model::open("digits").unwrap();
    let (_dir, path) = file(&serialize(&tensors()));
    let wrong_model = Weights::open(&path).unwrap().check(&digits.graph);
    assert_says(wrong_model.map_err(|e| e.to_string()), &["missing: ", ", ..."]);
}

#[test]
fn extra_tensors_are_named() {
    let add =
        |t: &mut Tensors| drop(t.insert("ema.decay".into(), (Dtype::F32, vec![1], le(&[1.0]))));
    assert_says(edited(add), &["only the tensors", "1 more: ema.decay"]);
}

#[test]
fn a_wrong_shape_says_both() {
    let transpose = |t: &mut Tensors| t.get_mut("fc.weight").unwrap().1 = vec![2, 3];
    assert_says(edited(transpose), &["fc.weight", "expected shape [3, 2]", "found [2, 3]"]);
}

#[test]
fn integers_are_refused() {
    let integers = |t: &mut Tensors| t.get_mut("fc.bias").unwrap().0 = Dtype::I32;
    assert_says(edited(integers), &["fc.bias", "F32, F16, BF16 or F64", "found I32"]);
}

#[test]
fn values_that_are_no_numbers_are_located() {
    for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let spoil = |t: &mut Tensors| t.get_mut("fc.bias").unwrap().2 = le(&[0.0, 0.0, bad]);
        assert_says(edited(spoil), &["fc.bias", "finite", &format!("found {name} at index 2")]);
    }
}

#[test]
fn damaged_files_say_what_is_wrong() {
    let good = serialize(&tensors());
    let cut = &good[..good.len() - 4];
    let sizes = [format!("expected {} bytes", good.len()), format!("{} bytes in all", cut.len())];
    assert_says(open(cut), &["w.safetensors", &sizes[0], &sizes[1], "fetch or convert"]);
    assert_says(open(&[]), &["a safetensors file", "0 bytes in all"]);
    assert_says(open(&good[..5]), &["8 bytes and more", "5 bytes in all"]);
    assert_says(open(&good[..20]), &["header of", "20 bytes in all"]);
    let mut oversized = good.clone();
    oversized[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_says(open(&oversized), &["at most 100000000 bytes", "18446744073709551615"]);
    let mut beyond = good.clone();
    beyond[..8].copy_from_slice(&50_000_000_u64.to_le_bytes());
    assert_says(open(&beyond), &["header of 50000000 bytes"]);
    assert_says(open(&[b"\x08\0\0\0\0\0\0\0", b"not json".as_slice()].concat()), &["invalid JSON"]);
    assert_says(open(&[b"\x02\0\0\0\0\0\0\0", b"\xff\xff".as_slice()].concat()), &["UTF-8"]);
    let longer = [good.as_slice(), b"more"].concat();
    assert_says(open(&longer), &[&sizes[0], &format!("{} bytes in all", longer.len())]);
    assert_says(open(&[b'x'; 200]), &["a safetensors header", "at most"]);
}

/// A file of this header and so many bytes of data.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn a_tensor_that_contradicts_itself_is_named() {
    for (dtype, shape, offsets, expected, found) in [
        ("\"BOOL\"", "[3]", "[4, 16]", "3 bytes of data, as BOOL of", "[4,16]"),
        ("\"I64\"", "[3]", "[4, 16]", "24 bytes of data, as I64 of shape [3]", "[4,16]"),
        ("\"F32\"", "[]", "[4, 16]", "4 bytes of data, as F32 of shape []", "[4,16]"),
        ("\"F32\"", "[0, 3]", "[4, 16]", "0 bytes of data", "[4,16]"),
        ("\"F32\"", "[3]", "[4, 900000000000]", "12 bytes", "[4,900000000000]"),
        ("\"F32\"", "[3]", "[16, 4]", "12 bytes of data", "[16,4]"),
        ("\"F32\"", "[3]", "[0, 12]", "data from byte 4 on", "data_offsets [0,12]"),
        ("\"F32\"", "[3]", "[8, 20]", "data from byte 4 on", "data_offsets [8,20]"),
        ("\"F32\"", "[4294967296, 4294967296]", "[4, 16]", "fewer than 2^61", "shape [42949"),
        ("\"F31\"", "[3]", "[4, 16]", "one of the format's types", "dtype \"F31\""),
        ("32", "[3]", "[4, 16]", "one of the format's types", "dtype 32"),
        ("\"F32\"", "[-3]", "[4, 16]", "a list of lengths", "shape [-3]"),
        ("\"F32\"", "[3]", "[4]", "the first byte of its data", "data_offsets [4]"),
        ("\"F32\"", "[3]", "null", "the first byte of its data", "data_offsets null"),
    ] {
        let header = format!(
            r#"{{"__metadata__": {{"format": "pt"}},
                "a.bias": {{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
                "z.bias": {{"dtype": {dtype}, "shape": {shape}, "data_offsets": {offsets}}}}}"#
        );
        let error = open(&with_header(&header, 12));
        let parts = ["w.safetensors: z.bias: expected", expected, found, "fetch or convert"];
        assert_says(error, &parts);
    }
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let error = open_path(Path::new("/no/such/w.safetensors"));
    assert_says(error, &["/no/such/w.safetensors", "cannot open"]);
}

#[test]
fn shards_join_into_one_model() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("m.safetensors.index.json");
    let all = tensors();
    for (i, (key, tensor)) in all.iter().enumerate() {
        let one = BTreeMap::from([(key.clone(), tensor.clone())]);
        fs::write(dir.path().join(format!("m-{i}.safetensors")), serialize(&one)).unwrap();
    }
    let write = |text: &str| fs::write(&index, text).unwrap();
    write(r#"{"weight_map": {"fc.bias": "m-0.safetensors", "fc.weight": "m-1.safetensors"}}"#);
    let weights = open_path(&index).unwrap();
    assert_eq!(weights.values("fc.bias", &[3]).unwrap(), [0.5, 0.0, -1.0]);

    write(r#"{"weight_map": {"fc.bias": "m-0.safetensors"}}"#);
    assert_says(open_path(&index), &["index.json", "1 missing: fc.weight"]);
    write(r#"{"weight_map": {"fc.bias": "m-7.safetensors"}}"#);
    assert_says(open_path(&index), &["index.json", "m-7.safetensors"]);
    write(r#"{"weight_map": {"fc.bias": "../m-0.safetensors"}}"#);
    assert_says(open_path(&index), &["weight_map", "../m-0.safetensors"]);
    for text in ["", "{}", r#"{"weight_map": {}}"#, r#"{"weight_map": {"a": 1}}"#] {
        write(text);
        assert_says(open_path(&index), &["index.json", "weight_map", "something else"]);
    }
    fs::copy(dir.path().join("m-0.safetensors"), dir.path().join("m-2.safetensors")).unwrap();
    write(r#"{"weight_map": {"fc.bias": "m-0.safetensors", "x": "m-2.safetensors"}}"#);
    assert_says(open_path(&index), &["m-2.safetensors: fc.bias", "no other shard"]);
}

#[test]
fn formula_weights_fill_every_parameter() {
    let model = Model::open("ddpm-cifar10").unwrap();
    let conv = model.graph.params.iter().find(|p| p.name == "conv_out.weight").unwrap();
    let source = hash_weights::HashWeights;
    // [3, 128, 3, 3] with three outputs padded to four.
    let conv = piece(&conv.name, &conv.shape, Pack::Conv, 0);
    let matrix = packed(&source, &[conv], 4, 9 * 128 * 4, DType::F32).unwrap();
    let bound = 1.0 / (128.0 * 9.0_f32).sqrt();
    let values = floats(&matrix);
    assert!(values.iter().all(|v| v.abs() <= bound));
    assert!(values.chunks_exact(4).all(|out| out[3] == 0.0 && out[0] != 0.0));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = serialize(&tensors());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        if let Ok(weights) = open(&bytes) {
            prop_assert_eq!(weights.tensors().count(), 2);
        }
    }

    #[test]
    fn no_header_makes_it_panic(
        header in "[\\{\\}\\[\\]\":,0-9a-zA-Z_ -]{0,80}",
        tail in 0usize..16,
    ) {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + tail, 0);
        prop_assert!(open(&bytes).is_err());
    }
}
