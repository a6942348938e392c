//! `y = (a + b) * scale`, with either operand read through a row map, and `b` one row a sample
//! (`broadcast`, the time embedding of a ResBlock) or a whole map (a residual).
//!
//! Vector i of y, of sample i / hw, is `a[a_map(i / hw) * hw + i % hw] + b[j]` with
//! `j = b_map(i / hw)` if `broadcast`, else `b_map(i / hw) * hw + i % hw`.

use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};

params! {
    /// `n` samples of `hw` vectors of `c` channels.
    pub struct Params {
        pub a_map: RowMap,
        pub b_map: RowMap,
        pub n: u32,
        pub hw: u32,
        pub c: u32,
        pub broadcast: u32,
        pub scale: f32,
    }
}

impl Op for Params {
    const NAME: &'static str = "add";
    const ARGS: &'static [Arg] = &[
        Arg::read("a").wide("VEC4"),
        Arg::read("b").wide("VEC4"),
        Arg::maybe("cond"),
        Arg::write("y").wide("VEC4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => self.a_map.vectors(self.n) * (self.hw * self.c) as usize,
            1 if self.broadcast != 0 => self.b_map.vectors(self.n) * self.c as usize,
            1 => self.b_map.vectors(self.n) * (self.hw * self.c) as usize,
            2 => self.n as usize,
            _ => (self.n * self.hw * self.c) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            0 => self.a_map.reach(self.n, span) * (self.hw * self.c) as usize,
            1 if self.broadcast != 0 => self.b_map.reach(self.n, span) * self.c as usize,
            1 => self.b_map.reach(self.n, span) * (self.hw * self.c) as usize,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        2 * self.n as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [a, b, cond, ..] = buffers.read;
        let (hw, c) = (self.hw as usize, self.c as usize);
        let y = &mut buffers.write[3][..self.elements(3)];
        parallel::vectors(y, c, |i, y| {
            let (sample, pixel) = (i / hw, i % hw);
            let row = |map: &RowMap| map.row(cursor, words(cond), sample);
            let a = &a[(row(&self.a_map) * hw + pixel) * c..][..c];
            let j =
                if self.broadcast != 0 { row(&self.b_map) } else { row(&self.b_map) * hw + pixel };
            for (y, (a, b)) in y.iter_mut().zip(a.iter().zip(&b[j * c..][..c])) {
                *y = (a + b) * self.scale;
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let id = RowMap::IDENTITY;
        let mut cases = Vec::new();
        for (n, hw, c, broadcast) in [(1, 1, 1, 0), (2, 15, 5, 0), (3, 9, 8, 1), (2, 7, 3, 1)] {
            let params = Params { a_map: id, b_map: id, n, hw, c, broadcast, scale: 0.75 };
            let (a, b) = (params.elements(0), params.elements(1));
            // One row a sample is a row vector: always f32.
            let b = if broadcast != 0 { random.f32(b, 2.0) } else { random.data(b, 2.0) };
            let args = vec![random.data(a, 2.0), b, CaseArg::Absent, CaseArg::Output];
            let kind = ["map", "row"][broadcast as usize];
            cases.push(Case::new(format!("add {kind} {n}x{hw}x{c}"), params, args));
        }
        for MapCase { kind, map, cursor, cond, rows } in row_maps(&mut random, 5) {
            let params =
                Params { a_map: map, b_map: id, n: 5, hw: 1, c: 6, broadcast: 0, scale: 1.0 };
            let (a, b) = (random.f32(rows * 6, 2.0), random.f32(30, 2.0));
            let args = vec![a, b, cond.clone(), CaseArg::OutputF32];
            cases.push(Case::new(format!("add rows, a by {kind}"), params, args).at(cursor));
            let params =
                Params { a_map: id, b_map: map, n: 5, hw: 4, c: 6, broadcast: 1, scale: 1.0 };
            let (a, b) = (random.data(120, 2.0), random.f32(rows * 6, 2.0));
            let args = vec![a, b, cond, CaseArg::Output];
            cases.push(Case::new(format!("add row by {kind}"), params, args).at(cursor));
        }
        cases
    }
}
