//! The ways to cut a convolution, the default first.
//!
//! A tile is `rows` output pixels of one sample, 8 x 16, 8 x 8, 4 x 8 or 4 x 4, and `columns`
//! output channels. Smaller tiles share less of what they load, larger ones leave a small map to
//! few workgroups; splits share out the sum over the input channels instead.

use super::Params;
use crate::ops::mma::{self, Product};
use crate::ops::tile::Method;
use crate::ops::{Facts, Tile};
use crate::tensor::DType;

/// Workgroups that fill a device: a few for each of its processors, or one for each core.
fn workgroups_wanted(facts: &Facts) -> u32 {
    if facts.software { 4 } else { 128 }
}

/// Height and width of a tile of `rows` pixels, as in the kernel.
const fn sides(rows: u32) -> (u32, u32) {
    match rows {
        65.. => (rows / 16, 16),
        17.. => (rows / 8, 8),
        _ => (rows / 4, 4),
    }
}

/// Tiles of one sample.
fn pictures(p: &Params, rows: u32) -> u32 {
    let (height, width) = sides(rows);
    p.ho.div_ceil(height) * p.wo.div_ceil(width)
}

fn workgroups(p: &Params, tile: &Tile) -> u32 {
    p.n * pictures(p, tile.rows) * p.cout.div_ceil(tile.columns)
}

/// The stages of the sum that splits share out hold 16 channels each, or twice that.
fn most_splits(p: &Params) -> u32 {
    (p.cin().div_ceil(32) + (p.sa + p.sb).div_ceil(32)).min(16)
}

/// The power of two of splits, if any helps, that brings a small map to the workgroups wanted.
fn splits(p: &Params, tile: &Tile, facts: &Facts) -> Option<u32> {
    let wanted = workgroups_wanted(facts) / workgroups(p, tile).max(1);
    let splits = wanted.min(most_splits(p));
    (splits > 1).then(|| 1 << splits.ilog2())
}

/// Pixels of a tile: the most that the map fills by at least half.
fn rows(p: &Params, most: u32) -> u32 {
    let filled = |rows: &u32| 2 * p.ho * p.wo >= pictures(p, *rows) * rows;
    [64, 32, 16].into_iter().filter(|rows| *rows <= most).find(filled).unwrap_or(16)
}

/// A tile of pixels must have a place in the moments of y.
fn has_place(p: &Params, tile: &Tile) -> bool {
    p.tiles == 0 || pictures(p, tile.rows) <= p.tiles
}

/// [`Method::Subgroup`]: every thread has four channels, at least 8 threads make a subgroup.
fn subgroup(p: &Params, facts: &Facts) -> Vec<Tile> {
    // A workgroup must not be less than a subgroup.
    let least = (4 * facts.subgroup_max).max(32);
    let widest = p.cout.next_power_of_two().clamp(least, 256.max(least));
    let tile = |rows, columns| Tile { method: Method::Subgroup, rows, columns, splits: 1 };
    let rows = rows(p, 32);
    let mut tiles = vec![tile(rows, widest.min(128.max(least)))];
    if facts.software {
        // One workgroup a core at a time: wide ones stage a halo least often.
        tiles.insert(0, tile(rows, widest));
    }
    tiles.push(tile(rows, (widest / 4).max(least)));
    tiles.push(tile(16, widest));
    tiles.retain(|tile| tile.columns / 4 <= facts.threads);
    tiles
}

/// [`Method::Tiled`]: eight threads share four channels.
fn tiled(p: &Params, facts: &Facts) -> Vec<Tile> {
    let tile = |rows, columns| Tile { rows, columns, ..Tile::tiled(p.cout) };
    let columns = Tile::tiled(p.cout).columns;
    let narrow = (columns / 2).max(16);
    let rows = rows(p, 64);
    let mut tiles = [(rows, columns), (rows, narrow), (64, columns), (32, columns), (16, columns)]
        .map(|(rows, columns)| tile(rows, columns))
        .to_vec();
    tiles.retain(|tile| 2 * tile.columns <= facts.threads);
    tiles
}

/// Steps of k of one tap that the kernel stages at once under [`Method::Matrix`].
const MATRIX_K: u32 = 16;

/// [`Method::Matrix`]: operands in f16, in whole matrices.
fn matrix(p: &Params, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
    let skips: &[usize] = if p.sa + p.sb > 0 { &[7, 8] } else { &[] };
    let mut operands = [0, 1, 2].iter().chain(skips).filter_map(|i| *dtypes.get(*i)?);
    let whole = [p.cin(), p.sa + p.sb, p.cout].iter().all(|c| c % MATRIX_K == 0);
    if dtypes.is_empty() || !whole || !operands.all(|dtype| dtype == DType::F16) {
        return Vec::new();
    }
    let fits = |tile: &Tile| {
        let (height, width) = sides(tile.rows);
        // One for each column of the filter: see the kernel.
        let staged = p.kw * p.stride * (height + (p.kh - 1) / p.stride) * width;
        let rows = tile.rows == Tile::BLOCK || p.ho * p.wo > Tile::BLOCK;
        rows && facts.hold(tile, staged, MATRIX_K, 1)
    };
    Tile::matrices(p.cout).filter(fits).collect()
}

