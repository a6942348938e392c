//! How `attention` may be cut.

use super::Params;
use crate::ops::{Facts, Method, Tile};
use crate::tensor::DType;

/// Channels of a head up to which a warp's outputs fit into its registers under [`Method::Mma`].
pub(super) const NARROW: u32 = 160;

/// Workgroups that fill a device whose processors are not known.
const ENOUGH: u32 = 128;

/// The candidates for a device, the default first.
pub(super) fn tiles(p: &Params, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
    let mma = mma(p, dtypes, facts);
    let [subgroup, tiled] = [subgroup(p, facts), tiled(p)];
    let all = if facts.software { [mma, subgroup, tiled] } else { [mma, tiled, subgroup] };
    let mut tiles = all.concat();
    tiles.retain(|tile| facts.allow(tile, dtypes));
    tiles
}

fn tile(method: Method, rows: u32, columns: u32) -> Tile {
    Tile { method, rows, columns, splits: 1 }
}

/// [`Method::Subgroup`].
fn subgroup(p: &Params, facts: &Facts) -> Vec<Tile> {
    // Keys of a block: the threads that own them own the output's channels too, in at most four
    // chunks each. More are no registers' affair, and a driver may compile them for a minute.
    let least = p.d.div_ceil(4).next_power_of_two().clamp(32, 128);
    let keys = p.tk.next_power_of_two().clamp(least, 128);
    // More rows save loads, but each keeps its outputs for every chunk of channels: in registers on
    // a GPU, while a processor has its stack, but compiles for seconds.
    let more = facts.software && p.tq >= 128 && p.d <= 256;
    let rows = if more { &[16, 8][..] } else { &[8] };
    rows.iter().map(|rows| tile(Method::Subgroup, *rows, keys)).collect()
}

/// [`Method::Tiled`].
fn tiled(p: &Params) -> Vec<Tile> {
    let mut tiled = vec![tile(Method::Tiled, 32, 64)];
    if p.d <= 64 {
        tiled.push(tile(Method::Tiled, 16, 32));
    }
    tiled
}

/// [`Method::Mma`]: operands of one half type, in whole 16-byte words. The largest block of queries
/// that still fills the device comes first; where none does, keys are split too.
fn mma(p: &Params, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
    let half = |d: &Option<DType>| matches!(d, Some(DType::F16 | DType::BF16));
    let operands = dtypes.get(..3).is_some_and(|o| half(&o[0]) && o.iter().all(|d| *d == o[0]));
    let strides = [p.d, p.q_stride, p.k_stride, p.v_stride, p.q_first, p.k_first, p.v_first];
    if facts.mma == 0 || !operands || strides.iter().any(|n| n % 8 != 0) {
        return Vec::new();
    }
    let (sizes, columns) = if p.d > NARROW { (&[32][..], 32) } else { (&[128, 64, 32][..], 64) };
    let fits = |t: &Tile| (t.rows == 32 || p.tq > t.rows / 2) && holds(p, t, facts);
    let mut tiles: Vec<Tile> =
        sizes.iter().map(|rows| tile(Method::Mma, *rows, columns)).filter(fits).collect();
    let enough = if facts.processors == 0 { ENOUGH } else { facts.processors };
    let fills = |t: &Tile| workgroups(p, t) >= enough;
    match tiles.iter().position(fills) {
        Some(first) => tiles.rotate_left(first),
        None => tiles.reverse(),
    }
    if let Some(split) = tiles.first().and_then(|first| split(p, first, enough, facts)) {
        tiles.insert(0, split);
    }
    tiles
}

fn workgroups(p: &Params, tile: &Tile) -> u32 {
    p.n * p.heads * p.tq.div_ceil(tile.rows)
}

/// `tile` with its keys split so that the device is filled; two blocks of keys a split at least.
fn split(p: &Params, tile: &Tile, enough: u32, facts: &Facts) -> Option<Tile> {
    let blocks = p.tk.div_ceil(tile.columns);
    let more = |splits: &u32| workgroups(p, tile) * splits <= enough && 2 * splits <= blocks;
    let splits = [8, 4, 2].into_iter().find(more)?;
    facts.last_reduces.then_some(Tile { splits, ..*tile })
}

