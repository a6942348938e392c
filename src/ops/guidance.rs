//! Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6 in the form used since):
//! `y = u + w (c - u)`, c the network's output for the condition (samples 0..b), u for the null
//! condition (samples b..2b), w the sample's guidance. Channels from `c` up to `cf` (a learned
//! variance) are taken from the conditional half unguided.

use super::cases::run_words;
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params, words};

/// The guidance of the batch's sample number `sample`.
pub(super) fn guidance_of(run: &[u32], sample: usize) -> f32 {
    use super::solver_step::{RUN_HEADER, RUN_SAMPLE};
    f32::from_bits(run[RUN_HEADER + RUN_SAMPLE * sample + 1])
}

/// `u + w (c - u)`.
pub(super) fn guide(c: f32, u: f32, w: f32) -> f32 {
    u + w * (c - u)
}

params! {
    /// f `[2 b, hw, cf]` network output, y `[b, hw, cf]`; `run` as in `solver_step`.
    pub struct Params {
        pub b: u32,
        pub c: u32,
        pub cf: u32,
        pub hw: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "guidance";
    const ARGS: &'static [Arg] = &[Arg::read("f"), Arg::read("run"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (2 * self.b * self.hw * self.cf) as usize,
            1 => super::solver_step::run_words(self.b as usize),
            _ => (self.b * self.hw * self.cf) as usize,
        }
    }
    fn flops(&self) -> u64 {
        3 * self.b as u64 * self.hw as u64 * self.cf as u64
    }
    fn reference(&self, _cursor: Cursor, buffers: &mut Buffers) {
        let [f, run, ..] = buffers.read;
        let (c, cf, hw) = (self.c as usize, self.cf as usize, self.hw as usize);
        let (conditional, unconditional) = f.split_at(self.elements(2));
        let y = &mut buffers.write[2][..self.elements(2)];
        parallel::vectors(y, cf, |i, y| {
            let w = guidance_of(words(run), i / hw);
            y.copy_from_slice(&conditional[i * cf..][..cf]);
            for (y, u) in y[..c].iter_mut().zip(&unconditional[i * cf..]) {
                *y = guide(*y, *u, w);
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let sizes = [(1, 1, 1, 1), (2, 3, 3, 35), (3, 1, 2, 16), (5, 3, 6, 7)];
        let case = |(b, c, cf, hw)| {
            let params = Params { b, c, cf, hw };
            let f = random.f32(params.elements(0), 2.0);
            let args = vec![f, run_words(b as usize), CaseArg::OutputF32];
            Case::new(format!("guidance {b}x{hw}x{c} of {cf}"), params, args)
        };
        sizes.into_iter().map(case).collect()
    }
}
