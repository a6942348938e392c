//! `torch.randn` in f32 with a CPU generator: mt19937 (Matsumoto & Nishimura 1998) and the
//! Box-Muller transform, drawn and paired in PyTorch's order.

use rand_mt::Mt;
use std::f64::consts::TAU;
use std::ops::Range;

/// Elements that PyTorch transforms together: 8 pairs.
const BLOCK: usize = 16;

/// `torch.Generator("cpu")`.
#[derive(Clone, Debug)]
pub struct TorchCpu {
    engine: Mt,
    /// The second half of a pair, when a short tensor used only the first.
    spare: Option<f64>,
}

impl TorchCpu {
    /// After `manual_seed(seed)`; mt19937 takes the low 32 bits.
    pub fn new(seed: u64) -> TorchCpu {
        TorchCpu { engine: Mt::new(seed as u32), spare: None }
    }

    /// `out = torch.randn(out.len())`.
    pub fn randn(&mut self, out: &mut [f32]) {
        self.randn_part(out.len(), 0, out);
    }

    /// `out = torch.randn(n)[start..start + out.len()]`, of which only that part is ever held.
    /// As in PyTorch the method depends on `n`.
    fn randn_part(&mut self, n: usize, start: usize, out: &mut [f32]) {
        if n < BLOCK {
            for i in 0..n {
                let z = self.normal() as f32;
                keep(&[z], i, start, out);
            }
            return;
        }
        let mut at = 0;
        while at < n {
            let mut block = [0.0; BLOCK];
            let length = BLOCK.min(n - at);
            self.uniform(&mut block[..length]);
            // A last block that is not full is drawn afresh below, over its predecessor's end.
            if length == BLOCK && touches(at, start, out.len()) {
                box_muller(&mut block);
                keep(&block, at, start, out);
            }
            at += length;
        }
        if !n.is_multiple_of(BLOCK) {
            let mut block = [0.0; BLOCK];
            self.uniform(&mut block);
            box_muller(&mut block);
            keep(&block, n - BLOCK, start, out);
        }
    }

    /// Uniform numbers in [0, 1) of 24 bits.
    fn uniform(&mut self, out: &mut [f32]) {
        const ULP: f32 = 1.0 / (1 << 24) as f32;
        out.iter_mut().for_each(|u| *u = (self.engine.next_u32() & 0xff_ffff) as f32 * ULP);
    }

    /// A uniform number in [0, 1) of 53 bits.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.engine.next_u32());
        let word = high << 32 | u64::from(self.engine.next_u32());
        (word & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    /// One normal number in f64: `r cos 2 pi u1`, then `r sin 2 pi u1`, r = sqrt(-2 ln (1 - u2)).
    fn normal(&mut self) -> f64 {
        if let Some(z) = self.spare.take() {
            return z;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let r = (-2.0 * (-u2).ln_1p()).sqrt();
        let (sin, cos) = (TAU * u1).sin_cos();
        self.spare = Some(r * sin);
        r * cos
    }
}

/// Eight pairs, uniform to normal: `u1 = 1 - d[j]`, `u2 = d[j + 8]`, r = sqrt(-2 ln u1),
/// `d[j] = r cos 2 pi u2`, `d[j + 8] = r sin 2 pi u2`. r and the angle are rounded to f32, as
/// PyTorch has them; its sine and cosine may differ by an ulp between vector units.
fn box_muller(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        let r = (-2.0 * (1.0 - *a).ln()).sqrt();
        let (sin, cos) = (TAU as f32 * *b).sin_cos();
        (*a, *b) = (r * cos, r * sin);
    }
}

/// Whether a block at `at` holds any of `[start, start + length)`.
fn touches(at: usize, start: usize, length: usize) -> bool {
    at < start + length && start < at + BLOCK
}

/// Copies from `values`, which stand at `at`, what falls into `out`, which stands at `start`.
fn keep(values: &[f32], at: usize, start: usize, out: &mut [f32]) {
    let (from, to) = (at.max(start), (at + values.len()).min(start + out.len()));
    if from < to {
        out[from - start..to - start].copy_from_slice(&values[from - at..to - at]);
    }
}

/// The draws of a run of `count` samples of `numel` elements, for `samples` of it:
/// `[draws, samples, numel]`. Each draw is one `torch.randn(count, numel)`, one after another from
/// one generator, so a sample's noise depends on `count` but not on how the run is cut. All of a
/// draw is generated, only what is asked for is held.
pub fn torch_cpu(
    seed: u64,
    draws: usize,
    count: usize,
    numel: usize,
    samples: Range<usize>,
) -> Vec<f32> {
    let mut generator = TorchCpu::new(seed);
    let part = samples.len() * numel;
    let mut wanted = vec![0.0; draws * part];
    for draw in 0..draws {
        let out = &mut wanted[draw * part..][..part];
        generator.randn_part(count * numel, samples.start * numel, out);
    }
    wanted
}
