//! Adaptive steps: the scalars of a sample's row from how far the sample has come.
//!
//! The probability-flow ODE in lambda = -ln(sigma), `dx / dlambda = -sigma eps`, is solved by an
//! embedded pair whose coefficients the program's table holds after its rows, see
//! [`super::layout`]. With h the step that is tried from lambda on, a point at place c of it is
//!
//! ```text
//! saved - sigma sum_e (slope_e h exp(-c_e h) + phi_e phi(c h) + psi_e psi(c h)) eps_e
//! ```
//!
//! eps_e being evaluated at place c_e, `phi(u) = 1 - exp(-u)`, `psi(u) = phi(u) / u - exp(-u)`.
//! The last row of a step takes the norm of the error, accepts the step or takes it back, and
//! chooses the next (Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, section
//! II.4; Soderlind & Wang 2006 for the limiter of DPM-Solver). A sample that has arrived, or whose
//! budget is spent, steps by 0, and its rows change nothing.

use super::layout::*;
use crate::ops::row::{self, HISTORY, Mix, Row};

/// The numbers of a table whose rows begin with `rows`.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    pub rows: &'a [Row],
}

/// How far a sample has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Progress {
    pub lambda: f64,
    pub h: f64,
    pub accepted: u32,
    pub rejected: u32,
    pub retries: bool,
}

impl Progress {
    pub fn of(row: &Row) -> Progress {
        Progress {
            lambda: row.lambda.into(),
            h: row.h.into(),
            accepted: row.accepted,
            rejected: row.rejected,
            retries: row.retries != 0,
        }
    }

    pub fn write(&self, row: &mut Row) {
        (row.lambda, row.h) = (self.lambda as f32, self.h as f32);
        (row.accepted, row.rejected) = (self.accepted, self.rejected);
        row.retries = self.retries.into();
    }
}

/// The error of a step is `e` over the scale of `a` and `b`.
pub(super) struct StepError {
    pub e: Mix,
    pub a: Mix,
    pub b: Mix,
}

