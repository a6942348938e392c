//! `v = a v + b`, done `rounds * FMA_CHAIN` times to every element v of x, in the type that x is
//! stored in: what a device computes at most ([`crate::backend::roofline`]), in no network.
//!
//! Rows of 8 elements are what one thread works on: enough that no operation waits for the one
//! before it.

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

/// Elements of a row.
pub const WIDTH: usize = 8;

/// Operations on an element in one round: a loop's own work is little beside them.
pub const CHAIN: usize = 16;

pub(super) const CONSTANTS: &[(&str, u32)] = &[("FMA_CHAIN", CHAIN as u32)];

params! {
    /// `n` rows of [`WIDTH`] elements.
    pub struct Params {
        pub n: u32,
        pub rounds: u32,
        pub a: f32,
        pub b: f32,
    }
}

/// The operations on a few rows.
struct Rounds<'a> {
    params: Params,
    values: &'a mut [f32],
}

impl parallel::Loop for Rounds<'_> {
    #[inline(always)]
    fn run(self) {
        let Params { rounds, a, b, .. } = self.params;
        // As many as the registers of a vector unit hold.
        for block in self.values.chunks_mut(16 * WIDTH) {
            let mut held = [0.0_f32; 16 * WIDTH];
            held[..block.len()].copy_from_slice(block);
            for _ in 0..rounds as usize * CHAIN {
                held.iter_mut().for_each(|v| *v = a * *v + b);
            }
            block.copy_from_slice(&held[..block.len()]);
        }
    }
}

impl Op for Params {
    const NAME: &'static str = "multiply_add";
    const ARGS: &'static [Arg] = &[Arg::read("x"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, _: usize) -> usize {
        self.n as usize * WIDTH
    }
    fn flops(&self) -> u64 {
        2 * (self.n as u64 * WIDTH as u64) * (self.rounds as u64 * CHAIN as u64)
    }
    fn reference(&self, _: Cursor, buffers: &mut Buffers) {
        let x = buffers.read[0];
        let y = &mut buffers.write[1][..self.elements(1)];
        parallel::blocks(y, WIDTH, 1 << 10, |first, values| {
            values.copy_from_slice(&x[first * WIDTH..][..values.len()]);
            parallel::vectorized(Rounds { params: *self, values });
        });
    }
    /// Every number on the way is exact in f16, so that one operation too few or too many shows.
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |n, rounds, a, b| {
            let quarters = |v: f32| (4.0 * v).round() / 4.0;
            let x = random.uniform(n as usize * WIDTH, 16.0).into_iter().map(quarters).collect();
            let name = format!("multiply_add {n} rows, {rounds} rounds of {a} v + {b}");
            let args = vec![CaseArg::Data(x), CaseArg::Output];
            Case::new(name, Params { n, rounds, a, b }, args).tolerance(0.0, 0.0)
        };
        vec![
            case(1, 0, 0.5, 0.5),
            case(1, 1, 1.0, 0.25),
            case(3, 1, -1.0, 0.75),
            case(300, 5, 1.0, -0.5),
            case(257, 2, 0.0, 0.5),
        ]
    }
}
