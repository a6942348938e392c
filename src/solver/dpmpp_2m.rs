//! DPM-Solver++(2M), the second-order multistep solver in x0 (Lu et al. 2022, arXiv:2211.01095).

use super::Term::{History, X, X0};
use super::dpm_solver::{check, multistep_order, phi};
use super::{Kind, Recorder, Setting, SolverInfo, SolverType};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "dpmpp-2m",
    family: "exponential integrator",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 2,
    reference: "Lu et al. 2022, arXiv:2211.01095, Alg. 2",
    schedulers: &["DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler"],
    plus_plus: false,
    fixes: &[("solver_order", "2"), ("algorithm_type", "\"dpmsolver++\"")],
    record: dpmpp_2m,
}];

/// Algorithm 2, with h_i = lambda_i - lambda_{i-1} and r_i = h_{i-1} / h_i:
///
/// ```text
/// x_i = sigma_i / sigma_{i-1} x_{i-1} - alpha_i (exp(-h_i) - 1) D_i
/// D_i = x0_{i-1} + 1 / (2 r_i) (x0_{i-1} - x0_{i-2})
/// ```
///
/// where x0_{i-1} is predicted from x_{i-1}; of order one, the first step and a last step into the
/// data, D_i = x0_{i-1}. The solver_type `heun` integrates the line through the two predictions
/// exactly: 1 / (2 r_i) becomes `phi_2(-h_i) / phi_1(-h_i) / r_i`.
pub(super) fn dpmpp_2m(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    rec.initial_noise(run.initial_scale());
    for i in 1..run.levels.len() {
        let (s, t) = (run.levels[i - 1], run.levels[i]);
        let h = t.lambda() - s.lambda();

        rec.denoise(s);
        rec.push(X0);
        let mut d = 1.0 * X0;
        if multistep_order(run, 2, i) == 2 {
            let r = (s.lambda() - run.levels[i - 2].lambda()) / h;
            let slope = match run.keys.solver_type {
                SolverType::Heun => phi(2, -h) / phi(1, -h),
                _ => 0.5,
            };
            d = d + (slope / r) * (1.0 * X0 - 1.0 * History(0));
        }
        rec.update((t.sigma / s.sigma) * X - (t.alpha * (-h).exp_m1()) * d);
    }
    Ok(())
}
