//! Which noise levels a run visits: for each scheduler class those of diffusers 0.42.1.

mod continuous;
mod discrete;
mod flow;
mod half_log_snr;
mod noise_ratio;
mod reading;

use super::config::{FinalSigmas, Keys, SchedulerClass, schedule};
use super::{
    Coordinates, Level, Network, Options, Process, SchedulerConfig, Sigmas, TimestepSpacing,
};
use crate::error::{Error, Result};
pub(super) use half_log_snr::HalfLogSnr;
pub(super) use noise_ratio::tells_log_ratio;

/// How a scheduler class chooses noise levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grid {
    /// Whole timesteps, upwards in an inversion.
    Timesteps { rising: bool },
    /// Whole timesteps of those that a teacher visited.
    Distilled,
    /// Timesteps between which sigma / alpha is interpolated; `whole` if the Karras sigmas are told
    /// as whole timesteps.
    NoiseRatio { whole: bool },
    /// Whole timesteps, the last of n + 1 being where the run ends.
    HalfLogSnr(HalfLogSnr),
    /// Evenly spaced angles of x = cos x0 + sin eps.
    Angle,
    /// sigma between two ends, of which rho or the exponential decides.
    Edm,
    /// sigma geometric.
    KarrasVe,
    /// Every few of the levels of a consistency model.
    Consistency,
    /// t of a rectified flow, shifted twice: where it is cut, and where it is spaced.
    Flow,
    /// sigma geometric, the time of each sigma a little apart.
    ScoreVe,
    /// t evenly spaced in continuous time.
    ScoreVp,
}

/// What a run is made of.
pub(super) struct Run {
    pub process: Process,
    pub levels: Vec<Level>,
    pub timesteps: Vec<usize>,
}

/// What a run is asked for.
pub(super) struct Request<'a> {
    pub config: &'a SchedulerConfig,
    pub home: &'static SchedulerClass,
    /// As the solver's class reads them.
    pub keys: &'a Keys,
    /// As the configuration's own class reads them.
    pub own: &'a Keys,
    pub options: &'a Options,
}

impl Grid {
    /// How this class does it.
    pub fn of(class: &SchedulerClass) -> Grid {
        match class.name.as_str() {
            "LCMScheduler" | "TCDScheduler" => Grid::Distilled,
            "DDIMInverseScheduler" => Grid::Timesteps { rising: true },
            "IPNDMScheduler" => Grid::Angle,
            "EulerDiscreteScheduler"
            | "EulerAncestralDiscreteScheduler"
            | "HeunDiscreteScheduler"
            | "LMSDiscreteScheduler"
            | "DPMSolverSDEScheduler" => Grid::NoiseRatio { whole: false },
            "KDPM2DiscreteScheduler" | "KDPM2AncestralDiscreteScheduler" => {
                Grid::NoiseRatio { whole: true }
            }
            "DPMSolverMultistepScheduler" => Grid::HalfLogSnr(HalfLogSnr::Multistep),
            "DPMSolverMultistepInverseScheduler" => Grid::HalfLogSnr(HalfLogSnr::Inverse),
            "DPMSolverSinglestepScheduler" => Grid::HalfLogSnr(HalfLogSnr::Singlestep),
            "DEISMultistepScheduler" | "SASolverScheduler" => {
                Grid::HalfLogSnr(HalfLogSnr::Repeating)
            }
            "UniPCMultistepScheduler" => Grid::HalfLogSnr(HalfLogSnr::UniPc),
            "EDMEulerScheduler" | "EDMDPMSolverMultistepScheduler" => Grid::Edm,
            "KarrasVeScheduler" => Grid::KarrasVe,
            "CMStochasticIterativeScheduler" => Grid::Consistency,
            "FlowMatchEulerDiscreteScheduler"
            | "FlowMatchHeunDiscreteScheduler"
            | "FlowMatchLCMScheduler" => Grid::Flow,
            "ScoreSdeVeScheduler" => Grid::ScoreVe,
            "ScoreSdeVpScheduler" | "ScoreSdeSubVpScheduler" => Grid::ScoreVp,
            _ => Grid::Timesteps { rising: false },
        }
    }

