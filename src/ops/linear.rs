//! `y = act(((load(x) W + bias) * times + residual) * scale)`: rows of x times a matrix.
//!
//! Loading may normalise (`norm`, see [`Norm`]: over groups of channels of a sample of `hw` rows,
//! by the [moments](super::moments) of x, or over each row) and activate (`act_in`). `weight` is
//! packed `[k][n_padded]`, K-major, n padded with zeros to a multiple of 4
//! ([`crate::program::Pack::Linear`]). With `gate` it has twice as many columns, first values then
//! gates, and `(value + bias) * gelu(gate + bias)` stands for the sum (Shazeer 2020,
//! arXiv:2002.05202, eq. 6). `vectors` holds gamma and beta of the norm, if there is one, then the
//! bias, if `bias`. `skip` is the residual. If `tiles > 0`, the moments of y go to `moments`.
//!
//! `rows` says what `rows` holds for each sample ([`Rows`]): what scales and shifts the norm on
//! load (`[scale | shift]`, as in `scale_shift`), or `times`, a gate. The row map finds them, and
//! rows of x where there are none.

mod cases;
mod tiles;

use super::activation::{Act, Apply};
use super::epilogue::Epilogue;
use super::matrix::{self, View};
use super::moments::Region;
use super::on_load::{self, Affine, Norm};
use super::{Arg, Buffers, Case, Cursor, Facts, Op, RowMap, Span, Tile};
use super::{parallel, params, words};
use crate::tensor::DType;
use std::cell::RefCell;

/// Rows of one product.
const BLOCK: usize = 128;

/// What rows of vectors do.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// There are none: the row map is of x.
    None = 0,
    /// `h (1 + scale) + shift` of the norm h of each row of x.
    ScaleShift = 1,
    /// The factors of y, before the residual.
    Times = 2,
}

/// Work memory of a thread: the rows of a block as loaded, and values beside gates.
#[derive(Default)]
struct Scratch {
    rows: Vec<f32>,
    loaded: Vec<f32>,
    gated: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

params! {
    /// x `[m, k]`, weight `[k, n]`, y `[m, n]`. `from_x` and `into` are the first pairs of regions
    /// of moments, `tiles_x` and `tiles` their tiles.
    pub struct Params {
        pub map: RowMap,
        pub m: u32,
        pub k: u32,
        pub n: u32,
        pub hw: u32,
        pub norm: u32,
        pub groups: u32,
        pub eps: f32,
        pub act_in: u32,
        pub from_x: u32,
        pub tiles_x: u32,
        pub into: u32,
        pub tiles: u32,
        pub bias: u32,
        pub rows: u32,
        pub gate: u32,
        pub act: u32,
        pub scale: f32,
    }
}

impl Params {
    /// Columns of the weight.
    pub fn columns(&self) -> u32 {
        if self.gate != 0 { 2 * self.n } else { self.n }
    }

    /// Rows of x that have a sample's statistics or vectors in common; all of them if none do.
    pub fn sample_rows(&self) -> u32 {
        let by_sample = self.norm == Norm::Group as u32 || self.tiles > 0 || self.rows > 0;
        if by_sample { self.hw } else { self.m }
    }

    /// The row map of x, and that of samples.
    fn maps(&self) -> (RowMap, RowMap) {
        match self.rows {
            0 => (self.map, RowMap::IDENTITY),
            _ => (RowMap::IDENTITY, self.map),
        }
    }

    /// Vectors that the row map is for: rows of x, or samples.
    fn mapped(&self) -> u32 {
        if self.rows > 0 { self.m / self.hw.max(1) } else { self.m }
    }

    /// Elements of one of `rows`.
    fn row_width(&self) -> usize {
        let shifts = self.rows == Rows::ScaleShift as u32;
        if shifts { 2 * self.k as usize } else { self.n as usize }
    }

    /// Elements of `vectors` before the bias.
    fn vectors(&self) -> usize {
        if self.norm != Norm::None as u32 { 2 * self.k as usize } else { 0 }
    }

