//! SDE-DPM-Solver++(2M), the second-order multistep solver of the reverse SDE in x0 (Lu et al.
//! 2022, arXiv:2211.01095).

use super::Term::{X, X0};
use super::dpm_solver::{differences, eta, multistep_order, phi};
use super::{Kind, Recorder, Setting, SolverInfo, SolverType};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "dpmpp-2m-sde",
    family: "exponential integrator",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 2,
    reference: "Lu et al. 2022, arXiv:2211.01095, SDE-DPM-Solver++(2M)",
    schedulers: &["DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler"],
    plus_plus: false,
    fixes: &[("solver_order", "2"), ("algorithm_type", "\"sde-dpmsolver++\"")],
    record: dpmpp_2m_sde,
}];

/// The step of DPM-Solver++(2M) for the SDE whose noise eta scales, 1 being the reverse SDE of the
/// paper, 0 the ODE (k-diffusion's eta). With k = (1 + eta) h and D1 of [`differences`]:
///
/// ```text
/// x_i = sigma_i / sigma_{i-1} exp(-eta h) x_{i-1} + alpha_i (1 - exp(-k)) (x0 + D1 / 2)
///     + sigma_i sqrt(1 - exp(-2 eta h)) z
/// ```
///
/// The solver_type `heun` puts `k phi_2(-k)` for `(1 - exp(-k)) / 2`. A step into the data is x0.
pub(super) fn dpmpp_2m_sde(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let eta = eta(run);
    rec.initial_noise(run.initial_scale());
    for i in 1..run.levels.len() {
        let (s, t) = (run.levels[i - 1], run.levels[i]);
        let h = t.lambda() - s.lambda();
        let k = (1.0 + eta) * h;
        let (d1, _) = differences(run, i, multistep_order(run, 2, i), X0);

        rec.denoise(s);
        rec.push(X0);
        if t.sigma == 0.0 {
            rec.update(t.alpha * X0);
            continue;
        }
        let slope = match run.keys.solver_type {
            SolverType::Heun => k * phi(2, -k),
            _ => -0.5 * (-k).exp_m1(),
        };
        let mean = (t.sigma / s.sigma * (-eta * h).exp()) * X - (t.alpha * (-k).exp_m1()) * X0
            + (t.alpha * slope) * d1;
        let noise = t.sigma * (-(-2.0 * eta * h).exp_m1()).sqrt() * run.keys.s_noise;
        let x = if eta > 0.0 { mean + noise * rec.noise() } else { mean };
        rec.update(x);
    }
    Ok(())
}
