//! Pseudo numerical methods for diffusion models (Liu et al. 2022, arXiv:2202.09778).

use super::Term::{Eps, History, Saved, X, X0};
use super::{Expr, Kind, Level, PredictionType, Recorder, Setting, SolverInfo};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[
    named("pndm", 9, "Liu et al. 2022, arXiv:2202.09778, Alg. 2 (F-PNDM)", &[]),
    named("plms", 1, "Liu et al. 2022, arXiv:2202.09778, eq. 12", &[("skip_prk_steps", "true")]),
];

const fn named(
    name: &'static str,
    nfe_extra: i32,
    reference: &'static str,
    fixes: &'static [(&'static str, &'static str)],
) -> SolverInfo {
    SolverInfo {
        name,
        family: "probability-flow ODE",
        kind: Kind::Ode,
        nfe_per_step: 1,
        nfe_extra,
        order: 2,
        reference,
        schedulers: &["PNDMScheduler"],
        plus_plus: false,
        fixes,
        record: pndm,
    }
}

/// The Adams-Bashforth weights of order 1 to 4, the newest slope first (eq. 12).
pub(super) const ADAMS_BASHFORTH: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// Steps that the Runge-Kutta start takes.
const RUNGE_KUTTA_STEPS: usize = 3;

/// Algorithm 2: three Runge-Kutta steps of four evaluations, then a linear multistep of order 4.
/// With `skip_prk_steps` the multistep starts by itself: Euler, then once more by the trapezoidal
/// rule (two evaluations for the first step), then orders 2, 3 and 4. n steps cost n + 9 or n + 1
/// evaluations.
///
/// A step goes from t to t - floor(T / n), as PNDMScheduler counts, whatever the spacing.
fn pndm(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    let stride = run.alpha_bar().len() / run.steps;
    let mut pndm = Pndm { run, stride, slopes: Vec::new(), pushes: 0 };
    rec.initial_noise(run.initial_scale());
    if run.keys.skip_prk_steps {
        let later = pndm.trapezoid(rec);
        pndm.multistep(rec, later);
    } else {
        pndm.runge_kutta(rec);
        pndm.multistep(rec, &run.timesteps[RUNGE_KUTTA_STEPS..]);
    }
    Ok(())
}

struct Pndm<'a> {
    run: &'a Setting<'a>,
    /// Timesteps between two steps.
    stride: usize,
    /// Which pushes the multistep builds on, counted from 0.
    slopes: Vec<usize>,
    pushes: usize,
}

impl<'a> Pndm<'a> {
    /// Eq. 13, classical Runge-Kutta in the transfer of eq. 9:
    ///
    /// ```text
    /// e1 = eps(x, t)         x1 = phi(x, e1, t, t - d/2)
    /// e2 = eps(x1, t - d/2)  x2 = phi(x, e2, t, t - d/2)
    /// e3 = eps(x2, t - d/2)  x3 = phi(x, e3, t, t - d)
    /// e4 = eps(x3, t - d)    x_{t-d} = phi(x, (e1 + 2 e2 + 2 e3 + e4) / 6, t, t - d)
    /// ```
    ///
    /// phi is linear: the third row saves its part of the result.
    fn runge_kutta(&mut self, rec: &mut Recorder) {
        let half = self.stride / 2;
        for pair in self.run.timesteps[..=RUNGE_KUTTA_STEPS].windows(2) {
            let (t, end) = (pair[0], pair[1]);
            let middle = end + half;

            let e1 = self.slope(rec, t);
            rec.save(X);
            self.push(rec, &e1, true);
            rec.update(self.transfer(X, e1, t, Some(t - half)));

            let e2 = self.slope(rec, middle);
            self.push(rec, &e2, false);
            rec.update(self.transfer(Saved, e2, t, Some(middle)));

            let e3 = self.slope(rec, middle);
            let (e1, e2) = (History(1), History(0));
            let sum = (1.0 / 6.0) * e1 + (1.0 / 3.0) * e2 + (1.0 / 3.0) * e3.clone();
            rec.save(self.transfer(Saved, sum, t, Some(end)));
            rec.update(self.transfer(Saved, e3, t, Some(end)));

            let e4 = self.slope(rec, end);
            let rest = self.transfer(Expr::zero(), (1.0 / 6.0) * e4, t, Some(end));
            rec.update(1.0 * Saved + rest);
        }
    }

