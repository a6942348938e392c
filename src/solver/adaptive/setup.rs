//! An adaptive solver from the setting of a run.

use super::{Adaptive, Method};
use crate::error::{Error, Result};
use crate::solver::{Level, Preconditioning, Process, Recorder, Setting, TimeInput};

/// The step that is tried first, as in DPM-Solver's experiments (Lu et al. 2022, appendix C).
const FIRST_STEP: f64 = 0.05;

/// Points of a clock that is neither a line nor a list of timesteps.
const CLOCK_POINTS: usize = 1024;

impl Adaptive {
    /// From the first level of the run to its last, or the last above sigma 0. `rtol` and `atol`
    /// are the method's own, where the keys do not set them; `max_steps` is the budget, or as many
    /// steps as the run has.
    ///
    /// # Errors
    /// Tolerances out of range, no budget, levels that do not fall from a finite one, a network of
    /// whole timesteps.
    pub(in crate::solver) fn new(
        run: &Setting,
        rec: &Recorder,
        method: Method,
        rtol: f64,
        atol: f64,
    ) -> Result<Adaptive> {
        let (rtol, atol) = (run.keys.rtol.unwrap_or(rtol), run.keys.atol.unwrap_or(atol));
        let budget = run.keys.max_steps.unwrap_or(run.options.steps);
        check(run, rtol, atol, budget)?;
        let sigmas = || run.levels.iter().map(|level| level.ratio());
        let sigma_start = sigmas().next().unwrap_or(0.0);
        let sigma_end = sigmas().rfind(|sigma| *sigma > 0.0).unwrap_or(0.0);
        if !(sigma_start.is_finite() && sigma_start > sigma_end) {
            return Err(Error::invalid(
                format!("{}: the noise levels", run.config.origin),
                "a first sigma / alpha that is finite and above the last, between which an \
                 adaptive solver steps",
                format!("{sigma_start} and {sigma_end}"),
                "use another --solver, or a sigma_max and more than one of --steps",
            ));
        }
        let (mut model, guidance) = rec.reading();
        let own = matches!(run.process, Process::VarianceExploding { .. });
        if own && run.network.time.is_none() {
            model.time = TimeInput::Sigma;
        }
        let clock = clock(run, &model, sigma_start, sigma_end);
        if model.time != TimeInput::Sigma {
            // The clock tells the network its time as it is.
            model.time = TimeInput::Time;
        }
        let first_step = FIRST_STEP;
        Ok(Adaptive {
            method,
            rtol,
            atol,
            sigma_start,
            sigma_end,
            first_step,
            budget,
            model,
            guidance,
            clock,
        })
    }
}

fn check(run: &Setting, rtol: f64, atol: f64, budget: usize) -> Result<()> {
    for (key, tolerance) in [("rtol", rtol), ("atol", atol)] {
        if !(tolerance >= 0.0 && tolerance.is_finite() && rtol + atol > 0.0) {
            let expected = "a number from 0 up, and not both rtol and atol 0";
            let found = tolerance.to_string();
            return Err(Error::invalid(key, expected, found, "choose another tolerance"));
        }
    }
    if budget == 0 {
        return Err(Error::invalid("max_steps", "1 or more", "0", "leave it out or raise it"));
    }
    if run.network.discrete_time {
        return Err(Error::invalid(
            "--solver",
            "a solver that visits given timesteps, for a network that knows whole timesteps only",
            run.options.solver.clone(),
            "use a solver with fixed steps",
        ));
    }
    Ok(())
}

/// What the network is told, by ln(sigma): exact at every timestep of a discrete process, and where
/// it is linear in ln(sigma); elsewhere on a grid.
fn clock(run: &Setting, model: &Preconditioning, start: f64, end: f64) -> Vec<(f64, f64)> {
    let at = |ln_sigma: f64| {
        let sigma = ln_sigma.exp();
        (ln_sigma, model.time(Level { time: run.time_of(sigma), alpha: 1.0, sigma }))
    };
    let line = matches!(model.time, TimeInput::Log { .. });
    let by_level = matches!(model.time, TimeInput::Time | TimeInput::Scaled(_) | TimeInput::Sigma);
    let (first, last) = (end.ln(), start.ln());
    match &run.process {
        _ if line => vec![at(first), at(last)],
        Process::Discrete(schedule) => {
            let timesteps = 0..schedule.alpha_bar.len();
            timesteps.map(|t| at(schedule.ratio(t).ln())).collect()
        }
        Process::Edm { .. } | Process::Consistency { .. } | Process::VarianceExploding { .. }
            if by_level =>
        {
            vec![at(first), at(last)]
        }
        _ => {
            let step = (last - first) / (CLOCK_POINTS - 1) as f64;
            (0..CLOCK_POINTS).map(|i| at(first + i as f64 * step)).collect()
        }
    }
}
