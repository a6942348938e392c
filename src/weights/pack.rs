//! Lays a parameter out for its kernel, see [`Pack`].

use crate::error::{Error, Result};
use crate::program::Pack;
use crate::tensor::DType;
use half::f16;

/// Outputs are padded with zeros to a multiple of this, so that kernels load whole vectors.
const OUT_ALIGN: usize = 4;

/// The bytes of parameter `name` with `values` of checkpoint `shape`, laid out as `pack` says and
/// stored as `dtype` (little endian).
///
/// Fails if a value is beyond what f16 holds, or the shape is not one that `pack` takes.
pub fn packed(
    name: &str,
    values: &[f32],
    shape: &[usize],
    pack: Pack,
    dtype: DType,
) -> Result<Vec<u8>> {
    let unfit = |expected: &str, found: String| {
        Err(Error::invalid(name, expected, found, "this is an error in the model's builder"))
    };
    let laid_out = match (pack, shape) {
        (Pack::Flat, _) => std::borrow::Cow::Borrowed(values),
        (Pack::Linear, &[out, ..]) => k_major(values, out, values.len() / out.max(1), 1).into(),
        (Pack::Conv, &[out, cin, kh, kw]) => k_major(values, out, cin, kh * kw).into(),
        _ => return unfit("a shape that its packing takes", format!("{pack:?} of {shape:?}")),
    };
    match dtype {
        DType::F32 => Ok(laid_out.iter().flat_map(|v| v.to_le_bytes()).collect()),
        DType::F16 => {
            let halves = laid_out.iter().map(|v| f16::from_f32(*v));
            if let Some(i) = halves.clone().position(f16::is_infinite) {
                return Err(Error::invalid(
                    name,
                    format!("values up to {} for f16 storage", f16::MAX),
                    laid_out[i].to_string(),
                    "use --precision f32",
                ));
            }
            Ok(halves.flat_map(f16::to_le_bytes).collect())
        }
        DType::U32 => unfit("a floating-point storage type", dtype.to_string()),
    }
}

/// `[out, in, taps]` to `[taps][in][out_padded]`.
fn k_major(values: &[f32], out: usize, cin: usize, taps: usize) -> Vec<f32> {
    let padded = out.next_multiple_of(OUT_ALIGN);
    let mut packed = vec![0.0; taps * cin * padded];
    for (o, filter) in values.chunks_exact((cin * taps).max(1)).enumerate() {
        for (i, &value) in filter.iter().enumerate() {
            let (c, tap) = (i / taps, i % taps);
            packed[(tap * cin + c) * padded + o] = value;
        }
    }
    packed
}
