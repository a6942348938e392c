//! Data for cases: the same numbers on every machine, every run.

use super::CaseArg;

/// The SplitMix64 generator (Steele, Lea & Flood 2014).
pub(super) struct Random(u64);

impl Random {
    /// A stream of its own for each name.
    pub fn new(name: &str) -> Self {
        // FNV-1a.
        let mix = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3);
        Random(name.bytes().fold(0xCBF2_9CE4_8422_2325, mix))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `n` values in [-scale, scale).
    pub fn uniform(&mut self, n: usize, scale: f32) -> Vec<f32> {
        let unit = |word: u64| (word >> 40) as f32 / f32::powi(2.0, 23) - 1.0;
        (0..n).map(|_| scale * unit(self.next())).collect()
    }

    /// Activations or weights.
    pub fn data(&mut self, n: usize, scale: f32) -> CaseArg {
        CaseArg::Data(self.uniform(n, scale))
    }

    /// A weight of `k` rows of `n` columns, these padded with zeros to a multiple of 4.
    pub fn padded(&mut self, k: usize, n: usize, scale: f32) -> CaseArg {
        let mut weight = vec![0.0; k * n.next_multiple_of(4)];
        for row in weight.chunks_exact_mut(n.next_multiple_of(4)) {
            row[..n].copy_from_slice(&self.uniform(n, scale));
        }
        CaseArg::Data(weight)
    }

    /// What is always f32.
    pub fn f32(&mut self, n: usize, scale: f32) -> CaseArg {
        CaseArg::F32(self.uniform(n, scale))
    }

    /// `n` words below `end`.
    pub fn below(&mut self, n: usize, end: u32) -> Vec<u32> {
        (0..n).map(|_| (self.next() % u64::from(end)) as u32).collect()
    }
}
