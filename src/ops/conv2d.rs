//! `y = act((conv(load(x), w) + shortcut + bias + row + residual) * scale)`: a 2-D convolution as
//! an implicit GEMM, with all that surrounds it in a UNet.
//!
//! The input is `x`, `[N, H, W, Ca]`, followed channel by channel by `x2`, `[N, H, W, Cb]`. Loading
//! it may normalise it (`groups > 0`: GroupNorm by the [moments](super::moments) of both maps, with
//! the row `[scale | shift]` of the sample if `rows_norm`), activate it (`act_in`) and repeat each
//! pixel `up x up` times; padding comes after all of that: `top` lines above and `left` columns;
//! what `ho` and `wo` reach past the lower and right edge reads zero.
//!
//! `weight` is packed `[kh][kw][Cin][Cout_padded]` (K-major, Cout padded with zeros to a multiple
//! of 4, [`crate::program::Pack::Conv`]). If `sa > 0`, `sa + sb` more rows follow: a 1x1
//! convolution of `skip` `[N, Ho, Wo, sa]` and `skip2` `[N, Ho, Wo, sb]` as they are; else `skip`
//! is a residual `[N, Ho, Wo, Cout]`. `vectors` holds gamma and beta of the norm, if there is one,
//! then the bias, if `bias`. `rows` are added unless `rows_norm`. If `tiles > 0`, the moments of y
//! go to `moments`.
//!
//! If `states > 0`, `x` is the state of the sampler, `[states, Ca, H, W]` f32, and the input of
//! sample i is `gain * c_in * x[i % states] + shift` with c_in of its row in `table`: what
//! [`model_input`](super::model_input) computes. There is no `x2` then.

mod cases;
mod load;
mod product;
mod tiles;

use super::epilogue::Epilogue;
use super::matrix::{self, View};
use super::moments::Region;
use super::row::{self, Rows};
use super::{Arg, Buffers, Case, Cursor, Facts, Op, RowMap, Span, Tile};
use super::{parallel, params, words};
use crate::tensor::DType;
use load::Norm;
use product::{GROUPED, Method};
use std::cell::Cell;

params! {
    /// See the module; the kernel is `kh` x `kw`. `from_a`, `from_b` and `into` are the
    /// first pairs of regions of moments, `tiles_a`, `tiles_b` and `tiles` their tiles. Each state
    /// has a row of its own in `table` if `own_rows`.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub h: u32,
        pub w: u32,
        pub ca: u32,
        pub cb: u32,
        pub ho: u32,
        pub wo: u32,
        pub cout: u32,
        pub kh: u32,
        pub kw: u32,
        pub stride: u32,
        pub top: u32,
        pub left: u32,
        pub up: u32,
        pub groups: u32,
        pub eps: f32,
        pub act_in: u32,
        pub from_a: u32,
        pub tiles_a: u32,
        pub from_b: u32,
        pub tiles_b: u32,
        pub into: u32,
        pub tiles: u32,
        pub sa: u32,
        pub sb: u32,
        pub rows_norm: u32,
        pub bias: u32,
        pub act: u32,
        pub scale: f32,
        pub states: u32,
        pub gain: f32,
        pub shift: f32,
        pub own_rows: u32,
    }
}

