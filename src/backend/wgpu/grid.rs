//! How many workgroups a launch needs.

use super::reflect::Kernel;
use crate::backend::source::Variant;
use crate::error::Result;
use crate::ops::{Call, Part, conv2d, resample};

/// Workgroups in x and y of one dispatch of `call`, at most `most` in a dimension. A long grid is
/// folded, so that `x * y` may pass the number of workgroups; kernels leave when theirs lies past
/// the end.
pub fn grid(call: &Call, variant: &Variant, kernel: &Kernel, most: u32) -> Result<[u32; 2]> {
    let splits = match (variant.part, variant.tile) {
        (Part::Partial, Some(tile)) => tile.splits as u64,
        _ => 1,
    };
    let workgroups = (workgroups(call, kernel)? * splits).max(1);
    let y = workgroups.div_ceil(most as u64);
    Ok([workgroups.div_ceil(y) as u32, y as u32])
}

fn workgroups(call: &Call, kernel: &Kernel) -> Result<u64> {
    let items = match call {
        Call::Linear(p) => {
            // A tile holds rows of one sample where samples matter.
            let (samples, rows) = (p.m / p.sample_rows(), p.sample_rows());
            return Ok(samples as u64 * tiles(kernel, rows as u64, p.n)?);
        }
        Call::Conv2d(p) => return pictures(kernel, p),
        Call::ConvStep(p) => return pictures(kernel, &p.conv),
        Call::Attention(p) => {
            let queries = kernel.constant("TILE_M")? * kernel.constant("BLOCKS")?;
            return Ok(p.n as u64 * p.heads as u64 * p.tq.div_ceil(queries) as u64);
        }
        Call::Control(p) => return Ok(if p.batch != 0 { 1 } else { p.b as u64 }),
        Call::GroupNorm(p) => return Ok(p.n as u64 * p.groups as u64),
        Call::Activation(p) => vectors(kernel, [p.n, 1, p.c])?,
        Call::Add(p) => vectors(kernel, [p.n, p.hw, p.c])?,
        Call::Concat(p) => vectors(kernel, [p.n, 1, p.ca + p.cb])?,
        Call::Embedding(p) => vectors(kernel, [p.n, 1, p.c])?,
        Call::Geglu(p) => vectors(kernel, [p.n, 1, p.c])?,
        Call::ScaleShift(p) => vectors(kernel, [p.n, p.hw, p.c])?,
        Call::Resample(p) if p.mode == resample::Mode::Down as u32 => {
            vectors(kernel, [p.n, p.h / 2, p.w / 2, p.c])?
        }
        Call::Resample(p) => vectors(kernel, [4, p.n, p.h, p.w, p.c])?,
        Call::Mixture(p) => p.n as u64,
        Call::ModelInput(p) => p.n as u64 * p.hw as u64,
        Call::MultiplyAdd(p) => p.n as u64,
        Call::TimeEmbedding(p) => p.n as u64 * p.dim.div_ceil(2) as u64,
        Call::Trace(p) => p.n as u64,
        Call::Noise(p) => p.b as u64 * p.numel.div_ceil(4) as u64,
        Call::SolverStep(p) => p.b as u64 * (p.c as u64 * p.hw as u64).div_ceil(4),
        Call::Combine(p) => p.b as u64 * p.numel.div_ceil(4) as u64,
        Call::Predict(p) => p.b as u64 * p.c as u64 * p.hw as u64,
        Call::Guidance(p) => p.b as u64 * p.cf as u64 * p.hw as u64,
    };
    Ok(items.div_ceil(kernel.threads as u64))
}

/// Tiles of a matrix product with `rows` rows and `columns` columns.
fn tiles(kernel: &Kernel, rows: u64, columns: u32) -> Result<u64> {
    let down = rows.div_ceil(kernel.constant("TILE_M")? as u64);
    Ok(down * columns.div_ceil(kernel.constant("TILE_N")?) as u64)
}

/// Tiles of the samples of a convolution, and of its output channels.
fn pictures(kernel: &Kernel, p: &conv2d::Params) -> Result<u64> {
    let down = p.ho.div_ceil(kernel.constant("TILE_H")?) as u64;
    let across = p.wo.div_ceil(kernel.constant("TILE_W")?) as u64;
    let columns = p.cout.div_ceil(kernel.constant("TILE_N")?) as u64;
    Ok(p.n as u64 * down * across * columns)
}

/// Elements of a tensor in the kernel's units of `VEC`.
fn vectors<const N: usize>(kernel: &Kernel, shape: [u32; N]) -> Result<u64> {
    let elements = shape.iter().map(|n| *n as u64).product::<u64>();
    Ok(elements / kernel.constant("VEC")? as u64)
}
