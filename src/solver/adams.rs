//! Exponential Adams methods: what DEIS, UniPC and SA-Solver have in common.
//!
//! In lambda = ln(alpha / sigma) the reverse process from s to t, h = lambda_t - lambda_s, is
//! linear but for the prediction (Xue et al. 2023, arXiv:2309.05019, prop. 4.2; with tau = 0 the
//! exact solution of the ODE, Lu et al. 2022, arXiv:2211.01095, prop. 4.1, and arXiv:2206.00927,
//! prop. 3.1):
//!
//! ```text
//! data:  x_t = sigma_t / sigma_s e^{-tau^2 h} x_s
//!            + (1 + tau^2) alpha_t int e^{-(1 + tau^2)(lambda_t - l)} x0(l) dl
//!            + sigma_t sqrt(1 - e^{-2 tau^2 h}) z
//! noise: x_t = alpha_t / alpha_s x_s - (1 + tau^2) sigma_t int e^{lambda_t - l} eps(l) dl
//!            + tau sigma_t sqrt(e^{2h} - 1) z
//! ```
//!
//! The methods put the polynomial through known predictions in place of x0(l) or eps(l). Known ones
//! up to s make a predictor (Adams-Bashforth), with the one at t a corrector (Adams-Moulton).

use super::{Expr, Level};

/// Which prediction is integrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integrand {
    /// x0.
    Data,
    /// eps.
    Noise,
}

/// What stands for `mu_1 = int_0^1 e^{(1 - u) z} u du` where a line through two points is
/// integrated. All agree to first order in h, so the order of a method is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slope {
    /// mu_1 itself.
    Exact,
    /// 1 / 2.
    Half,
    /// mu_0 / 2.
    HalfMean,
}

/// Less data than this at the first level leaves an eps-integrating step nothing but rounding.
pub(super) const LEAST_ALPHA: f64 = 1e-7;

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adams {
    pub from: Level,
    pub to: Level,
    pub integrand: Integrand,
    /// 0 for the ODE, 1 for the SDE that reverses the forward process.
    pub tau: f64,
    pub slope: Slope,
}

impl Adams {
    /// x at `to` but for its noise, from `x` at `from` and predictions with the lambda that they
    /// belong to. The first step of a run may leave pure noise (lambda minus infinity), in x0 only,
    /// and the last may reach the data (infinity); there, the prediction at `from`, which is the
    /// first, is all that counts.
    pub fn step(&self, x: impl Into<Expr>, predictions: &[(f64, Expr)]) -> Expr {
        let Adams { from, to, .. } = *self;
        let (x, h) = (x.into(), to.lambda() - from.lambda());
        if h == 0.0 {
            return x;
        }
        let first = predictions[0].1.clone();
        if to.sigma == 0.0 {
            return match self.integrand {
                Integrand::Data => to.alpha * first,
                Integrand::Noise => (to.alpha / from.alpha) * (x - from.sigma * first),
            };
        }
        let drift = 1.0 + self.tau * self.tau;
        let decay = self.decay(h);
        if from.alpha == 0.0 {
            return decay * x + to.alpha * first;
        }
        let (scale, z) = match self.integrand {
            Integrand::Data => (drift * to.alpha * h, -drift * h),
            Integrand::Noise => (-drift * to.sigma * h, h),
        };
        let finite = predictions.iter().filter(|(lambda, _)| lambda.is_finite());
        let nodes: Vec<f64> =
            finite.clone().map(|(lambda, _)| (lambda - from.lambda()) / h).collect();
        let weights = integrals(&nodes, &self.moments(z, nodes.len()));
        let sum = |sum, (w, (_, prediction)): (&f64, &(f64, Expr))| {
            sum + (scale * w) * prediction.clone()
        };
        weights.iter().zip(finite).fold(decay * x, sum)
    }

    /// The factor of z.
    pub fn noise(&self) -> f64 {
        let (to, h) = (self.to, self.to.lambda() - self.from.lambda());
        let tau_squared = self.tau * self.tau;
        if to.sigma == 0.0 || tau_squared == 0.0 {
            return 0.0;
        }
        match self.integrand {
            Integrand::Data => to.sigma * (-(-2.0 * tau_squared * h).exp_m1()).sqrt(),
            Integrand::Noise => self.tau * to.sigma * (2.0 * h).exp_m1().sqrt(),
        }
    }

