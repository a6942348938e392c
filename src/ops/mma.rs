//! The tiles of [`Method::Mma`]: which sizes a product may be cut into, what they need of a device,
//! and which of them it is given unmeasured.

use super::{Facts, Method, Tile};

/// Rows and columns; of a product of few columns [`NARROW`].
const SIZES: [(u32, u32); 7] =
    [(128, 128), (128, 64), (64, 64), (64, 32), (32, 64), (32, 32), (16, 32)];
const NARROW: [(u32, u32); 2] = [(64, 8), (32, 8)];

/// Warps of a workgroup, and what one of them has of a tile.
const WARPS: u32 = 8;

const fn warp_tile(rows: u32, columns: u32) -> (u32, u32) {
    match columns {
        8 => (16, 8),
        _ if rows * columns > 8192 => (64, 32),
        _ => (if rows < 32 { rows } else { 32 }, 32),
    }
}

/// A product, for the tiles of [`candidates`].
pub(super) struct Product<'a> {
    /// Columns of y, and how many such products share what they read of x.
    pub columns: u32,
    pub parts: u32,
    /// How many products of a chunk of x with the weight it is read for.
    pub taps: u32,
    /// The most splits of k.
    pub splits: u32,
    /// Tiles of so many rows.
    pub down: &'a dyn Fn(u32) -> u32,
    /// Stages of so many steps of k.
    pub stages: &'a dyn Fn(u32) -> u32,
    /// Whether the device and the buffers have room for a tile.
    pub fits: &'a dyn Fn(&Tile) -> bool,
}

impl Tile {
    /// Threads between which the steps of k of a stage are shared out under [`Method::Mma`].
    fn shares(&self) -> u32 {
        let (rows, columns) = warp_tile(self.rows, self.columns);
        WARPS / (self.rows / rows * (self.columns / columns))
    }

    /// Steps of k that a workgroup stages at once under [`Method::Mma`].
    pub(super) fn mma_stage(&self) -> u32 {
        16 * self.shares().max(2)
    }
}

impl Facts {
    /// Stages of operands in flight.
    const fn stages(&self) -> u32 {
        if self.mma >= 80 { 4 } else { 2 }
    }

    /// Whether the workgroup memory of a [`Method::Mma`] kernel fits: `staged` rows of
    /// [`Tile::mma_stage`] steps of k and `parts` tiles of the weight in flight, or the sums that
    /// follow them, and what norms and moments need.
    pub(super) fn hold_mma(&self, tile: &Tile, staged: u32, parts: u32) -> bool {
        let (stage, pitch) = (tile.mma_stage(), parts * tile.columns + 8);
        let operands = 2 * stage * (staged + self.stages() * parts * tile.columns);
        let mut rows = tile.rows;
        while rows > 32 && tile.shares() * rows * pitch > 10240 {
            rows /= 2;
        }
        let sums = 4 * tile.shares() * rows * pitch;
        let norms = 16 * 256 + 8 * 256 + 24 * stage + 64 * tile.rows.min(64) + 32;
        operands.max(sums) + norms <= self.workgroup_bytes
    }

    /// Rows of x in flight where stages of them follow each other.
    pub(super) fn staged_rows(&self, tile: &Tile) -> u32 {
        self.stages() * tile.rows
    }
}

impl Product<'_> {
    /// Cycles of a processor, roughly: 512 multiplications each, 32 bytes of operands and of the
    /// sums of splits, and what a workgroup takes before its first and after its last stage.
    fn cycles(&self, tile: &Tile, facts: &Facts) -> u64 {
        let (rows, columns) = (tile.rows as u64, (self.parts * tile.columns) as u64);
        let step = rows * columns + 32 * (rows / self.taps as u64 + columns);
        let stage = tile.mma_stage();
        let depth = ((self.stages)(stage).div_ceil(tile.splits) * stage) as u64;
        let added = if tile.splits > 1 { (tile.splits as u64 + 1) * rows * columns / 8 } else { 0 };
        let processors = if facts.processors == 0 { 64 } else { facts.processors };
        let workgroups = (self.down)(tile.rows) * self.columns.div_ceil(tile.columns) * tile.splits;
        workgroups.div_ceil(processors) as u64 * (step * depth / 512 + added + 2500)
    }

    /// The number of splits that is fastest for a tile, at most one for four stages.
    fn split(&self, tile: Tile, facts: &Facts) -> Tile {
        let most = self.splits.min((self.stages)(tile.mma_stage()) / 4).max(1);
        let powers = (0..=most.ilog2()).map(|power| Tile { splits: 1 << power, ..tile });
        powers.min_by_key(|tile| self.cycles(tile, facts)).unwrap_or(tile)
    }

    /// Wider tiles must not pad the columns by more than an eighth.
    fn pads_little(&self, columns: u32) -> bool {
        columns <= 32 || 8 * (self.columns.next_multiple_of(columns) - self.columns) <= self.columns
    }
}