    /// A solver of this class takes the whole timesteps of a discrete schedule; in continuous time,
    /// any levels, but for a distilled model.
    pub fn needs_timesteps(self) -> bool {
        matches!(self, Grid::Timesteps { .. } | Grid::Distilled)
    }

    /// The scale in which a solver of this class writes x.
    pub fn coordinates(self, process: &Process) -> Coordinates {
        match self {
            Grid::Timesteps { .. } | Grid::Distilled | Grid::Angle => {
                Coordinates::VariancePreserving
            }
            Grid::NoiseRatio { .. }
            | Grid::Edm
            | Grid::KarrasVe
            | Grid::Consistency
            | Grid::ScoreVe => Coordinates::VarianceExploding,
            Grid::HalfLogSnr(_) => match process {
                Process::Flow { .. } => Coordinates::Flow,
                _ => Coordinates::VariancePreserving,
            },
            Grid::Flow => Coordinates::Flow,
            Grid::ScoreVp => process.coordinates(),
        }
    }
}

impl Grid {
    /// The deviation of x where a solver of this class starts. The classes of alpha = 1 start at
    /// the deviation of the noise alone where their timesteps reach the last of the training; a
    /// network that `owns` its form starts at that deviation, as its authors have it.
    pub fn initial_scale(
        self,
        process: &Process,
        keys: &Keys,
        levels: &[Level],
        owns: bool,
    ) -> f64 {
        let first = levels[0];
        match (self, process) {
            (Grid::NoiseRatio { .. }, Process::Discrete(_)) => match keys.timestep_spacing {
                TimestepSpacing::Leading => first.sigma.hypot(first.alpha),
                TimestepSpacing::Linspace | TimestepSpacing::Trailing => first.sigma,
            },
            (Grid::Edm, Process::Edm { sigma_max, .. }) if !owns => sigma_max.hypot(1.0),
            _ => {
                let own = process.coordinates().level(first);
                let larger = if own.alpha > own.sigma {
                    first.alpha / own.alpha
                } else {
                    first.sigma / own.sigma
                };
                process.prior() * larger
            }
        }
    }
}

/// The process that the model was trained on, as its class and keys describe it. Where a solver
/// needs the noise ratio of every timestep, a zero terminal SNR is floored.
fn process(class: &SchedulerClass, keys: &Keys, home: Grid) -> Process {
    // A class that has these keys has defaults for them, and validation refuses null.
    let (sigma_min, sigma_max) = (keys.sigma_min.unwrap_or(0.0), keys.sigma_max.unwrap_or(0.0));
    let (sigma_data, beta_min, beta_max) = (keys.sigma_data, keys.beta_min, keys.beta_max);
    let flow = Process::Flow { scale: keys.num_train_timesteps as f64 };
    match Grid::of(class) {
        Grid::Angle => Process::Angle,
        Grid::Edm => Process::Edm { sigma_min, sigma_max, sigma_data },
        Grid::Consistency => Process::Consistency { sigma_min, sigma_max, sigma_data },
        Grid::KarrasVe | Grid::ScoreVe => Process::VarianceExploding { sigma_min, sigma_max },
        Grid::Flow => flow,
        Grid::HalfLogSnr(_) if keys.use_flow_sigmas => flow,
        Grid::ScoreVp if class.name == "ScoreSdeSubVpScheduler" => {
            Process::SubVariancePreserving { beta_min, beta_max }
        }
        Grid::ScoreVp => Process::VariancePreserving { beta_min, beta_max },
        _ if home.needs_timesteps() => Process::Discrete(schedule(keys)),
        _ => Process::Discrete(schedule(keys).floor_terminal_snr()),
    }
}

