//! The reverse SDE by Euler-Maruyama (Song et al. 2021, arXiv:2011.13456, section 4.1).

use super::Term::{Eps, X};
use super::{Kind, Level, Process, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "euler-maruyama",
    family: "SDE",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Song et al. 2021, arXiv:2011.13456, eq. 6",
    schedulers: &["ScoreSdeVpScheduler", "ScoreSdeSubVpScheduler"],
    plus_plus: false,
    fixes: &[],
    record: euler_maruyama,
}];

/// Eq. 6, `dx = (f x - g^2 score) dt + g dw` backwards in time, with score = -eps / sigma:
///
/// ```text
/// x' = x - (f dt) x - (g^2 dt) / sigma eps + sqrt(g^2 dt) z
/// ```
///
/// The last step leaves out its noise (appendix G).
fn euler_maruyama(run: &Setting, rec: &mut Recorder) -> Result<()> {
    run.without_eta()?;
    let steps = run.levels.len() - 1;
    rec.initial_noise(run.initial_scale());
    for (i, pair) in run.levels.windows(2).enumerate() {
        let (f_dt, g2_dt) = increments(run, pair[0], pair[1])?;
        rec.denoise(pair[0]);
        let mean = (1.0 - f_dt) * X - (g2_dt / pair[0].sigma) * Eps;
        if i + 1 < steps {
            let z = rec.noise();
            rec.update(mean + g2_dt.sqrt() * z);
        } else {
            rec.update(mean);
        }
    }
    Ok(())
}

/// f dt, never positive, and g^2 dt of one step. In continuous time dt is 1 / n, even where the n
/// times end before 0, as the authors have it; otherwise alpha and sigma^2 change over the step by
/// what the levels say (f = d ln(alpha) / dt, g^2 = d sigma^2 / dt - 2 f sigma^2).
///
/// ```text
/// VP      f = -beta / 2    g^2 = beta                                      (eq. 11)
/// sub-VP  f = -beta / 2    g^2 = beta (1 - alpha^4)                        (eq. 12)
/// VE      f = 0            g^2 = 2 sigma^2 ln(sigma_max / sigma_min)       (eq. 9, 30)
/// ```
fn increments(run: &Setting, level: Level, next: Level) -> Result<(f64, f64)> {
    if level.alpha == 0.0 {
        return Err(Error::invalid(
            "--solver",
            "a solver of the ODE for a process that starts at pure noise, where its SDE has no \
             finite drift",
            run.options.solver.clone(),
            "use a solver of kind ode",
        ));
    }
    let dt = 1.0 / run.steps as f64;
    let beta_dt = |min: f64, max: f64| (min + level.time * (max - min)) * dt;
    Ok(match run.process {
        Process::VariancePreserving { beta_min, beta_max } => {
            let b = beta_dt(beta_min, beta_max);
            (-0.5 * b, b)
        }
        Process::SubVariancePreserving { beta_min, beta_max } => {
            let b = beta_dt(beta_min, beta_max);
            (-0.5 * b, b * (1.0 - level.alpha.powi(4)))
        }
        Process::VarianceExploding { sigma_min, sigma_max } => {
            (0.0, 2.0 * level.sigma.powi(2) * (sigma_max / sigma_min).ln() * dt)
        }
        _ => {
            let (f_dt, sigma2) = ((level.alpha / next.alpha).ln(), level.sigma.powi(2));
            (f_dt, sigma2 - next.sigma.powi(2) - 2.0 * f_dt * sigma2)
        }
    })
}
