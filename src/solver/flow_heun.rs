//! Heun's method on a rectified flow (Liu et al. 2022, arXiv:2209.03003).

use super::{Kind, SolverInfo, heun};

/// What this file adds to the catalogue: [`heun`] in flow coordinates, where its d is
/// `(sigma' - sigma) v` with the velocity v = eps - x0.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "flow-heun",
    family: "rectified flow",
    kind: Kind::Ode,
    nfe_per_step: 2,
    nfe_extra: -1,
    order: 2,
    reference: "Liu et al. 2022, arXiv:2209.03003, eq. 1; Karras et al. 2022, arXiv:2206.00364, \
                Alg. 1",
    schedulers: &["FlowMatchHeunDiscreteScheduler"],
    plus_plus: false,
    fixes: &[],
    record: heun::heun,
}];