    /// The factor of x.
    fn decay(&self, h: f64) -> f64 {
        let (from, to) = (self.from, self.to);
        match self.integrand {
            Integrand::Data if self.tau == 0.0 => to.sigma / from.sigma,
            Integrand::Data => to.sigma / from.sigma * (-self.tau * self.tau * h).exp(),
            Integrand::Noise => to.alpha / from.alpha,
        }
    }

    /// mu_0 .. mu_{n-1}.
    fn moments(&self, z: f64, n: usize) -> Vec<f64> {
        let mut mu = moments(z, n);
        if n == 2 {
            mu[1] = match self.slope {
                Slope::Exact => mu[1],
                Slope::Half => 0.5,
                Slope::HalfMean => 0.5 * mu[0],
            };
        }
        mu
    }
}

/// `mu_k = int_0^1 e^{(1 - u) z} u^k du`, k = 0 .. n - 1: k! times the phi function of order k + 1
/// of exponential integrators.
fn moments(z: f64, n: usize) -> Vec<f64> {
    if z.abs() < 1.0 {
        return (0..n).map(|k| moment_series(z, k)).collect();
    }
    let mut mu = vec![z.exp_m1() / z];
    for k in 1..n {
        mu.push((k as f64 * mu[k - 1] - 1.0) / z);
    }
    mu
}

/// `mu_k = sum_j z^j k! / (k + 1 + j)!`, for |z| < 1, where the recurrence cancels.
fn moment_series(z: f64, k: usize) -> f64 {
    const TERMS: usize = 20;
    let mut term = 1.0 / (k + 1) as f64;
    let mut sum = term;
    for j in 1..TERMS {
        term *= z / (k + 1 + j) as f64;
        sum += term;
    }
    sum
}

/// The integrals of the nodes' Lagrange polynomials against the weight whose moments are `mu`.
fn integrals(nodes: &[f64], mu: &[f64]) -> Vec<f64> {
    let integral = |i: usize| {
        // Coefficients of prod_{j != i} (u - u_j) / (u_i - u_j), the constant first.
        let mut polynomial = vec![1.0];
        for (j, node) in nodes.iter().enumerate().filter(|(j, _)| *j != i) {
            let width = nodes[i] - nodes[j];
            let mut next = vec![0.0; polynomial.len() + 1];
            for (k, c) in polynomial.iter().enumerate() {
                next[k + 1] += c / width;
                next[k] -= c * node / width;
            }
            polynomial = next;
        }
        polynomial.iter().zip(mu).map(|(c, mu)| c * mu).sum()
    };
    (0..nodes.len()).map(integral).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the series ends and the recurrence begins, both are the integral.
    #[test]
    fn moments_are_integrals() {
        for z in [-30.0, -1.0, -0.999_999, -1e-3, 0.0, 1e-3, 0.999_999, 1.0, 5.0] {
            for (k, found) in moments(z, 4).into_iter().enumerate() {
                let f = |u: f64| ((1.0 - u) * z).exp() * u.powi(k as i32);
                let n = 4000;
                let at = |i: usize| {
                    let weight = [1.0, 4.0, 2.0][if i.is_multiple_of(n) { 0 } else { 2 - i % 2 }];
                    weight * f(i as f64 / n as f64)
                };
                let simpson = (0..=n).map(at).sum::<f64>() / (3 * n) as f64;
                assert!((found - simpson).abs() < 1e-9 * simpson, "{z} {k}: {found} {simpson}");
            }
        }
    }

    /// The polynomial through samples of a polynomial is that polynomial.
    #[test]
    fn integrals_are_exact_for_polynomials() {
        let nodes = [0.0, -0.7, -2.1, 1.0];
        let mu = moments(-1.7, 4);
        let weights = integrals(&nodes, &mu);
        let cubic = |u: f64| 1.0 - 2.0 * u + 0.5 * u * u + 3.0 * u * u * u;
        let found: f64 = nodes.iter().zip(&weights).map(|(u, w)| w * cubic(*u)).sum();
        let expected = mu[0] - 2.0 * mu[1] + 0.5 * mu[2] + 3.0 * mu[3];
        assert!((found - expected).abs() < 1e-14);
    }
}
