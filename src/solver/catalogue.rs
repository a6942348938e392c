//! Every solver there is, and the one way to record any of them.

use super::config::{Keys, SchedulerClass};
use super::grid::{Grid, Request, Run};
use super::{
    Edit, GuidanceOptions, Level, Network, Preconditioning, Process, Recorder, SchedulerConfig,
    Sigmas, Trajectory, analytic_ddpm, consistency, ddim, ddim_inversion, ddpm, deis, dpm_adaptive,
    dpm_solver_1, dpm_solver_multistep, dpm_solver_singlestep, dpm2, dpm2_ancestral, dpmpp_2m,
    dpmpp_2m_sde, dpmpp_3m, dpmpp_3m_sde, dpmpp_sde, edm, er_sde, euler, euler_ancestral,
    euler_maruyama, flow_euler, flow_heun, grid, heun, ipndm, known, langevin, lcm, lms, ode_rk4,
    ode_rk45, pc, pndm, repaint, restart, reverse_diffusion, sa_solver, tcd, unipc,
};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// What a solver solves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The probability-flow ODE: the end follows from the start.
    Ode,
    /// The reverse SDE or a Markov chain: noise is drawn on the way.
    Sde,
}

/// One solver.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct SolverInfo {
    /// The word of `--solver`.
    pub name: &'static str,
    /// A word of [`super::SOLVER_FAMILIES`].
    pub family: &'static str,
    pub kind: Kind,
    /// Network evaluations (NFE) a step, guidance not counted.
    pub nfe_per_step: u32,
    /// Evaluations of a run beyond those of its steps, negative where the step to noise 0 needs
    /// fewer. Of an adaptive solver steps are the budget; what Restart repeats is not counted.
    pub nfe_extra: i32,
    /// Order of convergence in the step size; of a stochastic solver the weak order.
    pub order: u32,
    pub reference: &'static str,
    /// The scheduler classes that it stands for. Under any other class's configuration it takes the
    /// keys, defaults and levels of the first.
    pub schedulers: &'static [&'static str],
    /// Whether CFG++ is defined for it, see [`GuidanceOptions::plus_plus`].
    #[serde(skip)]
    pub plus_plus: bool,
    /// Keys that the name fixes, with their values in JSON.
    #[serde(skip)]
    pub fixes: &'static [(&'static str, &'static str)],
    #[serde(skip)]
    pub(super) record: fn(&Setting, &mut Recorder) -> Result<()>,
}

/// The solvers of each family, beside the functions that record them.
const FAMILIES: &[&[SolverInfo]] = &[
    ddpm::SOLVERS,
    analytic_ddpm::SOLVERS,
    ddim::SOLVERS,
    ddim_inversion::SOLVERS,
    repaint::SOLVERS,
    pndm::SOLVERS,
    ipndm::SOLVERS,
    deis::SOLVERS,
    dpmpp_2m::SOLVERS,
    dpmpp_3m::SOLVERS,
    dpmpp_2m_sde::SOLVERS,
    dpmpp_3m_sde::SOLVERS,
    dpmpp_sde::SOLVERS,
    dpm_solver_1::SOLVERS,
    dpm_solver_multistep::SOLVERS,
    dpm_solver_singlestep::SOLVERS,
    unipc::SOLVERS,
    sa_solver::SOLVERS,
    euler::SOLVERS,
    euler_ancestral::SOLVERS,
    heun::SOLVERS,
    lms::SOLVERS,
    dpm2::SOLVERS,
    dpm2_ancestral::SOLVERS,
    edm::SOLVERS,
    restart::SOLVERS,
    er_sde::SOLVERS,
    langevin::SOLVERS,
    pc::SOLVERS,
    euler_maruyama::SOLVERS,
    reverse_diffusion::SOLVERS,
    ode_rk4::SOLVERS,
    ode_rk45::SOLVERS,
    dpm_adaptive::SOLVERS,
    consistency::SOLVERS,
    lcm::SOLVERS,
    tcd::SOLVERS,
    flow_euler::SOLVERS,
    flow_heun::SOLVERS,
];

/// All solvers.
pub static SOLVERS: LazyLock<Vec<SolverInfo>> = LazyLock::new(|| FAMILIES.concat());