impl Request<'_> {
    /// The levels of the run, in the coordinates of the solver's class.
    ///
    /// # Errors
    /// Steps, keys or a spacing that the process or the solver cannot serve.
    pub fn run(&self, network: Network) -> Result<Run> {
        let home = Grid::of(self.home);
        let process = process(self.config.class, self.own, home);
        self.count(&process)?;
        if home == Grid::Distilled && process.schedule().is_none() {
            return Err(self.not_discrete());
        }
        if let (true, Some(schedule)) = (home.needs_timesteps(), process.schedule()) {
            if let Some(sigmas) = self.options.sigmas {
                return Err(Error::invalid(
                    "--sigmas",
                    format!("none with --solver {}, of whole timesteps", self.options.solver),
                    sigmas.name(),
                    "leave it out, set timestep_spacing, or choose another solver",
                ));
            }
            let timesteps = discrete::timesteps(self, self.home, self.keys, schedule)?;
            let levels = discrete::levels(schedule, &timesteps, home == RISING);
            return Ok(Run { process, levels, timesteps });
        }
        let levels = match self.options.sigmas {
            Some(sigmas) => self.respaced(sigmas, &process)?,
            None => self.levels(home, &process)?,
        };
        let levels = match network.time {
            Some(time) => time.rounded(levels),
            None => levels,
        };
        self.distinct(&levels)?;
        let coordinates = home.coordinates(&process);
        let levels = levels
            .into_iter()
            .map(|level| reachable(level, coordinates, network.needs_alpha()))
            .collect();
        Ok(Run { process, levels, timesteps: Vec::new() })
    }

    /// There are as many levels as steps.
    fn count(&self, process: &Process) -> Result<()> {
        let trained = "that the model was trained on";
        let (most, expected) = match process {
            Process::Discrete(schedule) => {
                let total = schedule.alpha_bar.len();
                (total, format!("1..={total}, the timesteps {trained}"))
            }
            Process::Consistency { .. } => {
                let total = self.own.num_train_timesteps;
                (total, format!("1..={total}, the levels {trained}"))
            }
            _ => (MAX_STEPS, format!("1..={MAX_STEPS}")),
        };
        let steps = self.options.steps;
        if (1..=most).contains(&steps) { Ok(()) } else { Err(steps_error(&expected, steps)) }
    }

    /// Those of the solver's class where both it and the model know timesteps, otherwise those of
    /// the configuration's class.
    fn levels(&self, home: Grid, process: &Process) -> Result<Vec<Level>> {
        let own = Grid::of(self.config.class);
        if let Process::Discrete(schedule) = process {
            let (grid, class, keys) = match home {
                Grid::NoiseRatio { .. } | Grid::HalfLogSnr(_) => (home, self.home, self.keys),
                _ => (own, self.config.class, self.own),
            };
            return match grid {
                Grid::NoiseRatio { whole } => noise_ratio::levels(self, keys, schedule, whole),
                Grid::HalfLogSnr(rules) => half_log_snr::levels(self, keys, schedule, rules),
                _ => {
                    let timesteps = discrete::timesteps(self, class, keys, schedule)?;
                    Ok(discrete::levels(schedule, &timesteps, grid == RISING))
                }
            };
        }
        let (keys, steps) = (self.own, self.options.steps);
        match own {
            Grid::HalfLogSnr(rules) => half_log_snr::flow_levels(self, keys, process, rules),
            Grid::Flow => flow::levels(self, keys, process),
            Grid::Edm => Ok(continuous::edm(keys, process, steps)),
            Grid::KarrasVe => Ok(continuous::karras_ve(process, steps)),
            Grid::Consistency => Ok(continuous::consistency(keys, process, steps)),
            Grid::ScoreVe => Ok(continuous::score_ve(keys, process, steps)),
            _ => Ok(continuous::evenly(keys, process, own, steps)),
        }
    }

    /// Another spacing between the largest and the smallest noise of the process.
    fn respaced(&self, sigmas: Sigmas, process: &Process) -> Result<Vec<Level>> {
        let unbounded = matches!(process, Process::Flow { .. } | Process::Angle);
        if sigmas == Sigmas::AlignYourSteps && unbounded {
            let names = Sigmas::NAMES.iter().map(|(name, _)| *name);
            let others: Vec<_> = names.filter(|name| *name != sigmas.name()).collect();
            return Err(Error::invalid(
                "--sigmas",
                format!("one of {} for a model whose noise ratio has no bound", others.join(", ")),
                sigmas.name(),
                "choose another spacing",
            ));
        }
        let (first, last) = process.range(self.own.sampling_eps);
        let to_zero = self.keys.final_sigmas_type == FinalSigmas::Zero;
        let visited = self.options.steps + usize::from(!to_zero);
        // A table that has the end of the run in it keeps a place for it.
        let n = visited.max(self.options.steps + usize::from(sigmas == Sigmas::AlignYourSteps));
        // A file's rho is that of Karras sigmas.
        let by_hand = sigmas == Sigmas::Karras || self.options.set.contains_key("rho");
        let rho = if by_hand { self.own.rho } else { 1.0 };
        let whole = matches!(Grid::of(self.home), Grid::HalfLogSnr(_));
        let round = |level: Level| match process {
            Process::Discrete(_) if whole => Level { time: level.time.round(), ..level },
            _ => level,
        };
        let noise = sigmas.between(first, last, n, rho).into_iter().take(visited);
        let levels = noise.map(|noise| round(process.level(noise)));
        Ok(levels.chain(to_zero.then_some(DATA)).collect())
    }

    /// A step between equal levels leads nowhere, and divides by zero in most solvers.
    fn distinct(&self, levels: &[Level]) -> Result<()> {
        let visited = &levels[..levels.len() - 1];
        let equal =
            |pair: &[Level]| pair[0].alpha == pair[1].alpha && pair[0].sigma == pair[1].sigma;
        match visited.windows(2).position(equal) {
            None => Ok(()),
            Some(at) => {
                let expected = format!("so few that step {} has a noise level of its own", at + 2);
                Err(steps_error(&expected, self.options.steps))
            }
        }
    }

    fn not_discrete(&self) -> Error {
        Error::invalid(
            "--solver",
            "one for a model in continuous time",
            format!("one of discrete timesteps, for {}", self.config.class.name),
            "choose another; `unnoise solvers` describes them",
        )
    }
}

