//! The prediction from the network's output, by the row's scalars ([`super::row`]):
//! `x0 = clamp(x0_x x + x0_f F)`, `eps = eps_x x + eps_f F + eps_x0 x0`, and the logarithm of the
//! noise scale that a learned variance gives (0 where the row does not use one).

use super::cases::{diverged, plain_row, row_table};
use super::random::Random;
use super::row::{self, Row};
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, params};

params! {
    /// x, x0, eps, log_scale `[b, c, hw]`; f `[b, hw, cf]`; `table` holds the rows.
    pub struct Params {
        pub b: u32,
        pub c: u32,
        pub cf: u32,
        pub hw: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "predict";
    const ARGS: &'static [Arg] = &[
        Arg::read("x"),
        Arg::read("f"),
        Arg::read("table"),
        Arg::write("x0"),
        Arg::write("eps"),
        Arg::write("log_scale"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => (self.b * self.hw * self.cf) as usize,
            2 => super::row::WORDS,
            _ => (self.b * self.c * self.hw) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            2 => span.rows * super::row::WORDS,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        6 * self.b as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, f, table, ..] = buffers.read;
        let row = Row::at(table, cursor);
        let (c, cf, hw) = (self.c as usize, self.cf as usize, self.hw as usize);
        let [_, _, _, x0, eps, log_scale, ..] = &mut buffers.write;
        for i in 0..self.elements(0) {
            let (sample, channel, pixel) = (i / (c * hw), i / hw % c, i % hw);
            let f = &f[(sample * hw + pixel) * cf..][..cf];
            (x0[i], eps[i]) = row.predict(x[i], f[channel]);
            log_scale[i] = if row.has(row::LEARNED) { row.log_scale(f[c + channel]) } else { 0.0 };
        }
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let cursor = Cursor { row: 2, time: 0 };
        let mut case = |what: &str, (b, c, cf, hw), row: Row| {
            let params = Params { b, c, cf, hw };
            let x = random.f32(params.elements(0), 2.0);
            let f = random.f32(params.elements(1), 2.0);
            let out = || CaseArg::OutputF32;
            let args = vec![x, f, row_table(row, cursor), out(), out(), out()];
            Case::new(format!("predict {b}x{hw}x{c} of {cf} {what}"), params, args).at(cursor)
        };
        let row = plain_row();
        let learned = Row { flags: row.flags | row::LEARNED, ..row };
        let unclipped = Row { clip: f32::MAX, ..row };
        let data = Row { x0_x: 0.0, x0_f: 1.0, eps_f: 0.0, ..row };
        vec![
            case("one element", (1, 1, 1, 1), row),
            case("clipped", (2, 3, 3, 35), row),
            case("unclipped", (3, 1, 1, 16), unclipped),
            case("predicting x0", (2, 3, 3, 7), data),
            case("learned", (2, 3, 6, 35), learned),
            case("variance unused", (1, 2, 4, 9), row),
            diverged(case("clipped", (2, 3, 3, 7), row), 1),
            diverged(case("unclipped", (2, 3, 3, 7), unclipped), 1),
            diverged(case("without a bound", (1, 2, 2, 9), Row { clip: f32::INFINITY, ..row }), 1),
        ]
    }
}
