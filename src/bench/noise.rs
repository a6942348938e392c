//! Times as a disturbed machine has them, for tests.

use rand_mt::Mt64;

pub struct Noise(Mt64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(Mt64::new(seed))
    }

    /// Above 0, at most 1.
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 + 1e-16
    }

    /// A factor of median 1 whose logarithm is normal with deviation `spread`, by Box & Muller.
    pub fn skewed(&mut self, spread: f64) -> f64 {
        let (r, angle) = (self.uniform(), self.uniform());
        (spread * (-2.0 * r.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()).exp()
    }
}
