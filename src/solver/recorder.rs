//! The recording builder: a solver calls it in the order of its paper's algorithm, and rows result.
//!
//! A row is opened by whatever comes first - `denoise`, `noise`, `save` or `push` - and closed by
//! `update`. A step of two evaluations is two rows. Misuse of the builder is a mistake in a solver,
//! not in its input, and panics.

use super::{Draw, Eval, Expr, Preconditioning, Row, Term, Trajectory};

/// Draws that one row may name ([`Term::Noise`] 0 and 1).
const ROW_DRAWS: usize = 2;

/// Records a [`Trajectory`].
#[derive(Clone, Debug)]
pub struct Recorder {
    model: Preconditioning,
    times: Vec<f64>,
    rows: Vec<Row>,
    open: Row,
    draws: u32,
    pushes: usize,
    history: usize,
}

impl Recorder {
    /// An empty recording for a network whose output `model` interprets.
    pub fn new(model: Preconditioning) -> Recorder {
        Recorder {
            model,
            times: Vec::new(),
            rows: Vec::new(),
            open: Row::default(),
            draws: 0,
            pushes: 0,
            history: 0,
        }
    }

    /// The row without an evaluation that starts every run: `x_T = scale z`.
    pub fn initial_noise(&mut self, scale: f64) {
        let z = self.noise();
        self.update(scale * z);
    }

    /// Evaluates the network on x at `time`, where `x = alpha x0 + sigma eps`. From here to the
    /// row's update, [`Term::X0`] and [`Term::Eps`] are its predictions.
    pub fn denoise(&mut self, time: f64, alpha: f64, sigma: f64) {
        assert!(self.open.eval.is_none(), "a row evaluates once: update before the next denoise");
        let index = self.times.iter().position(|t| *t == time).unwrap_or_else(|| {
            self.times.push(time);
            self.times.len() - 1
        });
        let prediction = self.model.at(alpha, sigma);
        self.open.eval = Some(Eval { time: index, prediction, log_variance: None });
    }

    /// Scales this row's noise by the standard deviation that the network predicts between
    /// `exp(log_min / 2)` and `exp(log_max / 2)` (Nichol & Dhariwal 2021, eq. 15).
    pub fn learned_variance(&mut self, log_min: f64, log_max: f64) {
        let eval = self.open.eval.as_mut().expect("a learned variance belongs to an evaluation");
        eval.log_variance = Some((log_min, log_max));
    }

    /// Fresh standard normal noise. Draws are counted in the order of these calls, the order in
    /// which a serial generator makes them.
    pub fn noise(&mut self) -> Term {
        let stream = self.open.draws.len();
        assert!(stream < ROW_DRAWS, "a row draws noise {ROW_DRAWS} times at most");
        let step = self.rows.len() as u32;
        self.open.draws.push(Draw { step, stream: stream as u32, index: self.draws });
        self.draws += 1;
        Term::Noise(stream)
    }

    /// Replaces the saved copy, [`Term::Saved`] of later rows.
    pub fn save(&mut self, value: impl Into<Expr>) {
        let value = value.into();
        self.check(&value);
        self.open.saved = Some(value);
    }

    /// Pushes a prediction into the history, [`Term::History`] of later rows.
    pub fn push(&mut self, value: impl Into<Expr>) {
        let value = value.into();
        let newest = |t| matches!(t, Term::X | Term::X0 | Term::Eps);
        assert!(value.terms().all(|(t, _)| newest(t)), "a push is made of x, x0 and eps");
        self.check(&value);
        self.open.push = Some(value);
    }

    /// Closes the row: x becomes `value`. Every term is what it was before the update.
    pub fn update(&mut self, value: impl Into<Expr>) {
        let value = value.into();
        self.check(&value);
        self.open.x = value;
        self.pushes += usize::from(self.open.push.is_some());
        self.rows.push(std::mem::take(&mut self.open));
    }

    /// The finished trajectory.
    pub fn finish(self) -> Trajectory {
        assert!(self.open == Row::default(), "the last row lacks its update");
        Trajectory {
            times: self.times,
            rows: self.rows,
            history: self.history,
            draws: self.draws as usize,
        }
    }

    /// Holds that every term exists when it is read, and notes how far back the history is read.
    fn check(&mut self, value: &Expr) {
        for (term, _) in value.terms() {
            match term {
                Term::X | Term::Saved => {}
                Term::X0 | Term::Eps => {
                    assert!(self.open.eval.is_some(), "{term:?} needs an evaluation in its row");
                }
                Term::Noise(n) => assert!(n < self.open.draws.len(), "noise {n} was not drawn"),
                Term::History(n) => {
                    assert!(n < self.pushes, "history {n} is read after {} pushes", self.pushes);
                    self.history = self.history.max(n + 1);
                }
            }
        }
    }
}
