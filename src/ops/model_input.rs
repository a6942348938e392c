//! The network's input from the state: `y = scale * c_in * x + offset`, `[B, C, H, W]` f32 to
//! `[N, H, W, C]` in the storage type. `n` is `b`, or `2 b` under guidance: sample i reads state
//! i % b.

use super::cases::row_tables;
use super::random::Random;
use super::row::{self, Row, Rows};
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, parallel, params};

params! {
    /// `b` states of `c` channels of `hw` pixels, `n` network inputs; `table` holds the rows.
    pub struct Params {
        pub b: u32,
        pub n: u32,
        pub c: u32,
        pub hw: u32,
        pub scale: f32,
        pub offset: f32,
        pub per_sample: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "model_input";
    const ARGS: &'static [Arg] = &[Arg::read("x"), Arg::read("table"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.b * self.c * self.hw) as usize,
            1 => row::table_elements(self.per_sample, self.b, 1),
            _ => (self.n * self.c * self.hw) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => row::table_elements(self.per_sample, self.b, span.rows),
            _ => self.elements(arg),
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        row::defines(self.per_sample)
    }
    fn flops(&self) -> u64 {
        2 * self.n as u64 * self.c as u64 * self.hw as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, table, ..] = buffers.read;
        let (b, c, hw) = (self.b as usize, self.c as usize, self.hw as usize);
        let rows = Rows { table, cursor, per_sample: self.per_sample };
        let y = &mut buffers.write[2][..self.elements(2)];
        parallel::vectors(y, c, |i, y| {
            let sample = i / hw % b;
            let scale = self.scale * rows.of(sample).c_in;
            let x = &x[sample * c * hw + i % hw..];
            for (k, y) in y.iter_mut().enumerate() {
                *y = scale * x[k * hw] + self.offset;
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let cursor = Cursor { row: 3, time: 1 };
        let sizes = [(1, 1, 1, 1), (2, 2, 3, 35), (3, 6, 1, 9), (2, 4, 4, 16), (1, 2, 5, 7)];
        let mut case = |(b, n, c, hw), rows: &[Row], what: &str| {
            let per_sample = (rows.len() > 1).into();
            let params = Params { b, n, c, hw, scale: 2.0, offset: -1.0, per_sample };
            let x = random.f32(params.elements(0), 3.0);
            let args = vec![x, row_tables(rows, b, cursor), CaseArg::Output];
            Case::new(format!("model_input {b}->{n} {c}x{hw}{what}"), params, args).at(cursor)
        };
        let row = |c_in| Row { c_in, ..Row::default() };
        let mut cases: Vec<Case> =
            sizes.into_iter().map(|size| case(size, &[row(0.3)], "")).collect();
        cases.push(case((3, 6, 2, 9), &[row(0.3), row(-1.5), row(0.9)], " of rows of their own"));
        cases
    }
}
