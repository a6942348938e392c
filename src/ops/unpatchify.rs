//! Tokens become the pixels of their patches of `s` x `s` pixels:
//! `y[n, s i + u, s j + v, k] = x[n, i, j, (s u + v) c + k]` (Peebles & Xie 2023,
//! arXiv:2212.09748, section 3.2).

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

params! {
    /// x `[n, h, w, side side c]`, y `[n, side h, side w, c]`.
    pub struct Params {
        pub n: u32,
        pub h: u32,
        pub w: u32,
        pub c: u32,
        pub side: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "unpatchify";
    const ARGS: &'static [Arg] = &[Arg::read("x").wide("VEC4"), Arg::write("y").wide("VEC4")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, _arg: usize) -> usize {
        (self.n * self.h * self.w * self.side * self.side * self.c) as usize
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn flops(&self) -> u64 {
        0
    }
    fn reference(&self, _cursor: Cursor, buffers: &mut Buffers) {
        let x = buffers.read[0];
        let (side, c) = (self.side as usize, self.c as usize);
        let wo = self.w as usize * side;
        let y = &mut buffers.write[1][..self.elements(1)];
        parallel::vectors(y, c, |i, y| {
            let (line, column) = (i / wo, i % wo);
            // Lines of all samples follow each other, those of each a multiple of the side.
            let token = line / side * self.w as usize + column / side;
            let part = line % side * side + column % side;
            y.copy_from_slice(&x[(token * side * side + part) * c..][..c]);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let sizes =
            [(1, 1, 1, 1, 1), (2, 3, 5, 3, 2), (1, 4, 2, 8, 4), (3, 2, 2, 4, 1), (2, 1, 3, 5, 3)];
        let mut case = |(n, h, w, c, side)| {
            let params = Params { n, h, w, c, side };
            let args = vec![random.data(params.elements(0), 2.0), CaseArg::Output];
            Case::new(format!("unpatchify {n}x{h}x{w}x{c} by {side}"), params, args)
        };
        sizes.into_iter().map(&mut case).collect()
    }
}
