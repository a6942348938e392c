//! The exact denoiser of a Gaussian mixture: with `x = x0 + sigma eps` and x0 from component k of
//! weight w, mean mu and diagonal variance s2 with probability w_k, for each dimension j
//!
//! ```text
//! D_j(x, sigma) = E[x0_j | x] = sum_k r_k (mu_kj + s2_kj / v_kj (x_j - mu_kj)),   v = s2 + sigma^2
//! ln r_k = ln w_k - 1/2 sum_j (ln v_kj + (x_j - mu_kj)^2 / v_kj) - ln(sum over k of the same)
//! ```
//!
//! (Karras et al. 2022, arXiv:2206.00364, eq. 57, for components of a width of their own). The
//! logarithms are large where x is far from every component, and only their differences matter: the
//! kernel takes differences to the likeliest component, term by term, so that f32 suffices.

use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};

/// Components at most: a thread keeps a number for each.
pub const MOST_COMPONENTS: usize = 1024;

params! {
    /// `n` vectors of `d`; vector i has the noise level `times[map(i)]`; `components` holds
    /// [`table`] of `k` components.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub d: u32,
        pub k: u32,
    }
}

/// Components as the kernel reads them, `[ln w | mu | s2]` one after another; `means` and
/// `deviations` hold a vector for each weight.
pub fn table(weights: &[f64], means: &[Vec<f64>], deviations: &[Vec<f64>]) -> Vec<f32> {
    let components = weights.iter().zip(means).zip(deviations);
    let words = components.flat_map(|((w, mean), deviation)| {
        let variances = deviation.iter().map(|s| s * s);
        std::iter::once(w.ln()).chain(mean.iter().copied()).chain(variances)
    });
    words.map(|v| v as f32).collect()
}

impl Params {
    /// Numbers of one component.
    fn stride(&self) -> usize {
        1 + 2 * self.d as usize
    }
}