impl Numbers<'_> {
    fn at(&self, place: usize) -> f64 {
        let row = &self.rows[place / (3 * HISTORY)];
        let mix = [&row.x, &row.saved, &row.push][place / HISTORY % 3];
        mix.h[place % HISTORY].into()
    }

    fn code(&self, place: usize) -> u32 {
        self.at(place) as u32
    }

    pub fn start(&self) -> Progress {
        let (lambda, h) = (self.at(LAMBDA_START), self.at(FIRST_STEP));
        Progress { lambda, h, accepted: 0, rejected: 0, retries: false }
    }

    fn place(&self, point: usize) -> f64 {
        self.at(HEADER + point * POINT)
    }

    /// Slope, phi and psi of an evaluation.
    fn weight(&self, point: usize, evaluation: usize) -> [f64; 3] {
        [0, 1, 2].map(|i| self.at(HEADER + point * POINT + 1 + 3 * evaluation + i))
    }

    fn step(&self, at: &Progress) -> f64 {
        if f64::from(at.accepted + at.rejected) >= self.at(BUDGET) {
            return 0.0;
        }
        at.h.min(self.at(LAMBDA_END) - at.lambda).max(0.0)
    }

    fn ln_sigma(&self, stage: u32, at: &Progress) -> f64 {
        let place = if stage >= STEP { self.place((stage - STEP) as usize) } else { 0.0 };
        -(at.lambda + place * self.step(at))
    }

    /// What the network is told, and c_in.
    pub fn input(&self, stage: u32, at: &Progress) -> (f32, f32) {
        let ln_sigma = self.ln_sigma(stage, at);
        let sigma = ln_sigma.exp();
        let time = if self.code(TOLD_SIGMA) != 0 { sigma } else { self.time(ln_sigma) };
        (time as f32, (1.0 / self.norm(sigma)) as f32)
    }

    /// By the clock, which goes on beyond its ends.
    fn time(&self, ln_sigma: f64) -> f64 {
        let first = HEADER + POINTS * POINT;
        let (mut low, mut high) = (0, self.code(CLOCK) as usize - 1);
        while high - low > 1 {
            let middle = (low + high) / 2;
            match self.at(first + 2 * middle) < ln_sigma {
                true => low = middle,
                false => high = middle,
            }
        }
        let [x0, y0, x1, y1] = [0, 1, 2, 3].map(|i| self.at(first + 2 * low + i));
        y0 + (y1 - y0) * (ln_sigma - x0) / (x1 - x0)
    }

    /// x over the network's own x, where x is x0 + sigma eps.
    fn norm(&self, sigma: f64) -> f64 {
        match self.code(COORDINATES) {
            VARIANCE_PRESERVING => sigma.hypot(1.0),
            VARIANCE_EXPLODING => 1.0,
            SUB_VARIANCE_PRESERVING => 0.5 * (sigma.hypot(2.0) + sigma),
            FLOW => 1.0 + sigma,
            _ => sigma.hypot(self.at(SIGMA_DATA)),
        }
    }

    /// Writes how the network is read at the row's place into it.
    pub fn read(&self, row: &mut Row, at: &Progress) {
        let s = self.ln_sigma(row.stage, at).exp();
        let sign = self.at(SIGN);
        let n = s.hypot(1.0);
        let (x0_x, x0_f, eps_x, eps_f) = match (self.code(COORDINATES), self.code(PREDICTION)) {
            (EDM, _) => {
                let (skip, data) = (s - self.at(SIGMA_MIN), self.at(SIGMA_DATA));
                let square = skip * skip + data * data;
                let f = sign * skip * data / s.hypot(data);
                (data * data / square, f, skip * skip / square / s, -f / s)
            }
            (_, EPSILON) => (1.0, -sign * s, 0.0, sign),
            (_, SAMPLE) => (0.0, 1.0, 1.0 / s, -1.0 / s),
            (_, V) => (1.0 / (n * n), -s / n, s / (n * n), 1.0 / n),
            (_, SCORE) => (1.0, s * s / self.norm(s), 0.0, -s / self.norm(s)),
            _ => (1.0 / (1.0 + s), -s / (1.0 + s), 1.0 / (1.0 + s), 1.0 / (1.0 + s)),
        };
        row.flags &= !(row::GUIDE | row::UNCOND_EPS);
        if self.at(ABOVE) < s && s <= self.at(MOST) {
            row.flags |= row::GUIDE;
            row.flags |= if self.code(PLUS_PLUS) != 0 { row::UNCOND_EPS } else { 0 };
        }
        (row.x0_x, row.x0_f) = (x0_x as f32, x0_f as f32);
        (row.eps_x, row.eps_f, row.eps_x0) = (eps_x as f32, eps_f as f32, 0.0);
        if self.code(CLIPPED_EPS) != 0 && row.flags & row::UNCOND_EPS == 0 {
            (row.eps_x, row.eps_f, row.eps_x0) = ((1.0 / s) as f32, 0.0, (-1.0 / s) as f32);
        }
    }

    fn coefficient(&self, weight: [f64; 3], evaluated: f64, place: f64, at: &Progress) -> f64 {
        let (sigma, h) = ((-at.lambda).exp(), self.step(at));
        let [slope, of_phi, of_psi] = weight;
        let slope = slope * h * (-evaluated * h).exp();
        -sigma * (slope + of_phi * phi(place * h) + of_psi * psi(place * h))
    }

    /// Adds `sign` times a point's sum over the evaluations that `row` knows, its own the last.
    fn sum(&self, mix: &mut Mix, sign: f64, point: usize, row: usize, at: &Progress) {
        let carried = self.code(CARRIES) as usize;
        for e in 0..=row + carried {
            // Evaluation e was made in row e - carried; before that, in the step before.
            let evaluated = if e < carried { 0.0 } else { self.place(e - carried) };
            let weight = self.weight(point, e);
            let c = sign * self.coefficient(weight, evaluated, self.place(point), at);
            match (row + carried).checked_sub(e) {
                Some(0) => mix.eps += c as f32,
                Some(_) if e < carried => mix.h[row] += c as f32,
                _ => mix.h[row + carried - e - 1] += c as f32,
            }
        }
    }

    /// x at the end of the step, by the higher order.
    fn end(&self, row: usize, at: &Progress) -> Mix {
        if self.code(CARRIES) != 0 {
            return Mix { x: 1.0, ..Mix::default() };
        }
        let mut mix = Mix { saved: 1.0, ..Mix::default() };
        self.sum(&mut mix, 1.0, row + 1, row, at);
        mix
    }

    /// The same by the lower.
    fn lower(&self, row: usize, at: &Progress) -> Mix {
        let mut mix = self.end(row, at);
        self.sum(&mut mix, -1.0, POINTS - 1, row, at);
        mix
    }

    /// Whether the row is the last of a step.
    pub fn decides(&self, row: &Row) -> bool {
        row.stage == STEP + self.code(ROWS) - 1
    }

    pub fn error(&self, at: &Progress) -> StepError {
        let row = self.code(ROWS) as usize - 1;
        let mut e = Mix::default();
        self.sum(&mut e, 1.0, POINTS - 1, row, at);
        if self.code(CARRIES) != 0 {
            let a = Mix { saved: 1.0, ..Mix::default() };
            return StepError { e, a, b: Mix { x: 1.0, ..Mix::default() } };
        }
        let mut b = Mix::default();
        b.h[row] = 1.0;
        StepError { e, a: self.lower(row, at), b }
    }

    /// The error that an element may have.
    pub fn scale(&self, a: f32, b: f32) -> f64 {
        let relative = self.at(RTOL) * f64::from(a.abs().max(b.abs()));
        match self.code(LIMITER) {
            0 => self.at(ATOL) + relative,
            _ => self.at(ATOL).max(relative),
        }
    }

    /// The progress after a step whose error has that norm.
    pub fn advance(&self, norm: f64, at: &Progress) -> Progress {
        /// A sample this close to the end has arrived.
        const ARRIVED: f64 = 1e-5;
        let step = self.step(at);
        if step == 0.0 {
            return *at;
        }
        let norm = if norm.is_finite() { norm } else { 1e30 };
        let (accept, factor) = match self.at(LIMITER) {
            0.0 => {
                let most = if at.retries { 1.0 } else { 10.0 };
                (norm < 1.0, (0.9 * norm.powf(-0.2)).clamp(0.2, most))
            }
            order => {
                let factor = 1.0 + ((norm + 1e-8).powf(-1.0 / order) - 1.0).atan();
                (factor >= 0.81, factor)
            }
        };
        let h = factor * step;
        if !accept {
            return Progress { h, rejected: at.rejected + 1, retries: true, ..*at };
        }
        let (end, lambda) = (self.at(LAMBDA_END), at.lambda + step);
        let lambda = if lambda >= end - ARRIVED { end } else { lambda };
        Progress { lambda, h, accepted: at.accepted + 1, retries: false, ..*at }
    }

    /// What the carried evaluation adds to reach the first point of the step to come.
    fn lead(&self, at: &Progress) -> f32 {
        self.coefficient(self.weight(0, 0), 0.0, self.place(0), at) as f32
    }

    /// Writes the update of a row that tried its step in `before`.
    pub fn update(&self, row: &mut Row, before: &Progress, after: &Progress) {
        let (saved, eps) =
            (Mix { saved: 1.0, ..Mix::default() }, Mix { eps: 1.0, ..Mix::default() });
        match row.stage {
            INIT => return,
            START => {
                row.x = Mix { x: 1.0, eps: self.lead(after), ..Mix::default() };
                (row.saved, row.push) = (Mix { x: 1.0, ..Mix::default() }, eps);
                return;
            }
            FINISH => {
                row.x = Mix { x0: 1.0, ..Mix::default() };
                return;
            }
            _ => {}
        }
        let at = (row.stage - STEP) as usize;
        if !self.decides(row) {
            (row.x, row.push) = (saved, eps);
            self.sum(&mut row.x, 1.0, at + 1, at, before);
            return;
        }
        let accept = after.accepted > before.accepted;
        row.saved = if accept { self.end(at, before) } else { saved };
        let mut past = Mix::default();
        past.h[at] = 1.0;
        row.push = match (accept, self.code(CARRIES) != 0) {
            (true, true) => eps,
            (true, false) => self.lower(at, before),
            (false, _) => past,
        };
        row.x = plus(row.saved, self.lead(after), &row.push);
    }
}

/// `a + c b` in the terms of adaptive rows.
fn plus(mut a: Mix, c: f32, b: &Mix) -> Mix {
    (a.x, a.saved, a.eps) = (a.x + c * b.x, a.saved + c * b.saved, a.eps + c * b.eps);
    a.h.iter_mut().zip(b.h).for_each(|(a, b)| *a += c * b);
    a
}

/// `1 - exp(-u)`.
fn phi(u: f64) -> f64 {
    -(-u).exp_m1()
}

/// `phi(u) / u - exp(-u)`, its series where the difference cancels.
fn psi(u: f64) -> f64 {
    const SMALL: f64 = 0.25;
    if u > SMALL {
        return phi(u) / u - (-u).exp();
    }
    let (mut power, mut sum) = (1.0, 0.0);
    for n in 1..=8 {
        power *= -u / f64::from(n + 1);
        sum -= f64::from(n) * power;
    }
    sum
}
