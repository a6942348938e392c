//! Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6 in the form used since):
//! `y = f_scale (u + w (c - u))`, c the network's output for the condition (samples 0..b), u for
//! the null condition (samples b..2b), w the sample's guidance, f_scale the row's. A row that does
//! not guide gives c. Channels from `c` up to `cf` (a learned variance) are the conditional half's
//! own.

use super::cases::{plain_row, row_tables, run_words};
use super::random::Random;
use super::row::{self, Row, Rows};
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, parallel, params, words};

/// The guidance of the batch's sample number `sample`.
pub(super) fn guidance_of(run: &[u32], sample: usize) -> f32 {
    use super::solver_step::{RUN_HEADER, RUN_SAMPLE};
    f32::from_bits(run[RUN_HEADER + RUN_SAMPLE * sample + 1])
}

/// `u + w (c - u)`.
pub(super) fn guide(c: f32, u: f32, w: f32) -> f32 {
    u + w * (c - u)
}

params! {
    /// f `[2 b, hw, cf]` network output, y `[b, hw, cf]`; `run` as in `solver_step`.
    pub struct Params {
        pub b: u32,
        pub c: u32,
        pub cf: u32,
        pub hw: u32,
        pub per_sample: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "guidance";
    const ARGS: &'static [Arg] =
        &[Arg::read("f"), Arg::read("table"), Arg::read("run"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (2 * self.b * self.hw * self.cf) as usize,
            1 => row::table_elements(self.per_sample, self.b, 1),
            2 => super::solver_step::run_words(self.b as usize),
            _ => (self.b * self.hw * self.cf) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        row::defines(self.per_sample)
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => row::table_elements(self.per_sample, self.b, span.rows),
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        3 * self.b as u64 * self.hw as u64 * self.cf as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [f, table, run, ..] = buffers.read;
        let rows = Rows { table, cursor, per_sample: self.per_sample };
        let (c, cf, hw) = (self.c as usize, self.cf as usize, self.hw as usize);
        let (conditional, unconditional) = f.split_at(self.elements(3));
        let y = &mut buffers.write[3][..self.elements(3)];
        parallel::vectors(y, cf, |i, y| {
            y.copy_from_slice(&conditional[i * cf..][..cf]);
            let row = rows.of(i / hw);
            if !row.has(row::GUIDE) {
                return;
            }
            let w = guidance_of(words(run), i / hw);
            for (y, u) in y[..c].iter_mut().zip(&unconditional[i * cf..]) {
                *y = row.f_scale * guide(*y, *u, w);
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let sizes = [(1, 1, 1, 1), (2, 3, 3, 35), (3, 1, 2, 16), (5, 3, 6, 7)];
        let cursor = Cursor { row: 2, time: 0 };
        let row = plain_row();
        let scaled = Row { f_scale: 0.7, ..row };
        let off = Row { flags: row::EVAL, ..scaled };
        let mut case = |(b, c, cf, hw), what: &str, rows: &[Row]| {
            let per_sample = (rows.len() > 1).into();
            let params = Params { b, c, cf, hw, per_sample };
            let f = random.f32(params.elements(0), 2.0);
            let table = row_tables(rows, b, cursor);
            let args = vec![f, table, run_words(b as usize), CaseArg::OutputF32];
            Case::new(format!("guidance {b}x{hw}x{c} of {cf} {what}"), params, args).at(cursor)
        };
        let mut cases = Vec::new();
        for size in sizes {
            cases.push(case(size, "plain", &[row]));
            cases.push(case(size, "off", &[off]));
            cases.push(case(size, "scaled", &[scaled]));
            cases.push(case(size, "of rows of their own", &[scaled, off, row]));
        }
        cases
    }
}
