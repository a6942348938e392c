//! How the kernels of large products cut their work: which method, tiles of what size, and into
//! how many parts the sum over k is split.
//!
//! An op names a few candidates that fit a device ([`super::Call::tiles`]); a backend measures them
//! or takes the first. A split sum is two dispatches: one writes the sums of each part, the other
//! adds them in order and finishes the outputs, so the result does not depend on timing. Where the
//! last workgroup of a tile can wait for the others, one dispatch does both.

use crate::tensor::DType;
use serde::{Deserialize, Serialize};

/// How a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Operands are staged in workgroup memory, each thread keeps a tile of sums.
    Tiled,
    /// Each lane loads its part of an operand and the subgroup broadcasts it: no workgroup memory.
    /// Needs subgroups of at least [`Facts::LANES`].
    Subgroup,
    /// Cooperative matrices: f16 operands, f32 sums.
    Matrix,
    /// CUDA's `mma.sync`: operands in f16 or bf16 staged by a ring of copies, f32 sums.
    Mma,
}

impl Method {
    /// The word for reports and for the file of choices.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Tiled => "tiled",
            Method::Subgroup => "subgroup",
            Method::Matrix => "matrix",
            Method::Mma => "mma",
        }
    }

    const fn define(self) -> &'static str {
        match self {
            Method::Tiled => "METHOD_TILED",
            Method::Subgroup => "METHOD_SUBGROUP",
            Method::Matrix => "METHOD_MATRIX",
            Method::Mma => "METHOD_MMA",
        }
    }
}

/// One way to run a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    pub method: Method,
    /// Output pixels, or rows of x, of one workgroup.
    pub rows: u32,
    /// Output channels of one workgroup.
    pub columns: u32,
    /// Parts of the sum over k, each of other workgroups; 1 leaves it whole.
    pub splits: u32,
}

impl Tile {
    /// Every op's candidates are at most this many: each costs a compilation and a measurement.
    pub const MOST: usize = 12;

    /// Side of the block of sums that a subgroup has under [`Method::Matrix`].
    pub const BLOCK: u32 = 32;

    /// What the kernel source is specialised by.
    pub fn defines(&self) -> Vec<(&'static str, u32)> {
        vec![
            ("TILE_M", self.rows),
            ("TILE_N", self.columns),
            ("SPLITS", self.splits),
            (self.method.define(), 1),
        ]
    }

    /// Blocks of sums under [`Method::Matrix`]: each is a subgroup's.
    pub fn blocks(&self) -> u32 {
        self.rows / Tile::BLOCK * (self.columns / Tile::BLOCK)
    }

    /// Tiles of [`Method::Matrix`], the largest first; wider ones must not pad `n` columns by more
    /// than an eighth.
    pub(super) fn matrices(n: u32) -> impl Iterator<Item = Tile> {
        let fits = move |t: &Tile| t.columns == 32 || 8 * (n.next_multiple_of(64) - n) <= n;
        let tile = |(rows, columns)| Tile { method: Method::Matrix, rows, columns, splits: 1 };
        [(64, 64), (64, 32), (32, 64), (32, 32)].map(tile).into_iter().filter(fits)
    }

    /// Tiles of a product with `n` columns: the widest that pads them by at most an eighth.
    pub(super) fn tiled(n: u32) -> Tile {
        let fits = |t: &u32| 8 * (n.next_multiple_of(*t) - n) <= n;
        let columns = [64, 32].into_iter().find(fits).unwrap_or(16);
        Tile { method: Method::Tiled, rows: 64, columns, splits: 1 }
    }
}

/// `subgroup 32x64`, `tiled 64x64 / 4`: rows x columns / splits.
impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}", self.method.name(), self.rows, self.columns)?;
        if self.splits > 1 { write!(f, " / {}", self.splits) } else { Ok(()) }
    }
}

/// Which dispatch of a launch a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The launch is one dispatch.
    Whole,
    /// Writes the f32 sums of each split to `partial` `[splits][rows][columns padded to 4]`.
    Partial,
    /// Adds the sums of the splits in order and finishes the outputs.
    Reduce,
}

impl Part {
    /// The flag of the kernel source, absent for a launch of one dispatch.
    pub fn defines(self) -> Vec<(&'static str, u32)> {
        match self {
            Part::Whole => Vec::new(),
            Part::Partial => vec![("PART_PARTIAL", 1)],
            Part::Reduce => vec![("PART_REDUCE", 1)],
        }
    }
}

/// What a device says of itself that decides which tiles it can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Lanes of the smallest and of the largest subgroup; 0 without subgroup operations.
    pub subgroup_min: u32,
    pub subgroup_max: u32,
    /// Side of the cooperative matrices with f16 operands and f32 sums: 8, 16, or 0 for none.
    pub matrix: u32,
    /// Workgroup memory, in bytes, and threads of a workgroup.
    pub workgroup_bytes: u32,
    pub threads: u32,
    /// Whether it is a driver that runs on the processor.
    pub software: bool,
    /// The compute capability whose `mma.sync` the device has: 75, 80 (and above), or 0 for none.
    pub mma: u32,
    /// Processors to be filled; 0 where it is not known.
    pub processors: u32,
    /// Whether the last workgroup of a tile may add its splits: a split sum is one dispatch then.
    pub last_reduces: bool,
}