impl SolverInfo {
    /// The scheduler class as which it reads a configuration.
    pub(super) fn home(&self, config: &SchedulerConfig) -> &'static SchedulerClass {
        if self.schedulers.contains(&config.class.name.as_str()) {
            return config.class;
        }
        SchedulerClass::find(self.schedulers[0]).expect("a solver's class is covered")
    }

    /// Fails where guidance has a form that is not defined for this solver.
    fn takes(&self, guidance: GuidanceOptions) -> Result<()> {
        if self.plus_plus || !guidance.plus_plus {
            return Ok(());
        }
        let known = SOLVERS.iter().filter(|solver| solver.plus_plus);
        let names: Vec<_> = known.map(|solver| solver.name).collect();
        Err(Error::invalid(
            "--cfg-plus-plus",
            format!("a --solver that CFG++ is defined for: {}", names.join(", ")),
            self.name,
            "choose one of them or leave the flag out",
        ))
    }

    /// The solver that a configuration was written for: of those that stand for its class the one
    /// whose fixed keys agree with most of the configuration's.
    ///
    /// # Errors
    /// No solver stands for the class.
    pub fn of(config: &SchedulerConfig) -> Result<&'static SolverInfo> {
        let class = config.class.name.as_str();
        let stands = SOLVERS.iter().filter(|solver| solver.schedulers.contains(&class));
        let differs = |solver: &&SolverInfo| {
            solver.fixed().iter().filter(|(key, value)| config.value(key) != Some(value)).count()
        };
        stands.min_by_key(differs).ok_or_else(|| {
            let names: Vec<_> = SOLVERS.iter().flat_map(|s| s.schedulers).copied().collect();
            Error::invalid(
                format!("{}: _class_name", config.origin),
                format!("one of {}", names.join(", ")),
                class,
                "name another --solver",
            )
        })
    }
}

/// What the user chooses.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A name in [`SOLVERS`].
    pub solver: String,
    pub steps: usize,
    /// Noise of a solver that can add more or less of it; the solver's own if `None`.
    pub eta: Option<f64>,
    /// See [`Preconditioning::clipped_eps`].
    pub clipped_eps: bool,
    /// Noise levels of another spacing than the configuration's.
    pub sigmas: Option<Sigmas>,
    /// See [`GuidanceOptions`].
    pub guidance: GuidanceOptions,
    /// Keys of the scheduler's configuration that are set by hand.
    pub set: Map<String, Value>,
    /// What is taken from known data.
    pub edit: Edit,
}

impl Options {
    /// A solver and its steps, all else by default.
    pub fn new(solver: &str, steps: usize) -> Options {
        Options {
            solver: solver.into(),
            steps,
            eta: None,
            clipped_eps: false,
            sigmas: None,
            guidance: GuidanceOptions::default(),
            set: Map::new(),
            edit: Edit::default(),
        }
    }
}

/// What a solver is given.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    pub config: &'a SchedulerConfig,
    pub options: &'a Options,
    /// The keys as the solver's class reads them.
    pub keys: Keys,
    /// What the model was trained on.
    pub process: Process,
    /// The levels to visit, in the coordinates of the solver's class; the last is where the
    /// trajectory ends. One more than there are steps. Noise falls, and rises where the class
    /// inverts.
    pub levels: Vec<Level>,
    /// The timesteps to visit, in the same order, where the solver's class knows whole timesteps
    /// only.
    pub timesteps: Vec<usize>,
    /// Steps of the whole run, of which [`Edit::strength`] may leave the first ones out.
    pub steps: usize,
    pub network: Network,
    /// How the network is read.
    pub model: Preconditioning,
    /// The solver's class.
    pub(super) grid: Grid,
}

