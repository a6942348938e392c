//! The probability-flow ODE with adaptive steps (Song et al. 2021, arXiv:2011.13456, section 4.3).

use super::{Adaptive, Kind, Method, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "ode-rk45",
    family: "probability-flow ODE",
    kind: Kind::Ode,
    nfe_per_step: 6,
    nfe_extra: 2,
    order: 5,
    reference: "Dormand & Prince 1980 on the ODE of Song et al. 2021, arXiv:2011.13456, eq. 13",
    schedulers: &["EulerDiscreteScheduler"],
    plus_plus: false,
    fixes: &[],
    record: ode_rk45,
}];

/// The paper's tolerance, relative and absolute.
const TOLERANCE: f64 = 1e-5;

/// The 5(4) pair of Dormand and Prince in lambda, from the first level of the run to its last; see
/// [`Adaptive`] for the formulas.
fn ode_rk45(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    let adaptive = Adaptive::new(run, rec, Method::DormandPrince, TOLERANCE, TOLERANCE)?;
    rec.adaptive(adaptive, run.initial_scale(), run.levels[run.levels.len() - 1].sigma == 0.0);
    Ok(())
}
