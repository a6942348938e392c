//! DDPM ancestral sampling (Ho et al. 2020, arXiv:2006.11239).

use super::Term::{X, X0};
use super::ancestral::Posterior;
use super::{Kind, Recorder, Setting, SolverInfo, VarianceType};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "ddpm",
    family: "DDPM",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Ho et al. 2020, arXiv:2006.11239, Alg. 2",
    schedulers: &["DDPMScheduler", "DDPMParallelScheduler"],
    plus_plus: false,
    fixes: &[],
    record: ddpm,
}];

/// The posterior variance is 0 where the chain ends; its logarithm must not be.
const MIN_VARIANCE: f64 = 1e-20;

/// Algorithm 2, over any levels, t the one left and s the next (1 after the last timestep):
///
/// ```text
/// x_s = E[x_s | x_t, x0] + sigma z,   z = 0 at timestep 0, or where s is the data
/// ```
///
/// with the posterior of eq. 6 and 7, see [`Posterior`]. sigma^2 is beta_tilde (eq. 7), beta
/// (section 3.2), or learned between the two (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15).
fn ddpm(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    let discrete = !run.timesteps.is_empty();
    rec.initial_noise(run.initial_scale());
    for step in run.levels.windows(2) {
        let (from, to) = (step[0], step[1]);
        let q = Posterior::of(from, to);
        rec.denoise(from);
        let mean = q.x0 * X0 + q.x * X;
        let ends = if discrete { from.time == 0.0 } else { to.sigma == 0.0 };
        if ends {
            rec.update(mean);
            continue;
        }

        let z = rec.noise();
        let sigma = match variance_type(run) {
            VarianceType::FixedSmall | VarianceType::FixedSmallLog => {
                q.beta_tilde.max(MIN_VARIANCE).sqrt()
            }
            VarianceType::FixedLarge | VarianceType::FixedLargeLog => q.beta.sqrt(),
            VarianceType::Learned | VarianceType::LearnedRange => {
                rec.learned_variance(q.beta_tilde.max(MIN_VARIANCE).ln(), q.beta.ln());
                1.0
            }
        };
        rec.update(mean + sigma * z);
    }
    Ok(())
}

fn variance_type(run: &Setting) -> VarianceType {
    run.keys.variance_type.unwrap_or(VarianceType::FixedSmall)
}

/// The network must give a variance exactly where the schedule reads one, and eta is not DDPM's.
fn check(run: &Setting) -> Result<()> {
    run.without_eta()?;
    let origin = &run.config.origin;
    if variance_type(run) == VarianceType::Learned {
        return Err(Error::invalid(
            format!("{origin}: variance_type"),
            "learned_range for a network that predicts its variance",
            "learned, which takes the output itself for the variance: no root where it is negative",
            "set variance_type to what the network was trained with",
        ));
    }
    let learned_range = variance_type(run) == VarianceType::LearnedRange;
    let (expected, found) = match (learned_range, run.network.learned_variance) {
        (true, false) => ("fixed_small or fixed_large for a network without a variance output", 1),
        (false, true) => ("learned_range for a network whose output holds a variance", 2),
        _ => return Ok(()),
    };
    let name = variance_type(run).name();
    Err(Error::invalid(
        format!("{origin}: variance_type"),
        expected,
        format!("{name} and a network output of {found} x the sample's channels"),
        "correct variance_type, or use --solver ddim, which takes no variance from the network",
    ))
}