impl<'a> Setting<'a> {
    /// What a solver of the configuration's own class is given.
    ///
    /// # Errors
    /// Those of [`record`] that do not concern the solver itself.
    pub fn of(
        config: &'a SchedulerConfig,
        options: &'a Options,
        network: Network,
    ) -> Result<Setting<'a>> {
        Setting::new(config, options, config.class, &Map::new(), network)
    }

    fn new(
        config: &'a SchedulerConfig,
        options: &'a Options,
        home: &'static SchedulerClass,
        fixed: &Map<String, Value>,
        network: Network,
    ) -> Result<Setting<'a>> {
        let arguments = find(&options.solver).map_or(&[][..], SolverInfo::arguments);
        let keys = config.keys_for(home, fixed, &options.set, arguments)?;
        let own = if home == config.class {
            keys.clone()
        } else {
            // Its algorithm's words may mean nothing to the configuration's class.
            let words = ["algorithm_type", "solver_type"];
            let others = |layer: &Map<String, Value>| -> Map<String, Value> {
                let held = |key: &str| config.class.takes(key) && !words.contains(&key);
                let pairs = layer.iter().filter(|(key, _)| held(key));
                pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
            };
            let (fixed, set) = (others(fixed), others(&options.set));
            config.keys_for(config.class, &fixed, &set, arguments)?
        };
        let request = Request { config, home, keys: &keys, own: &own, options };
        let mut run = request.run(network)?;
        let steps = run.levels.len() - 1;
        known::cut(&mut run, options)?;
        let Run { process, levels, timesteps } = run;
        let model = request.preconditioning(&process, network);
        let grid = Grid::of(home);
        Ok(Setting {
            config,
            options,
            keys,
            process,
            levels,
            timesteps,
            steps,
            network,
            model,
            grid,
        })
    }

    /// Fails if eta is given to a solver whose noise does not depend on it.
    pub(super) fn without_eta(&self) -> Result<()> {
        match self.options.eta.filter(|eta| *eta != 0.0) {
            None => Ok(()),
            Some(eta) => Err(Error::invalid(
                "--eta",
                format!("0 with --solver {}, whose noise is fixed", self.options.solver),
                eta.to_string(),
                "leave --eta out or use --solver ddim",
            )),
        }
    }

    /// alpha_bar of every training timestep; empty in continuous time.
    pub fn alpha_bar(&self) -> &[f64] {
        self.process.schedule().map_or(&[], |schedule| &schedule.alpha_bar)
    }

    /// The level of a training timestep, variance preserving.
    pub fn level(&self, t: usize) -> Level {
        let a = self.alpha_bar()[t];
        // A denoiser takes x / alpha.
        let least = if self.network.needs_alpha() { grid::LEAST_ALPHA } else { 0.0 };
        Level { time: t as f64, alpha: a.sqrt().max(least), sigma: (1.0 - a).sqrt() }
    }

    /// What the network is told where sigma / alpha is `ratio`.
    pub fn time_of(&self, ratio: f64) -> f64 {
        match self.process {
            Process::Discrete(_) if grid::tells_log_ratio(&self.keys) => 0.25 * ratio.ln(),
            _ => self.process.time_of(ratio),
        }
    }

    /// The level where sigma / alpha is `ratio`, in the coordinates of the solver's class.
    pub fn level_of(&self, ratio: f64) -> Level {
        let level = Level { time: self.time_of(ratio), alpha: 1.0, sigma: ratio };
        self.grid.coordinates(&self.process).level(level)
    }

    /// The same, or the nearest level that the network knows.
    pub(super) fn rounded_level_of(&self, ratio: f64) -> Level {
        let level = self.level_of(ratio);
        self.network.time.map_or(level, |time| time.rounded(vec![level])[0])
    }

    /// The deviation of x where sampling starts, in the coordinates of the solver's class.
    pub fn initial_scale(&self) -> f64 {
        let owns = self.network.form.is_some();
        self.grid.initial_scale(&self.process, &self.keys, &self.levels, owns)
    }
}

/// Records the run of a solver on a model that `config` describes.
///
/// # Errors
/// An unknown solver, a number of steps or an eta out of range, CFG++ with a solver that it is not
/// defined for, a key that is unknown or out of range, a schedule whose timesteps leave the
/// training range or cannot be inverted, a variance_type that does not fit the network, a time that
/// the network does not know.
pub fn record(config: &SchedulerConfig, options: &Options, network: Network) -> Result<Trajectory> {
    let solver = find(&options.solver)?;
    let eta = options.eta.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&eta) {
        let found = eta.to_string();
        return Err(Error::invalid("--eta", "a number from 0 to 1", found, "choose one in it"));
    }
    solver.takes(options.guidance)?;
    let home = solver.home(config);
    let setting = Setting::new(config, options, home, &solver.fixed(), network)?;
    let mut recorder = Recorder::new(setting.model);
    recorder.guidance(options.guidance);
    recorder.edit(options.edit, setting.levels[0]);
    (solver.record)(&setting, &mut recorder)?;
    let trajectory = recorder.finish();
    known::check(solver, &setting, &trajectory)?;
    if network.discrete_time {
        whole_times(&trajectory, options)?
    }
    Ok(trajectory)
}

/// Fails if the network is told a time between two timesteps.
fn whole_times(trajectory: &Trajectory, options: &Options) -> Result<()> {
    let asks = match trajectory.times.iter().find(|t| t.fract() != 0.0 || **t < 0.0) {
        _ if trajectory.adaptive.is_some() => "chooses times as it goes".to_string(),
        Some(time) => format!("asks for time {time}"),
        None => return Ok(()),
    };
    let found = format!("{}, which {asks}", options.solver);
    let expected = "one that visits whole timesteps, as this model knows no other time";
    let action = "choose ddim or another of discrete timesteps";
    Err(Error::invalid("--solver", expected, found, action))
}

/// The solver of that name.
///
/// # Errors
/// There is none; the message lists all.
pub fn find(name: &str) -> Result<&'static SolverInfo> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_whole_timesteps_refuses_others() {
        let told = |times: &[f64]| {
            let trajectory = Trajectory { times: times.to_vec(), ..Trajectory::default() };
            whole_times(&trajectory, &Options::new("euler", 10))
        };
        assert!(told(&[999.0, 0.0]).is_ok());
        for times in [[999.0, 0.5], [1.0, -1.0], [f64::NAN, 0.0]] {
            let message = told(&times).unwrap_err().to_string();
            assert!(message.starts_with("--solver: expected one that visits whole"), "{message}");
        }
    }
}
