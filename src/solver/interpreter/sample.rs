//! One sample of a run: what it holds between rows, its evaluation and its update.

use super::Real;
use crate::solver::{Expr, Guidance, Prediction, Progress, Row, Term, Threshold};

/// What an evaluation means to one sample.
pub(super) struct Reading {
    pub prediction: Prediction,
    pub guidance: Guidance,
    pub log_variance: Option<(f64, f64)>,
    /// The weight of guidance.
    pub w: f64,
}

/// What a sample holds.
pub(super) struct Sample<R> {
    pub x: Vec<R>,
    saved: Vec<R>,
    /// Newest first.
    history: Vec<Vec<R>>,
    /// Of the row at hand.
    x0: Vec<R>,
    pub eps: Vec<R>,
    pub noise: Vec<Vec<R>>,
    /// Where it stands in an adaptive trajectory.
    pub progress: Progress,
}

impl<R: Real> Sample<R> {
    /// A sample of zeros.
    pub fn new(numel: usize, progress: Progress) -> Sample<R> {
        let zeros = || vec![R::zero(); numel];
        let (history, noise) = (Vec::new(), Vec::new());
        Sample { x: zeros(), saved: zeros(), history, x0: zeros(), eps: zeros(), noise, progress }
    }

    /// The network's input.
    pub fn input(&self, prediction: &Prediction) -> impl Iterator<Item = R> {
        let c_in = R::of(prediction.c_in);
        self.x.iter().map(move |x| c_in * *x)
    }

    /// Guidance, prediction and the scale of the noise, from this sample's outputs.
    pub fn evaluate(&mut self, reading: &Reading, conditional: &[R], unconditional: Option<&[R]>) {
        let numel = self.x.len();
        let (f, variance) = conditional.split_at(numel);
        let u = unconditional.filter(|_| reading.guidance.on).map(|u| &u[..numel]);
        let guided: Vec<R> = match u {
            None => f.to_vec(),
            Some(u) => guide(f, u, reading.w, reading.guidance.rescale),
        };
        let plain = if reading.guidance.unconditional_eps { u.unwrap_or(f) } else { &guided };

        let p = &reading.prediction;
        predict_x0(p, &self.x, &guided, &mut self.x0);
        if let Some(threshold) = p.threshold {
            dynamic_threshold(threshold, &mut self.x0);
        }
        for (i, eps) in self.eps.iter_mut().enumerate() {
            *eps = R::of(p.eps_x) * self.x[i]
                + R::of(p.eps_f) * plain[i]
                + R::of(p.eps_x0) * self.x0[i];
        }
        if let Some((min, max)) = reading.log_variance {
            for (i, variance) in variance.iter().enumerate() {
                let v = 0.5 * (variance.wide() + 1.0);
                let scale = R::of((0.5 * (v * max + (1.0 - v) * min)).exp());
                self.noise.iter_mut().for_each(|z| z[i] = scale * z[i]);
            }
        }
    }

    /// The value of an expression, elementwise.
    pub fn value(&self, expr: &Expr) -> Vec<R> {
        self.scaled(expr, R::one())
    }

    /// The same with the step size of a Langevin corrector.
    fn scaled(&self, expr: &Expr, size: R) -> Vec<R> {
        let element = |i: usize| -> R {
            let term = |(term, c): (Term, f64)| {
                let c = R::of(c);
                match term {
                    Term::X => c * self.x[i],
                    Term::Saved => c * self.saved[i],
                    Term::X0 => c * self.x0[i],
                    Term::Eps => size * c * self.eps[i],
                    Term::History(n) => c * self.history[n][i],
                    Term::Noise(n) => size.sqrt() * c * self.noise[n][i],
                }
            };
            expr.terms().map(term).sum()
        };
        (0..self.x.len()).map(element).collect()
    }

    /// The row's update; the ring holds `depth` predictions.
    pub fn update(&mut self, row: &Row, size: Option<f64>, depth: usize) {
        let x = self.scaled(&row.x, size.map_or(R::one(), R::of));
        let saved = row.saved.as_ref().map(|saved| self.value(saved));
        let push = row.push.as_ref().map(|push| self.value(push));
        self.x = x;
        self.saved = saved.unwrap_or_else(|| std::mem::take(&mut self.saved));
        if let Some(push) = push {
            self.history.insert(0, push);
            self.history.truncate(depth);
        }
    }
}

/// The Euclidean norm.
pub(super) fn norm<R: Real>(v: &[R]) -> f64 {
    v.iter().map(|v| v.wide().powi(2)).sum::<f64>().sqrt()
}

/// The guided output, see [`Guidance`].
fn guide<R: Real>(conditional: &[R], unconditional: &[R], w: f64, phi: f64) -> Vec<R> {
    let mix = |(c, u): (&R, &R)| *u + R::of(w) * (*c - *u);
    let mut guided: Vec<R> = conditional.iter().zip(unconditional).map(mix).collect();
    if phi == 0.0 {
        return guided;
    }
    let deviation = |v: &[R]| -> f64 {
        let mean = v.iter().map(|v| v.wide()).sum::<f64>() / v.len() as f64;
        v.iter().map(|v| (v.wide() - mean).powi(2)).sum::<f64>().sqrt()
    };
    let scale = R::of(phi * deviation(conditional) / deviation(&guided) + 1.0 - phi);
    guided.iter_mut().for_each(|f| *f = scale * *f);
    guided
}

/// x0, clipped.
fn predict_x0<R: Real>(p: &Prediction, x: &[R], f: &[R], x0: &mut [R]) {
    let clip = p.clip.map(R::of);
    for ((x0, x), f) in x0.iter_mut().zip(x).zip(f) {
        let raw = R::of(p.x0_x) * *x + R::of(p.x0_f) * *f;
        *x0 = clip.map_or(raw, |c| raw.max(-c).min(c));
    }
}

/// See [`Threshold`].
fn dynamic_threshold<R: Real>(threshold: Threshold, x0: &mut [R]) {
    let mut sizes: Vec<R> = x0.iter().map(|v| v.abs()).collect();
    sizes.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let at = threshold.quantile * (sizes.len() - 1) as f64;
    let (low, high) = (sizes[at.floor() as usize], sizes[at.ceil() as usize]);
    let s = low.wide() + at.fract() * (high - low).wide();
    let s = R::of(s.max(1.0).min(threshold.max));
    x0.iter_mut().for_each(|v| *v = v.max(-s).min(s) / s);
}