/// The tiles for a product, those that should run best first; the first of them whole too.
pub(super) fn candidates(product: &Product, facts: &Facts) -> Vec<Tile> {
    if facts.mma == 0 {
        return Vec::new();
    }
    let sizes = if product.columns <= 8 { &NARROW[..] } else { &SIZES };
    let tile = |(rows, columns): &(u32, u32)| Tile {
        method: Method::Mma,
        rows: *rows,
        columns: *columns,
        splits: 1,
    };
    let fit = |tile: &Tile| product.pads_little(tile.columns) && (product.fits)(tile);
    let fitting = sizes.iter().map(tile).filter(fit);
    let mut tiles: Vec<Tile> = fitting.map(|tile| product.split(tile, facts)).collect();
    tiles.sort_by_key(|tile| product.cycles(tile, facts));
    if let Some(first) = tiles.first().copied().filter(|tile| tile.splits > 1) {
        tiles.insert(1, Tile { splits: 1, ..first });
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(rows: u32, columns: u32) -> Tile {
        Tile { method: Method::Mma, rows, columns, splits: 1 }
    }

    /// A card of 132 processors of compute capability 90.
    const CARD: Facts = Facts {
        mma: 80,
        processors: 132,
        last_reduces: true,
        workgroup_bytes: 227 << 10,
        ..Facts::LEAST
    };

    /// The first candidate of a product of `rows` rows.
    fn first(rows: u32, k: u32, columns: u32, facts: &Facts) -> Tile {
        let product = Product {
            columns,
            parts: 1,
            taps: 1,
            splits: 16,
            down: &|tile| rows.div_ceil(tile),
            stages: &|stage| k.div_ceil(stage),
            fits: &|tile| facts.hold_mma(tile, facts.staged_rows(tile), 1),
        };
        candidates(&product, facts)[0]
    }

    #[test]
    fn eight_warps_cover_a_tile_and_a_share_of_its_stage() {
        for (rows, columns) in SIZES.into_iter().chain(NARROW) {
            let tile = tile(rows, columns);
            let (m, n) = warp_tile(rows, columns);
            assert_eq!(rows / m * (columns / n) * tile.shares(), WARPS, "{tile}");
            assert_eq!(tile.mma_stage() % (16 * tile.shares()), 0, "{tile}");
        }
        let stages = [(128, 128, 32), (64, 64, 32), (64, 32, 64), (16, 32, 128), (32, 8, 64)];
        for (rows, columns, stage) in stages {
            assert_eq!(tile(rows, columns).mma_stage(), stage, "{rows}x{columns}");
        }
    }

    #[test]
    fn a_device_is_filled_by_large_tiles_or_by_splits() {
        assert_eq!(first(16384, 1280, 1280, &CARD), tile(128, 128));
        let few = first(64, 11520, 1280, &CARD);
        assert!(few.splits > 1 && few.rows <= 64, "{few}");
        let row = first(1, 1280, 1280, &CARD);
        assert!(row.rows <= 32, "{row}");
        assert_eq!(first(4096, 1280, 3, &CARD).columns, 8);
    }

    #[test]
    fn what_is_offered_fits_the_memory_of_a_workgroup() {
        let least = Facts { mma: 75, workgroup_bytes: 64 << 10, ..CARD };
        for facts in [CARD, least, Facts { workgroup_bytes: 99 << 10, ..CARD }] {
            for (rows, columns) in SIZES.into_iter().chain(NARROW) {
                let tile = tile(rows, columns);
                let held = facts.hold_mma(&tile, facts.staged_rows(&tile), 1);
                assert!(held, "{tile} in {}", facts.workgroup_bytes);
            }
        }
        let pixels_under_a_stride_of_two = 2 * 17 * 17;
        assert!(least.hold_mma(&tile(64, 64), pixels_under_a_stride_of_two, 1));
        assert!(!least.hold_mma(&tile(64, 32), pixels_under_a_stride_of_two, 1));
    }
}
