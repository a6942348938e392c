//! `y = value * gelu(gate)` of vectors `[values | gates]` (Shazeer 2020, arXiv:2002.05202, eq. 6),
//! GELU in its erf form.

use super::activation::{Act, Apply};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

params! {
    /// `n` vectors of `2 c` values become vectors of `c`.
    pub struct Params {
        pub n: u32,
        pub c: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "geglu";
    const ARGS: &'static [Arg] = &[Arg::read("x").wide("VEC4"), Arg::write("y").wide("VEC4")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        (self.n * self.c) as usize * if arg == 0 { 2 } else { 1 }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn flops(&self) -> u64 {
        5 * self.n as u64 * self.c as u64
    }
    fn reference(&self, _cursor: Cursor, buffers: &mut Buffers) {
        let (x, c) = (buffers.read[0], self.c as usize);
        let y = &mut buffers.write[1][..self.elements(1)];
        parallel::vectors(y, c, |i, y| {
            let (values, gates) = x[i * 2 * c..][..2 * c].split_at(c);
            y.copy_from_slice(gates);
            parallel::vectorized(Apply { act: Act::Gelu as u32, values: y });
            y.iter_mut().zip(values).for_each(|(y, v)| *y *= v);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |(n, c)| {
            let params = Params { n, c };
            let args = vec![random.data(params.elements(0), 4.0), CaseArg::Output];
            Case::new(format!("geglu {n}x{c}"), params, args)
        };
        [(1, 1), (7, 5), (3, 8), (65, 20), (2, 300)].map(&mut case).to_vec()
    }
}
