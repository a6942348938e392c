//! What is known exactly of a Gaussian mixture: fresh samples, the solution of its
//! probability-flow ODE, and how far a set of samples is from its distribution.

use crate::model::Mixture;
use crate::ops::philox::{normal_pair, philox4x32_10, uniform};
use crate::solver::{Method, Weight};
use rayon::prelude::*;

/// `count` independent samples `[count, d]`; each `set` has its own.
pub(super) fn samples(mixture: &Mixture, count: usize, seed: u64, set: u32) -> Vec<f64> {
    let d = mixture.dimensions();
    let key = [seed as u32 ^ 0x5EED_DA7A, (seed >> 32) as u32];
    let draw = |i: usize| {
        let words = |j: usize| philox4x32_10([i as u32, (i >> 32) as u32, j as u32, set], key);
        let normal = |j: usize| {
            let w = words(1 + j / 4);
            let pairs = [normal_pair([w[0], w[1]]), normal_pair([w[2], w[3]])];
            f64::from([pairs[0].0, pairs[0].1, pairs[1].0, pairs[1].1][j % 4])
        };
        let z: Vec<f64> = (0..d).map(normal).collect();
        mixture.draw(f64::from(uniform(words(0)[0])), &z)
    };
    (0..count).into_par_iter().flat_map_iter(draw).collect()
}

/// Where the probability-flow ODE `dx / d ln(sigma) = x - D(x, sigma)` (Karras et al. 2022,
/// arXiv:2206.00364, eq. 1 and 3 with s = 1) leads from x at `sigma`: the data at noise 0, to about
/// 1e-8. `x` is `[n, d]`.
pub(super) fn solve(mixture: &Mixture, x: &[f64], sigma: f64) -> Vec<f64> {
    let paths = x.par_chunks(mixture.dimensions());
    paths.flat_map_iter(|x| path(mixture, x.to_vec(), sigma)).collect()
}

/// Error allowed a step.
const TOLERANCE: f64 = 1e-10;
/// The first step, in ln(sigma).
const FIRST_STEP: f64 = 0.05;

/// One path, integrated in ln(sigma) by the pair of Dormand & Prince, with steps as short as the
/// tolerance asks for.
fn path(mixture: &Mixture, mut x: Vec<f64>, sigma: f64) -> Vec<f64> {
    let narrow = mixture.deviations.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let (mut t, end) = (sigma.ln(), (1e-3 * narrow).min(0.5 * sigma).ln());
    let slope = |t: f64, x: &[f64]| -> Vec<f64> {
        let d = mixture.denoise(x, t.exp());
        x.iter().zip(d).map(|(x, d)| x - d).collect()
    };
    let pair = Method::DormandPrince.tableau();
    let mut h = -FIRST_STEP;
    while t > end {
        h = h.max(end - t);
        let mut k = vec![slope(t, &x)];
        let mut next = x.clone();
        let sum = |k: &[Vec<f64>], weights: &[Weight], j: usize| -> f64 {
            k.iter().zip(weights).map(|(k, weight)| weight.slope * k[j]).sum()
        };
        for point in pair.points {
            for (j, next) in next.iter_mut().enumerate() {
                *next = x[j] + h * sum(&k, point.weights, j);
            }
            k.push(slope(t + point.place * h, &next));
        }
        let error = |j: usize| h * sum(&k, pair.error.weights, j);
        let size = |j: usize| TOLERANCE * (1.0 + x[j].abs().max(next[j].abs()));
        let worst = (0..x.len()).map(|j| (error(j) / size(j)).abs()).fold(0.0, f64::max);
        if worst <= 1.0 {
            (t, x) = (t + h, next);
        }
        // A step of a rounding error's size is taken as it is.
        h *= (0.9 * worst.max(1e-10).powf(-0.2)).clamp(0.2, 5.0);
        h = h.min(-1e-9);
    }
    // x(0) = x + sigma^2 score / 2 + O(sigma^4), and D = x + sigma^2 score.
    let d = mixture.denoise(&x, t.exp());
    x.iter().zip(d).map(|(x, d)| 0.5 * (x + d)).collect()
}

/// A set of exact samples with what it takes to compare others to it.
pub(super) struct Truth {
    d: usize,
    samples: Vec<f64>,
    /// Mean distance of two of them.
    within: f64,
}

