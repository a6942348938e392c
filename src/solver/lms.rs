//! The linear multistep method on the probability-flow ODE (k-diffusion).

use super::Term::{Eps, History, X};
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "lms",
    family: "probability-flow ODE",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: MAX_ORDER as u32,
    reference: "Crowson 2022, k-diffusion; Adams-Bashforth with variable steps (Hairer et al. \
                1993, section III.5)",
    schedulers: &["LMSDiscreteScheduler"],
    plus_plus: false,
    fixes: &[],
    record: lms,
}];

const MAX_ORDER: usize = 4;

/// dx/dsigma = eps (of x / alpha), with eps the polynomial through the last k of its values:
///
/// ```text
/// x' = x + sum_j c_j eps_{i-j},   c_j = int_sigma^sigma' prod_{l != j} (s - sigma_{i-l}) /
///                                       (sigma_{i-j} - sigma_{i-l}) ds,   j, l = 0 .. k - 1
/// ```
///
/// k is 4, or less where `solver_order` is set by hand, and less in the first steps.
fn lms(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    let set = run.options.set.contains_key("solver_order");
    let order = if set { run.keys.solver_order } else { MAX_ORDER };
    let sigma: Vec<f64> = run.levels.iter().map(|level| level.ratio()).collect();
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for (i, step) in run.levels.windows(2).enumerate() {
        let (level, next) = (step[0], step[1]);
        let oldest = (i + 1).saturating_sub(order);
        let nodes: Vec<f64> = sigma[oldest..=i].iter().rev().copied().collect();

        rec.denoise(level);
        rec.push(Eps);
        let mut x = (next.alpha / level.alpha) * X;
        for j in 0..nodes.len() {
            let eps = if j == 0 { Eps } else { History(j - 1) };
            x = x + (next.alpha * coefficient(&nodes, j, sigma[i + 1])) * eps;
        }
        rec.update(x);
    }
    Ok(())
}

/// The integral from `nodes[0]` to `end` of the Lagrange polynomial that is 1 at node j and 0 at
/// the others. Of degree 3 at most, it is integrated exactly by Gauss's rule with two points.
fn coefficient(nodes: &[f64], j: usize, end: f64) -> f64 {
    let (middle, half) = (0.5 * (end + nodes[0]), 0.5 * (end - nodes[0]));
    let lagrange = |s: f64| -> f64 {
        let others = nodes.iter().enumerate().filter(|(l, _)| *l != j);
        others.map(|(_, node)| (s - node) / (nodes[j] - node)).product()
    };
    let offset = half / 3f64.sqrt();
    half * (lagrange(middle - offset) + lagrange(middle + offset))
}