/// [`Method::Mma`]: operands of one half type, pixels in whole chunks of 16 bytes.
fn mma(p: &Params, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
    let skips: &[usize] = if p.sa + p.sb > 0 { &[7, 8] } else { &[] };
    let bound = [0, 1, 2].iter().chain(skips).filter_map(|i| *dtypes.get(*i)?);
    let operands: Vec<DType> = bound.collect();
    let halves = operands
        .first()
        .is_some_and(|first| first.is_half() && operands.iter().all(|t| t == first));
    let whole = [p.ca, p.cb, p.sa, p.sb].iter().all(|c| c % 8 == 0);
    if !halves || !whole || p.states > 0 {
        return Vec::new();
    }
    let taps = p.taps();
    let fits = |tile: &Tile| {
        let enough = tile.rows == 16 || p.ho * p.wo > tile.rows / 2;
        enough && has_place(p, tile) && facts.hold_mma(tile, 2 * halo(p, tile), 1)
    };
    let product = Product {
        columns: p.cout,
        parts: 1,
        taps,
        splits: 16,
        down: &|rows| p.n * pictures(p, rows),
        stages: &|stage| p.cin().div_ceil(stage) * taps + (p.sa + p.sb).div_ceil(stage),
        fits: &fits,
    };
    mma::candidates(&product, facts)
}

/// Pixels that are staged for a tile under [`Method::Mma`]: those under the filter, or its own.
fn halo(p: &Params, tile: &Tile) -> u32 {
    let (height, width) = sides(tile.rows);
    let spread = if p.taps() == 1 { 1 } else { p.stride };
    (((height - 1) * spread + p.kh) * ((width - 1) * spread + p.kw)).max(tile.rows)
}

/// Each candidate once, split where its map is small; those that run best unmeasured first.
pub(super) fn tiles(p: &Params, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
    let (subgroup, matrix, tiled) = (subgroup(p, facts), matrix(p, dtypes, facts), tiled(p, facts));
    let all = if facts.software { [subgroup, matrix, tiled] } else { [matrix, tiled, subgroup] };
    let mut all = all.concat();
    all.retain(|tile| facts.allow(tile, dtypes) && has_place(p, tile));
    // These come with their splits.
    let mut chosen = mma(p, dtypes, facts);
    chosen.retain(|tile| facts.allow(tile, dtypes));
    for tile in all {
        let split = splits(p, &tile, facts).map(|splits| Tile { splits, ..tile });
        // Without a measurement a device that is far from full is given the split one.
        let choices = [split, Some(tile)].into_iter().flatten();
        for tile in choices {
            if !chosen.contains(&tile) {
                chosen.push(tile);
            }
        }
    }
    chosen.truncate(Tile::MOST);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    /// A 3x3 convolution in f16 on a GPU with matrices: its first candidate.
    fn first(ca: u32, cout: u32, facts: Facts, storage: DType) -> Tile {
        let size = Params { n: 1, h: 32, w: 32, ho: 32, wo: 32, ..Params::zeroed() };
        let p = Params { ca, cout, kh: 3, kw: 3, stride: 1, top: 1, left: 1, up: 1, ..size };
        let dtypes = [Some(storage), None, Some(storage)];
        tiles(&p, &dtypes, &facts)[0]
    }

    #[test]
    fn a_gpu_multiplies_halves_by_matrices_where_they_are_whole() {
        let lanes = Facts { subgroup_min: 32, subgroup_max: 32, ..Facts::LEAST };
        let facts = Facts { matrix: 16, ..lanes };
        let method = |ca, cout, storage| first(ca, cout, facts, storage).method;
        assert_eq!(method(128, 128, DType::F16), Method::Matrix);
        assert_eq!(method(120, 128, DType::F16), Method::Tiled);
        assert_eq!(method(128, 3, DType::F16), Method::Tiled);
        assert_eq!(method(128, 128, DType::F32), Method::Tiled);
        let little = Facts { workgroup_bytes: 16 << 10, ..facts };
        assert_eq!(first(128, 128, little, DType::F16).columns, 32, "what 16 KiB hold");
        let software = Facts { software: true, ..facts };
        assert_eq!(first(128, 128, software, DType::F16).method, Method::Subgroup);
    }

    #[test]
    fn no_workgroup_has_more_threads_than_the_device() {
        let size = Params { n: 8, h: 32, w: 32, ho: 32, wo: 32, ..Params::zeroed() };
        let p = Params { ca: 128, cout: 512, kh: 3, kw: 3, stride: 1, up: 1, ..size };
        let facts = Facts { matrix: 16, subgroup_min: 32, subgroup_max: 32, ..Facts::LEAST };
        let named = |threads| -> Vec<String> {
            let tiles = tiles(&p, &[Some(DType::F16); 3], &Facts { threads, ..facts });
            tiles.iter().map(Tile::to_string).collect()
        };
        let matrix = ["matrix 64x64", "matrix 64x32", "matrix 32x64", "matrix 32x32"];
        let tiled = ["tiled 64x64", "tiled 64x32", "tiled 32x64", "tiled 16x64"];
        let subgroup = ["subgroup 32x128", "subgroup 16x256"];
        assert_eq!(named(256), [&matrix[..], &tiled, &subgroup].concat());
        assert_eq!(named(64), [&matrix[1..], &tiled[1..2], &subgroup].concat());
    }

    #[test]
    fn a_card_multiplies_halves_by_mma_where_pixels_are_whole_chunks() {
        let card = Facts { mma: 80, processors: 132, workgroup_bytes: 99 << 10, ..Facts::LEAST };
        let method = |ca, cout, storage| first(ca, cout, card, storage).method;
        assert_eq!(method(128, 128, DType::F16), Method::Mma);
        assert_eq!(method(128, 3, DType::BF16), Method::Mma);
        assert_eq!(method(124, 128, DType::F16), Method::Tiled);
        assert_eq!(method(128, 128, DType::F32), Method::Tiled);
        assert_eq!(first(128, 3, card, DType::F16).columns, 8);
        assert!(first(1280, 128, card, DType::F16).splits > 1);
    }
}
