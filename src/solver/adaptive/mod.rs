//! Adaptive step sizes: an embedded pair of methods, its error, and the control of the step.
//!
//! The probability-flow ODE is solved in variance-exploding coordinates, `x = x0 + sigma eps`, with
//! lambda = -ln(sigma) as the time (Lu et al. 2022, arXiv:2206.00927, section 2.2), where it reads
//!
//! ```text
//! dx / dlambda = -sigma eps(x, sigma),      sigma = exp(-lambda)
//! ```
//!
//! Each sample has a [`Progress`] of its own: lambda where its step begins, and the step h that it
//! wants. A trajectory holds rows for a fixed budget of steps, [`Adaptive::budget`]:
//!
//! ```text
//! initial noise:  x = saved = push = sigma_start z
//! Start:          once, if the method is first-same-as-last
//! Step(0 .. n):   n rows a step, the last of which decides
//! Finish:         x = x0, if the trajectory ends at sigma 0
//! ```
//!
//! A row with a [`Stage`] is an ordinary row once its sample's progress is known: it evaluates at
//! [`Adaptive::level`] and updates by [`Adaptive::row`]. The last row of a step first takes the
//! norm of [`Adaptive::error`], and [`Adaptive::advance`] then makes the new progress, a function
//! of scalars only. `saved` is always x at the beginning of the step. The step taken,
//! [`Adaptive::step`], is 0 once a sample has arrived or its budget is spent; every coefficient of
//! a prediction is then 0, so its rows change nothing.

mod setup;
mod tableau;

pub use tableau::{Method, Point, Tableau, Weight};

use super::{Expr, Guidance, GuidanceOptions, Level, Preconditioning, Prediction, Term};

/// Which part of an adaptive solver a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first evaluation of a method that is first-same-as-last.
    Start,
    /// This row of a step; the last one, `Method::rows() - 1`, decides.
    Step(usize),
    /// x becomes x0.
    Finish,
}

/// How far a sample has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Where its step begins.
    pub lambda: f64,
    /// The step in lambda that it wants.
    pub h: f64,
    /// Steps that went through.
    pub accepted: usize,
    /// Steps that were taken back.
    pub rejected: usize,
    /// The last one was.
    pub retries: bool,
}

/// How the steps of a trajectory are chosen while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptive {
    pub method: Method,
    /// Relative and absolute tolerance of one step.
    pub rtol: f64,
    pub atol: f64,
    /// Where x starts.
    pub sigma_start: f64,
    /// Where it ends, above 0.
    pub sigma_end: f64,
    /// The first step that is tried, in lambda.
    pub first_step: f64,
    /// Steps that may be tried, rejected ones included.
    pub budget: usize,
    /// How the network is read.
    pub model: Preconditioning,
    /// What guidance does at which sigma.
    pub guidance: GuidanceOptions,
    /// (ln(sigma), [`Level::time`]), ln(sigma) rising; between two it is interpolated linearly, and
    /// beyond the ends the last two go on.
    pub clock: Vec<(f64, f64)>,
}

/// What a row with a stage does to one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub x: Expr,
    pub saved: Option<Expr>,
    pub push: Option<Expr>,
}

/// The error of a step. With `e`, `a` and `b` the values of an element, its norm over n elements is
/// `sqrt(sum (e / scale(a, b))^2 / n)`, see [`Adaptive::scale`].
#[derive(Clone, Debug, PartialEq)]
pub struct StepError {
    pub e: Expr,
    pub a: Expr,
    pub b: Expr,
}

/// A sample this close to the end in lambda has arrived.
const ARRIVED: f64 = 1e-5;

impl Adaptive {
    /// The progress that every sample begins with.
    pub fn start(&self) -> Progress {
        Progress { lambda: -self.sigma_start.ln(), h: self.first_step, ..Progress::default() }
    }

    /// Whether a sample has come to `sigma_end`.
    pub fn arrived(&self, at: &Progress) -> bool {
        at.lambda >= -self.sigma_end.ln()
    }

