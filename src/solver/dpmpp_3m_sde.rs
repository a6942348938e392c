//! SDE-DPM-Solver++(3M), the multistep solver of the reverse SDE in x0 with three predictions
//! (k-diffusion, after Lu et al. 2022, arXiv:2211.01095).

use super::Term::{X, X0};
use super::dpm_solver::{differences, eta, multistep_order, phi};
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue. DPMSolverMultistepScheduler's own third order is another
/// (see [`super::dpm_solver_multistep`]), and a configuration of that class does not know s_noise.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "dpmpp-3m-sde",
    family: "exponential integrator",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 2,
    reference: "Lu et al. 2022, arXiv:2211.01095; k-diffusion's sample_dpmpp_3m_sde",
    schedulers: &["DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler"],
    plus_plus: false,
    fixes: &[("solver_order", "3"), ("algorithm_type", "\"sde-dpmsolver++\""), ("s_noise", "1.0")],
    record: dpmpp_3m_sde,
}];

/// The step of DPM-Solver++(3M) for the SDE whose noise eta scales, as in dpmpp-2m-sde. With
/// k = (1 + eta) h and D1, D2 of [`differences`]:
///
/// ```text
/// x_i = sigma_i / sigma_{i-1} exp(-eta h) x_{i-1}
///     + alpha_i k (phi_1(-k) x0 + phi_2(-k) D1 + phi_3(-k) D2) + sigma_i sqrt(1 - exp(-2 eta h)) z
/// ```
///
/// A step into the data is x0.
fn dpmpp_3m_sde(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let eta = eta(run);
    rec.initial_noise(run.initial_scale());
    for i in 1..run.levels.len() {
        let (s, t) = (run.levels[i - 1], run.levels[i]);
        let h = t.lambda() - s.lambda();
        let k = (1.0 + eta) * h;
        let (d1, d2) = differences(run, i, multistep_order(run, 3, i), X0);

        rec.denoise(s);
        rec.push(X0);
        if t.sigma == 0.0 {
            rec.update(t.alpha * X0);
            continue;
        }
        let mean = (t.sigma / s.sigma * (-eta * h).exp()) * X
            + (t.alpha * k) * (phi(1, -k) * X0 + phi(2, -k) * d1 + phi(3, -k) * d2);
        let noise = t.sigma * (-(-2.0 * eta * h).exp_m1()).sqrt() * run.keys.s_noise;
        let x = if eta > 0.0 { mean + noise * rec.noise() } else { mean };
        rec.update(x);
    }
    Ok(())
}
