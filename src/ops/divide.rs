//! `y = x / t` with the time t of the sample: a score network that is trained to predict noise of
//! unit variance, as NCSN++ is for the process that explodes (Song & Ermon 2020, arXiv:2006.09011,
//! technique 3: `s(x, sigma) = s(x) / sigma`).

use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};

params! {
    /// `n` samples of `hw` vectors of `c` channels; sample i is divided by `times[map(i)]`.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub hw: u32,
        pub c: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "divide";
    const ARGS: &'static [Arg] = &[
        Arg::read("x").wide("VEC4"),
        Arg::read("times"),
        Arg::maybe("cond"),
        Arg::write("y").wide("VEC4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => self.map.vectors(self.n),
            2 => self.n as usize,
            _ => (self.n * self.hw * self.c) as usize,
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
        self.n as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, times, cond, ..] = buffers.read;
        let (hw, c) = (self.hw as usize, self.c as usize);
        let y = &mut buffers.write[3][..self.elements(3)];
        parallel::vectors(y, c, |i, y| {
            let time = times[self.map.row(cursor, words(cond), i / hw)];
            y.iter_mut().zip(&x[i * c..]).for_each(|(y, x)| *y = x / time);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let maps = row_maps(&mut random, 5);
        let mut case = |MapCase { kind, map, cursor, cond, rows }: MapCase, (hw, c)| {
            let params = Params { map, n: 5, hw, c };
            let x = random.data(params.elements(0), 2.0);
            let time = |i: usize| [0.01, 1348.0, 0.5, 3.75, 17.0][i % 5];
            let times = CaseArg::F32((0..rows).map(time).collect());
            let args = vec![x, times, cond, CaseArg::Output];
            Case::new(format!("divide {hw}x{c} by {kind}"), params, args).at(cursor)
        };
        let sizes = [(1, 1), (9, 5), (4, 8), (15, 3), (6, 12), (2, 16), (7, 6), (3, 4)];
        maps.into_iter().zip(sizes).map(|(map, size)| case(map, size)).collect()
    }
}
