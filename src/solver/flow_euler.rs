//! Euler's method on a rectified flow, and its stochastic form (Liu et al. 2022,
//! arXiv:2209.03003).

use super::Term::X0;
use super::{Kind, Recorder, Setting, SolverInfo, ode};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[
    SolverInfo {
        name: "flow-euler",
        family: "rectified flow",
        kind: Kind::Ode,
        nfe_per_step: 1,
        nfe_extra: 0,
        order: 1,
        reference: "Liu et al. 2022, arXiv:2209.03003, eq. 1; Esser et al. 2024, arXiv:2403.03206",
        schedulers: &["FlowMatchEulerDiscreteScheduler"],
        plus_plus: false,
        fixes: &[],
        record: flow_euler,
    },
    SolverInfo {
        name: "flow-lcm",
        family: "consistency",
        kind: Kind::Sde,
        nfe_per_step: 1,
        nfe_extra: 0,
        order: 1,
        reference: "Luo et al. 2023, arXiv:2310.04378, Alg. 3, on a rectified flow",
        schedulers: &["FlowMatchLCMScheduler"],
        plus_plus: false,
        fixes: &[],
        record: flow_lcm,
    },
];

/// With the velocity v = eps - x0 and x = (1 - sigma) x0 + sigma eps:
///
/// ```text
/// x' = x + (sigma' - sigma) v = (1 - sigma') x0 + sigma' eps
/// ```
///
/// With `stochastic_sampling` it is [`flow_lcm`].
fn flow_euler(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    if run.keys.stochastic_sampling {
        return flow_lcm(run, rec);
    }
    rec.initial_noise(run.initial_scale());
    for step in run.levels.windows(2) {
        rec.denoise(step[0]);
        rec.update(ode::arrival(step[1]));
    }
    Ok(())
}

/// Fresh noise in the place of eps: `x' = (1 - sigma') x0 + sigma' z`.
fn flow_lcm(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    rec.initial_noise(run.initial_scale());
    for step in run.levels.windows(2) {
        let next = step[1];
        rec.denoise(step[0]);
        let mut x = next.alpha * X0;
        if next.sigma > 0.0 {
            x = x + next.sigma * rec.noise();
        }
        rec.update(x);
    }
    Ok(())
}
