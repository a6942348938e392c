//! What the members of the DPM-Solver family share (Lu et al. 2022, arXiv:2206.00927 and
//! arXiv:2211.01095): exponential integrators in lambda = ln(alpha / sigma).
//!
//! With h = lambda_t - lambda_s the probability-flow ODE is solved exactly by (2211.01095,
//! prop. 4.1, and 2206.00927, prop. 3.1)
//!
//! ```text
//! x_t = sigma_t / sigma_s x_s + alpha_t int_0^h exp(u - h) x0(lambda_s + u) du
//! x_t = alpha_t / alpha_s x_s - sigma_t int_0^h exp(h - u) eps(lambda_s + u) du
//! ```
//!
//! and a solver of order k puts a polynomial of degree k - 1 for the prediction,
//! `D0 + D1 (u / h) + D2 / 2 (u / h)^2`. Its integrals are `h phi_k(-h)` and `h phi_k(h)`, see
//! [`phi`].

use super::Term::{Eps, History, X0};
use super::{AlgorithmType, Expr, Level, Recorder, Setting, SolverType, Term};
use crate::error::{Error, Result};

/// `phi_k(z) = sum_j z^j / (j + k)!`: phi_1 = (exp(z) - 1) / z, phi_{k+1} = (phi_k - 1 / k!) / z
/// (Hochbruck & Ostermann 2010, doi:10.1017/S0962492910000048, eq. 2.11).
pub(super) fn phi(k: usize, z: f64) -> f64 {
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    if z.abs() < 0.5 {
        // The recursion would cancel.
        (0..16).map(|j| z.powi(j as i32) / factorial(j + k)).sum()
    } else if k == 1 {
        z.exp_m1() / z
    } else {
        (phi(k - 1, z) - 1.0 / factorial(k - 1)) / z
    }
}

/// The order of a multistep solver's step from level `i - 1` to level `i`: as high as there are
/// predictions and one where the data is reached, for lambda is infinite there. With
/// `lower_order_final` runs of less than 15 steps end with orders 2 and 1, with `euler_at_final`
/// all end with 1 (diffusers).
pub(super) fn multistep_order(run: &Setting, highest: usize, i: usize) -> usize {
    let steps = run.levels.len() - 1;
    if i == steps && (run.keys.euler_at_final || run.levels[i].sigma == 0.0) {
        return 1;
    }
    let cautious = run.keys.lower_order_final && run.steps < 15;
    let left = if cautious { steps + 1 - i } else { highest };
    highest.min(i).min(left)
}

/// One step of the integrator that `algorithm_type` names, from s to t:
///
/// ```text
/// dpmsolver++      x_t = sigma_t / sigma_s x_s + alpha_t sum_k h phi_k(-h) D_{k-1}
/// dpmsolver        x_t = alpha_t / alpha_s x_s - sigma_t sum_k h phi_k(h) D_{k-1}
/// sde-dpmsolver++  x_t = sigma_t / sigma_s exp(-h) x_s + alpha_t sum_k 2h phi_k(-2h) D_{k-1}
///                      + sigma_t sqrt(1 - exp(-2h)) z
/// sde-dpmsolver    x_t = alpha_t / alpha_s x_s - 2 sigma_t sum_k h phi_k(h) D_{k-1}
///                      + sigma_t sqrt(exp(2h) - 1) z
/// ```
pub(super) struct Step {
    pub h: f64,
    keep: f64,
    scale: f64,
    z: f64,
    noise: f64,
    /// What diffusers adds to the weight of D2, see [`Step::third_weight`].
    slip: f64,
}

impl Step {
    pub(super) fn new(algorithm: AlgorithmType, s: Level, t: Level) -> Step {
        let h = t.lambda() - s.lambda();
        let (keep_eps, keep_x0) = (t.alpha / s.alpha, t.sigma / s.sigma);
        let ode = Step { h, keep: keep_x0, scale: -t.alpha, z: -h, noise: 0.0, slip: 0.0 };
        match algorithm {
            // Where t is the data exp(h) has no bound, but sigma_t exp(h) is
            // alpha_t sigma_s / alpha_s: x becomes alpha_t x0, without noise, as it does in x0.
            AlgorithmType::DpmSolver | AlgorithmType::SdeDpmSolver if t.sigma == 0.0 => {
                Step { keep: keep_eps, scale: keep_eps * s.sigma, ..ode }
            }
            AlgorithmType::DpmSolver => Step { keep: keep_eps, scale: -t.sigma, z: h, ..ode },
            AlgorithmType::SdeDpmSolver => {
                let noise = t.sigma * (2.0 * h).exp_m1().sqrt();
                Step { keep: keep_eps, scale: -2.0 * t.sigma, z: h, noise, ..ode }
            }
            AlgorithmType::SdeDpmSolverPlusPlus => {
                let noise = t.sigma * (-(-2.0 * h).exp_m1()).sqrt();
                let keep = keep_x0 * (-h).exp();
                Step { keep, z: -2.0 * h, noise, slip: -t.alpha, ..ode }
            }
            _ => ode,
        }
    }

