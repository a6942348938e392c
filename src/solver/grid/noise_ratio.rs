//! Runs of the k-diffusion family: sigma / alpha at timesteps that may be fractional.

use super::super::schedule::linspace;
use super::super::{
    FinalSigmas, Interpolation, Level, PredictionType, Schedule, Sigmas, TimestepSpacing,
    TimestepType,
};
use super::{Keys, RHO, Request, discrete, ratio, spacing};
use crate::error::Result;

/// The n levels and the end.
pub(super) fn levels(
    request: &Request,
    keys: &Keys,
    schedule: &Schedule,
    whole: bool,
) -> Result<Vec<Level>> {
    let (total, steps) = (schedule.alpha_bar.len(), request.options.steps);
    let times = times(keys, total, steps);
    discrete::in_schedule(request, keys, times[0] as usize, total)?;
    let (smallest, largest) = (schedule.ratio(0), schedule.ratio(total - 1));
    // Where sigma is interpolated in its logarithm it is so over the whole schedule, end included.
    let log_linear = keys.interpolation_type == Interpolation::LogLinear;
    let (mut ratios, first, last) = if log_linear {
        let ratios = Sigmas::Exponential.between(largest, smallest, steps + 1, RHO);
        (ratios, largest, smallest)
    } else {
        let ratios: Vec<f64> = times.iter().map(|t| schedule.ratio_at(*t)).collect();
        let (first, last) = (ratios[0], ratios[steps - 1]);
        (ratios, first, last)
    };
    let mut times = times;
    if let Some(sigmas) = spacing(keys) {
        let (first, last) = (keys.sigma_max.unwrap_or(first), keys.sigma_min.unwrap_or(last));
        ratios = sigmas.between(first, last, steps, RHO);
        times = ratios.iter().map(|ratio| schedule.time_of(*ratio)).collect();
        if whole && sigmas == Sigmas::Karras {
            times.iter_mut().for_each(|t| *t = t.round_ties_even());
        }
    }
    if ratios.len() == steps {
        let to_zero = keys.final_sigmas_type == FinalSigmas::Zero;
        ratios.push(if to_zero { 0.0 } else { smallest });
    }
    if tells_log_ratio(keys) {
        times = ratios[..steps].iter().map(|ratio| 0.25 * ratio.ln()).collect();
    }
    times.push(0.0);
    Ok(times.into_iter().zip(ratios).map(|(t, r)| ratio(t, r)).collect())
}

/// The network is told ln(sigma) / 4 in place of a timestep.
pub(in crate::solver) fn tells_log_ratio(keys: &Keys) -> bool {
    keys.timestep_type == TimestepType::Continuous
        && keys.prediction_type == PredictionType::VPrediction
}

fn times(keys: &Keys, total: usize, steps: usize) -> Vec<f64> {
    match keys.timestep_spacing {
        TimestepSpacing::Linspace => {
            linspace(0.0, (total - 1) as f64, steps).into_iter().rev().collect()
        }
        spacing => {
            let whole = spacing.timesteps(total, steps, keys.steps_offset);
            whole.into_iter().map(|t| t as f64).collect()
        }
    }
}