thread_local! {
    /// The input as loaded, taken out while in use: a thread that waits for others may be given
    /// another convolution to start.
    static LOADED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

impl Params {
    /// Channels of the input.
    pub fn cin(&self) -> u32 {
        self.ca + self.cb
    }

    /// Height and width of the input as the convolution sees it.
    pub fn size(&self) -> (u32, u32) {
        (self.h * self.up, self.w * self.up)
    }

    /// Places of the filter.
    pub fn taps(&self) -> u32 {
        self.kh * self.kw
    }

    /// Rows of the weight.
    pub fn depth(&self) -> u32 {
        self.taps() * self.cin() + self.sa + self.sb
    }

    /// Elements of `vectors` before the bias.
    fn vectors(&self) -> usize {
        if self.groups > 0 { 2 * self.cin() as usize } else { 0 }
    }

    /// Elements of a row of `rows`.
    fn row_width(&self) -> usize {
        if self.rows_norm != 0 { 2 * self.cin() as usize } else { self.cout as usize }
    }

    /// The maps of the shortcut and the rows of the weight for them.
    fn shortcut<'a>(&self, maps: [&'a [f32]; 2], weight: View<'a>) -> Vec<(View<'a>, View<'a>)> {
        let pixels = (self.n * self.ho * self.wo) as usize;
        let mut first = (self.taps() * self.cin()) as usize;
        let mut parts = Vec::new();
        for (map, c) in maps.into_iter().zip([self.sa as usize, self.sb as usize]) {
            if c > 0 {
                parts.push((View::rows(map, pixels, c, c), weight.part(first, c)));
                first += c;
            }
        }
        parts
    }

    /// Where the moments of x, x2 and y lie.
    fn regions(&self) -> [Region; 3] {
        let region = |at, tiles, c| Region { at, n: self.n, tiles, c };
        [
            region(self.from_a, self.tiles_a, self.ca),
            region(self.from_b, self.tiles_b, self.cb),
            region(self.into, self.tiles, self.cout),
        ]
    }

    /// Adds bias, row and residual to the sums of a block and activates.
    fn finish(&self, epilogue: &Epilogue, addends: &Addends, first: usize, y: &mut [f32]) {
        let (pixels, cout) = ((self.ho * self.wo) as usize, self.cout as usize);
        let count = y.len() / cout;
        for (skip, weight) in &addends.shortcut {
            matrix::product(skip.part(first, count), *weight, y, cout, true);
        }
        // The parts of a block that belong to one sample share its row.
        let mut done = 0;
        while done < count {
            let sample = (first + done) / pixels;
            let end = ((sample + 1) * pixels - first).min(count);
            let row = match addends.rows {
                [] => &[][..],
                rows => &rows[self.map.row(addends.cursor, addends.cond, sample) * cout..][..cout],
            };
            let (from, to) = ((first + done) * cout, (first + end) * cout);
            let residual = addends.residual.get(from..to).unwrap_or_default();
            epilogue.apply(&mut y[done * cout..end * cout], cout, row, residual);
            done = end;
        }
    }
}

/// What a block adds to its sums, absent ones empty.
struct Addends<'a> {
    rows: &'a [f32],
    residual: &'a [f32],
    /// The maps of the shortcut and its weight.
    shortcut: Vec<(View<'a>, View<'a>)>,
    cursor: Cursor,
    cond: &'a [u32],
}

