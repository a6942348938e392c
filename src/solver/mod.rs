//! Solvers as tables: each solver is one function that reads like its paper and records rows.
//!
//! There is no tensor, device or model here. A [`Trajectory`] is data: the times at which the
//! network is evaluated and, for each row, at most one evaluation and one linear update, in f64.

mod adams;
mod adaptive;
mod analytic_ddpm;
mod ancestral;
mod arguments;
mod catalogue;
mod churn;
mod config;
mod consistency;
mod ddim;
mod ddim_inversion;
mod ddpm;
mod deis;
mod display;
mod dpm2;
mod dpm2_ancestral;
mod dpm_adaptive;
mod dpm_solver;
mod dpm_solver_1;
mod dpm_solver_multistep;
mod dpm_solver_singlestep;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_3m;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod edm;
mod er_sde;
mod euler;
mod euler_ancestral;
mod euler_maruyama;
mod expr;
mod families;
mod flow_euler;
mod flow_heun;
mod grid;
mod guidance;
mod heun;
mod interpreter;
mod ipndm;
mod known;
mod langevin;
mod lcm;
mod level;
mod lms;
mod network;
mod ode;
mod ode_rk4;
mod ode_rk45;
mod pc;
mod pndm;
mod precondition;
mod process;
mod recorder;
mod repaint;
mod restart;
mod reverse_diffusion;
mod sa_solver;
mod schedule;
mod sigmas;
mod tcd;
mod time_input;
mod unipc;
mod unread;
mod words;

pub use adaptive::{Adaptive, Method, Point, Progress, Stage, StepError, Tableau, Update, Weight};
pub use catalogue::{Kind, Options, SOLVERS, Setting, SolverInfo, find, record};
pub use config::{
    AlgorithmType, FinalSigmas, Interpolation, Keys, SchedulerClass, SchedulerConfig,
    SigmaSchedule, SolverType, TimeShift, TimestepType, VarianceType,
};
pub use expr::{Expr, Term};
pub use families::SOLVER_FAMILIES;
pub use guidance::{Guidance, GuidanceOptions};
pub use interpreter::{Given, Interpreter, Real};
pub use known::{Edit, Known, Projection, Start};
pub use level::Level;
pub use network::Network;
pub use precondition::{Coordinates, Preconditioning, PredictionType};
pub use process::Process;
pub use recorder::Recorder;
pub use restart::Restart;
pub use schedule::{BetaSchedule, Schedule, TimestepSpacing};
pub use sigmas::Sigmas;
pub use time_input::TimeInput;

use words::words;

/// How the network's output F becomes x0 and eps at one time: with the state x,
/// `x0 = x0_x x + x0_f F` (then clipped or thresholded) and `eps = eps_x x + eps_f F + eps_x0 x0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The network's input is `c_in x`.
    pub c_in: f64,
    /// x0 from the state.
    pub x0_x: f64,
    /// x0 from the output.
    pub x0_f: f64,
    /// |x0| is limited to this.
    pub clip: Option<f64>,
    /// x0 is limited to a quantile of its own, after `clip`.
    pub threshold: Option<Threshold>,
    /// eps from the state.
    pub eps_x: f64,
    /// eps from the output.
    pub eps_f: f64,
    /// eps from the clipped x0.
    pub eps_x0: f64,
}

/// Dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3): with s the quantile
/// of a sample's |x0|, not below 1 nor above `max`, which has the last word, x0 becomes
/// `clamp(x0, -s, s) / s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// From 0 to 1; between two elements it is interpolated linearly.
    pub quantile: f64,
    pub max: f64,
}

/// The step size of a Langevin corrector, known once the network has spoken (Song et al. 2021,
/// arXiv:2011.13456, Alg. 4 and 5): `e = 2 factor (ratio |z| / |g|)^2`, where g is the part of the
/// update that [`Term::Eps`] makes (the score) and z the row's first draw. The update's eps term is
/// multiplied by e and its noise by sqrt(e).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snr {
    /// r, the signal-to-noise ratio that is aimed at.
    pub ratio: f64,
    /// alpha of Alg. 5; 1 for Alg. 4.
    pub factor: f64,
}

words! {
    /// Over what a norm or a step size is taken.
    #[derive(Default)]
    pub enum Reduce {
        /// Each sample by itself: it does not depend on its neighbours.
        #[default]
        Sample = "sample",
        /// Over the batch, as the reference implementations have it: the mean of the norms of a
        /// corrector, the norm of the error of all samples together.
        Batch = "batch",
    }
}

/// One evaluation of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eval {
    /// Index into [`Trajectory::times`].
    pub time: usize,
    /// What the network's output means at this time.
    pub prediction: Prediction,
    /// The noise of this row is scaled by the network's own variance, between these logarithms.
    pub log_variance: Option<(f64, f64)>,
    /// What classifier-free guidance does here, in a guided run.
    pub guidance: Guidance,
}

/// A draw of fresh noise: `step` and `stream` name it for a counting generator, `index` counts
/// draws in the order in which a serial generator makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The row that it belongs to.
    pub step: u32,
    /// Tells draws of one step apart.
    pub stream: u32,
    /// Its place among all draws.
    pub index: u32,
}

/// One row: at most one evaluation, then one update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The evaluation that comes before the update, if any.
    pub eval: Option<Eval>,
    /// The new state.
    pub x: Expr,
    /// The new saved copy, if it changes.
    pub saved: Option<Expr>,
    /// The prediction pushed into the history ring.
    pub push: Option<Expr>,
    /// The draws that [`Term::Noise`] 0 and 1 stand for.
    pub draws: Vec<Draw>,
    /// The update of x takes the step size of a Langevin corrector.
    pub snr: Option<Snr>,
    /// What of the new state is replaced by data that are known.
    pub known: Option<Known>,
    /// The row evaluates, and its level and its update follow from the progress of each sample, see
    /// [`Adaptive`]; `eval`, `x`, `saved` and `push` are empty.
    pub stage: Option<Stage>,
}

impl Row {
    /// Whether the network is asked.
    pub fn evaluates(&self) -> bool {
        self.eval.is_some() || self.stage.is_some()
    }
}

/// Everything a sampler does, as data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trajectory {
    /// The unique times, as the network is told them, in order of first use.
    pub times: Vec<f64>,
    /// What is done, in order.
    pub rows: Vec<Row>,
    /// Predictions that the ring must hold.
    pub history: usize,
    /// Draws in all, one named twice counted once.
    pub draws: usize,
    /// How the norms of [`Row::snr`] and [`Row::stage`] are taken.
    pub reduce: Reduce,
    /// How the rows with a stage choose their steps.
    pub adaptive: Option<Adaptive>,
}

impl Trajectory {
    /// Network evaluations for one sample (NFE), guidance not counted; of an adaptive trajectory
    /// those of its whole budget.
    pub fn nfe(&self) -> usize {
        self.rows.iter().filter(|row| row.evaluates()).count()
    }
}
