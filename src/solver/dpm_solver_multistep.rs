//! The multistep solvers of DPM-Solver in eps, of the ODE and of the reverse SDE (Lu et al. 2022,
//! arXiv:2206.00927 and arXiv:2211.01095), and whatever else a DPMSolverMultistepScheduler may be
//! configured to be.

use super::Term::X;
use super::dpm_solver::{Step, check, differences, is_stochastic, multistep_order, prediction};
use super::dpm_solver_1::dpm_solver_1;
use super::dpmpp_2m::dpmpp_2m;
use super::dpmpp_2m_sde::dpmpp_2m_sde;
use super::dpmpp_3m::dpmpp_3m;
use super::{AlgorithmType, Kind, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[
    SolverInfo {
        name: "dpm-solver-2m",
        fixes: &[
            ("solver_order", "2"),
            ("algorithm_type", "\"dpmsolver\""),
            ("final_sigmas_type", "\"sigma_min\""),
        ],
        reference: "Lu et al. 2022, arXiv:2206.00927, prop. 3.1, in the authors' multistep form",
        ..MULTISTEP
    },
    SolverInfo {
        name: "dpm-solver-3m",
        fixes: &[
            ("solver_order", "3"),
            ("algorithm_type", "\"dpmsolver\""),
            ("final_sigmas_type", "\"sigma_min\""),
        ],
        reference: "Lu et al. 2022, arXiv:2206.00927, prop. 3.1, in the authors' multistep form",
        ..MULTISTEP
    },
    SolverInfo {
        name: "dpm-solver-2m-sde",
        kind: Kind::Sde,
        fixes: &[
            ("solver_order", "2"),
            ("algorithm_type", "\"sde-dpmsolver\""),
            ("final_sigmas_type", "\"sigma_min\""),
        ],
        reference: "Lu et al. 2022, arXiv:2211.01095, SDE-DPM-Solver-2M",
        ..MULTISTEP
    },
    SolverInfo {
        schedulers: &["DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler"],
        ..MULTISTEP
    },
    SolverInfo {
        name: "dpm-solver-inversion",
        schedulers: &["DPMSolverMultistepInverseScheduler"],
        reference: "Lu et al. 2022, arXiv:2211.01095, run from data to noise",
        record: inversion,
        ..MULTISTEP
    },
];

/// The class with its keys as they are.
const MULTISTEP: SolverInfo = SolverInfo {
    name: "dpm-solver-multistep",
    family: "exponential integrator",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 2,
    reference: "Lu et al. 2022, arXiv:2211.01095; solver_order and algorithm_type choose",
    schedulers: &["DPMSolverMultistepScheduler"],
    plus_plus: false,
    fixes: &[],
    record: configured,
};

/// The solver that solver_order and algorithm_type name.
fn configured(run: &Setting, rec: &mut Recorder) -> Result<()> {
    use AlgorithmType::{DpmSolverPlusPlus, SdeDpmSolverPlusPlus};
    match (run.keys.algorithm_type, run.keys.solver_order) {
        (DpmSolverPlusPlus, 2) => dpmpp_2m(run, rec),
        (DpmSolverPlusPlus, 3) => dpmpp_3m(run, rec),
        (SdeDpmSolverPlusPlus, 2) => dpmpp_2m_sde(run, rec),
        (_, 1) => dpm_solver_1(run, rec),
        _ => multistep(run, rec),
    }
}

/// From data to noise: the levels rise, h is negative, and the start is the sample in the place of
/// the initial noise. The reverse SDE has no such run.
fn inversion(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let algorithm = run.keys.algorithm_type;
    if is_stochastic(algorithm) {
        return Err(Error::invalid(
            format!("{}: algorithm_type", run.config.origin),
            "dpmsolver++ or dpmsolver, which can be run from data to noise",
            algorithm.name(),
            "correct the key",
        ));
    }
    let (first, last) = (run.levels[0], run.levels[run.levels.len() - 1]);
    // The class's own flow levels fall, in diffusers as here.
    let own = run.config.class.name == "DPMSolverMultistepInverseScheduler";
    if !own && first.ratio() >= last.ratio() {
        return Err(Error::invalid(
            format!("{}: _class_name", run.config.origin),
            "a scheduler of discrete timesteps, whose noise levels can be visited upwards",
            run.config.class.name.clone(),
            "choose another schedule",
        ));
    }
    configured(run, rec)
}

/// The step of [`Step`] with D0 = m_0 and D1, D2 of [`differences`], m being the prediction that
/// the algorithm expands.
///
/// sde-dpmsolver++ with three predictions is as diffusers has it, see [`Step::third_weight`];
/// dpmpp-3m-sde has the formula as it follows.
fn multistep(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    let algorithm = run.keys.algorithm_type;
    let m = prediction(algorithm);
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for i in 1..run.levels.len() {
        let (s, t) = (run.levels[i - 1], run.levels[i]);
        let step = Step::new(algorithm, s, t);
        let order = multistep_order(run, run.keys.solver_order, i);
        let (d1, d2) = differences(run, i, order, m);

        rec.denoise(s);
        rec.push(m);
        let first = step.weight(1) * m;
        let predictions = match order {
            1 => first,
            2 => first + step.slope_weight(run.keys.solver_type) * d1,
            _ => first + step.weight(2) * d1 + step.third_weight() * d2,
        };
        let x = step.from(X, predictions, rec);
        rec.update(x);
    }
    Ok(())
}
