//! `y = (softmax(q k^T * score_scale) v + residual) * scale` for each sample and head, with an
//! online softmax (Dao 2023, arXiv:2307.08691): the scores never reach memory.
//!
//! Token t of sample n has its head h at `q[q_first + (n * tq + t) * q_stride + h * d ..][..d]`. So
//! have k and v (`tk` tokens of sample `map(n)`), so that one buffer may hold all three, and those
//! of a text may be shared; y is `[n, tq, heads, d]`, and so is `skip`, the residual. A
//! `causal` query sees no key after itself. If `tiles > 0`, the [moments](super::moments) of y go
//! to `moments`.

mod cases;
mod tiles;

use super::activation::{Act, exp};
use super::epilogue::Epilogue;
use super::matrix::{self, View};
use super::moments::Region;
use super::{Arg, Buffers, Case, Cursor, Facts, Op, RowMap, Span, Tile, parallel, params, words};
use crate::tensor::DType;
use rayon::prelude::*;
use std::cell::RefCell;

/// Queries that share one block of scores.
const BLOCK: usize = 64;

thread_local! {
    /// The scores of a block of queries, `[queries, tk]`.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

params! {
    /// See the module; strides are in elements between tokens, firsts in elements of the buffer.
    /// `into` is the first pair of a region of moments, `tiles` its tiles.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub tq: u32,
        pub tk: u32,
        pub heads: u32,
        pub d: u32,
        pub q_stride: u32,
        pub k_stride: u32,
        pub v_stride: u32,
        pub q_first: u32,
        pub k_first: u32,
        pub v_first: u32,
        pub score_scale: f32,
        pub into: u32,
        pub tiles: u32,
        pub scale: f32,
        pub causal: u32,
    }
}

/// Elements from the first to the last of `tokens` strided vectors.
fn span(tokens: u32, stride: u32, width: u32) -> usize {
    ((tokens - 1) * stride + width) as usize
}

impl Params {
    /// Elements that keys or values of so many samples reach.
    fn keys(&self, first: u32, stride: u32, samples: usize) -> usize {
        first as usize + span(samples as u32 * self.tk, stride, self.heads * self.d)
    }

    /// Where the moments of y lie.
    pub fn region(&self) -> Region {
        Region { at: self.into, n: self.n, tiles: self.tiles, c: self.heads * self.d }
    }

    /// One head of a block of queries of sample `n`, from token `first` on, keys and values being
    /// those of sample `from`; y holds all heads.
    fn head(
        &self,
        [q, k, v]: [&[f32]; 3],
        (n, from, first, head): (usize, usize, usize, usize),
        scores: &mut Vec<f32>,
        y: &mut [f32],
    ) {
        let (d, tk, width) = (self.d as usize, self.tk as usize, (self.heads * self.d) as usize);
        let queries = y.len() / width;
        let offset = |first: u32, token: usize, stride: u32| {
            first as usize + token * stride as usize + head * d
        };
        let q = &q[offset(self.q_first, n * self.tq as usize + first, self.q_stride)..];
        let k = &k[offset(self.k_first, from * tk, self.k_stride)..];
        let v = &v[offset(self.v_first, from * tk, self.v_stride)..];
        let q = View::rows(q, queries, d, self.q_stride as usize);
        let k = View::rows(k, tk, d, self.k_stride as usize);
        let v = View::rows(v, tk, d, self.v_stride as usize);
        scores.resize(queries * tk, 0.0);
        matrix::product(q, k.transposed(), scores, tk, false);
        let first = if self.causal != 0 { first } else { tk };
        parallel::vectorized(Softmax { scores, tk, first, scale: self.score_scale });
        matrix::product(View::rows(scores, queries, tk, tk), v, &mut y[head * d..], width, false);
    }
}

/// `softmax(scale s)` of each row of `tk` scores. Row i sees those up to `first + i`; the others
/// become 0.
struct Softmax<'a> {
    scores: &'a mut [f32],
    tk: usize,
    first: usize,
    scale: f32,
}

