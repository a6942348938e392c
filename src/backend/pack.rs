//! Lays parameters out for their kernel, see [`Pack`].

use super::WeightSource;
use crate::error::{Error, Result};
use crate::program::{Pack, Param, Piece};
use crate::tensor::DType;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use rayon::prelude::*;

/// The bytes of a slot of `len` elements: `pieces` of `weights` laid out as each says, added into a
/// matrix with rows of `width` elements that starts as zeros, and stored as `dtype` (little
/// endian).
///
/// # Errors
/// `Error::Invalid` if a parameter is absent, a value is beyond what f16 holds, or a shape is not
/// one that its packing or its product takes.
pub fn packed(
    weights: &dyn WeightSource,
    pieces: &[Piece],
    width: usize,
    len: usize,
    dtype: DType,
) -> Result<Vec<u8>> {
    let mut matrix = vec![0.0; len];
    for piece in pieces {
        let values = read(weights, &piece.param)?;
        match &piece.left {
            None => add(piece, &piece.param.shape, &values, width, &mut matrix)?,
            Some(left) => {
                let (shape, values) = product(left, weights, piece, &values)?;
                add(piece, &shape, &values, width, &mut matrix)?;
            }
        }
    }
    match dtype {
        DType::F32 => Ok(bytemuck::cast_slice(&matrix).to_vec()),
        DType::F16 | DType::BF16 => halves(&matrix, dtype)
            .or_else(|at| too_large(weights, pieces, width, &matrix, at, dtype)),
        DType::U32 => {
            let name = pieces.first().map_or("", |p| &p.param.name);
            Err(unfit(name, "a floating-point storage type", dtype.to_string()))
        }
    }
}

/// The bytes of values stored as halves, f16 or bf16; the position of the first that is too large.
pub(super) fn halves(values: &[f32], dtype: DType) -> Result<Vec<u8>, usize> {
    let mut bits = vec![0_u16; values.len()];
    let infinity = match dtype {
        DType::F16 => {
            bits.reinterpret_cast_mut::<f16>().convert_from_f32_slice(values);
            f16::INFINITY.to_bits()
        }
        _ => {
            bits.reinterpret_cast_mut::<bf16>().convert_from_f32_slice(values);
            bf16::INFINITY.to_bits()
        }
    };
    match bits.iter().position(|half| half & 0x7fff == infinity) {
        Some(at) => Err(at),
        None => Ok(bytemuck::cast_slice(&bits).to_vec()),
    }
}

/// The values of a parameter, wherever they lie in a tensor.
fn read(weights: &dyn WeightSource, param: &Param) -> Result<Vec<f32>> {
    let tensor = param.tensor().map(|shape| weights.values(&param.name, &shape)).transpose()?;
    Ok(param.of(tensor.unwrap_or_default()))
}

/// The matrix `left` times the `values` of a piece, and the product's shape. Sums are made in f64
/// and rounded once.
fn product(
    left: &Param,
    weights: &dyn WeightSource,
    piece: &Piece,
    values: &[f32],
) -> Result<(Vec<usize>, Vec<f32>)> {
    let (mid, rest) = piece.param.shape.split_first().unwrap_or((&0, &[]));
    let columns = values.len() / (*mid).max(1);
    let out = match left.shape[..] {
        [out, columns_of_left] if columns_of_left == *mid && columns > 0 => out,
        _ => {
            let expected = format!("a matrix of {mid} columns");
            return Err(unfit(&left.name, &expected, format!("{:?}", left.shape)));
        }
    };
    let factors = read(weights, left)?;
    let values: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
    let row = |factors: &[f32]| {
        let mut sums = vec![0.0; columns];
        for (factor, row) in factors.iter().zip(values.chunks_exact(columns)) {
            let factor = f64::from(*factor);
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += factor * v);
        }
        sums.into_iter().map(|sum| sum as f32).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<f32>> = factors.par_chunks_exact(*mid).map(row).collect();
    Ok(([&[out], rest].concat(), rows.concat()))
}

/// The error of a value at element `at` that `dtype` cannot hold: of one piece, if one alone is too
/// large, else of all.
fn too_large(
    weights: &dyn WeightSource,
    pieces: &[Piece],
    width: usize,
    matrix: &[f32],
    at: usize,
    dtype: DType,
) -> Result<Vec<u8>> {
    if pieces.len() > 1 {
        for piece in pieces {
            packed(weights, std::slice::from_ref(piece), width, matrix.len(), dtype)?;
        }
    }
    let name = |piece: &Piece| match &piece.left {
        None => piece.param.name.clone(),
        Some(left) => format!("{} times {}", left.name, piece.param.name),
    };
    let most = if dtype == DType::F16 { f16::MAX.to_f32() } else { bf16::MAX.to_f32() };
    let expected = format!("values up to {most} for {dtype} storage");
    let names = pieces.iter().map(name).collect::<Vec<_>>().join(", ");
    Err(Error::invalid(names, expected, matrix[at].to_string(), "use --precision f32"))
}

/// Adds a piece, whose values have this `shape`, to the matrix.
fn add(
    piece: &Piece,
    shape: &[usize],
    values: &[f32],
    width: usize,
    matrix: &mut [f32],
) -> Result<()> {
    let (out, cin, taps) = match (piece.pack, shape) {
        (Pack::Flat, _) => (1, values.len(), 1),
        (Pack::Linear, &[out, ..]) => (out, values.len() / out.max(1), 1),
        (Pack::Conv, &[out, cin, kh, kw]) => (out, cin, kh * kw),
        (pack, shape) => {
            let expected = "a shape that its packing takes";
            return Err(unfit(&piece.param.name, expected, format!("{pack:?} of {shape:?}")));
        }
    };
    let width = if piece.pack == Pack::Flat { 1 } else { width };
    let end = piece.at + (taps * cin).saturating_sub(1) * width + out;
    if values.len() != out * cin * taps || (end > matrix.len() && !values.is_empty()) {
        let expected = format!("a piece that ends at {} or before", matrix.len());
        return Err(unfit(&piece.param.name, &expected, end.to_string()));
    }
    // `[out, in, taps]` to `[taps][in][out]`.
    for (o, filter) in values.chunks_exact((cin * taps).max(1)).enumerate() {
        for (i, &value) in filter.iter().enumerate() {
            let (c, tap) = (i / taps, i % taps);
            matrix[piece.at + (tap * cin + c) * width + o] += value;
        }
    }
    Ok(())
}

fn unfit(name: &str, expected: &str, found: String) -> Error {
    Error::invalid(name, expected, found, "this is an error in the model's builder")
}