    /// Where the moments of x and y lie.
    fn regions(&self) -> [Region; 2] {
        let n = self.m / self.hw.max(1);
        let region = |at, tiles, c| Region { at, n, tiles, c };
        [region(self.from_x, self.tiles_x, self.k), region(self.into, self.tiles, self.n)]
    }

    /// Rows of x from number `first` on, normalised and activated; `row` gives those of samples.
    fn load<'a>(
        &self,
        (vectors, stats): (&[f32], &[Vec<(f64, f64)>]),
        row: impl Fn(usize) -> &'a [f32],
        first: usize,
        work: &mut Scratch,
    ) {
        let k = self.k as usize;
        let Scratch { rows, loaded, .. } = work;
        loaded.resize(rows.len(), 0.0);
        if self.norm == Norm::None as u32 {
            loaded.copy_from_slice(rows);
            return parallel::vectorized(Apply { act: self.act_in, values: loaded });
        }
        let (gamma, beta) = vectors[..2 * k].split_at(k);
        // The rows of one sample together.
        let (hw, count) = (self.sample_rows() as usize, rows.len() / k);
        let mut done = 0;
        while done < count {
            let sample = (first + done) / hw;
            let end = ((sample + 1) * hw - first).min(count);
            let part = done * k..end * k;
            let shifts = self.rows == Rows::ScaleShift as u32;
            let row = if shifts { row(sample) } else { &[] };
            let affine = Affine { gamma, beta, row, act: self.act_in };
            let (rows, loaded) = (&rows[part.clone()], &mut loaded[part]);
            match stats.get(sample) {
                Some(stats) => affine.by_group(stats, rows, loaded),
                None => affine.by_row(self.eps, rows, loaded),
            }
            done = end;
        }
    }

    /// `(sum + bias) * times` of rows of y from number `first` on.
    fn times<'a>(
        &self,
        bias: &[f32],
        row: impl Fn(usize) -> &'a [f32],
        first: usize,
        y: &mut [f32],
    ) {
        for (i, y) in y.chunks_exact_mut(self.n as usize).enumerate() {
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            let times = row((first + i) / self.hw as usize);
            y.iter_mut().zip(times).for_each(|(y, times)| *y *= times);
        }
    }

    /// `(value + bias) * gelu(gate + bias)` of rows `[values | gates]`.
    fn gate(&self, bias: &[f32], gated: &mut [f32], y: &mut [f32]) {
        let n = self.n as usize;
        let at = |k: usize| bias.get(k).copied().unwrap_or(0.0);
        for (y, row) in y.chunks_exact_mut(n).zip(gated.chunks_exact_mut(2 * n)) {
            row.iter_mut().enumerate().for_each(|(k, v)| *v += at(k));
            let (values, gates) = row.split_at_mut(n);
            parallel::vectorized(Apply { act: Act::Gelu as u32, values: gates });
            y.iter_mut().zip(values.iter().zip(gates)).for_each(|(y, (v, g))| *y = *v * *g);
        }
    }
}