/// Whether the workgroup memory of the kernel fits: see `kernels/common/attention_mma.cuh` and
/// `attention_wide.cuh`.
fn holds(p: &Params, tile: &Tile, facts: &Facts) -> bool {
    let row = |depth: u32| 16 * ((depth / 8) | 1);
    let waits = facts.mma < 80;
    let staged = if p.d > NARROW {
        let depth = p.d.next_multiple_of(128);
        let buffers = if waits {
            1
        } else if depth > 256 {
            2
        } else {
            4
        };
        tile.rows * (1 + buffers) * row(depth) + 32 * 80 + 32 * 160
    } else {
        let ring = if waits { 2 } else { 4 };
        (ring * tile.columns * row(p.d.next_multiple_of(16))).max(128 * 160)
    };
    // What is known of each row, and what moments need.
    let rest = 128 * 8 + tile.rows * 12 + 256 * 16 + 1024;
    staged + rest <= facts.workgroup_bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn the_candidates_of_each_device() {
        let named = |d, facts: Facts| -> Vec<String> {
            let p = Params { tq: 256, tk: 48, d, ..Params::zeroed() };
            tiles(&p, &[], &facts).iter().map(Tile::to_string).collect()
        };
        let gpu = Facts { subgroup_min: 8, subgroup_max: 32, ..Facts::LEAST };
        let software = Facts { software: true, ..gpu };
        assert_eq!(named(64, Facts::LEAST), ["tiled 32x64", "tiled 16x32"]);
        assert_eq!(named(64, gpu), ["tiled 32x64", "tiled 16x32", "subgroup 8x64"]);
        assert_eq!(named(80, gpu), ["tiled 32x64", "subgroup 8x64"]);
        assert_eq!(named(80, software), ["subgroup 16x64", "subgroup 8x64", "tiled 32x64"]);
        assert_eq!(named(512, software), ["subgroup 8x128", "tiled 32x64"]);
    }

    #[test]
    fn a_lane_has_at_most_four_chunks_of_the_output() {
        let lanes = Facts { subgroup_min: 8, subgroup_max: 8, ..Facts::LEAST };
        for facts in [lanes, Facts { software: true, ..lanes }] {
            for (tk, d) in [(1, 8), (16, 160), (16, 256), (16, 512), (77, 40), (4096, 512)] {
                let p = Params { tq: tk, tk, d, ..Params::zeroed() };
                let tiles = tiles(&p, &[], &facts);
                let mut lanes = tiles.iter().filter(|t| t.method == Method::Subgroup).peekable();
                assert!(lanes.peek().is_some());
                assert!(lanes.all(|t| 4 * t.columns >= d), "{tk} {d}: {tiles:?}");
            }
        }
    }

    /// A device as large as CUDA's.
    const CUDA: Facts = Facts {
        mma: 80,
        processors: 100,
        last_reduces: true,
        workgroup_bytes: 163 << 10,
        ..Facts::LEAST
    };

    fn halves(heads: u32, tq: u32, tk: u32, d: u32, facts: Facts) -> Vec<String> {
        let p = Params { n: 1, tq, tk, heads, d, ..Params::zeroed() };
        let dtypes = [Some(DType::F16); 3];
        tiles(&p, &dtypes, &facts).iter().map(Tile::to_string).collect()
    }

    #[test]
    fn blocks_of_queries_fill_the_device() {
        let tiled = ["tiled 32x64", "tiled 16x32"];
        let of = |mma: &[&'static str]| [mma, &tiled].concat();
        let (large, small) = (["mma 128x64", "mma 64x64", "mma 32x64"], ["mma 32x64", "mma 64x64"]);
        assert_eq!(halves(8, 4096, 77, 40, CUDA), of(&large));
        assert_eq!(halves(8, 64, 64, 64, CUDA), of(&small));
        assert_eq!(halves(1, 7, 9, 8, CUDA), of(&["mma 32x64"]));
        assert_eq!(halves(1, 64, 1024, 8, CUDA)[0], "mma 32x64 / 8");
        assert_eq!(halves(8, 64, 64, 36, CUDA), tiled, "not in 16-byte words");
    }

    #[test]
    fn wide_heads_have_a_kernel_where_it_fits() {
        assert_eq!(halves(1, 256, 256, 256, CUDA), ["mma 32x32 / 4", "mma 32x32", "tiled 32x64"]);
        let small = Facts { workgroup_bytes: 99 << 10, ..CUDA };
        assert_eq!(halves(1, 4096, 4096, 512, small), ["tiled 32x64"]);
        assert_eq!(halves(1, 4096, 4096, 512, CUDA)[0], "mma 32x32");
        let turing = Facts { mma: 75, workgroup_bytes: 64 << 10, ..CUDA };
        assert_eq!(halves(1, 4096, 4096, 256, turing)[0], "mma 32x32");
    }
}
