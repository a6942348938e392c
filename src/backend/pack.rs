//! Lays parameters out for their kernel, see [`Pack`].

use super::WeightSource;
use crate::error::{Error, Result};
use crate::program::{Pack, Piece};
use crate::tensor::DType;
use half::f16;

/// The bytes of a slot of `len` elements: `pieces` of `weights` laid out as each says, added into a
/// matrix with rows of `width` elements that starts as zeros, and stored as `dtype` (little
/// endian).
///
/// # Errors
/// `Error::Invalid` if a parameter is absent, a value is beyond what f16 holds, or a shape is not
/// one that its packing takes.
pub fn packed(
    weights: &dyn WeightSource,
    pieces: &[Piece],
    width: usize,
    len: usize,
    dtype: DType,
) -> Result<Vec<u8>> {
    let mut matrix = vec![0.0; len];
    for piece in pieces {
        let values = weights.values(&piece.name, &piece.shape)?;
        add(piece, &values, width, &mut matrix)?;
    }
    let name = pieces.first().map_or("", |p| &p.name);
    match dtype {
        DType::F32 => Ok(bytemuck::cast_slice(&matrix).to_vec()),
        DType::F16 => {
            let halves: Vec<f16> = matrix.iter().map(|v| f16::from_f32(*v)).collect();
            match halves.iter().position(|h| h.is_infinite()) {
                None => Ok(bytemuck::cast_slice(&halves).to_vec()),
                Some(i) => Err(Error::invalid(
                    name,
                    format!("values up to {} for f16 storage", f16::MAX),
                    matrix[i].to_string(),
                    "use --precision f32",
                )),
            }
        }
        DType::U32 => Err(unfit(name, "a floating-point storage type", dtype.to_string())),
    }
}

/// Adds a piece to the matrix.
fn add(piece: &Piece, values: &[f32], width: usize, matrix: &mut [f32]) -> Result<()> {
    let (out, cin, taps) = match (piece.pack, piece.shape.as_slice()) {
        (Pack::Flat, _) => (1, values.len(), 1),
        (Pack::Linear, &[out, ..]) => (out, values.len() / out.max(1), 1),
        (Pack::Conv, &[out, cin, kh, kw]) => (out, cin, kh * kw),
        (pack, shape) => {
            let expected = "a shape that its packing takes";
            return Err(unfit(&piece.name, expected, format!("{pack:?} of {shape:?}")));
        }
    };
    let width = if piece.pack == Pack::Flat { 1 } else { width };
    let end = piece.at + (taps * cin).saturating_sub(1) * width + out;
    if values.len() != out * cin * taps || (end > matrix.len() && !values.is_empty()) {
        let expected = format!("a piece that ends at {} or before", matrix.len());
        return Err(unfit(&piece.name, &expected, end.to_string()));
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
