//! The state after each row, for people who want to see a trajectory: `y[row] = x`.

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, params};

params! {
    /// `n` elements of the state; `y` holds one copy for each of `rows` rows.
    pub struct Params {
        pub n: u32,
        pub rows: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "trace";
    const ARGS: &'static [Arg] = &[Arg::read("x"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => self.n as usize,
            _ => self.rows as usize * self.n as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            0 => self.elements(arg),
            _ => self.n as usize * span.rows.max(self.rows as usize),
        }
    }
    fn flops(&self) -> u64 {
        0
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let n = self.n as usize;
        buffers.write[1][cursor.row as usize * n..][..n].copy_from_slice(&buffers.read[0][..n]);
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let case = |(n, rows, row)| {
            let x = random.f32(n as usize, 3.0);
            let args = vec![x, CaseArg::OutputF32];
            let name = format!("trace {n} at {row} of {rows}");
            Case::new(name, Params { n, rows }, args).at(Cursor { row, time: 0 })
        };
        [(1, 1, 0), (35, 4, 3), (300, 3, 1)].into_iter().map(case).collect()
    }
}
