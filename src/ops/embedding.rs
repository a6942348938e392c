//! `y = table[labels[map(i)]]`: the learned vector of a class.

use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};

params! {
    /// `n` vectors of `c` out of a table of `classes` rows.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub c: u32,
        pub classes: u32,
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
            1 => self.map.vectors(self.n),
            2 => self.n as usize,
            _ => (self.n * self.c) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => self.map.reach(self.n, span),
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        0
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [table, labels, cond, ..] = buffers.read;
        let c = self.c as usize;
        let y = &mut buffers.write[3][..self.elements(3)];
        parallel::vectors(y, c, |i, y| {
            let label = words(labels)[self.map.row(cursor, words(cond), i)] as usize;
            y.copy_from_slice(&table[label * c..][..c]);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let maps = row_maps(&mut random, 6);
        let mut case = |MapCase { kind, map, cursor, cond, rows }: MapCase, c: u32| {
            let params = Params { map, n: 6, c, classes: 11 };
            let mut labels = random.below(rows, 11);
            (labels[0], labels[rows - 1]) = (10, 0);
            let table = random.f32(params.elements(0), 1.0);
            let args = vec![table, CaseArg::U32(labels), cond, CaseArg::OutputF32];
            Case::new(format!("embedding of {c} by {kind}"), params, args).at(cursor)
        };
        maps.into_iter().zip([5, 8, 1, 12, 16, 3, 7, 4]).map(|(map, c)| case(map, c)).collect()
    }
}
