//! Guidance, prediction conversion, clip, solver row and noise in one pass over the state: what
//! `guidance`, `predict`, `noise` and `combine` do one after another. Bandwidth-bound: reads F
//! (twice the state under guidance) and x, writes x.
//!
//! `run` holds the run's inputs as u32 words: seed low, seed high, 0, 0, then for each sample its
//! index in the whole run and its guidance (f32 bits).

mod cases;

use super::guidance::{guidance_of, guide};
use super::noise::{self, Generator};
use super::row::{self, Row, State};
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
    }
}

/// What the step of one sample reads besides the state.
struct Inputs<'a> {
    f: &'a [f32],
    run: &'a [u32],
    /// `[z0 | z1]` of the sample.
    z: &'a [f32],
}

impl Params {
    /// The step of one sample: `guidance`, `predict` and `combine` of each element.
    fn step(&self, row: &Row, state: &mut State, sample: usize, inputs: &Inputs) {
        let (c, cf, hw) = (self.c as usize, self.cf as usize, self.hw as usize);
        let (z0, z1) = inputs.z.split_at(c * hw);
        let w = guidance_of(inputs.run, sample);
        for i in 0..c * hw {
            let (channel, pixel) = (i / hw, i % hw);
            let (mut x0, mut eps, mut scale) = (0.0, 0.0, 1.0);
            if row.has(row::EVAL) {
                let at = |half: usize, channel: usize| {
                    let n = half * self.b as usize + sample;
                    inputs.f[(n * hw + pixel) * cf + channel]
                };
                let conditional = at(0, channel);
                let f = match self.guided {
                    0 => conditional,
                    _ => guide(conditional, at(1, channel), w),
                };
                (x0, eps) = row.predict(state.x[i], f);
                if row.has(row::LEARNED) {
                    scale = row.log_scale(at(0, c + channel)).exp();
                }
            }
            // Noise that was not drawn is whatever the buffer held: its coefficient is zero.
            row.update(state, i, x0, eps, [scale * z0[i], scale * z1[i]]);
        }
    }
}

impl Op for Params {
    const NAME: &'static str = "solver_step";
    const ARGS: &'static [Arg] = &[
        Arg::update("x"),
        Arg::maybe("f"),
        Arg::read("table"),
        Arg::read("run"),
        Arg::maybe("draws"),
        Arg::maybe_update("saved"),
        Arg::maybe_update("history"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => ((1 + self.guided) * self.b * self.hw * self.cf) as usize,
            2 => super::row::WORDS,
            3 => run_words(self.b as usize),
            6 => (self.depth * self.b * self.c * self.hw) as usize,
            _ => (self.b * self.c * self.hw) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c * self.hw])
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            2 => span.rows * super::row::WORDS,
            4 => span.draws * self.elements(arg),
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        50 * self.b as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [_, f, table, run, draws, ..] = buffers.read;
        let row = Row::at(table, cursor);
        let params = noise::Params {
            b: self.b,
            numel: self.c * self.hw,
            mode: self.mode,
            threads: self.threads,
            calls: self.calls,
        };
        let generator = Generator { params, run: words(run), draws };
        let numel = params.numel as usize;
        let [x, _, _, _, _, saved, history, _] = &mut buffers.write;
        let history = history.get_mut(..self.elements(6)).unwrap_or_default();
        let samples = State::parts(x, saved, history, self.elements(0), numel);
        samples.into_par_iter().enumerate().for_each(|(sample, mut state)| {
            NOISE.with_borrow_mut(|z| {
                z.resize(2 * numel, 0.0);
                for (draw, z) in row.draws().into_iter().zip(z.chunks_mut(numel)) {
                    draw.into_iter().for_each(|draw| generator.fill(draw, sample, z));
                }
                self.step(&row, &mut state, sample, &Inputs { f, run: words(run), z });
            });
        });
    }
    fn cases() -> Vec<Case> {
        cases::cases()
    }
}
