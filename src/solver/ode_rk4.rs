//! The probability-flow ODE by the classical Runge-Kutta method (Kutta 1901).

use super::Term::{Eps, History, Saved, X, X0};
use super::{Expr, Kind, Level, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "ode-rk4",
    family: "probability-flow ODE",
    kind: Kind::Ode,
    nfe_per_step: 4,
    nfe_extra: -3,
    order: 4,
    reference: "Kutta 1901 on the ODE of Song et al. 2021, arXiv:2011.13456, eq. 13",
    schedulers: &["EulerDiscreteScheduler"],
    plus_plus: false,
    fixes: &[],
    record: ode_rk4,
}];

/// With x = x0 + sigma eps the ODE is dx / dlambda = -sigma eps, and a step is
///
/// ```text
/// k1 = f(lambda, x)                      k2 = f(lambda + h / 2, x + h k1 / 2)
/// k3 = f(lambda + h / 2, x + h k2 / 2)   k4 = f(lambda + h, x + h k3)
/// x' = x + h (k1 + 2 k2 + 2 k3 + k4) / 6
/// ```
///
/// A last step to sigma 0, where lambda has no bound, is x' = x0.
fn ode_rk4(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    rec.initial_noise(run.initial_scale());
    for pair in run.levels.windows(2) {
        let (level, next) = (pair[0], pair[1]);
        if next.sigma == 0.0 {
            rec.denoise(level);
            rec.update(X0);
            continue;
        }
        let h = next.lambda() - level.lambda();
        let middle = run.level_of((level.ratio() * next.ratio()).sqrt());

        rec.denoise(level);
        rec.save(X);
        rec.push(slope(level));
        rec.update(1.0 * X + (0.5 * h) * slope(level));

        rec.denoise(middle);
        rec.push(slope(middle));
        rec.update(1.0 * Saved + (0.5 * h) * slope(middle));

        rec.denoise(middle);
        rec.push(slope(middle));
        rec.update(1.0 * Saved + h * slope(middle));

        rec.denoise(next);
        let (k1, k2, k3) = (History(2), History(1), History(0));
        let sum = 1.0 * k1 + 2.0 * k2 + 2.0 * k3 + slope(next);
        rec.update(1.0 * Saved + (h / 6.0) * sum);
    }
    Ok(())
}

/// f = -sigma eps of the row that evaluates at `level`.
fn slope(level: Level) -> Expr {
    -level.sigma * Eps
}