    /// The step that is tried: h, or what is left; 0 where nothing is, or where the budget is
    /// spent.
    pub fn step(&self, at: &Progress) -> f64 {
        if at.accepted + at.rejected >= self.budget {
            return 0.0;
        }
        at.h.min(-self.sigma_end.ln() - at.lambda).max(0.0)
    }

    /// Where a row evaluates.
    pub fn level(&self, stage: Stage, at: &Progress) -> Level {
        let place = match stage {
            Stage::Step(row) => self.method.tableau().points[row].place,
            Stage::Start | Stage::Finish => 0.0,
        };
        let ln_sigma = -(at.lambda + place * self.step(at));
        Level { time: self.time(ln_sigma), alpha: 1.0, sigma: ln_sigma.exp() }
    }

    /// How the network is read at a level, and what guidance does there.
    pub fn read(&self, level: Level) -> (Prediction, Guidance) {
        let guidance = self.guidance.at(level);
        let clipped_eps = self.model.clipped_eps && !guidance.unconditional_eps;
        (Preconditioning { clipped_eps, ..self.model }.at(level), guidance)
    }

    /// [`Level::time`] by the clock.
    fn time(&self, ln_sigma: f64) -> f64 {
        let after = self.clock.partition_point(|(at, _)| *at < ln_sigma);
        let after = after.clamp(1, self.clock.len() - 1);
        let ((x0, y0), (x1, y1)) = (self.clock[after - 1], self.clock[after]);
        y0 + (y1 - y0) * (ln_sigma - x0) / (x1 - x0)
    }

    /// The update of a row. `before` is the progress in which its step was tried; `after` is what
    /// [`Adaptive::advance`] made of it in a row that decides, and the same in all others.
    pub fn row(&self, stage: Stage, before: &Progress, after: &Progress) -> Update {
        let tableau = self.method.tableau();
        let row = match stage {
            Stage::Start => {
                let x = Expr::from(Term::X) + self.lead(after) * Term::Eps;
                return Update { x, saved: Some(Term::X.into()), push: Some(Term::Eps.into()) };
            }
            Stage::Finish => return Update { x: Term::X0.into(), saved: None, push: None },
            Stage::Step(row) => row,
        };
        if row + 1 < self.method.rows() {
            let x = Expr::from(Term::Saved) + self.sum(&tableau.points[row + 1], row, before);
            return Update { x, saved: None, push: Some(Term::Eps.into()) };
        }
        let accept = after.accepted > before.accepted;
        let base = if accept { self.end(row, before) } else { Term::Saved.into() };
        let carried = match (accept, tableau.first_same_as_last) {
            (true, true) => Term::Eps.into(),
            (true, false) => self.lower(row, before),
            (false, _) => Term::History(row).into(),
        };
        let x = base.clone() + self.lead(after) * carried.clone();
        Update { x, saved: Some(base), push: Some(carried) }
    }

    /// What the norm of the error is taken of, in the last row of a step. The tolerance of
    /// Dormand-Prince follows x at both ends of the step; that of DPM-Solver the lower order's x
    /// at the end of this step and of the last one that was accepted (Alg. 3).
    pub fn error(&self, at: &Progress) -> StepError {
        let (tableau, row) = (self.method.tableau(), self.method.rows() - 1);
        let e = self.sum(&tableau.error, row, at);
        if tableau.first_same_as_last {
            return StepError { e, a: Term::Saved.into(), b: Term::X.into() };
        }
        StepError { e, a: self.lower(row, at), b: Term::History(row).into() }
    }

    /// The error that one element may have.
    pub fn scale(&self, a: f64, b: f64) -> f64 {
        let relative = self.rtol * a.abs().max(b.abs());
        match self.method {
            Method::DormandPrince => self.atol + relative,
            Method::DpmSolver12 | Method::DpmSolver23 => self.atol.max(relative),
        }
    }