impl Op for Params {
    const NAME: &'static str = "mixture";
    const ARGS: &'static [Arg] = &[
        Arg::read("x"),
        Arg::read("times"),
        Arg::read("components"),
        Arg::maybe("cond"),
        Arg::write("y"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => self.map.vectors(self.n),
            2 => self.k as usize * self.stride(),
            3 => self.n as usize,
            _ => (self.n * self.d) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            1 => self.map.reach(self.n, span),
            _ => self.elements(arg),
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        vec![("COMPONENTS", self.k)]
    }
    fn flops(&self) -> u64 {
        self.n as u64 * self.k as u64 * (40 * self.d as u64 + 10)
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, times, components, cond, ..] = buffers.read;
        let d = self.d as usize;
        let y = &mut buffers.write[4][..self.elements(4)];
        parallel::vectors(y, d, |i, y| {
            let sigma = f64::from(times[self.map.row(cursor, words(cond), i)]);
            denoise(components, &x[i * d..][..d], sigma * sigma, y);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut cases = by_map(&mut random);
        for (d, k) in [(1, 1), (1, 32), (2, 9), (3, 5), (37, 2), (37, 32)] {
            for (what, mixture) in mixtures(&mut random, d, k) {
                cases.push(over_sigmas(&mut random, &what, d, k, mixture, 1.0));
            }
            let (_, mixture) = mixtures(&mut random, d, k).swap_remove(0);
            cases.push(over_sigmas(&mut random, "far away", d, k, mixture, 1e4));
        }
        cases
    }
}

/// D(x, sigma) of one vector in f64.
fn denoise(components: &[f32], x: &[f32], variance: f64, y: &mut [f32]) {
    let d = x.len();
    let terms = |component: &[f32], j: usize| {
        let (mean, s2) = (f64::from(component[1 + j]), f64::from(component[1 + d + j]));
        (f64::from(x[j]) - mean, mean, s2, s2 + variance)
    };
    let parts = || components.chunks_exact(1 + 2 * d);
    let log = |component: &[f32]| {
        let square = |j| {
            let (a, _, _, v) = terms(component, j);
            v.ln() + a * a / v
        };
        f64::from(component[0]) - 0.5 * (0..d).map(square).sum::<f64>()
    };
    let mut r: Vec<f64> = parts().map(log).collect();
    let most = r.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    r.iter_mut().for_each(|r| *r = (*r - most).exp());
    let sum: f64 = r.iter().sum();
    for (j, y) in y.iter_mut().enumerate() {
        let mean = |(component, r): (&[f32], &f64)| {
            let (a, mean, s2, v) = terms(component, j);
            r * (mean + s2 / v * a)
        };
        *y = (parts().zip(&r).map(mean).sum::<f64>() / sum) as f32;
    }
}

/// Noise levels from far below to far above every component's width.
const SIGMAS: [f32; 8] = [1e-4, 3e-3, 0.05, 0.4, 1.0, 7.0, 80.0, 1e4];

/// Weights, means and deviations of several mixtures of k components in d dimensions.
fn mixtures(random: &mut Random, d: usize, k: usize) -> Vec<(String, Vec<f32>)> {
    let mut vectors = |low: f64, high: f64| -> Vec<Vec<f64>> {
        let unit = random.uniform(k * d, 0.5);
        let value = |u: &f32| low + (high - low) * (f64::from(*u) + 0.5);
        unit.chunks_exact(d).map(|u| u.iter().map(value).collect()).collect()
    };
    let (means, deviations) = (vectors(-1.0, 1.0), vectors(0.01, 0.3));
    let widths = vectors(1e-3, 10.0);
    let weights: Vec<f64> = (1..=k).map(|i| i as f64 / (k * (k + 1) / 2) as f64).collect();
    let same = vec![means[0].clone(); k];
    vec![
        (String::from("apart"), table(&weights, &means, &deviations)),
        (String::from("one mean"), table(&weights, &same, &widths)),
    ]
}

/// One vector for each noise level, at random around a component or `away` from all of them.
fn over_sigmas(
    random: &mut Random,
    what: &str,
    d: usize,
    k: usize,
    components: Vec<f32>,
    away: f32,
) -> Case {
    let n = SIGMAS.len();
    let map = RowMap::IDENTITY;
    let params = Params { map, n: n as u32, d: d as u32, k: k as u32 };
    let z = random.uniform(n * d, 3.0);
    let x = z.iter().enumerate().map(|(i, z)| {
        let component = &components[i / d % k * params.stride()..];
        let (mean, s2) = (component[1 + i % d], component[1 + d + i % d]);
        mean + away * z * (s2 + SIGMAS[i / d].powi(2)).sqrt()
    });
    let args = vec![
        CaseArg::F32(x.collect()),
        CaseArg::F32(SIGMAS.to_vec()),
        CaseArg::F32(components),
        CaseArg::Absent,
        CaseArg::OutputF32,
    ];
    Case::new(format!("mixture of {k} in {d} dimensions, {what}"), params, args)
}

/// Every way of finding a vector's noise level.
fn by_map(random: &mut Random) -> Vec<Case> {
    let (n, d, k) = (6, 2, 3);
    let maps = row_maps(random, n);
    let case = |MapCase { kind, map, cursor, cond, rows }: MapCase| {
        let params = Params { map, n: n as u32, d: d as u32, k: k as u32 };
        let (_, components) = mixtures(random, d, k).swap_remove(0);
        let times = (0..rows).map(|i| SIGMAS[i % SIGMAS.len()]).collect();
        let x = random.f32(params.elements(0), 2.0);
        let (times, components) = (CaseArg::F32(times), CaseArg::F32(components));
        let args = vec![x, times, components, cond, CaseArg::OutputF32];
        Case::new(format!("mixture by {kind}"), params, args).at(cursor)
    };
    maps.into_iter().map(case).collect()
}