    /// The first step without Runge-Kutta: there by e1, and there again by the mean of e1 and e2.
    /// What is left to do comes back.
    fn trapezoid(&mut self, rec: &mut Recorder) -> &'a [usize] {
        let t = self.run.timesteps[0];
        let e1 = self.slope(rec, t);
        rec.save(X);
        self.push(rec, &e1, true);
        rec.update(self.transfer(X, e1, t, t.checked_sub(self.stride)));

        let later = &self.run.timesteps[1..];
        if let Some(&next) = later.first() {
            let e2 = self.slope(rec, next);
            let mean = 0.5 * e2 + 0.5 * History(0);
            rec.update(self.transfer(Saved, mean, next + self.stride, Some(next)));
        }
        later
    }

    /// Eq. 12 of the order that the slopes so far allow.
    fn multistep(&mut self, rec: &mut Recorder, timesteps: &[usize]) {
        for &t in timesteps {
            let slope = self.slope(rec, t);
            let weights = ADAMS_BASHFORTH[self.slopes.len().min(3)];
            let past = self.slopes.iter().rev().map(|push| History(self.pushes - 1 - push));
            let terms = weights[1..].iter().zip(past).map(|(w, term)| *w * term);
            let sum = terms.fold(weights[0] * slope.clone(), |sum, term| sum + term);
            self.push(rec, &slope, true);
            rec.update(self.transfer(X, sum, t, t.checked_sub(self.stride)));
        }
    }

    /// Evaluates at t. The slope is eps, but of a v network its own output: PNDMScheduler combines
    /// outputs and reads the combination.
    fn slope(&self, rec: &mut Recorder, t: usize) -> Expr {
        let level = self.run.level(t);
        rec.denoise(level);
        if self.in_v() { level.alpha * Eps - level.sigma * X0 } else { Eps.into() }
    }

    fn push(&mut self, rec: &mut Recorder, slope: &Expr, multistep: bool) {
        rec.push(slope.clone());
        if multistep {
            self.slopes.push(self.pushes);
        }
        self.pushes += 1;
    }

    /// phi of eq. 9, the DDIM step along a given eps; past the first timestep lies the end.
    fn transfer(&self, x: impl Into<Expr>, slope: Expr, from: usize, to: Option<usize>) -> Expr {
        let (x, from) = (x.into(), self.run.level(from));
        let to = to.map_or(self.end(), |t| self.run.level(t));
        let eps = if self.in_v() { from.alpha * slope + from.sigma * x.clone() } else { slope };
        let ratio = to.alpha / from.alpha;
        ratio * x + (to.sigma - ratio * from.sigma) * eps
    }

    fn end(&self) -> Level {
        if self.run.keys.set_alpha_to_one {
            Level { time: 0.0, alpha: 1.0, sigma: 0.0 }
        } else {
            self.run.level(0)
        }
    }

    fn in_v(&self) -> bool {
        self.run.keys.prediction_type == PredictionType::VPrediction
    }
}

/// The levels between two steps are timesteps of their own, and Runge-Kutta takes three steps to
/// get to the fourth.
fn check(run: &Setting) -> Result<()> {
    run.without_eta()?;
    let origin = &run.config.origin;
    if run.timesteps.is_empty() {
        return Err(Error::invalid(
            format!("{origin}: _class_name"),
            "a scheduler of whole timesteps, for --solver pndm and plms",
            run.config.class.name.clone(),
            "use --solver ipndm, which takes any levels",
        ));
    }
    if !run.keys.skip_prk_steps && run.timesteps.len() <= RUNGE_KUTTA_STEPS {
        return Err(Error::invalid(
            "--steps",
            format!("at least {} with --solver pndm", RUNGE_KUTTA_STEPS + 1),
            run.timesteps.len().to_string(),
            "take more steps, or --solver plms, which starts without Runge-Kutta steps",
        ));
    }
    if run.level(run.timesteps[0]).alpha == 0.0 {
        return Err(Error::invalid(
            format!("{origin}: rescale_betas_zero_snr"),
            "false with --solver pndm and plms, which divide by the first alpha",
            "true",
            "set rescale_betas_zero_snr to false, or use --solver ddim",
        ));
    }
    Ok(())
}
