//! Splits an output over the threads of the CPU.

use rayon::prelude::*;

/// Elements below which a second thread costs more than it brings.
const GRAIN: usize = 1 << 14;

/// Calls `f(i, vector)` for each vector of `width` elements of `y`.
pub(super) fn vectors(y: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let block = (GRAIN / width).max(1);
    blocks(y, width, block, |first, part| {
        for (i, vector) in part.chunks_exact_mut(width).enumerate() {
            f(first + i, vector);
        }
    });
}

/// Calls `f(first, part)` for blocks of at most `block` vectors of `width` elements of `y`;
/// `first` is the block's first vector.
pub(super) fn blocks(
    y: &mut [f32],
    width: usize,
    block: usize,
    f: impl Fn(usize, &mut [f32]) + Sync,
) {
    if y.len() <= block * width {
        return f(0, y);
    }
    y.par_chunks_mut(block * width).enumerate().for_each(|(i, part)| f(i * block, part));
}

/// A loop over numbers that is worth the machine's widest vectors.
pub(super) trait Loop {
    /// Must be marked `#[inline(always)]`, as must all it calls: what stays a call is compiled for
    /// the oldest machine. That is why this is no closure.
    fn run(self);
}

/// Runs a loop compiled for the vector units that the machine turns out to have.
pub(super) fn vectorized(work: impl Loop) {
    struct Work<L>(L);
    impl<L: Loop> pulp::WithSimd for Work<L> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) {
            self.0.run();
        }
    }
    pulp::Arch::new().dispatch(Work(work));
}

/// Bits of the vectors that loops are compiled for on this machine.
pub fn vector_bits() -> usize {
    struct Width;
    impl pulp::WithSimd for Width {
        type Output = usize;
        fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
            32 * S::F32_LANES
        }
    }
    pulp::Arch::new().dispatch(Width)
}

/// Writes `vector` into `pattern`, repeated.
pub(super) fn repeat(pattern: &mut Vec<f32>, vector: impl Iterator<Item = f32>) {
    pattern.clear();
    pattern.extend(vector);
    lengthen(pattern);
}

/// Repeats the vector in `pattern` until it is long enough for a vector loop, however few its
/// channels.
pub(super) fn lengthen(pattern: &mut Vec<f32>) {
    const LENGTH: usize = 256;
    let c = pattern.len();
    while pattern.len() < LENGTH {
        pattern.extend_from_within(..c);
    }
}