    /// What D_{k-1} is multiplied by. Only that of D0 is finite where t is the data.
    pub(super) fn weight(&self, k: usize) -> f64 {
        self.scale * if k == 1 { self.z.exp_m1() } else { self.z * phi(k, self.z) }
    }

    /// What D2 is multiplied by in diffusers: for the SDE in x0 the 1/2 of
    /// `2h phi_3(-2h) = 1/2 - (exp(-2h) - 1 + 2h) / (2h)^2` has the other sign there.
    pub(super) fn third_weight(&self) -> f64 {
        self.weight(3) + self.slip
    }

    /// What a first difference is multiplied by in a step of order two.
    pub(super) fn slope_weight(&self, solver_type: SolverType) -> f64 {
        match solver_type {
            SolverType::Heun => self.weight(2),
            _ => 0.5 * self.weight(1),
        }
    }

    /// The step from `x` (the state or its saved copy) with the sum of the weighted predictions;
    /// an SDE draws.
    pub(super) fn from(&self, x: Term, predictions: Expr, rec: &mut Recorder) -> Expr {
        let mean = self.keep * x + predictions;
        if self.noise == 0.0 { mean } else { mean + self.noise * rec.noise() }
    }
}

/// eta of an SDE solver that takes one: 1 is the reverse SDE, 0 the ODE.
pub(super) fn eta(run: &Setting) -> f64 {
    run.options.eta.unwrap_or(1.0)
}

/// Holds that the run suits its algorithm_type.
///
/// # Errors
/// An eta of other noise than its own; in eps a start at alpha 0, where eps does not tell x0, or an
/// SDE of order three, for which there is no formula.
pub(super) fn check(run: &Setting) -> Result<()> {
    let algorithm = run.keys.algorithm_type;
    let own = if is_stochastic(algorithm) { 1.0 } else { 0.0 };
    if let Some(eta) = run.options.eta.filter(|eta| *eta != own) {
        return Err(Error::invalid(
            "--eta",
            format!("{own} with --solver {}", run.options.solver),
            eta.to_string(),
            "leave --eta out or use --solver dpmpp-2m-sde, which takes any",
        ));
    }
    let origin = &run.config.origin;
    if prediction(algorithm) == Eps && run.levels[0].alpha == 0.0 {
        return Err(Error::invalid(
            format!("{origin}: algorithm_type"),
            "dpmsolver++ where the first noise level is pure noise",
            algorithm.name(),
            "use a solver in x0, such as dpmpp-2m",
        ));
    }
    if algorithm == AlgorithmType::SdeDpmSolver && run.keys.solver_order > 2 {
        return Err(Error::invalid(
            format!("{origin}: solver_order"),
            format!("1..=2 where algorithm_type is {}", algorithm.name()),
            run.keys.solver_order.to_string(),
            "lower it or set algorithm_type to sde-dpmsolver++",
        ));
    }
    Ok(())
}

/// The prediction that the integrator expands: x0 or eps.
pub(super) fn prediction(algorithm: AlgorithmType) -> Term {
    match algorithm {
        AlgorithmType::DpmSolver | AlgorithmType::SdeDpmSolver => Eps,
        _ => X0,
    }
}

/// Whether it draws noise.
pub(super) fn is_stochastic(algorithm: AlgorithmType) -> bool {
    matches!(algorithm, AlgorithmType::SdeDpmSolver | AlgorithmType::SdeDpmSolverPlusPlus)
}

/// D1 and D2 of a multistep step from level i - 1 to level i: with prediction m_0 of this row and
/// m_1, m_2 of the rows before, and h_j the steps in lambda,
///
/// ```text
/// f_01 = (m_0 - m_1) / h_{i-1}    f_12 = (m_1 - m_2) / h_{i-2}
/// f_012 = (f_01 - f_12) / (h_{i-1} + h_{i-2})
/// D1 = h_i (f_01 + h_{i-1} f_012)    D2 = h_i^2 f_012
/// ```
///
/// The second derivative, which phi_3 goes with, is `2 f_012`; the authors' code and all that
/// follow it take half. Together with the first step, of order one, that leaves the third solver
/// with order two.
pub(super) fn differences(run: &Setting, i: usize, order: usize, m: Term) -> (Expr, Expr) {
    let h = |j: usize| run.levels[j].lambda() - run.levels[j - 1].lambda();
    if order == 1 {
        return (Expr::zero(), Expr::zero());
    }
    let f_01 = (1.0 / h(i - 1)) * (1.0 * m - 1.0 * History(0));
    if order == 2 {
        return (h(i) * f_01, Expr::zero());
    }
    let f_12 = (1.0 / h(i - 2)) * (1.0 * History(0) - 1.0 * History(1));
    let f_012 = (1.0 / (h(i - 1) + h(i - 2))) * (f_01.clone() - f_12);
    (h(i) * (f_01 + h(i - 1) * f_012.clone()), h(i).powi(2) * f_012)
}