impl Op for Params {
    const NAME: &'static str = "linear";
    const ARGS: &'static [Arg] = &[
        Arg::read("x").wide("VEC4"),
        Arg::read("weight"),
        Arg::maybe("vectors"),
        Arg::maybe_update("moments"),
        Arg::maybe("cond"),
        Arg::maybe("skip").wide("STORE4"),
        Arg::write("y").wide("STORE4"),
        Arg::maybe("rows"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => self.maps().0.vectors(self.m) * self.k as usize,
            1 => (self.k * self.columns().next_multiple_of(4)) as usize,
            2 => self.vectors() + (self.bias * self.columns()) as usize,
            3 => super::moments::reach(&self.regions()),
            4 => self.mapped() as usize,
            7 => self.maps().1.vectors(self.mapped()) * self.row_width(),
            _ => (self.m * self.n) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        let mut defines = super::product(self.k, self.n);
        let flag = |name, set: bool| set.then_some((name, 1));
        let group = self.norm == Norm::Group as u32;
        defines.extend(group.then_some(("GROUPS", self.groups)));
        defines.extend(flag("NORM", self.norm != Norm::None as u32));
        defines.extend(flag("NORM_ROWS", self.norm == Norm::Layer as u32));
        defines.extend(flag("GATE", self.gate != 0));
        defines.extend(flag("STORE_MOMENTS", self.tiles > 0));
        defines.extend(flag("BIAS", self.bias != 0));
        defines.extend(flag("SCALE_SHIFT", self.rows == Rows::ScaleShift as u32));
        defines.extend(flag("TIMES", self.rows == Rows::Times as u32));
        let act = |name, act: u32| (act != Act::None as u32).then_some((name, act));
        defines.extend(act("ACT_IN", self.act_in));
        defines.extend(act("ACT", self.act));
        defines
    }
    fn tiles(&self, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
        tiles::tiles(self, dtypes, facts)
    }
    fn partial(&self) -> usize {
        (self.m * self.columns().next_multiple_of(4)) as usize
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            0 => self.maps().0.reach(self.m, span) * self.k as usize,
            7 => self.maps().1.reach(self.mapped(), span) * self.row_width(),
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        2 * self.m as u64 * self.k as u64 * self.columns() as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, weight, vectors, _, cond, skip, _, rows, ..] = buffers.read;
        let [_, _, _, moments, _, _, y, ..] = &mut buffers.write;
        let (k, n, columns) = (self.k as usize, self.n as usize, self.columns() as usize);
        let weight = View::rows(weight, k, columns, columns.next_multiple_of(4));
        let bias = if self.bias != 0 { &vectors[self.vectors()..][..columns] } else { &[] };
        let times = self.rows == Rows::Times as u32;
        let epilogue = Epilogue {
            bias: if self.gate != 0 || times { &[] } else { bias },
            scale: self.scale,
            act: self.act,
        };
        let [from, into] = self.regions();
        let grouped = self.norm == Norm::Group as u32;
        let samples = if grouped { from.n as usize } else { 0 };
        let stats = |n| on_load::groups(&[from], moments, n, self.groups, self.eps);
        let stats: Vec<_> = (0..samples).map(stats).collect();
        let plain = self.norm == Norm::None as u32 && self.act_in == Act::None as u32;
        let (of_x, of_samples) = self.maps();
        let row_of = |sample| {
            let row = of_samples.row(cursor, words(cond), sample);
            &rows[row * self.row_width()..][..self.row_width()]
        };
        let y = &mut y[..self.elements(6)];
        parallel::blocks(y, n, BLOCK, |first, y| {
            let rows = y.len() / n;
            let residual = skip.get(first * n..(first + rows) * n).unwrap_or_default();
            SCRATCH.with_borrow_mut(|work| {
                let block = if plain && of_x == RowMap::IDENTITY {
                    &x[first * k..][..rows * k]
                } else {
                    work.rows.clear();
                    for i in first..first + rows {
                        let row = of_x.row(cursor, words(cond), i);
                        work.rows.extend_from_slice(&x[row * k..][..k]);
                    }
                    self.load((vectors, &stats), row_of, first, work);
                    &work.loaded
                };
                let block = View::rows(block, rows, k, k);
                if self.gate != 0 {
                    work.gated.resize(rows * columns, 0.0);
                    matrix::product(block, weight, &mut work.gated, columns, false);
                    self.gate(bias, &mut work.gated, y);
                } else {
                    matrix::product(block, weight, y, n, false);
                }
            });
            if times {
                self.times(bias, row_of, first, y);
            }
            epilogue.apply(y, n, &[], residual);
        });
        if self.tiles > 0 {
            into.measure(y, moments);
        }
    }
    fn cases() -> Vec<Case> {
        cases::cases()
    }
}
