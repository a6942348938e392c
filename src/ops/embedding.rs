//! `y = table[labels[map(s) * per + t]]` of vector t of sample s, `per` of them: the learned vector
//! of a class, or those of the tokens of a text.

use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};

params! {
    /// `n` samples of `per` vectors of `c` out of a table of `classes` rows.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub c: u32,
        pub classes: u32,
        pub per: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "embedding";
    const ARGS: &'static [Arg] = &[
        Arg::read("table").wide("VEC4"),
        Arg::read("labels"),
        Arg::maybe("cond"),
        Arg::write("y").wide("VEC4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.classes * self.c) as usize,
            1 => self.map.vectors(self.n) * self.per as usize,
            2 => self.n as usize,
            _ => (self.n * self.per * self.c) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => self.map.reach(self.n, span) * self.per as usize,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        0
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [table, labels, cond, ..] = buffers.read;
        let (c, per) = (self.c as usize, self.per as usize);
        let y = &mut buffers.write[3][..self.elements(3)];
        parallel::vectors(y, c, |i, y| {
            let row = self.map.row(cursor, words(cond), i / per);
            let label = words(labels)[row * per + i % per] as usize;
            y.copy_from_slice(&table[label * c..][..c]);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let maps = row_maps(&mut random, 6);
        let mut case = |MapCase { kind, map, cursor, cond, rows }: &MapCase, c: u32, per: u32| {
            let params = Params { map: *map, n: 6, c, classes: 11, per };
            let count = rows * per as usize;
            let mut labels = random.below(count, 11);
            (labels[0], labels[count - 1]) = (10, 0);
            let table = random.f32(params.elements(0), 1.0);
            // Tokens are values of a map.
            let y = if per > 1 { CaseArg::Output } else { CaseArg::OutputF32 };
            let args = vec![table, CaseArg::U32(labels), cond.clone(), y];
            Case::new(format!("embedding of {per}x{c} by {kind}"), params, args).at(*cursor)
        };
        let sizes = [5, 8, 1, 12, 16, 3, 7, 4];
        let mut cases: Vec<Case> = maps.iter().zip(sizes).map(|(map, c)| case(map, c, 1)).collect();
        cases.extend(maps.iter().zip(sizes).map(|(map, c)| case(map, c, 7)));
        cases
    }
}
