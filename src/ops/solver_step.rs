//! Guidance, prediction conversion, clip, solver row and noise in one pass over the state: what
//! `guidance`, `predict`, `noise` and `combine` do one after another. Bandwidth-bound: reads F
//! (twice the state under guidance) and x, writes x.
//!
//! `run` holds the run's inputs as u32 words: seed low, seed high, 0, 0, then for each sample its
//! index in the whole run and its guidance (f32 bits).

mod cases;

use super::noise::{self, Generator};
use super::output::Output;
use super::row::{self, Row, Rows, State};
use super::{Arg, Buffers, Case, Cursor, Op, Span, params, words};
use rayon::prelude::*;
use std::cell::RefCell;

thread_local! {
    /// The noise of one sample.
    static NOISE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Words of `run` before the samples.
pub const RUN_HEADER: usize = 4;
/// Words of `run` for each sample.
pub const RUN_SAMPLE: usize = 2;

pub(super) const CONSTANTS: &[(&str, u32)] =
    &[("RUN_HEADER", RUN_HEADER as u32), ("RUN_SAMPLE", RUN_SAMPLE as u32)];

/// Words of `run` for a batch of `b`.
pub fn run_words(b: usize) -> usize {
    RUN_HEADER + RUN_SAMPLE * b
}

params! {
    /// `b` samples, state `[b, c, hw]`, f `[n, hw, cf]` with n = 2 b if `guided` else b.
    pub struct Params {
        pub b: u32,
        pub c: u32,
        pub cf: u32,
        pub hw: u32,
        pub guided: u32,
        pub depth: u32,
        pub mode: u32,
        pub threads: u32,
        pub calls: u32,
        pub per_sample: u32,
    }
}

impl Params {
    /// The step of one sample: guidance, prediction and update of each element; z is
    /// `[z0 | z1]`.
    fn step(&self, row: &Row, state: &mut State, sample: usize, output: &Output, z: &[f32]) {
        let (z0, z1) = z.split_at((self.c * self.hw) as usize);
        for i in 0..z0.len() {
            let (mut x0, mut eps, mut scale) = (0.0, 0.0, 1.0);
            if row.has(row::EVAL) {
                (x0, eps) = row.predict(state.x[i], output.outputs(row, sample, i));
                scale = output.noise_scale(row, sample, i);
            }
            // Noise that was not drawn is whatever the buffer held: its coefficient is zero.
            row.update(state, i, x0, eps, [scale * z0[i], scale * z1[i]]);
        }
    }
}

impl Op for Params {
    const NAME: &'static str = "solver_step";
    const ARGS: &'static [Arg] = &[
        Arg::update("state").wide("STATE4"),
        Arg::maybe("f"),
        Arg::read("table"),
        Arg::read("run"),
        Arg::maybe("draws"),
        Arg::maybe_update("saved").wide("STATE4"),
        Arg::maybe_update("history").wide("STATE4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => ((1 + self.guided) * self.b * self.hw * self.cf) as usize,
            2 => row::table_elements(self.per_sample, self.b, 1),
            3 => run_words(self.b as usize),
            6 => (self.depth * self.b * self.c * self.hw) as usize,
            _ => (self.b * self.c * self.hw) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        [super::wide("STATE4", &[self.c * self.hw]), row::defines(self.per_sample)].concat()
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            2 => row::table_elements(self.per_sample, self.b, span.rows),
            4 => span.draws * self.elements(arg),
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        50 * self.b as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [_, f, table, run, draws, ..] = buffers.read;
        let rows = Rows { table, cursor, per_sample: self.per_sample };
        let params = noise::Params {
            b: self.b,
            numel: self.c * self.hw,
            mode: self.mode,
            threads: self.threads,
            calls: self.calls,
            per_sample: self.per_sample,
        };
        let generator = Generator { params, run: words(run), draws };
        let numel = params.numel as usize;
        let (b, c, cf, hw) = (self.b as usize, self.c as usize, self.cf as usize, self.hw as usize);
        let output = Output { f, run: words(run), b, c, cf, hw, guided: self.guided != 0 };
        let [x, _, _, _, _, saved, history, ..] = &mut buffers.write;
        let history = history.get_mut(..self.elements(6)).unwrap_or_default();
        let samples = State::parts(x, saved, history, self.elements(0), numel);
        samples.into_par_iter().enumerate().for_each(|(sample, mut state)| {
            let row = rows.of(sample);
            NOISE.with_borrow_mut(|z| {
                z.resize(2 * numel, 0.0);
                for (draw, z) in row.draws().into_iter().zip(z.chunks_mut(numel)) {
                    draw.into_iter().for_each(|draw| generator.fill(draw, sample, z));
                }
                self.step(&row, &mut state, sample, &output, z);
            });
        });
    }
    fn cases() -> Vec<Case> {
        cases::cases()
    }
}
