//! How many workgroups a launch needs, in whatever language its kernel is written.

use super::source::Variant;
use crate::error::Result;
use crate::ops::{Call, Part, conv2d, resample};

/// What a compiled kernel says of itself.
pub trait Constants {
    /// Threads of a workgroup.
    fn threads(&self) -> u32;
    /// The value of a constant that the kernel declares.
    ///
    /// # Errors
    /// `Error::Invalid` if it declares none of this name.
    fn constant(&self, name: &str) -> Result<u32>;
}

/// Workgroups of one dispatch of `call`. `last_reduces` as in [`crate::ops::Facts`].
pub fn workgroups(
    call: &Call,
    variant: &Variant,
    last_reduces: bool,
    kernel: &impl Constants,
) -> Result<u64> {
    let splits = match (variant.part, variant.tile) {
        (Part::Partial, Some(tile)) => tile.splits as u64,
        (Part::Whole, Some(tile)) if last_reduces => tile.splits as u64,
        _ => 1,
    };
    Ok((of_whole(call, kernel)? * splits).max(1))
}

fn of_whole(call: &Call, kernel: &impl Constants) -> Result<u64> {
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
        Call::MatrixMultiplyAdd(p) => {
            return Ok(p.n.div_ceil(kernel.constant("BLOCKS")?) as u64);
        }
        Call::Control(p) => return Ok(if p.batch != 0 { 1 } else { p.b as u64 }),
        Call::GroupNorm(p) => return Ok(p.n as u64 * p.groups as u64),
        Call::Activation(p) => vectors(kernel, &[p.n, 1, p.c])?,
        Call::Add(p) => vectors(kernel, &[p.n, p.hw, p.c])?,
        Call::Concat(p) => vectors(kernel, &[p.n, 1, p.ca + p.cb])?,
        Call::Divide(p) => vectors(kernel, &[p.n, p.hw, p.c])?,
        Call::FirResample(p) => {
            let (ho, wo) = p.size();
            vectors(kernel, &[p.n, ho, wo, p.c])?
        }
        Call::Embedding(p) => vectors(kernel, &[p.n, p.per, p.c])?,
        Call::Geglu(p) => vectors(kernel, &[p.n, 1, p.c])?,
        Call::ScaleShift(p) => vectors(kernel, &[p.n, p.hw, p.c])?,
        Call::Resample(p) if p.mode == resample::Mode::Down as u32 => {
            vectors(kernel, &[p.n, p.h / 2, p.w / 2, p.c])?
        }
        Call::Resample(p) => vectors(kernel, &[4, p.n, p.h, p.w, p.c])?,
        Call::Interpolate(p) => vectors(kernel, &[p.n, p.ho, p.wo, p.c])?,
        Call::Pool(p) => vectors(kernel, &[p.n, p.ho, p.wo, p.c])?,
        Call::Mixture(p) => p.n as u64,
        Call::ModelInput(p) => p.n as u64 * p.hw as u64,
        Call::Multiply(p) => vectors(kernel, &[p.n, p.hw, p.c])?,
        Call::MultiplyAdd(p) => p.n as u64,
        Call::Unpatchify(p) => vectors(kernel, &[p.n, p.side * p.side, p.h, p.w, p.c])?,
        Call::TimeEmbedding(p) => p.n as u64 * p.dim.div_ceil(2) as u64,
        Call::Trace(p) => p.n as u64,
        Call::Noise(p) => p.b as u64 * p.numel.div_ceil(4) as u64,
        Call::SolverStep(p) => p.b as u64 * (p.c as u64 * p.hw as u64).div_ceil(4),
        Call::BlendTiles(p) => p.n as u64 * p.c as u64 * p.h as u64 * p.w as u64,
        Call::LatentTile(p) => p.n as u64 * p.th as u64 * p.tw as u64,
        Call::PictureTile(p) => p.n as u64 * p.th as u64 * p.tw as u64,
        Call::Combine(p) => p.b as u64 * p.numel.div_ceil(4) as u64,
        Call::Replace(p) if p.grouped() => p.b as u64 * u64::from(p.groups().0),
        Call::Replace(p) => p.b as u64 * p.numel().div_ceil(4) as u64,
        Call::Predict(p) => p.b as u64 * p.c as u64 * p.hw as u64,
        Call::Guidance(p) => p.b as u64 * p.cf as u64 * p.hw as u64,
    };
    Ok(items.div_ceil(kernel.threads() as u64))
}

/// Tiles of a matrix product with `rows` rows and `columns` columns.
fn tiles(kernel: &impl Constants, rows: u64, columns: u32) -> Result<u64> {
    let down = rows.div_ceil(kernel.constant("TILE_M")? as u64);
    Ok(down * columns.div_ceil(kernel.constant("TILE_N")?) as u64)
}

/// Tiles of the samples of a convolution, and of its output channels.
fn pictures(kernel: &impl Constants, p: &conv2d::Params) -> Result<u64> {
    let down = p.ho.div_ceil(kernel.constant("TILE_H")?) as u64;
    let across = p.wo.div_ceil(kernel.constant("TILE_W")?) as u64;
    let columns = p.cout.div_ceil(kernel.constant("TILE_N")?) as u64;
    Ok(p.n as u64 * down * across * columns)
}

/// Elements of a tensor in the kernel's units of `VEC`.
fn vectors(kernel: &impl Constants, shape: &[u32]) -> Result<u64> {
    let elements = shape.iter().map(|n| *n as u64).product::<u64>();
    Ok(elements / kernel.constant("VEC")? as u64)
}