pub(super) const RISING: Grid = Grid::Timesteps { rising: true };

/// Where the data is.
const DATA: Level = Level { time: 0.0, alpha: 1.0, sigma: 0.0 };

/// A level by its noise ratio.
fn ratio(time: f64, ratio: f64) -> Level {
    Level { time, alpha: 1.0, sigma: ratio }
}

/// Data beneath noise that counts as pure where pure noise is out of reach.
pub(super) const LEAST_ALPHA: f64 = 1e-6;

/// In coordinates where alpha is 1, the solver's or those of a network that needs alpha, pure noise
/// is out of reach; its neighbour stands for it.
fn reachable(level: Level, coordinates: Coordinates, needs_alpha: bool) -> Level {
    let bounded = needs_alpha || coordinates == Coordinates::VarianceExploding;
    let far = bounded && level.alpha < LEAST_ALPHA;
    coordinates.level(if far { Level { alpha: LEAST_ALPHA, ..level } } else { level })
}

fn steps_error(expected: &str, found: usize) -> Error {
    let action = "choose a number of steps in this range";
    Error::invalid("--steps", expected, found.to_string(), action)
}

/// The spacing that the keys ask for in place of timesteps.
fn spacing(keys: &Keys) -> Option<Sigmas> {
    let chosen = [
        (keys.use_karras_sigmas, Sigmas::Karras),
        (keys.use_exponential_sigmas, Sigmas::Exponential),
        (keys.use_beta_sigmas, Sigmas::Beta),
        // ln(sigma) evenly spaced is lambda evenly spaced.
        (keys.use_lu_lambdas, Sigmas::Exponential),
    ];
    chosen.into_iter().find_map(|(on, sigmas)| on.then_some(sigmas))
}

/// More steps than this are a mistake.
const MAX_STEPS: usize = 1_000_000;

/// Exponent of the Karras sigmas of a discrete or flow model (Karras et al. 2022, section 3).
const RHO: f64 = 7.0;
