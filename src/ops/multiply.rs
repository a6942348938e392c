//! `y = x row` with a row for each sample: the gate of a residual branch (Peebles & Xie 2023,
//! arXiv:2212.09748, section 3.2, "adaLN-Zero").

use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};

params! {
    /// `n` samples of `hw` vectors of `c` channels; `rows` holds vectors of `c`.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub hw: u32,
        pub c: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "multiply";
    const ARGS: &'static [Arg] = &[
        Arg::read("x").wide("VEC4"),
        Arg::read("rows").wide("VEC4"),
        Arg::maybe("cond"),
        Arg::write("y").wide("VEC4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => self.map.vectors(self.n) * self.c as usize,
            2 => self.n as usize,
            _ => (self.n * self.hw * self.c) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => self.map.reach(self.n, span) * self.c as usize,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        self.n as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, rows, cond, ..] = buffers.read;
        let (hw, c) = (self.hw as usize, self.c as usize);
        let y = &mut buffers.write[3][..self.elements(3)];
        parallel::vectors(y, c, |i, y| {
            let row = self.map.row(cursor, words(cond), i / hw);
            let row = &rows[row * c..][..c];
            y.iter_mut().zip(&x[i * c..][..c]).zip(row).for_each(|((y, x), r)| *y = x * r);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let maps = row_maps(&mut random, 5);
        let mut case = |MapCase { kind, map, cursor, cond, rows }: MapCase, (hw, c)| {
            let params = Params { map, n: 5, hw, c };
            let (x, rows) = (params.elements(0), rows * c as usize);
            let args = vec![random.data(x, 2.0), random.f32(rows, 1.0), cond, CaseArg::Output];
            Case::new(format!("multiply {hw}x{c} by {kind}"), params, args).at(cursor)
        };
        let sizes = [(1, 1), (9, 5), (4, 8), (15, 3), (6, 12), (2, 16), (7, 6), (3, 4)];
        maps.into_iter().zip(sizes).map(|(map, size)| case(map, size)).collect()
    }
}
