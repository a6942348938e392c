//! The prediction from the network's output, by the row's scalars ([`super::row`]):
//! `x0 = x0_scale clamp(x0_x x + x0_f F)`, `eps = eps_x x + eps_f F + eps_x0 x0`, and the logarithm
//! of the noise scale that a learned variance gives (0 where the row does not use one). `pair` is
//! the output before guidance, whose second half eps is made of where the row says so.

use super::cases::{diverged, plain_row, row_tables};
use super::random::Random;
use super::row::{self, Row, Rows};
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, params};

params! {
    /// x, x0, eps, log_scale `[b, c, hw]`; f `[b, hw, cf]`; pair `[2 b, hw, cf]`.
    pub struct Params {
        pub b: u32,
        pub c: u32,
        pub cf: u32,
        pub hw: u32,
        pub per_sample: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "predict";
    const ARGS: &'static [Arg] = &[
        Arg::read("x"),
        Arg::read("f"),
        Arg::maybe("pair"),
        Arg::read("table"),
        Arg::write("x0"),
        Arg::write("eps"),
        Arg::write("log_scale"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => (self.b * self.hw * self.cf) as usize,
            2 => (2 * self.b * self.hw * self.cf) as usize,
            3 => row::table_elements(self.per_sample, self.b, 1),
            _ => (self.b * self.c * self.hw) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            3 => row::table_elements(self.per_sample, self.b, span.rows),
            _ => self.elements(arg),
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        row::defines(self.per_sample)
    }
    fn flops(&self) -> u64 {
        6 * self.b as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, f, pair, table, ..] = buffers.read;
        let rows = Rows { table, cursor, per_sample: self.per_sample };
        let (c, cf, hw) = (self.c as usize, self.cf as usize, self.hw as usize);
        let [_, _, _, _, x0, eps, log_scale, ..] = &mut buffers.write;
        let unconditional = pair.get(self.elements(1)..).filter(|u| !u.is_empty());
        for i in 0..self.elements(0) {
            let (sample, channel, pixel) = (i / (c * hw), i / hw % c, i % hw);
            let row = rows.of(sample);
            let at = (sample * hw + pixel) * cf + channel;
            let of_eps = unconditional.filter(|_| row.has(row::UNCOND_EPS)).unwrap_or(f)[at];
            (x0[i], eps[i]) = row.predict(x[i], [f[at], of_eps]);
            log_scale[i] = if row.has(row::LEARNED) { row.log_scale(f[at + c]) } else { 0.0 };
        }
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let cursor = Cursor { row: 2, time: 0 };
        let mut case = |what: &str, (b, c, cf, hw), rows: &[Row]| {
            let params = Params { b, c, cf, hw, per_sample: (rows.len() > 1).into() };
            let x = random.f32(params.elements(0), 2.0);
            let f = random.f32(params.elements(1), 2.0);
            let pair = match rows.iter().any(|row| row.has(row::UNCOND_EPS)) {
                true => random.f32(params.elements(2), 2.0),
                false => CaseArg::Absent,
            };
            let out = || CaseArg::OutputF32;
            let args = vec![x, f, pair, row_tables(rows, b, cursor), out(), out(), out()];
            Case::new(format!("predict {b}x{hw}x{c} of {cf} {what}"), params, args).at(cursor)
        };
        let row = plain_row();
        let learned = Row { flags: row.flags | row::LEARNED, ..row };
        let unclipped = Row { clip: f32::MAX, ..row };
        let data = Row { x0_x: 0.0, x0_f: 1.0, eps_f: 0.0, ..row };
        let unconditional = Row { flags: row.flags | row::UNCOND_EPS, ..row };
        let scaled = Row { x0_scale: 0.6, ..row };
        let endless = Row { clip: f32::INFINITY, ..row };
        let each = [unconditional, scaled, data, unclipped];
        vec![
            case("one element", (1, 1, 1, 1), &[row]),
            case("clipped", (2, 3, 3, 35), &[row]),
            case("unclipped", (3, 1, 1, 16), &[unclipped]),
            case("predicting x0", (2, 3, 3, 7), &[data]),
            case("learned", (2, 3, 6, 35), &[learned]),
            case("variance unused", (1, 2, 4, 9), &[row]),
            case("eps unconditional", (3, 2, 4, 9), &[unconditional]),
            case("scaled", (2, 1, 1, 9), &[scaled]),
            case("rows of their own", (4, 3, 3, 5), &each),
            diverged(case("clipped", (2, 3, 3, 7), &[row]), 1),
            diverged(case("unclipped", (2, 3, 3, 7), &[unclipped]), 1),
            diverged(case("without a bound", (1, 2, 2, 9), &[endless]), 1),
        ]
    }
}
