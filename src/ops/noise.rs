//! Standard normal noise of the row: `z = [z0 | z1]`, each `[B, C, H, W]`.
//!
//! `MODE_PHILOX`: Philox4x32-10 (Salmon et al. 2011) with counter (element / 4, step, stream,
//! sample index) and the run's key; words (0, 1) and (2, 3) of a block give two Box-Muller pairs:
//! `u = (word + 0.5) 2^-32`, r = sqrt(-2 ln u0), (r cos 2 pi u1, r sin 2 pi u1).
//! `MODE_TORCH_CUDA`: PyTorch's `torch.randn` on a CUDA device with `threads` threads: element e of
//! the whole run's tensor, thread e % T, lane (e / T) % 4, counter
//! (index * calls + e / 4T, 0, thread, 0); lanes (0, 1), (2, 3) are (r sin, r cos).
//! `MODE_TABLE`: draws made by the host, `draws[index][B, C, H, W]`.
//! A draw whose coefficient is zero is not written.

use super::cases::{noisy, plain_row, row_tables, run_words};
use super::philox::{normal_pair, philox4x32_10};
use super::random::Random;
use super::row::{self, Draw, Mix, Row, Rows};
use super::solver_step::{RUN_HEADER, RUN_SAMPLE};
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, Span, parallel, params, words};

/// Where noise comes from; see the module.
pub const MODE_PHILOX: u32 = 0;
pub const MODE_TABLE: u32 = 1;
pub const MODE_TORCH_CUDA: u32 = 2;

pub(super) const CONSTANTS: &[(&str, u32)] = &[
    ("MODE_PHILOX", MODE_PHILOX),
    ("MODE_TABLE", MODE_TABLE),
    ("MODE_TORCH_CUDA", MODE_TORCH_CUDA),
];

params! {
    /// `b` samples of `numel` elements. `threads` and `calls` serve `MODE_TORCH_CUDA`.
    pub struct Params {
        pub b: u32,
        pub numel: u32,
        pub mode: u32,
        pub threads: u32,
        pub calls: u32,
        pub per_sample: u32,
    }
}

/// The noise of one run.
pub(super) struct Generator<'a> {
    pub params: Params,
    pub run: &'a [u32],
    pub draws: &'a [f32],
}

impl Generator<'_> {
    /// Fills `z` with a draw of the batch's sample number `sample`.
    pub fn fill(&self, draw: Draw, sample: usize, z: &mut [f32]) {
        let key = [self.run[0], self.run[1]];
        let index = self.run[RUN_HEADER + RUN_SAMPLE * sample];
        match self.params.mode {
            MODE_TABLE => {
                let first = (draw.index as usize * self.params.b as usize + sample) * z.len();
                z.copy_from_slice(&self.draws[first..][..z.len()]);
            }
            MODE_TORCH_CUDA => {
                let first = u64::from(index) * z.len() as u64;
                for (i, z) in z.iter_mut().enumerate() {
                    *z = self.torch_cuda(draw.index, first + i as u64, key);
                }
            }
            _ => {
                for (block, z) in z.chunks_mut(4).enumerate() {
                    let counter = [block as u32, draw.step, draw.stream, index];
                    let [a, b, c, d] = philox4x32_10(counter, key);
                    let ((n0, n1), (n2, n3)) = (normal_pair([a, b]), normal_pair([c, d]));
                    z.copy_from_slice(&[n0, n1, n2, n3][..z.len()]);
                }
            }
        }
    }

    /// Element `e` of PyTorch's draw number `draw`, the run's tensor taken as one.
    fn torch_cuda(&self, draw: u32, e: u64, key: [u32; 2]) -> f32 {
        let threads = u64::from(self.params.threads);
        let iteration = draw * self.params.calls + (e / (4 * threads)) as u32;
        let block = philox4x32_10([iteration, 0, (e % threads) as u32, 0], key);
        let lane = (e / threads % 4) as usize;
        let pair = lane / 2 * 2;
        let (cos, sin) = normal_pair([block[pair], block[pair + 1]]);
        if lane == pair { sin } else { cos }
    }
}

