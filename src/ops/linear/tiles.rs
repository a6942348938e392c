//! How `linear` may be cut.

use super::{Norm, Params};
use crate::ops::mma::{self, Product};
use crate::ops::{Facts, Method, Tile};
use crate::tensor::DType;

/// Workgroups that fill a GPU: below that the sum over k is split.
const ENOUGH: u32 = 64;

/// Steps of k that the kernel stages at once under [`Method::Matrix`].
const MATRIX_K: u32 = 32;

/// [`Method::Matrix`]: operands in f16, in whole matrices.
fn matrix(p: &Params, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
    let operands = dtypes.get(..2).is_some_and(|o| o.iter().all(|d| *d == Some(DType::F16)));
    if !operands || !p.k.is_multiple_of(MATRIX_K) || !p.n.is_multiple_of(16) {
        return Vec::new();
    }
    let parts = 1 + p.gate;
    let fits = |tile: &Tile| {
        let rows = tile.rows == Tile::BLOCK || p.sample_rows() > Tile::BLOCK;
        rows && facts.hold(tile, tile.rows, MATRIX_K, parts)
    };
    Tile::matrices(p.n).filter(fits).collect()
}

/// [`Method::Mma`]: operands of one half type, rows of x in whole chunks of 16 bytes.
fn mma(p: &Params, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
    let halves = match dtypes {
        [Some(x), Some(weight), ..] => x == weight && x.is_half(),
        _ => false,
    };
    // Gates begin behind the values, where a copy of eight bytes can.
    if !halves || !p.k.is_multiple_of(8) || (p.gate != 0 && !p.n.is_multiple_of(4)) {
        return Vec::new();
    }
    let (rows, parts) = (p.sample_rows(), 1 + p.gate);
    let fits = |tile: &Tile| {
        // The least tile that holds all rows is enough, and two tiles of sums are of 64 columns.
        let rows = tile.rows == 16 || rows > tile.rows / 2;
        rows && parts * tile.columns <= 128
            && keeps_moments(p, tile)
            && facts.hold_mma(tile, facts.staged_rows(tile), parts)
    };
    let product = Product {
        columns: p.n,
        parts,
        taps: 1,
        splits: if p.gate != 0 { 1 } else { 16 },
        down: &|tile| p.m / rows * rows.div_ceil(tile),
        stages: &|stage| p.k.div_ceil(stage),
        fits: &fits,
    };
    mma::candidates(&product, facts)
}

/// Splits of k that bring a product to enough workgroups, if it has few.
fn splits(p: &Params, tile: &Tile) -> Option<u32> {
    let workgroups = p.m.div_ceil(tile.rows) * p.n.div_ceil(tile.columns);
    (p.gate == 0 && p.k >= 128 && workgroups < ENOUGH)
        .then(|| ENOUGH.div_ceil(workgroups).min(p.k / 64).min(8))
}

/// [`Method::Subgroup`].
fn subgroup(p: &Params) -> Vec<Tile> {
    let rows = p.sample_rows();
    // The rows' statistics are shared by the threads of a workgroup.
    let columns = if p.norm == Norm::Layer as u32 { [128, 32] } else { [32, 128] };
    // A gate doubles the sums of a thread.
    let most = if p.gate != 0 { 16 } else { 32 };
    let fitting = [most, most / 2, 8].into_iter().filter(|t| *t == 8 || rows > t / 2).take(2);
    let tile = |rows, columns| Tile { method: Method::Subgroup, rows, columns, splits: 1 };
    columns.into_iter().flat_map(|columns| fitting.clone().map(move |t| tile(t, columns))).collect()
}

/// [`Method::Tiled`].
fn tiled(p: &Params) -> Vec<Tile> {
    let rows = p.sample_rows();
    let large = if rows > 64 && p.gate == 0 { &[64, 128, 32][..] } else { &[64, 32] };
    let sizes = if rows > 16 { large } else { &[16, 32] };
    sizes.iter().map(|rows| Tile { rows: *rows, ..Tile::tiled(p.n) }).collect()
}

/// The tiles of a method with the first of them split too, where that helps.
fn with_split(p: &Params, facts: &Facts, mut tiles: Vec<Tile>) -> Vec<Tile> {
    let first = tiles.first().copied();
    if let Some((tile, splits)) = first.and_then(|tile| Some((tile, splits(p, &tile)?))) {
        // The second dispatch costs more than it saves where there is little to add up.
        let at = if p.k >= 512 && !facts.software { 0 } else { tiles.len() };
        tiles.insert(at, Tile { splits, ..tile });
    }
    tiles
}

/// The candidates for a device, the default first.
///
/// A driver that runs on the processor pays for loads, which the subgroup's broadcasts save, and
/// has few cores to fill; a GPU has registers for larger tiles, and splits k where there are few.
pub(super) fn tiles(p: &Params, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
    let methods = [subgroup(p), matrix(p, dtypes, facts), mma(p, dtypes, facts), tiled(p)];
    let [subgroup, matrix, mma, tiled] = methods.map(|mut tiles| {
        tiles.retain(|tile| facts.allow(tile, dtypes));
        tiles
    });
    let [matrix, tiled] = [matrix, tiled].map(|tiles| with_split(p, facts, tiles));
    let all = match facts.software {
        true => [subgroup, mma, matrix, tiled],
        false => [mma, matrix, tiled, subgroup],
    };
    let mut tiles = all.concat();
    tiles.retain(|tile| keeps_moments(p, tile));
    tiles.truncate(Tile::MOST);
    tiles
}

