//! The recording builder: a solver calls it in the order of its paper's algorithm, and rows result.
//!
//! A row is opened by whatever comes first - `denoise`, `noise`, `save` or `push` - and closed by
//! `update`. A step of two evaluations is two rows. Misuse of the builder is a mistake in a solver,
//! not in its input, and panics.

use super::{
    Adaptive, Draw, Edit, Eval, Expr, GuidanceOptions, Known, Level, Preconditioning, Reduce, Row,
    Snr, Stage, Start, Term, TimeInput, Trajectory,
};

/// Draws that one row may name ([`Term::Noise`] 0 and 1).
const ROW_DRAWS: usize = 2;

/// Records a [`Trajectory`].
#[derive(Clone, Debug)]
pub struct Recorder {
    model: Preconditioning,
    guidance: GuidanceOptions,
    reduce: Reduce,
    times: Vec<f64>,
    rows: Vec<Row>,
    open: Row,
    draws: u32,
    pushes: usize,
    history: usize,
    adaptive: Option<Adaptive>,
    edit: Edit,
    /// Where known data come in, if the run starts at them.
    first: Option<Level>,
    /// The solver says itself where the known part is replaced.
    by_itself: bool,
}

impl Recorder {
    /// An empty recording for a network whose output `model` interprets.
    pub fn new(model: Preconditioning) -> Recorder {
        Recorder {
            model,
            guidance: GuidanceOptions::default(),
            reduce: Reduce::default(),
            times: Vec::new(),
            rows: Vec::new(),
            open: Row::default(),
            draws: 0,
            pushes: 0,
            history: 0,
            adaptive: None,
            edit: Edit::default(),
            first: None,
            by_itself: false,
        }
    }

    /// What the run takes from known data, which a run that starts at them does at `first`.
    pub fn edit(&mut self, edit: Edit, first: Level) {
        self.edit = edit;
        self.first = (edit.start == Start::Known).then_some(first);
    }

    /// Whether a part of what is known is kept.
    pub fn keeps(&self) -> bool {
        self.edit.keep
    }

    /// From here on only [`Recorder::known`] replaces what is known.
    pub fn keeps_by_itself(&mut self) {
        self.by_itself = true;
    }

    /// Ends this row with the known part as it is at `level`, with the noise of `draw`.
    pub fn known(&mut self, level: Level, draw: Draw) {
        self.open.known = Some(known(level, Some(draw), false));
    }

    /// What guidance does at which noise level, for the evaluations from here on.
    pub fn guidance(&mut self, options: GuidanceOptions) {
        self.guidance = options;
    }

    /// From here on eps is what x and the clipped x0 imply, whatever was asked for: a solver in eps
    /// would not notice the clip otherwise.
    pub fn clipped_eps(&mut self) {
        self.model.clipped_eps = true;
    }

    /// From here on x0 is as the network predicts it, neither clipped nor thresholded.
    pub fn unlimited(&mut self) {
        self.model.clip = None;
        self.model.threshold = None;
    }

    /// How norms are taken.
    pub fn reduce(&mut self, reduce: Reduce) {
        self.reduce = reduce;
    }

    /// The row without an evaluation that starts every run: `x_T = scale z`, or what is known.
    pub fn initial_noise(&mut self, scale: f64) {
        match self.edit.start {
            Start::Noise => {
                let z = self.noise();
                self.update(scale * z);
            }
            Start::State => {
                self.open.known = Some(known(DATA, None, true));
                self.update(Expr::zero());
            }
            Start::Known => {
                let z = self.noise();
                let draw = self.name(z);
                let first = self.first.expect("the level where a run starts is said before");
                self.open.known = Some(known(first, Some(draw), true));
                self.update(Expr::zero());
            }
        }
    }

    /// Evaluates the network on x at `level`, where `x = alpha x0 + sigma eps`. From here to the
    /// row's update, [`Term::X0`] and [`Term::Eps`] are its predictions.
    pub fn denoise(&mut self, level: Level) {
        self.denoise_told(level, level);
    }

