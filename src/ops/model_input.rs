//! The network's input from the state: `y = scale * c_in * x + offset`, `[B, C, H, W]` f32 to
//! `[N, H, W, C]` in the storage type. `n` is `b`, or `2 b` under guidance: sample i reads state
//! i % b.

use super::cases::row_table;
use super::random::Random;
use super::row::Row;
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
    }
}

impl Op for Params {
    const NAME: &'static str = "model_input";
    const ARGS: &'static [Arg] = &[Arg::read("x"), Arg::read("table"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.b * self.c * self.hw) as usize,
            1 => super::row::WORDS,
            _ => (self.n * self.c * self.hw) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => span.rows * super::row::WORDS,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        2 * self.n as u64 * self.c as u64 * self.hw as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, table, ..] = buffers.read;
        let (b, c, hw) = (self.b as usize, self.c as usize, self.hw as usize);
        let scale = self.scale * Row::at(table, cursor).c_in;
        let y = &mut buffers.write[2][..self.elements(2)];
        parallel::vectors(y, c, |i, y| {
            let x = &x[(i / hw % b) * c * hw + i % hw..];
            for (k, y) in y.iter_mut().enumerate() {
                *y = scale * x[k * hw] + self.offset;
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let cursor = Cursor { row: 3, time: 1 };
        let sizes = [(1, 1, 1, 1), (2, 2, 3, 35), (3, 6, 1, 9), (2, 4, 4, 16), (1, 2, 5, 7)];
        let case = |(b, n, c, hw)| {
            let params = Params { b, n, c, hw, scale: 2.0, offset: -1.0 };
            let row = Row { c_in: 0.3, ..Row::default() };
            let x = random.f32(params.elements(0), 3.0);
            let args = vec![x, row_table(row, cursor), CaseArg::Output];
            Case::new(format!("model_input {b}->{n} {c}x{hw}"), params, args).at(cursor)
        };
        sizes.into_iter().map(case).collect()
    }
}
