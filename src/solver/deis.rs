//! Diffusion exponential integrator sampler (Zhang & Chen 2022, arXiv:2204.13902).

use super::Term::{Eps, History, X};
use super::adams::{Adams, Integrand, LEAST_ALPHA, Slope};
use super::{Kind, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] =
    &[of_order("deis", 2, &[]), of_order("deis-1", 1, FIRST), of_order("deis-3", 3, THIRD)];

const FIRST: &[(&str, &str)] = &[("solver_order", "1")];
const THIRD: &[(&str, &str)] = &[("solver_order", "3")];

const fn of_order(
    name: &'static str,
    order: u32,
    fixes: &'static [(&'static str, &'static str)],
) -> SolverInfo {
    SolverInfo {
        name,
        family: "exponential integrator",
        kind: Kind::Ode,
        nfe_per_step: 1,
        nfe_extra: 0,
        order,
        reference: "Zhang & Chen 2022, arXiv:2204.13902, eq. 14, 15",
        schedulers: &["DEISMultistepScheduler"],
        plus_plus: false,
        fixes,
        record: deis,
    }
}

/// tAB-DEIS of order r in rho = sigma / alpha, eq. 14 with the coefficients of eq. 15:
///
/// ```text
/// x_t / alpha_t = x_s / alpha_s + sum_j C_j eps_j,   j = s and the r - 1 levels before it
/// C_j = int_{rho_s}^{rho_t} prod_{k != j} (ln rho - ln rho_k) / (ln rho_j - ln rho_k) d rho
/// ```
///
/// The polynomial is one in ln rho = -lambda, the choice of DEISMultistepScheduler (`logrho`). The
/// first steps take the order that the history allows; with `lower_order_final` the last of a short
/// run do, too. eps is what x and the thresholded x0 imply.
fn deis(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    let steps = run.levels.len() - 1;
    let lower_final = run.keys.lower_order_final && run.steps < SHORT;
    for (i, step) in run.levels.windows(2).enumerate() {
        let (from, to) = (step[0], step[1]);
        let left = if lower_final { steps - i } else { steps };
        let order = run.keys.solver_order.min(i + 1).min(left);

        rec.denoise(from);
        let past = (1..order).map(|j| (run.levels[i - j].lambda(), History(j - 1).into()));
        let eps: Vec<_> = [(from.lambda(), Eps.into())].into_iter().chain(past).collect();
        let adams = Adams { from, to, integrand: Integrand::Noise, tau: 0.0, slope: Slope::Exact };
        rec.push(Eps);
        rec.update(adams.step(X, &eps));
    }
    Ok(())
}

/// Runs of fewer steps than this end in lower order.
const SHORT: usize = 15;

/// x0 does not follow from eps where all is noise.
fn check(run: &Setting) -> Result<()> {
    run.without_eta()?;
    if run.levels[0].alpha >= LEAST_ALPHA {
        return Ok(());
    }
    Err(Error::invalid(
        "--solver",
        format!("one in x0 for {}, whose first level is pure noise", run.config.class.name),
        "deis, which is one in eps",
        "use --solver unipc or dpmpp-2m",
    ))
}