/// Regions of moments have room for tiles of 32 rows, or one tile a sample.
fn keeps_moments(p: &Params, tile: &Tile) -> bool {
    p.tiles == 0 || tile.rows >= 32 || tile.rows >= p.hw
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::RowMap;
    use bytemuck::Zeroable;

    fn params(m: u32, k: u32, n: u32) -> Params {
        Params { map: RowMap::IDENTITY, m, k, n, hw: m, ..Params::zeroed() }
    }

    fn gpu(lanes: u32) -> Facts {
        Facts { subgroup_min: lanes, subgroup_max: lanes, ..Facts::LEAST }
    }

    #[test]
    fn every_shape_has_a_few_candidates_that_the_device_allows() {
        for facts in [Facts::LEAST, gpu(4), gpu(8), gpu(32), Facts { software: true, ..gpu(8) }] {
            for (m, k, n) in [(1, 1, 1), (16, 256, 256), (64, 1280, 320), (4096, 320, 2560)] {
                for (gate, tiles_y) in [(0, 0), (1, 0), (0, 1)] {
                    let p = Params { gate, tiles: tiles_y, ..params(m, k, n) };
                    let tiles = tiles(&p, &[], &facts);
                    assert!((1..=Tile::MOST).contains(&tiles.len()), "{p:?}: {tiles:?}");
                    assert!(tiles.iter().all(|t| facts.allow(t, &[])), "{p:?}: {tiles:?}");
                    assert!(tiles.iter().all(|t| keeps_moments(&p, t)), "{p:?}: {tiles:?}");
                }
            }
        }
    }

    #[test]
    fn few_workgroups_split_k_on_a_gpu_and_gates_never_do() {
        let p = params(64, 1280, 320);
        assert!(tiles(&p, &[], &gpu(32))[0].splits > 1);
        assert_eq!(tiles(&p, &[], &Facts { software: true, ..gpu(8) })[0].method, Method::Subgroup);
        assert_eq!(tiles(&params(4096, 1280, 320), &[], &gpu(32))[0].splits, 1);
        let gated = Params { gate: 1, ..p };
        assert!(tiles(&gated, &[], &gpu(32)).iter().all(|tile| tile.splits == 1));
    }

    #[test]
    fn what_is_split_is_a_tile_that_the_device_allows() {
        let facts = Facts { matrix: 16, ..gpu(128) };
        let halves = [Some(DType::F16); 2];
        let named = tiles(&params(64, 1280, 320), &halves, &facts);
        let named: Vec<_> = named.iter().map(Tile::to_string).collect();
        let matrix = ["matrix 64x32 / 7", "matrix 64x32", "matrix 32x64", "matrix 32x32"];
        let tiled = ["tiled 64x64 / 8", "tiled 64x64", "tiled 32x64"];
        let subgroup = ["subgroup 32x32", "subgroup 16x32", "subgroup 32x128", "subgroup 16x128"];
        assert_eq!(named, [&matrix[..], &tiled, &subgroup].concat());
    }

    #[test]
    fn a_gpu_multiplies_halves_by_matrices_where_they_are_whole() {
        let facts = Facts { matrix: 16, ..gpu(32) };
        let halves = [Some(DType::F16); 2];
        let first = |p: Params, dtypes: &[_]| tiles(&p, dtypes, &facts)[0].method;
        assert_eq!(first(params(4096, 320, 320), &halves), Method::Matrix);
        assert_eq!(first(params(4096, 304, 320), &halves), Method::Tiled);
        assert_eq!(first(params(4096, 320, 328), &halves), Method::Tiled);
        let mixed = [Some(DType::F32), Some(DType::F16)];
        assert_eq!(first(params(4096, 320, 320), &mixed), Method::Tiled);
    }

    #[test]
    fn a_card_multiplies_halves_by_mma_where_rows_are_whole_chunks() {
        let card = Facts { mma: 80, processors: 132, workgroup_bytes: 99 << 10, ..Facts::LEAST };
        let first = |p: Params, dtype| tiles(&p, &[Some(dtype); 2], &card)[0].method;
        for half in [DType::F16, DType::BF16] {
            assert_eq!(first(params(4096, 320, 330), half), Method::Mma);
            assert_eq!(first(params(4096, 324, 320), half), Method::Tiled);
        }
        assert_eq!(first(params(4096, 320, 320), DType::F32), Method::Tiled);
        let gated = |n| Params { gate: 1, ..params(64, 320, n) };
        assert_eq!(first(gated(320), DType::F16), Method::Mma);
        assert_eq!(first(gated(322), DType::F16), Method::Tiled);
        let halves = [Some(DType::F16); 2];
        let whole = |tile: &Tile| tile.method != Method::Mma || tile.splits == 1;
        assert!(tiles(&gated(320), &halves, &card).iter().all(whole));
        let split = tiles(&params(64, 1280, 320), &halves, &card);
        assert!(split[0].splits > 1 && split[1] == Tile { splits: 1, ..split[0] }, "{split:?}");
    }
}
