//! Every solver there is, and the one way to record any of them.

use super::PredictionType;
use super::{Preconditioning, Recorder, Schedule, SchedulerConfig, Trajectory, ddim, ddpm};
use crate::error::{Error, Result};

/// One solver.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct SolverInfo {
    /// The word of `--solver`.
    pub name: &'static str,
    pub family: &'static str,
    /// Network evaluations (NFE) a step, guidance not counted.
    pub nfe_per_step: u32,
    /// Order of convergence in the step size; of a stochastic solver the weak order.
    pub order: u32,
    pub reference: &'static str,
    #[serde(skip)]
    record: fn(&Setting, &mut Recorder) -> Result<()>,
}

/// All solvers.
pub const SOLVERS: &[SolverInfo] = &[
    SolverInfo {
        name: "ddpm",
        family: "ancestral",
        nfe_per_step: 1,
        order: 1,
        reference: "Ho et al. 2020, arXiv:2006.11239, Alg. 2",
        record: ddpm::ddpm,
    },
    SolverInfo {
        name: "ddim",
        family: "non-markovian",
        nfe_per_step: 1,
        order: 1,
        reference: "Song et al. 2020, arXiv:2010.02502, eq. 12",
        record: ddim::ddim,
    },
];

/// What the user chooses.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A name in [`SOLVERS`].
    pub solver: String,
    pub steps: usize,
    /// Noise of ddim, from 0 (none) to 1 (as much as ddpm).
    pub eta: f64,
    /// See [`Preconditioning::clipped_eps`].
    pub clipped_eps: bool,
}

/// What a solver is given.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    pub config: &'a SchedulerConfig,
    pub options: &'a Options,
    pub schedule: Schedule,
    /// The timesteps to visit, falling.
    pub timesteps: Vec<usize>,
    /// The network's output holds a variance beside the prediction.
    pub learned_variance: bool,
}

/// Records the run of a solver. `learned_variance`: the network gives twice the sample's channels,
/// the second half being the variance of [`super::Eval::log_variance`]; ddim does not read it.
///
/// # Errors
/// An unknown solver, a number of steps or an eta out of range, a schedule whose timesteps leave
/// the training range or cannot be inverted, a variance_type that does not fit the network.
pub fn record(
    config: &SchedulerConfig,
    options: &Options,
    learned_variance: bool,
) -> Result<Trajectory> {
    let solver = find(&options.solver)?;
    let eta = options.eta;
    if !(0.0..=1.0).contains(&eta) {
        let found = eta.to_string();
        return Err(Error::invalid("--eta", "a number from 0 to 1", found, "choose one in it"));
    }
    let schedule = config.schedule();
    let timesteps = timesteps(config, options.steps, &schedule)?;
    let model = Preconditioning {
        prediction: config.prediction_type,
        clip: config.clip_sample.then_some(config.clip_sample_range),
        clipped_eps: options.clipped_eps,
    };
    let mut recorder = Recorder::new(model);
    let setting = Setting { config, options, schedule, timesteps, learned_variance };
    (solver.record)(&setting, &mut recorder)?;
    Ok(recorder.finish())
}

fn find(name: &str) -> Result<&'static SolverInfo> {
    SOLVERS.iter().find(|s| s.name == name).ok_or_else(|| {
        let names: Vec<_> = SOLVERS.iter().map(|s| s.name).collect();
        Error::invalid(
            "--solver",
            format!("one of {}", names.join(", ")),
            format!("{name:?}"),
            "choose one; `unnoise solvers` describes them",
        )
    })
}

/// The timesteps of a run, all of them in the schedule and fit for the model's prediction.
fn timesteps(config: &SchedulerConfig, steps: usize, schedule: &Schedule) -> Result<Vec<usize>> {
    let total = schedule.alpha_bar.len();
    if !(1..=total).contains(&steps) {
        return Err(Error::invalid(
            "--steps",
            format!("1..={total}, the timesteps that the model was trained on"),
            steps.to_string(),
            "choose a number of steps in this range",
        ));
    }
    let timesteps = config.timestep_spacing.timesteps(total, steps, config.steps_offset);
    let first = timesteps[0];
    let Some(&alpha_bar) = schedule.alpha_bar.get(first) else {
        return Err(Error::invalid(
            format!("{}: steps_offset", config.origin),
            format!("timesteps below {total}"),
            format!("{}, which makes the first of {steps} steps {first}", config.steps_offset),
            "take fewer --steps or lower steps_offset",
        ));
    };
    if alpha_bar == 0.0 && config.prediction_type == PredictionType::Epsilon {
        return Err(Error::invalid(
            format!("{}: prediction_type", config.origin),
            "v_prediction or sample where the first timestep is pure noise \
             (rescale_betas_zero_snr)",
            "epsilon, from which no x0 follows there",
            "set rescale_betas_zero_snr to false, or timestep_spacing to leading",
        ));
    }
    Ok(timesteps)
}
