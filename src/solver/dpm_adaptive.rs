//! DPM-Solver with adaptive steps (Lu et al. 2022, arXiv:2206.00927, appendix C).

use super::{Adaptive, Kind, Method, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "dpm-adaptive",
    family: "exponential integrator",
    kind: Kind::Ode,
    nfe_per_step: 3,
    nfe_extra: 1,
    order: 3,
    reference: "Lu et al. 2022, arXiv:2206.00927, appendix C",
    schedulers: &["EulerDiscreteScheduler"],
    plus_plus: false,
    fixes: &[],
    record: dpm_adaptive,
}];

/// The tolerances of images in [-1, 1] with 8 bits: one part in 256 of the range.
const RTOL: f64 = 0.05;
const ATOL: f64 = 0.0078;

/// DPM-Solver-23, or -12 where `solver_order` is set to 2, from the first level of the run to its
/// last; see [`Adaptive`] for the formulas. The step is controlled by the smooth limiter of
/// Soderlind & Wang 2006 (J. Comp. Appl. Math. 185), as k-diffusion has it.
fn dpm_adaptive(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    let by_hand = run.options.set.contains_key("solver_order");
    let order = if by_hand { run.keys.solver_order } else { 3 };
    let method = match order {
        2 => Method::DpmSolver12,
        3 => Method::DpmSolver23,
        other => {
            let what = format!("{}: solver_order", run.config.origin);
            let expected = "2 or 3 with --solver dpm-adaptive";
            return Err(Error::invalid(what, expected, other.to_string(), "choose one of them"));
        }
    };
    let adaptive = Adaptive::new(run, rec, method, RTOL, ATOL)?;
    rec.adaptive(adaptive, run.initial_scale(), run.levels[run.levels.len() - 1].sigma == 0.0);
    Ok(())
}
