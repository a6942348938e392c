//! `sums = x W`, added `rounds * MATRIX_CHAIN` times one after another, and the same n times over:
//! what matrix units do at most ([`crate::backend::roofline`]), in no network.
//!
//! A subgroup keeps x, W and a block of sums in registers: enough matrices of sums that no product
//! waits for the one before it. Sums are f32. A device without matrix units computes them as it
//! can.

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Facts, Method, Op, Tile, parallel, params};
use crate::tensor::DType;

/// Rows and columns of a block of sums, and the steps of k of a product.
pub const SIDE: usize = 32;
pub const DEPTH: usize = 16;
/// Sums of a block.
pub const SUMS: usize = SIDE * SIDE;

/// Products in one round: a loop's own work is little beside them.
pub const CHAIN: usize = 16;

pub(super) const CONSTANTS: &[(&str, u32)] =
    &[("MATRIX_SIDE", SIDE as u32), ("MATRIX_DEPTH", DEPTH as u32), ("MATRIX_CHAIN", CHAIN as u32)];

params! {
    /// `n` blocks of `[SIDE, SIDE]` sums.
    pub struct Params {
        pub n: u32,
        pub rounds: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "matrix_multiply_add";
    const ARGS: &'static [Arg] = &[Arg::read("x"), Arg::read("weight"), Arg::write("sums")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 | 1 => SIDE * DEPTH,
            _ => self.n as usize * SUMS,
        }
    }
    fn flops(&self) -> u64 {
        2 * (self.n as u64 * (SUMS * DEPTH) as u64) * (self.rounds as u64 * CHAIN as u64)
    }
    /// A block is a warp's or a subgroup's, of which a workgroup has eight or four.
    fn tiles(&self, dtypes: &[Option<DType>], facts: &Facts) -> Vec<Tile> {
        let tile = |(method, blocks)| {
            let (rows, columns) = ((blocks * SIDE) as u32, SIDE as u32);
            Tile { method, rows, columns, splits: 1 }
        };
        let tiles = [(Method::Mma, 8), (Method::Matrix, 4)].map(tile).into_iter();
        tiles.filter(|tile| facts.allow(tile, dtypes)).collect()
    }
    fn reference(&self, _: Cursor, buffers: &mut Buffers) {
        let (x, weight) = (buffers.read[0], buffers.read[1]);
        let mut product = [0.0_f32; SUMS];
        for (i, sum) in product.iter_mut().enumerate() {
            let (row, column) = (i / SIDE, i % SIDE);
            let terms = (0..DEPTH).map(|k| x[row * DEPTH + k] * weight[k * SIDE + column]);
            *sum = terms.sum();
        }
        let sums = &mut buffers.write[2][..self.elements(2)];
        parallel::vectors(sums, SUMS, |_, sums| {
            sums.fill(0.0);
            for _ in 0..self.rounds as usize * CHAIN {
                sums.iter_mut().zip(&product).for_each(|(sum, v)| *sum += v);
            }
        });
    }
    /// Whole numbers, whose sums are exact: one product too few or too many shows.
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |n, rounds| {
            let mut whole = || {
                let values = random.uniform(SIDE * DEPTH, 4.0).into_iter();
                CaseArg::Data(values.map(f32::round).collect())
            };
            let name = format!("matrix_multiply_add {n} blocks, {rounds} rounds");
            let args = vec![whole(), whole(), CaseArg::OutputF32];
            Case::new(name, Params { n, rounds }, args).tolerance(0.0, 0.0)
        };
        vec![case(1, 0), case(1, 1), case(3, 2), case(9, 1), case(64, 1)]
    }
}
