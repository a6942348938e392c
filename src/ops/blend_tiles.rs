//! One picture of overlapping tiles, `stride` pixels apart. Where tiles overlap, the first `extent`
//! pixels of a tile fade in over what lies there of the tile above, which it fades in at its own
//! left side, and then over the tile to the left: what `AutoencoderKL.tiled_decode` of diffusers
//! computes, in its order.
//!
//! With `v` pixels of overlap above, `b = y / v`, and `a = x / u` likewise, the pixel at (y, x) of
//! a tile T is, L being the tile to the left, A that above and K the one above L,
//!
//! `(1 - a) ((1 - b) K + b L) + a ((1 - b) ((1 - a) K + a A) + b T)`.

use super::latent_tile::Place;
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

params! {
    /// x `[n, down, across, c, side, side]`, tiles at the edges being smaller; y `[b, c, h, w]`, of
    /// which the row's samples are written. Of the `count` places the first is that of row `first`.
    pub struct Params {
        pub b: u32,
        pub n: u32,
        pub c: u32,
        pub h: u32,
        pub w: u32,
        pub side: u32,
        pub stride: u32,
        pub extent: u32,
        pub first: u32,
        pub count: u32,
    }
}

/// Where a line or column of the picture lies in tiles: in the tile before its own, if it fades in
/// over it, and in its own; and the share of its own.
#[derive(Clone, Copy)]
struct Along {
    tile: usize,
    at: usize,
    share: f32,
}

impl Params {
    /// Tiles along a side of the picture.
    fn tiles(&self, size: u32) -> u32 {
        size.div_ceil(self.stride)
    }

    /// Whether what a row writes lies inside the pictures.
    pub fn holds(&self, place: &Place) -> bool {
        place.sample.checked_add(self.n).is_some_and(|end| end <= self.b)
    }

    fn along(&self, at: usize, size: u32) -> Along {
        let (stride, side) = (self.stride as usize, self.side as usize);
        let (tile, at) = (at / stride, at % stride);
        // A tile reaches as far as the picture, and the tile before it no further.
        let own = (size as usize - tile * stride).min(side);
        let extent = (self.extent as usize).min(own);
        let share = if tile > 0 && at < extent { at as f32 / extent as f32 } else { 1.0 };
        Along { tile, at, share }
    }
}

impl Op for Params {
    const NAME: &'static str = "blend_tiles";
    const ARGS: &'static [Arg] = &[Arg::read("x"), Arg::read("places"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => {
                let tiles = self.tiles(self.h) * self.tiles(self.w);
                (self.n * tiles * self.c * self.side * self.side) as usize
            }
            1 => self.count as usize * Place::WORDS,
            _ => (self.b * self.c * self.h * self.w) as usize,
        }
    }
    fn flops(&self) -> u64 {
        12 * self.n as u64 * self.c as u64 * self.h as u64 * self.w as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, places, ..] = buffers.read;
        let place = Place::at(places, cursor, self.first);
        let (c, h, w) = (self.c as usize, self.h as usize, self.w as usize);
        let (side, stride) = (self.side as usize, self.stride as usize);
        let [down, across] = [self.h, self.w].map(|size| self.tiles(size) as usize);
        let first = place.sample as usize * c * h * w;
        let y = &mut buffers.write[2][first..first + self.n as usize * c * h * w];
        parallel::vectors(y, w, |i, y| {
            let (n, k, line) = (i / h / c, i / h % c, self.along(i % h, self.h));
            let pixel = |row: usize, column: usize, at: usize, left: usize| {
                let tile = (n * down + row) * across + column;
                x[((tile * c + k) * side + at) * side + left]
            };
            for (j, y) in y.iter_mut().enumerate() {
                let column = self.along(j, self.w);
                let (a, b) = (column.share, line.share);
                let own = pixel(line.tile, column.tile, line.at, column.at);
                let (above, left) = (line.at + stride, column.at + stride);
                let mut v = own;
                let mut before = 0.0;
                if a < 1.0 {
                    before = pixel(line.tile, column.tile - 1, line.at, left);
                }
                if b < 1.0 {
                    let mut over = pixel(line.tile - 1, column.tile, above, column.at);
                    if a < 1.0 {
                        let corner = pixel(line.tile - 1, column.tile - 1, above, left);
                        over = (1.0 - a) * corner + a * over;
                        before = (1.0 - b) * corner + b * before;
                    }
                    v = (1.0 - b) * over + b * v;
                }
                *y = if a < 1.0 { (1.0 - a) * before + a * v } else { v };
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |(b, n, c), (h, w), (side, stride, extent), sample| {
            let (first, count) = (3, 1);
            let params = Params { b, n, c, h, w, side, stride, extent, first, count };
            let places = CaseArg::U32(vec![sample, 0, 0, 0]);
            let x = random.f32(params.elements(0), 2.0);
            let name = format!("blend_tiles {n} of {b}x{c}x{h}x{w} by {side}, {stride}, {extent}");
            Case::new(name, params, vec![x, places, CaseArg::OutputF32])
                .at(Cursor { row: first, time: 0 })
        };
        vec![
            case((1, 1, 1), (4, 4), (4, 3, 1), 0),
            case((2, 1, 3), (16, 16), (8, 6, 2), 1),
            case((3, 2, 3), (20, 13), (8, 6, 2), 1),
            case((1, 1, 2), (25, 31), (16, 12, 4), 0),
            case((1, 1, 1), (7, 24), (16, 12, 4), 0),
        ]
    }
}
