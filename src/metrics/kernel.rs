//! The kernel distance of two sets (Binkowski et al. 2018, arXiv:1801.01401, section 4): the KID
//! where the features are Inception's.

use super::Rows;
use super::coverage::blocks;
use serde::Serialize;

/// Rows of a subset, and how many subsets are averaged, where both sets have as many rows.
pub const SUBSET: usize = 1000;
pub const SUBSETS: usize = 100;

/// An estimate of the squared maximum mean discrepancy. It has no bias, so chance may make it
/// negative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KernelDistance {
    pub mean: f64,
    /// Over the subsets; none where all rows were one.
    pub deviation: Option<f64>,
    pub subsets: usize,
}

/// The distance under `(x y / d + 1)^3`: the mean over [`SUBSETS`] choices of [`SUBSET`] rows that
/// `seed` makes; of all rows at once where a set has fewer. `None` if one has fewer than two.
pub fn kernel_distance(x: &Rows, y: &Rows, seed: u64) -> Option<KernelDistance> {
    let least = x.len().min(y.len());
    if least < 2 {
        return None;
    }
    if least < SUBSET {
        let (all_x, all_y): (Vec<&[f32]>, Vec<&[f32]>) = (x.iter().collect(), y.iter().collect());
        return Some(KernelDistance {
            mean: estimate(&all_x, &all_y),
            deviation: None,
            subsets: 1,
        });
    }
    let mut random = Generator(seed);
    let found: Vec<f64> = (0..SUBSETS)
        .map(|_| {
            let a = random.choice(x);
            estimate(&a, &random.choice(y))
        })
        .collect();
    let mean = found.iter().sum::<f64>() / SUBSETS as f64;
    let square = found.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / SUBSETS as f64;
    Some(KernelDistance { mean, deviation: Some(square.sqrt()), subsets: SUBSETS })
}

/// Equation 4 of the paper: pairs of a row with itself are left out.
fn estimate(x: &[&[f32]], y: &[&[f32]]) -> f64 {
    let own = |rows: &[&[f32]]| {
        let n = rows.len() as f64;
        sum(rows, rows, true) / (n * (n - 1.0))
    };
    own(x) + own(y) - 2.0 * sum(x, y, false) / (x.len() as f64 * y.len() as f64)
}

/// The kernel between all pairs, or all of different numbers.
fn sum(x: &[&[f32]], y: &[&[f32]], same: bool) -> f64 {
    let d = x[0].len() as f64;
    let mut total = 0.0;
    blocks(x, y, |first, products| {
        for i in 0..products.nrows() {
            let others = (0..products.ncols()).filter(|j| !same || *j != first + i);
            total += others.map(|j| (products[(i, j)] / d + 1.0).powi(3)).sum::<f64>();
        }
    });
    total
}

/// Steele, Lea & Flood 2014 (SplitMix64).
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Of so many, one; the modulo of so few is fair enough.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// [`SUBSET`] rows, none twice.
    fn choice<'a>(&mut self, rows: &'a Rows) -> Vec<&'a [f32]> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        for i in 0..SUBSET {
            let other = i + self.below(order.len() - i);
            order.swap(i, other);
        }
        order[..SUBSET].iter().map(|i| rows.row(*i)).collect()
    }
}