    /// The progress after a step whose error has that norm: the step is accepted or taken back, and
    /// h is multiplied by a factor. Not finite is too large. Nothing changes where no step was
    /// tried.
    ///
    /// ```text
    /// Dormand-Prince:  f = 0.9 norm^(-1/5) in [0.2, 10], not above 1 right after a rejection;
    ///                  accepted if norm < 1
    /// DPM-Solver-k:    f = 1 + atan((norm + 1e-8)^(-1/k) - 1);   accepted if f >= 0.81
    /// ```
    pub fn advance(&self, norm: f64, at: &Progress) -> Progress {
        let step = self.step(at);
        if step == 0.0 {
            return *at;
        }
        let norm = if norm.is_finite() { norm } else { f64::INFINITY };
        let smooth = |order: f64| 1.0 + ((norm + 1e-8).powf(-1.0 / order) - 1.0).atan();
        let (accept, factor) = match self.method {
            Method::DormandPrince => {
                let most = if at.retries { 1.0 } else { 10.0 };
                (norm < 1.0, (0.9 * norm.powf(-0.2)).clamp(0.2, most))
            }
            Method::DpmSolver12 => (smooth(2.0) >= 0.81, smooth(2.0)),
            Method::DpmSolver23 => (smooth(3.0) >= 0.81, smooth(3.0)),
        };
        let h = factor * step;
        if !accept {
            return Progress { h, rejected: at.rejected + 1, retries: true, ..*at };
        }
        let end = -self.sigma_end.ln();
        let lambda = at.lambda + step;
        let lambda = if lambda >= end - ARRIVED { end } else { lambda };
        Progress { lambda, h, accepted: at.accepted + 1, retries: false, ..*at }
    }

    /// x at the end of the step, by the higher order.
    fn end(&self, row: usize, at: &Progress) -> Expr {
        let tableau = self.method.tableau();
        if tableau.first_same_as_last {
            return Term::X.into();
        }
        Expr::from(Term::Saved) + self.sum(&tableau.points[row + 1], row, at)
    }

    /// x at the end of the step, by the lower order.
    fn lower(&self, row: usize, at: &Progress) -> Expr {
        self.end(row, at) - self.sum(&self.method.tableau().error, row, at)
    }

    /// What the carried evaluation adds to reach the first point of the step to come.
    fn lead(&self, at: &Progress) -> f64 {
        let tableau = self.method.tableau();
        let first = &tableau.points[0];
        first.weights.first().map_or(0.0, |weight| self.coefficient(weight, 0.0, first.place, at))
    }

    /// The sum of a point over the evaluations that `row` knows, its own being the last.
    fn sum(&self, point: &Point, row: usize, at: &Progress) -> Expr {
        let tableau = self.method.tableau();
        let carried = usize::from(tableau.first_same_as_last);
        let term = |(e, weight): (usize, &Weight)| {
            // Evaluation e was made in row e - carried; before that, row of the step before.
            let (place, term) = match e.checked_sub(carried) {
                None => (0.0, Term::History(row)),
                Some(own) if own == row => (tableau.points[own].place, Term::Eps),
                Some(past) => (tableau.points[past].place, Term::History(row - 1 - past)),
            };
            self.coefficient(weight, place, point.place, at) * term
        };
        point.weights.iter().enumerate().map(term).fold(Expr::zero(), |sum, term| sum + term)
    }

    /// See [`Weight`].
    fn coefficient(&self, weight: &Weight, evaluated: f64, place: f64, at: &Progress) -> f64 {
        let (sigma, h) = ((-at.lambda).exp(), self.step(at));
        let slope = weight.slope * h * (-evaluated * h).exp();
        -sigma * (slope + weight.phi * phi(place * h) + weight.psi * psi(place * h))
    }
}

/// `1 - exp(-u)`.
fn phi(u: f64) -> f64 {
    -(-u).exp_m1()
}

/// `phi(u) / u - exp(-u) = sum_{n >= 1} -n (-u)^n / (n + 1)!`; its series where the difference
/// cancels.
fn psi(u: f64) -> f64 {
    const SMALL: f64 = 0.25;
    const TERMS: u32 = 10;
    if u > SMALL {
        return phi(u) / u - (-u).exp();
    }
    let mut power = 1.0;
    let term = |n: u32| {
        power *= -u / f64::from(n + 1);
        -f64::from(n) * power
    };
    (1..=TERMS).map(term).sum()
}