impl Truth {
    /// `count` fresh samples.
    pub fn new(mixture: &Mixture, count: usize, seed: u64) -> Truth {
        let d = mixture.dimensions();
        let samples = samples(mixture, count, seed, 0);
        let within = mean_within(&samples, d);
        Truth { d, samples, within }
    }

    /// The energy distance `2 E|X - Y| - E|X - X'| - E|Y - Y'|` (Szekely & Rizzo 2013) of the
    /// distribution of `x` `[n, d]` to the exact one, estimated without bias: pairs of a sample
    /// with itself are left out. It is 0 for equal distributions, and may then come out below.
    pub fn energy_distance(&self, x: &[f64]) -> f64 {
        let rows = x.par_chunks(self.d);
        let sum: f64 =
            rows.map(|x| self.samples.chunks(self.d).map(|y| distance(x, y)).sum::<f64>()).sum();
        let pairs = (x.len() / self.d) as f64 * (self.samples.len() / self.d) as f64;
        2.0 * sum / pairs - mean_within(x, self.d) - self.within
    }

    /// What sampling noise alone makes of the energy distance of `count` exact samples: twice its
    /// root mean square over several sets.
    pub fn noise_floor(&self, mixture: &Mixture, count: usize, seed: u64) -> f64 {
        const SETS: u32 = 8;
        let square = |set| self.energy_distance(&samples(mixture, count, seed, set)).powi(2);
        2.0 * ((1..=SETS).map(square).sum::<f64>() / f64::from(SETS)).sqrt()
    }
}

fn distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
}

/// The mean distance of two different ones of `x`.
fn mean_within(x: &[f64], d: usize) -> f64 {
    let n = x.len() / d;
    let after = |i: usize| {
        let a = &x[i * d..][..d];
        x[(i + 1) * d..].chunks(d).map(|b| distance(a, b)).sum::<f64>()
    };
    let sum: f64 = (0..n).into_par_iter().map(after).sum();
    2.0 * sum / (n as f64 * (n as f64 - 1.0)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(mean: f64, s: f64) -> Mixture {
        Mixture {
            weights: vec![1.0],
            means: vec![vec![mean, -mean]],
            deviations: vec![vec![s, 2.0 * s]],
        }
    }

    /// A single Gaussian: (x - mu) shrinks by s / sqrt(s^2 + sigma^2).
    #[test]
    fn the_ode_of_a_gaussian_is_solved() {
        let mixture = one(0.3, 0.1);
        let (x, sigma) = ([5.0, -7.0, 0.31, -0.2], 20.0_f64);
        let found = solve(&mixture, &x, sigma);
        for (i, (found, x)) in found.iter().zip(x).enumerate() {
            let (mean, s) = if i % 2 == 0 { (0.3, 0.1) } else { (-0.3, 0.2) };
            let expected = mean + (x - mean) * s / f64::hypot(s, sigma);
            assert!((found - expected).abs() < 1e-8, "{found} for {expected}");
        }
    }

    /// The energy distance of N(0, 1) to N(m, 1) in one dimension is
    /// `2 E|N(m, 2)| - 2 E|N(0, 2)|`.
    #[test]
    fn energy_distances_are_those_of_the_closed_form() {
        let gaussian = |mean: f64| Mixture {
            weights: vec![1.0],
            means: vec![vec![mean]],
            deviations: vec![vec![1.0]],
        };
        let truth = Truth::new(&gaussian(0.0), 4000, 1);
        let floor = truth.noise_floor(&gaussian(0.0), 4000, 1);
        for m in [0.0_f64, 0.5, 2.0] {
            let shifted = samples(&gaussian(m), 4000, 2, 0);
            let absolute =
                2.0 / std::f64::consts::PI.sqrt() * (-m * m / 4.0).exp() + m * libm::erf(m / 2.0);
            let expected = 2.0 * absolute - 4.0 / std::f64::consts::PI.sqrt();
            let found = truth.energy_distance(&shifted);
            // Three deviations of the difference of two means of 4000, times dE/dm.
            let deviation = (2.0_f64 / 4000.0).sqrt() * 2.0 * libm::erf(m / 2.0);
            let tolerance = 2.0 * floor + 3.0 * deviation;
            assert!((found - expected).abs() < tolerance, "{found} for {expected}, floor {floor}");
        }
        assert!(floor < 2e-3, "{floor}");
    }
}