impl Op for Params {
    const NAME: &'static str = "noise";
    const ARGS: &'static [Arg] =
        &[Arg::read("table"), Arg::read("run"), Arg::maybe("draws"), Arg::write("z")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => row::table_elements(self.per_sample, self.b, 1),
            1 => super::solver_step::run_words(self.b as usize),
            2 => (self.b * self.numel) as usize,
            _ => (2 * self.b * self.numel) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            0 => row::table_elements(self.per_sample, self.b, span.rows),
            2 => span.draws * self.elements(arg),
            _ => self.elements(arg),
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        row::defines(self.per_sample)
    }
    fn flops(&self) -> u64 {
        30 * self.b as u64 * self.numel as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [table, run, draws, ..] = buffers.read;
        let rows = Rows { table, cursor, per_sample: self.per_sample };
        let generator = Generator { params: *self, run: words(run), draws };
        let (b, numel) = (self.b as usize, self.numel as usize);
        let halves = buffers.write[3][..2 * b * numel].chunks_mut(b * numel);
        for (half, z) in halves.enumerate() {
            parallel::vectors(z, numel, |sample, z| {
                let draw = rows.of(sample).draws()[half];
                draw.into_iter().for_each(|draw| generator.fill(draw, sample, z));
            });
        }
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let cursor = Cursor { row: 1, time: 0 };
        let both = noisy(plain_row());
        let none = Mix { z0: 0.0, z1: 0.0, ..both.x };
        let one = Row { x: Mix { z1: 0.0, ..both.x }, ..both };
        let saved = Row { x: none, saved: Mix { z1: 0.5, ..Mix::default() }, ..both };
        let push = Row { x: none, push: Mix { z0: 0.5, ..Mix::default() }, ..both };
        let rows: [(&str, &[Row]); 5] = [
            ("both", &[both]),
            ("first", &[one]),
            ("second, for the copy", &[saved]),
            ("first, for the push", &[push]),
            ("rows of their own", &[both, one, saved]),
        ];
        let mut cases = Vec::new();
        for (mode, name) in
            [(MODE_PHILOX, "philox"), (MODE_TABLE, "table"), (MODE_TORCH_CUDA, "torch-cuda")]
        {
            for (b, numel) in [(1, 1), (3, 21), (2, 64)] {
                for (what, row) in rows {
                    let per_sample = (row.len() > 1).into();
                    let p = Params { b, numel, mode, threads: 256, calls: 3, per_sample };
                    let draws = match mode {
                        MODE_TABLE => random.f32(3 * p.elements(2), 2.0),
                        _ => CaseArg::Absent,
                    };
                    let run = run_words(b as usize);
                    let table = row_tables(row, b, cursor);
                    let args = vec![table, run, draws, CaseArg::OutputF32];
                    let name = format!("noise {name} {b}x{numel} {what}");
                    cases.push(Case::new(name, p, args).at(cursor));
                }
            }
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of `torch.manual_seed(0); torch.randn(5, device="cuda")`: for few elements
    /// the grid is one block, whatever the device.
    #[test]
    fn torch_cuda_starts_as_known() {
        let mode = MODE_TORCH_CUDA;
        let params = Params { b: 1, numel: 5, mode, threads: 256, calls: 1, per_sample: 0 };
        let generator = Generator { params, run: &[0; 6], draws: &[] };
        let mut z = [0.0; 5];
        generator.fill(Draw::default(), 0, &mut z);
        let known = [-0.924_662_6, -0.425_344_15, -2.643_845_8, 0.145_183_88, -0.120_866_47];
        for (found, known) in z.iter().zip(known) {
            assert!((found - known).abs() < 1e-6, "found {z:?}, expected {known:?}");
        }
    }
}
