//! Runs of rectified flows: t from 1 to 0, shifted.

use super::super::schedule::linspace;
use super::super::{Level, Process, TimeShift};
use super::{Keys, RHO, Request, spacing};
use crate::error::{Error, Result};

/// `s t / (1 + (s - 1) t)` (Esser et al. 2024, arXiv:2403.03206, eq. 23).
pub(super) fn shifted(t: f64, shift: f64) -> f64 {
    shift * t / (1.0 + (shift - 1.0) * t)
}

/// The shift that follows from mu, or the fixed one.
fn shift(request: &Request, keys: &Keys, fixed: f64) -> Result<f64> {
    if !keys.use_dynamic_shifting {
        return Ok(fixed);
    }
    let Some(mu) = keys.mu else {
        return Err(Error::invalid(
            format!("{}: use_dynamic_shifting", request.config.origin),
            "the shift mu beside it, which follows from the size of the image",
            "none",
            "set mu by hand, or use_dynamic_shifting to false",
        ));
    };
    Ok(match keys.time_shift_type {
        TimeShift::Exponential => mu.exp(),
        TimeShift::Linear => mu,
    })
}

/// Stretches t so that the last becomes `terminal`.
fn stretch(ts: &mut [f64], terminal: Option<f64>) {
    let Some((terminal, last)) = terminal.filter(|t| *t != 0.0).zip(ts.last().copied()) else {
        return;
    };
    let scale = (1.0 - last) / (1.0 - terminal);
    ts.iter_mut().for_each(|t| *t = 1.0 - (1.0 - *t) / scale);
}

/// The t of UniPC, which keeps away from pure noise.
pub(super) fn unipc(request: &Request, keys: &Keys, steps: usize) -> Result<Vec<f64>> {
    const AWAY: f64 = 1e-6;
    let shift = shift(request, keys, keys.flow_shift)?;
    let mut ts = linspace(1.0, 1.0 / keys.num_train_timesteps as f64, steps + 1);
    ts.pop();
    ts.iter_mut().for_each(|t| *t = shifted(*t, shift));
    stretch(&mut ts, keys.shift_terminal);
    if (ts[0] - 1.0).abs() < AWAY {
        ts[0] -= AWAY;
    }
    Ok(ts)
}

/// The n levels and the end of the FlowMatch classes. The smallest t is shifted before the spacing
/// and again after it.
pub(super) fn levels(request: &Request, keys: &Keys, process: &Process) -> Result<Vec<Level>> {
    let steps = request.options.steps;
    let shift = shift(request, keys, keys.shift)?;
    let least = 1.0 / keys.num_train_timesteps as f64;
    let least = if keys.use_dynamic_shifting { least } else { shifted(least, shift) };
    let mut ts = linspace(1.0, least, steps);
    ts.iter_mut().for_each(|t| *t = shifted(*t, shift));
    stretch(&mut ts, keys.shift_terminal);
    if let Some(sigmas) = spacing(keys) {
        ts = sigmas.between(ts[0], ts[steps - 1], steps, RHO);
    }
    ts.push(0.0);
    if keys.invert_sigmas {
        ts.iter_mut().for_each(|t| *t = 1.0 - *t);
    }
    Ok(ts.into_iter().map(|t| process.at(t)).collect())
}
