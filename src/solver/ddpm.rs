//! DDPM ancestral sampling (Ho et al. 2020, arXiv:2006.11239).

use super::Term::{X, X0};
use super::{Recorder, Setting, VarianceType};
use crate::error::{Error, Result};

/// The posterior variance is 0 where the chain ends; its logarithm must not be.
const MIN_VARIANCE: f64 = 1e-20;

/// Algorithm 2 with the posterior of eq. 6 and 7, over a subsequence of the timesteps:
///
/// ```text
/// x_{t-1} = sqrt(alpha_bar') beta / (1 - alpha_bar) x0
///         + sqrt(alpha) (1 - alpha_bar') / (1 - alpha_bar) x_t + sigma z,   z = 0 at t = 0
/// ```
///
/// where alpha_bar' belongs to the next timestep visited (1 after the last) and
/// alpha = alpha_bar / alpha_bar'. sigma^2 is beta_tilde (eq. 7), beta (section 3.2), or learned
/// between the two (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15).
pub(super) fn ddpm(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    rec.initial_noise(1.0);
    for (i, &t) in run.timesteps.iter().enumerate() {
        let alpha_bar = run.schedule.alpha_bar[t];
        let alpha_bar_prev = run.timesteps.get(i + 1).map_or(1.0, |&s| run.schedule.alpha_bar[s]);
        let alpha = alpha_bar / alpha_bar_prev;
        let beta = 1.0 - alpha;
        let beta_tilde = (1.0 - alpha_bar_prev) / (1.0 - alpha_bar) * beta;

        rec.denoise(t as f64, alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
        let mean = (alpha_bar_prev.sqrt() * beta / (1.0 - alpha_bar)) * X0
            + (alpha.sqrt() * (1.0 - alpha_bar_prev) / (1.0 - alpha_bar)) * X;
        if t == 0 {
            rec.update(mean);
            continue;
        }

        let z = rec.noise();
        let sigma = match run.config.variance_type {
            VarianceType::FixedSmall => beta_tilde.max(MIN_VARIANCE).sqrt(),
            VarianceType::FixedLarge => beta.sqrt(),
            VarianceType::LearnedRange => {
                rec.learned_variance(beta_tilde.max(MIN_VARIANCE).ln(), beta.ln());
                1.0
            }
        };
        rec.update(mean + sigma * z);
    }
    Ok(())
}

/// The network must give a variance exactly where the schedule reads one, and eta is not DDPM's.
fn check(run: &Setting) -> Result<()> {
    let (options, origin) = (run.options, &run.config.origin);
    if options.eta != 0.0 {
        return Err(Error::invalid(
            "--eta",
            "0 with --solver ddpm, whose noise the variance_type fixes",
            options.eta.to_string(),
            "leave --eta out or use --solver ddim",
        ));
    }
    let learned_range = run.config.variance_type == VarianceType::LearnedRange;
    let (expected, found) = match (learned_range, run.learned_variance) {
        (true, false) => ("fixed_small or fixed_large for a network without a variance output", 1),
        (false, true) => ("learned_range for a network whose output holds a variance", 2),
        _ => return Ok(()),
    };
    let name = run.config.variance_type.name();
    Err(Error::invalid(
        format!("{origin}: variance_type"),
        expected,
        format!("{name} and a network output of {found} x the sample's channels"),
        "correct variance_type, or use --solver ddim, which takes no variance from the network",
    ))
}
