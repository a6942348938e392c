//! DPM-Solver-1 in its four forms (Lu et al. 2022, arXiv:2206.00927 and arXiv:2211.01095). Without
//! noise it is DDIM, in eps and in x0 alike.

use super::Term::X;
use super::dpm_solver::{Step, check, prediction};
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[
    DPM_SOLVER_1,
    SolverInfo {
        name: "dpmpp-1",
        family: "exponential integrator",
        reference: "Lu et al. 2022, arXiv:2211.01095, prop. 4.1 with constant x0",
        schedulers: IN_X0,
        fixes: &[("solver_order", "1"), ("algorithm_type", "\"dpmsolver++\"")],
        ..DPM_SOLVER_1
    },
    SolverInfo {
        name: "dpmpp-1-sde",
        family: "exponential integrator",
        kind: Kind::Sde,
        reference: "Lu et al. 2022, arXiv:2211.01095, SDE-DPM-Solver++1",
        schedulers: IN_X0,
        fixes: &[("solver_order", "1"), ("algorithm_type", "\"sde-dpmsolver++\"")],
        ..DPM_SOLVER_1
    },
];

/// The classes that have it in x0.
const IN_X0: &[&str] = &[
    "DPMSolverSinglestepScheduler",
    "DPMSolverMultistepScheduler",
    "EDMDPMSolverMultistepScheduler",
];

const DPM_SOLVER_1: SolverInfo = SolverInfo {
    name: "dpm-solver-1",
    family: "exponential integrator",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Lu et al. 2022, arXiv:2206.00927, eq. 3.7",
    schedulers: &["DPMSolverSinglestepScheduler", "DPMSolverMultistepScheduler"],
    plus_plus: false,
    fixes: &[
        ("solver_order", "1"),
        ("algorithm_type", "\"dpmsolver\""),
        ("final_sigmas_type", "\"sigma_min\""),
    ],
    record: dpm_solver_1,
};

/// The step of [`Step`] with D0, the one prediction at s:
///
/// ```text
/// x_t = alpha_t / alpha_s x_s - sigma_t (exp(h) - 1) eps       (dpm-solver-1)
/// x_t = sigma_t / sigma_s x_s - alpha_t (exp(-h) - 1) x0       (dpmpp-1)
/// ```
pub(super) fn dpm_solver_1(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    let algorithm = run.keys.algorithm_type;
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for pair in run.levels.windows(2) {
        let (s, t) = (pair[0], pair[1]);
        let step = Step::new(algorithm, s, t);

        rec.denoise(s);
        let x = step.from(X, step.weight(1) * prediction(algorithm), rec);
        rec.update(x);
    }
    Ok(())
}
