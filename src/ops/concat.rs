//! `y = [a | b]` along channels: the skip connections of a UNet.

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

params! {
    /// `n` vectors; a has `ca` channels, b `cb`, y their sum.
    pub struct Params {
        pub n: u32,
        pub ca: u32,
        pub cb: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "concat";
    const ARGS: &'static [Arg] =
        &[Arg::read("a").wide("VEC4"), Arg::read("b").wide("VEC4"), Arg::write("y").wide("VEC4")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.n * self.ca) as usize,
            1 => (self.n * self.cb) as usize,
            _ => (self.n * (self.ca + self.cb)) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.ca, self.cb])
    }
    fn flops(&self) -> u64 {
        0
    }
    fn reference(&self, _cursor: Cursor, buffers: &mut Buffers) {
        let [a, b, ..] = buffers.read;
        let (ca, cb) = (self.ca as usize, self.cb as usize);
        let y = &mut buffers.write[2][..self.elements(2)];
        parallel::vectors(y, ca + cb, |i, y| {
            y[..ca].copy_from_slice(&a[i * ca..][..ca]);
            y[ca..].copy_from_slice(&b[i * cb..][..cb]);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let sizes = [(1, 1, 1), (7, 3, 5), (10, 8, 4), (6, 4, 1), (5, 2, 16)];
        let case = |(n, ca, cb)| {
            let params = Params { n, ca, cb };
            let (a, b) = (params.elements(0), params.elements(1));
            let args = vec![random.data(a, 1.0), random.data(b, 1.0), CaseArg::Output];
            Case::new(format!("concat {n} x {ca}+{cb}"), params, args)
        };
        sizes.into_iter().map(case).collect()
    }
}
