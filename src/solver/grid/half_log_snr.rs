//! Runs of the DPM-Solver family: whole timesteps, the last of n + 1 giving way to the end.

use super::super::config::invalid;
use super::super::schedule::{linspace, trailing};
use super::super::{BetaSchedule, FinalSigmas, Level, Process, Schedule, Sigmas, TimestepSpacing};
use super::{Keys, RHO, Request, discrete, flow, ratio, spacing};
use crate::error::Result;

/// The classes of the family, which differ in details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::solver) enum HalfLogSnr {
    Multistep,
    /// From the data up to the noise.
    Inverse,
    /// It knows one spacing of timesteps only.
    Singlestep,
    /// DEIS and SA-Solver: the run ends at the smallest level, never at sigma 0.
    Repeating,
    UniPc,
}

impl HalfLogSnr {
    /// The sigma / alpha where a run ends: after timesteps, or after a spacing that has `last`.
    fn end(self, keys: &Keys, least: f64, last: Option<f64>) -> f64 {
        match self {
            HalfLogSnr::Repeating | HalfLogSnr::Inverse => last.unwrap_or(least),
            _ if keys.final_sigmas_type == FinalSigmas::Zero => 0.0,
            HalfLogSnr::UniPc => last.unwrap_or(least),
            HalfLogSnr::Multistep | HalfLogSnr::Singlestep => least,
        }
    }

    /// A time as the network is told it.
    fn whole(self, keys: &Keys, time: f64) -> f64 {
        let lambdas = keys.use_karras_sigmas || keys.use_lu_lambdas;
        let cosine = keys.beta_schedule == BetaSchedule::SquaredcosCapV2;
        if lambdas && !(self == HalfLogSnr::Multistep && cosine) {
            time.round_ties_even()
        } else {
            time.floor()
        }
    }
}

/// The n levels and the end, in discrete time.
pub(super) fn levels(
    request: &Request,
    keys: &Keys,
    schedule: &Schedule,
    class: HalfLogSnr,
) -> Result<Vec<Level>> {
    let (total, steps) = (schedule.alpha_bar.len(), request.options.steps);
    let lambda = |t: &usize| -schedule.ratio(*t).ln();
    let clipped = (0..total).filter(|t| lambda(t) < keys.lambda_min_clipped).count();
    let reached = total - clipped;
    if reached == 0 {
        let found = keys.lambda_min_clipped.to_string();
        let expected = format!("a number below {}, the largest lambda", lambda(&0));
        return Err(invalid(&request.config.origin, "lambda_min_clipped", &expected, &found));
    }
    let (least, most) = (schedule.ratio(0), schedule.ratio(total - 1));
    let Some(sigmas) = spacing(keys) else {
        let times = timesteps(keys, class, total, reached, steps);
        let last = times.iter().max().copied().unwrap_or(0);
        discrete::in_schedule(request, keys, last, total)?;
        let end = match class {
            HalfLogSnr::Inverse => schedule.ratio(reached - 1),
            _ => class.end(keys, least, None),
        };
        let levels = times.into_iter().map(|t| ratio(t as f64, schedule.ratio(t)));
        return Ok(levels.chain([ratio(0.0, end)]).collect());
    };
    let (first, last) = match class {
        HalfLogSnr::Inverse => (least, most),
        _ => (keys.sigma_max.unwrap_or(most), keys.sigma_min.unwrap_or(least)),
    };
    let ratios = sigmas.between(first, last, steps, RHO);
    let time = |r: &f64| class.whole(keys, schedule.time_of(*r));
    let end = class.end(keys, least, ratios.last().copied());
    let levels = ratios.iter().map(|r| ratio(time(r), *r));
    Ok(levels.chain([ratio(0.0, end)]).collect())
}

/// The timesteps, of the first `reached` of the training, in the order of the visits.
fn timesteps(
    keys: &Keys,
    class: HalfLogSnr,
    total: usize,
    reached: usize,
    steps: usize,
) -> Vec<usize> {
    let linspace = || -> Vec<usize> {
        let all = linspace(0.0, (reached - 1) as f64, steps + 1);
        all.into_iter().map(|t| t.round_ties_even() as usize).collect()
    };
    let rising = match keys.timestep_spacing {
        _ if class == HalfLogSnr::Singlestep => linspace(),
        TimestepSpacing::Linspace => linspace(),
        TimestepSpacing::Leading => {
            let stride = reached / (steps + 1);
            (0..=steps).map(|i| i * stride + keys.steps_offset).collect()
        }
        TimestepSpacing::Trailing => {
            let falling = trailing(reached, total, steps);
            let inverse = class == HalfLogSnr::Inverse;
            return if inverse { falling.into_iter().rev().collect() } else { falling };
        }
    };
    // Of n + 1 timesteps the last gives way to the end of the run.
    match class {
        HalfLogSnr::Inverse => rising[..steps].to_vec(),
        _ => rising[1..].iter().rev().copied().collect(),
    }
}

/// The n levels and the end of a rectified flow.
pub(super) fn flow_levels(
    request: &Request,
    keys: &Keys,
    process: &Process,
    class: HalfLogSnr,
) -> Result<Vec<Level>> {
    let (total, steps) = (keys.num_train_timesteps as f64, request.options.steps);
    let mut sigmas = if class == HalfLogSnr::UniPc {
        flow::unipc(request, keys, steps)?
    } else {
        let shift = keys.mu.map_or(keys.flow_shift, f64::exp);
        let alphas = linspace(1.0, 1.0 / total, steps + 1);
        let shifted = |alpha: &f64| flow::shifted(1.0 - alpha, shift);
        alphas[1..].iter().rev().map(shifted).collect()
    };
    if class == HalfLogSnr::UniPc && keys.use_karras_sigmas {
        let schedule = super::schedule(keys).floor_terminal_snr();
        let (first, last) = (schedule.ratio(schedule.alpha_bar.len() - 1), schedule.ratio(0));
        let (first, last) = (keys.sigma_max.unwrap_or(first), keys.sigma_min.unwrap_or(last));
        let ratios = Sigmas::Karras.between(first, last, steps, RHO);
        sigmas = ratios.into_iter().map(|r| r / (r + 1.0)).collect();
    }
    let least = super::schedule(keys).ratio(0);
    let end = class.end(keys, least, sigmas.last().copied());
    let level = |sigma: f64| Level { time: (sigma * total).floor(), ..process.at(sigma) };
    Ok(sigmas.into_iter().map(level).chain([Level { time: 0.0, ..process.at(end) }]).collect())
}