    /// The same of a network that is told the time of the level `told`; one that is told the noise
    /// itself is told that of x.
    pub fn denoise_told(&mut self, level: Level, told: Level) {
        assert!(self.open.eval.is_none(), "a row evaluates once: update before the next denoise");
        // Noise may have been drawn; x is still what the last row left.
        let draws = std::mem::take(&mut self.open.draws);
        if self.open == Row::default() {
            self.replace(level);
        }
        self.open.draws = draws;
        let own = self.model.time == TimeInput::Sigma;
        let time = self.model.time(if own { level } else { told });
        let index = self.times.iter().position(|t| *t == time).unwrap_or_else(|| {
            self.times.push(time);
            self.times.len() - 1
        });
        let guidance = self.guidance.at(level);
        // An unconditional eps has no clipped x0 that it could follow from.
        let clipped_eps = self.model.clipped_eps && !guidance.unconditional_eps;
        let prediction = Preconditioning { clipped_eps, ..self.model }.at(level);
        self.open.eval = Some(Eval { time: index, prediction, log_variance: None, guidance });
    }

    /// Replaces the known part of the state as the last row left it, which is at `level`.
    fn replace(&mut self, level: Level) {
        let (count, draws) = (self.rows.len(), self.draws);
        let Some(last) = self.rows.last_mut() else { return };
        match &mut last.known {
            // The very state that is asked about first.
            Some(start) if start.whole && self.edit.start == Start::Known && count == 1 => {
                *start = known(level, start.draw, true);
            }
            None if self.edit.keep && !self.by_itself => {
                let step = count as u32 - 1;
                let draw = Draw { step, stream: ROW_DRAWS as u32, index: draws };
                last.known = Some(known(level, Some(draw), false));
                self.draws += u32::from(level.sigma != 0.0);
            }
            _ => {}
        }
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

    /// The name of a draw of this row, for [`Recorder::again`].
    pub fn name(&self, noise: Term) -> Draw {
        match noise {
            Term::Noise(n) => self.open.draws[n],
            other => panic!("{other:?} is not noise"),
        }
    }

    /// Noise that an earlier row has drawn, once more: two steps along one Brownian path.
    pub fn again(&mut self, draw: Draw) -> Term {
        let stream = self.open.draws.len();
        assert!(stream < ROW_DRAWS, "a row draws noise {ROW_DRAWS} times at most");
        self.open.draws.push(draw);
        Term::Noise(stream)
    }

    /// Makes this row's update that of a Langevin corrector, see [`Snr`].
    pub fn snr(&mut self, snr: Snr) {
        assert!(self.open.eval.is_some(), "a corrector needs the score of its row");
        self.open.snr = Some(snr);
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

    /// The whole run of an adaptive solver, from its initial noise `scale z` on. With `finish` a
    /// last row leaves x0 where the sample has come to.
    pub fn adaptive(&mut self, adaptive: Adaptive, scale: f64, finish: bool) {
        let start = scale * self.noise();
        self.save(start.clone());
        self.push(start.clone());
        self.update(start);

        let rows = adaptive.method.rows();
        let first = adaptive.method.tableau().first_same_as_last.then_some(Stage::Start);
        let steps = (0..adaptive.budget).flat_map(|_| (0..rows).map(Stage::Step));
        let last = finish.then_some(Stage::Finish);
        let row = |stage| Row { stage: Some(stage), ..Row::default() };
        self.rows.extend(first.into_iter().chain(steps).chain(last).map(row));
        self.history = self.history.max(rows);
        self.adaptive = Some(adaptive);
    }

    /// The model that the recorder was made with, and what guidance does.
    pub fn reading(&self) -> (Preconditioning, GuidanceOptions) {
        (self.model, self.guidance)
    }

    /// The finished trajectory.
    pub fn finish(mut self) -> Trajectory {
        assert!(self.open == Row::default(), "the last row lacks its update");
        if let (Some(last), true) = (self.rows.last_mut(), self.edit.keep && !self.by_itself) {
            last.known = Some(known(DATA, None, false));
        }
        if self.history == 0 {
            // No row reads what was pushed: there is no ring to push it into.
            self.rows.iter_mut().for_each(|row| row.push = None);
        }
        Trajectory {
            times: self.times,
            rows: self.rows,
            history: self.history,
            draws: self.draws as usize,
            reduce: self.reduce,
            adaptive: self.adaptive,
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

/// Where the data lie.
const DATA: Level = Level { time: 0.0, alpha: 1.0, sigma: 0.0 };

/// What is known, at `level`.
fn known(level: Level, draw: Option<Draw>, whole: bool) -> Known {
    let draw = draw.filter(|_| level.sigma != 0.0);
    Known { alpha: level.alpha, sigma: level.sigma, draw, whole }
}
