//! DPM-Solver++(3M), the multistep solver in x0 with three predictions (Lu et al. 2022,
//! arXiv:2211.01095).

use super::Term::{X, X0};
use super::dpm_solver::{check, differences, multistep_order, phi};
use super::{Kind, Recorder, Setting, SolverInfo, SolverType};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "dpmpp-3m",
    family: "exponential integrator",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 2,
    reference: "Lu et al. 2022, arXiv:2211.01095, prop. 4.1, in the authors' multistep form",
    schedulers: &["DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler"],
    plus_plus: false,
    fixes: &[("solver_order", "3"), ("algorithm_type", "\"dpmsolver++\"")],
    record: dpmpp_3m,
}];

/// Proposition 4.1 with D0, D1, D2 from this and the last two predictions, see [`differences`]:
///
/// ```text
/// x_i = sigma_i / sigma_{i-1} x_{i-1} + alpha_i h (phi_1(-h) D0 + phi_2(-h) D1 + phi_3(-h) D2)
/// ```
///
/// The first steps, and the last ones as [`multistep_order`] says, are of lower order; the second
/// is DPM-Solver++(2M)'s, whose `midpoint` puts phi_1 / 2 for phi_2. D2 is half of what order three
/// asks for, so the order is two.
pub(super) fn dpmpp_3m(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    rec.initial_noise(run.initial_scale());
    for i in 1..run.levels.len() {
        let (s, t) = (run.levels[i - 1], run.levels[i]);
        let h = t.lambda() - s.lambda();
        let order = multistep_order(run, 3, i);
        let (d1, d2) = differences(run, i, order, X0);

        rec.denoise(s);
        rec.push(X0);
        let first = (t.sigma / s.sigma) * X - (t.alpha * (-h).exp_m1()) * X0;
        rec.update(match (order, run.keys.solver_type) {
            (1, _) => first,
            (2, SolverType::Midpoint) => first + (0.5 * t.alpha * h * phi(1, -h)) * d1,
            _ => first + (t.alpha * h) * (phi(2, -h) * d1 + phi(3, -h) * d2),
        });
    }
    Ok(())
}