impl Facts {
    /// Lanes that [`Method::Subgroup`] needs.
    pub const LANES: u32 = 8;

    /// A device that has nothing but what every one has.
    pub const LEAST: Facts = Facts {
        subgroup_min: 0,
        subgroup_max: 0,
        matrix: 0,
        workgroup_bytes: 32 << 10,
        threads: 256,
        software: false,
        mma: 0,
        processors: 0,
        last_reduces: false,
    };

    /// The parts of a launch, in the order in which they run.
    pub fn parts(&self, tile: Option<Tile>) -> &'static [Part] {
        match tile {
            Some(tile) if tile.splits > 1 && !self.last_reduces => &[Part::Partial, Part::Reduce],
            _ => &[Part::Whole],
        }
    }

    /// What the kernel of a tile is specialised by beside the tile.
    pub fn defines(&self, tile: &Tile) -> Vec<(&'static str, u32)> {
        match tile.method {
            Method::Tiled | Method::Subgroup => return Vec::new(),
            // Copies that do not wait came with 80.
            Method::Mma if self.mma >= 80 => return vec![("MMA_80", 1), ("STAGES", 4)],
            Method::Mma => return vec![("STAGES", 2)],
            Method::Matrix => {}
        }
        let mut defines =
            vec![("MATRIX", self.matrix), ("SUBGROUP", self.subgroup_max), ("BLOCK", Tile::BLOCK)];
        defines.extend((self.matrix == 16).then_some(("MATRIX_16", 1)));
        defines
    }

    /// Threads of a workgroup under [`Method::Matrix`]: a subgroup for each block of sums.
    fn matrix_threads(&self, tile: &Tile) -> u32 {
        tile.blocks() * self.subgroup_max
    }

    /// Whether the workgroup memory of a [`Method::Matrix`] kernel fits: `staged` rows of
    /// `stage_k` steps of k, `parts` tiles of sums, and what norms and moments need.
    pub(super) fn hold(&self, tile: &Tile, staged: u32, stage_k: u32, parts: u32) -> bool {
        let threads = self.matrix_threads(tile);
        let operands = 2 * staged * (stage_k + 8);
        let sums = 4 * parts * tile.rows * tile.columns;
        let norms = 16 * threads.max(64) + 8 * 64 + 16 * tile.rows + 4 * threads;
        operands + sums + norms <= self.workgroup_bytes
    }

    /// Whether `tile` can run here on buffers of `dtypes`.
    pub fn allow(&self, tile: &Tile, dtypes: &[Option<DType>]) -> bool {
        match tile.method {
            Method::Tiled => true,
            Method::Subgroup => self.subgroup_min >= Facts::LANES,
            Method::Matrix => {
                let fits = (1..=self.threads).contains(&self.matrix_threads(tile));
                self.matrix > 0 && fits && dtypes.contains(&Some(DType::F16))
            }
            Method::Mma => match dtypes.contains(&Some(DType::BF16)) {
                true => self.mma >= 80,
                false => self.mma > 0 && dtypes.contains(&Some(DType::F16)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_sum_is_two_dispatches() {
        let tile = Tile::tiled(64);
        let parts = |tile| Facts::LEAST.parts(tile);
        assert_eq!(parts(None), [Part::Whole]);
        assert_eq!(parts(Some(tile)), [Part::Whole]);
        let split = Tile { splits: 4, ..tile };
        assert_eq!(parts(Some(split)), [Part::Partial, Part::Reduce]);
        let waits = Facts { last_reduces: true, ..Facts::LEAST };
        assert_eq!(waits.parts(Some(split)), [Part::Whole]);
        assert_eq!(
            (tile.to_string(), split.to_string()),
            ("tiled 64x64".into(), "tiled 64x64 / 4".into())
        );
    }

    #[test]
    fn columns_pad_by_at_most_an_eighth_or_are_narrow() {
        for (n, columns) in [(64, 64), (128, 64), (57, 64), (56, 16), (32, 32), (96, 32), (3, 16)] {
            assert_eq!(Tile::tiled(n).columns, columns, "{n}");
        }
    }

    #[test]
    fn a_method_runs_only_where_the_device_has_it() {
        let tile = |method| Tile { method, ..Tile::tiled(64) };
        let (f32s, f16s) = ([Some(DType::F32)], [None, Some(DType::F16)]);
        assert!(Facts::LEAST.allow(&tile(Method::Tiled), &f32s));
        for (lanes, allowed) in [(0, false), (4, false), (8, true), (64, true)] {
            let facts = Facts { subgroup_min: lanes, subgroup_max: lanes, ..Facts::LEAST };
            assert_eq!(facts.allow(&tile(Method::Subgroup), &f32s), allowed, "{lanes}");
        }
        let facts = Facts { matrix: 16, subgroup_max: 64, ..Facts::LEAST };
        assert!(facts.allow(&tile(Method::Matrix), &f16s));
        assert!(!facts.allow(&tile(Method::Matrix), &f32s));
        assert!(!Facts::LEAST.allow(&tile(Method::Matrix), &f16s));
        let wide = Facts { subgroup_max: 128, ..facts };
        assert!(!wide.allow(&tile(Method::Matrix), &f16s), "512 threads");
    }
}
