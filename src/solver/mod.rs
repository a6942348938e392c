//! Solvers as tables: each solver is one function that reads like its paper and records rows.
//!
//! There is no tensor, device or model here. A [`Trajectory`] is data: the times at which the
//! network is evaluated and, for each row, at most one evaluation and one linear update, in f64.

mod catalogue;
mod config;
mod ddim;
mod ddpm;
mod expr;
mod precondition;
mod recorder;
mod schedule;

pub use catalogue::{Options, SOLVERS, Setting, SolverInfo, record};
pub use config::{SchedulerClass, SchedulerConfig, VarianceType};
pub use expr::{Expr, Term};
pub use precondition::{Preconditioning, PredictionType};
pub use recorder::Recorder;
pub use schedule::{BetaSchedule, Schedule, TimestepSpacing};

/// How the network's output F becomes x0 and eps at one time: with the state x,
/// `x0 = x0_x x + x0_f F` (then clipped) and `eps = eps_x x + eps_f F + eps_x0 x0`.
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
    /// eps from the state.
    pub eps_x: f64,
    /// eps from the output.
    pub eps_f: f64,
    /// eps from the clipped x0.
    pub eps_x0: f64,
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
}

/// Everything a sampler does, as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// The unique times, as the network is told them, in order of first use.
    pub times: Vec<f64>,
    /// What is done, in order.
    pub rows: Vec<Row>,
    /// Predictions that the ring must hold.
    pub history: usize,
    /// Draws in all.
    pub draws: usize,
}

impl Trajectory {
    /// Network evaluations for one sample (NFE), guidance not counted.
    pub fn nfe(&self) -> usize {
        self.rows.iter().filter(|r| r.eval.is_some()).count()
    }
}
