//! Runs over whole timesteps.

use super::super::{Level, PredictionType, Schedule, TimestepSpacing};
use super::{DATA, Grid, Keys, RISING, Request, SchedulerClass, steps_error};
use crate::error::{Error, Result};

/// The timesteps of a run, all of them in the schedule and fit for the model's prediction, in the
/// order of the visits.
pub(super) fn timesteps(
    request: &Request,
    class: &SchedulerClass,
    keys: &Keys,
    schedule: &Schedule,
) -> Result<Vec<usize>> {
    let (grid, total, steps) = (Grid::of(class), schedule.alpha_bar.len(), request.options.steps);
    let mut timesteps = match grid {
        Grid::Distilled => distilled(request, keys, total)?,
        _ => keys.timestep_spacing.timesteps(total, steps, keys.steps_offset),
    };
    let origin = &request.config.origin;
    if grid == RISING && keys.timestep_spacing == TimestepSpacing::Linspace {
        return Err(Error::invalid(
            format!("{origin}: timestep_spacing"),
            "leading or trailing for an inversion",
            "linspace",
            "set timestep_spacing to one of these",
        ));
    }
    let first = timesteps[0];
    in_schedule(request, keys, first, total)?;
    if schedule.alpha_bar[first] == 0.0 && keys.prediction_type == PredictionType::Epsilon {
        return Err(Error::invalid(
            format!("{origin}: prediction_type"),
            "v_prediction or sample where the first timestep is pure noise \
             (rescale_betas_zero_snr)",
            "epsilon, from which no x0 follows there",
            "set rescale_betas_zero_snr to false, or timestep_spacing to leading",
        ));
    }
    if grid == RISING {
        timesteps.reverse();
    }
    Ok(timesteps)
}

/// Fails if the first timestep, the largest, is none of the schedule's.
pub(super) fn in_schedule(
    request: &Request,
    keys: &Keys,
    first: usize,
    total: usize,
) -> Result<()> {
    if first < total {
        return Ok(());
    }
    let (offset, steps) = (keys.steps_offset, request.options.steps);
    Err(Error::invalid(
        format!("{}: steps_offset", request.config.origin),
        format!("timesteps below {total}"),
        format!("{offset}, which makes the first of {steps} steps {first}"),
        "take fewer --steps or lower steps_offset",
    ))
}

/// Evenly chosen timesteps of those that the teacher of a distillation visited, every k-th of the
/// training's from k - 1 on (Luo et al. 2023, arXiv:2310.04378, section 4.3).
fn distilled(request: &Request, keys: &Keys, total: usize) -> Result<Vec<usize>> {
    let (teacher, steps) = (keys.original_inference_steps, request.options.steps);
    if steps > teacher {
        let expected = format!("1..={teacher}, the original_inference_steps of the teacher");
        return Err(steps_error(&expected, steps));
    }
    if teacher > total {
        return Err(Error::invalid(
            format!("{}: original_inference_steps", request.config.origin),
            format!("at most the {total} timesteps of the training"),
            teacher.to_string(),
            "correct it to the steps of the teacher",
        ));
    }
    let k = total / teacher;
    // NumPy's linspace without its end, rounded down.
    let stride = teacher as f64 / steps as f64;
    Ok((0..steps).map(|i| (teacher - (i as f64 * stride) as usize) * k - 1).collect())
}

/// The levels of these timesteps, then the end of the trajectory: where the data is, or upwards the
/// last timestep of the training.
pub(super) fn levels(schedule: &Schedule, timesteps: &[usize], rising: bool) -> Vec<Level> {
    let at = |t: usize| {
        let a = schedule.alpha_bar[t];
        Level { time: t as f64, alpha: a.sqrt(), sigma: (1.0 - a).sqrt() }
    };
    let end = if rising { at(schedule.alpha_bar.len() - 1) } else { DATA };
    timesteps.iter().map(|t| at(*t)).chain([end]).collect()
}