impl Op for Params {
    const NAME: &'static str = "conv2d";
    const ARGS: &'static [Arg] = &[
        Arg::read("x").wide("VEC4"),
        Arg::maybe("x2").wide("VEC4"),
        Arg::read("weight"),
        Arg::maybe("vectors"),
        Arg::maybe_update("moments"),
        Arg::maybe("rows"),
        Arg::maybe("cond"),
        Arg::maybe("skip").wide("SKIP4"),
        Arg::maybe("skip2").wide("VEC4"),
        Arg::maybe("table"),
        Arg::write("y").wide("STORE4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        let pixels = (self.n * self.ho * self.wo) as usize;
        let map = |c: u32| (self.n * self.h * self.w * c) as usize;
        match arg {
            0 if self.states > 0 => (self.states * self.ca * self.h * self.w) as usize,
            0 => map(self.ca),
            1 => map(self.cb),
            2 => (self.depth() * self.cout.next_multiple_of(4)) as usize,
            3 => self.vectors() + (self.bias * self.cout) as usize,
            4 => super::moments::reach(&self.regions()),
            5 => self.map.vectors(self.n) * self.row_width(),
            6 => self.n as usize,
            7 if self.sa > 0 => pixels * self.sa as usize,
            8 => pixels * self.sb as usize,
            9 => row::table_elements(self.own_rows, self.states, 1),
            _ => pixels * self.cout as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        // The channels of a pixel of the state lie apart: never four in a row.
        let apart = u32::from(self.states > 0);
        let sources = self.ca | self.cb | self.sa | self.sb | apart;
        let mut defines = super::product(sources, self.cout);
        // The shortcut reads `skip` as it does the sources, a residual lies as y does.
        let skip = if self.sa > 0 { sources } else { self.cout };
        defines.extend(super::wide("SKIP4", &[skip]));
        let flag = |name, set: bool| set.then_some((name, 1));
        let value = |name, value| (value > 0).then_some((name, value));
        defines.extend([("KERNEL", self.kw), ("STRIDE", self.stride)]);
        defines.extend((self.kh != self.kw).then_some(("KERNEL_H", self.kh)));
        defines.extend(row::defines(self.own_rows));
        defines.extend(value("GROUPS", self.groups));
        defines.extend(value("ACT_IN", self.act_in));
        defines.extend(value("ACT", self.act));
        defines.extend(flag("BIAS", self.bias != 0));
        defines.extend(flag("ROWS_NORM", self.rows_norm != 0));
        defines.extend(flag("SHORTCUT", self.sa > 0));
        defines.extend(flag("STORE_MOMENTS", self.tiles > 0));
        defines
    }
    fn tiles(&self, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
        tiles::tiles(self, dtypes, facts)
    }
    fn partial(&self) -> usize {
        (self.n * self.ho * self.wo * self.cout.next_multiple_of(4)) as usize
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            5 => self.map.reach(self.n, span) * self.row_width(),
            9 => row::table_elements(self.own_rows, self.states, span.rows),
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        let outputs = self.n as u64 * self.ho as u64 * self.wo as u64 * self.cout as u64;
        2 * outputs * self.depth() as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, x2, weight, vectors, _, rows, cond, skip, skip2, table, ..] = buffers.read;
        let [_, _, _, _, moments, .., y] = &mut buffers.write;
        let (taps, cout) = ((self.taps() * self.cin()) as usize, self.cout as usize);
        let weights = View::rows(weight, self.depth() as usize, cout, cout.next_multiple_of(4));
        let norm = Norm::new(self, vectors, moments, cursor, words(cond));
        let mut loaded = LOADED.take();
        let table = Rows { table, cursor, per_sample: self.own_rows };
        let plain = (self.cb, self.up, self.groups, self.act_in, self.states) == (0, 1, 0, 0, 0);
        if !plain {
            self.load([x, x2, rows], &table, &norm, &mut loaded);
        }
        let x = if plain { x } else { &loaded };
        let bias = if self.bias != 0 { &vectors[self.vectors()..][..cout] } else { &[] };
        let epilogue = Epilogue { bias, scale: self.scale, act: self.act };
        let shortcut = self.shortcut([skip, skip2], weights);
        let residual = if self.sa > 0 { &[] } else { skip };
        let rows = if self.rows_norm != 0 { &[] } else { rows };
        let addends = Addends { rows, residual, shortcut, cursor, cond: words(cond) };
        let y = &mut y[..self.elements(10)];
        let method = self.method();
        let mut grouped = GROUPED.take();
        let weight = weights.part(0, taps);
        let weight = match method {
            Method::Lines { group, .. } if group > 1 => self.grouped(weight, group, &mut grouped),
            _ => weight,
        };
        parallel::blocks(y, cout, self.block(method), |first, y| {
            self.sum(method, x, weight, first, y);
            self.finish(&epilogue, &addends, first, y);
        });
        GROUPED.set(grouped);
        LOADED.set(loaded);
        if self.tiles > 0 {
            self.regions()[2].measure(y, moments);
        }
    }
    fn cases() -> Vec<Case> {
        cases::cases()
    }
}