impl parallel::Loop for Softmax<'_> {
    #[inline(always)]
    fn run(self) {
        let Softmax { scores, tk, first, scale } = self;
        for (i, row) in scores.chunks_exact_mut(tk).enumerate() {
            let (row, unseen) = row.split_at_mut((first + i + 1).min(tk));
            unseen.fill(0.0);
            let max = row.iter().fold(f32::NEG_INFINITY, |m, s| m.max(s * scale));
            row.iter_mut().for_each(|s| *s = exp(*s * scale - max));
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|s| *s /= sum);
        }
    }
}

impl Op for Params {
    const NAME: &'static str = "attention";
    const ARGS: &'static [Arg] = &[
        Arg::read("q").wide("VEC4"),
        Arg::read("k").wide("VEC4"),
        Arg::read("v").wide("VEC4"),
        Arg::maybe("cond"),
        Arg::maybe_update("moments"),
        Arg::maybe("skip").wide("STORE4"),
        Arg::write("y").wide("STORE4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        let width = self.heads * self.d;
        match arg {
            0 => self.q_first as usize + span(self.n * self.tq, self.q_stride, width),
            1 => self.keys(self.k_first, self.k_stride, self.map.vectors(self.n)),
            2 => self.keys(self.v_first, self.v_stride, self.map.vectors(self.n)),
            3 => self.n as usize,
            4 => super::moments::reach(&[self.region()]),
            _ => (self.n * self.tq * width) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => self.keys(self.k_first, self.k_stride, self.map.reach(self.n, span)),
            2 => self.keys(self.v_first, self.v_stride, self.map.reach(self.n, span)),
            _ => self.elements(arg),
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        let strides = self.q_stride | self.k_stride | self.v_stride;
        let firsts = self.q_first | self.k_first | self.v_first;
        let mut defines = super::wide("VEC4", &[self.d, strides, firsts]);
        defines.extend(super::wide("STORE4", &[self.d]));
        if self.tiles > 0 {
            defines.extend([("STORE_MOMENTS", 1), ("OWN_SCRATCH", 1)]);
        }
        defines.push(("HEAD_DIM", self.d));
        if self.causal != 0 {
            defines.push(("CAUSAL", 1));
        }
        if self.d > tiles::NARROW {
            defines.push(("WIDE_HEAD", 1));
        }
        defines
    }
    fn tiles(&self, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
        tiles::tiles(self, dtypes, facts)
    }
    fn partial(&self) -> usize {
        // The outputs of a query, and a quad that says what they weigh.
        let outputs = self.d.next_multiple_of(4) as usize + 4;
        (self.n * self.heads * self.tq) as usize * outputs
    }
    fn flops(&self) -> u64 {
        let scores = self.n as u64 * self.heads as u64 * self.tq as u64 * self.tk as u64;
        4 * scores * self.d as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [q, k, v, cond, _, skip, ..] = buffers.read;
        let [_, _, _, _, moments, _, y, ..] = &mut buffers.write;
        let y = &mut y[..self.elements(6)];
        let (tq, width) = (self.tq as usize, (self.heads * self.d) as usize);
        let block = BLOCK.min(tq);
        // Blocks of queries of one sample, all heads.
        let blocks = tq.div_ceil(block);
        let epilogue = Epilogue { bias: &[], scale: self.scale, act: Act::None as u32 };
        let mut parts: Vec<(usize, usize, &mut [f32])> =
            Vec::with_capacity(self.n as usize * blocks);
        for (n, sample) in y.chunks_mut(tq * width).enumerate() {
            for (i, part) in sample.chunks_mut(block * width).enumerate() {
                parts.push((n, i * block, part));
            }
        }
        parts.into_par_iter().for_each(|(n, first, y)| {
            let from = self.map.row(cursor, words(cond), n);
            SCORES.with_borrow_mut(|scores| {
                for head in 0..self.heads as usize {
                    self.head([q, k, v], (n, from, first, head), scores, y);
                }
            });
            let at = (n * tq + first) * width;
            epilogue.apply(y, width, &[], skip.get(at..at + y.len()).unwrap_or_default());
        });
        if self.tiles > 0 {
            self.region().measure(y, moments);
        }
    }
    fn cases() -> Vec<Case> {
        cases::cases()
    }
}
