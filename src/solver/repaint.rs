//! RePaint: inpainting that goes back and forth, so that what is drawn and what is known agree
//! (Lugmayr et al. 2022, arXiv:2201.09865).

use super::Term::{Eps, X, X0};
use super::{Kind, Level, Recorder, Setting, SolverInfo, ancestral};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[SolverInfo {
    name: "repaint",
    family: "DDPM",
    kind: Kind::Sde,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 1,
    reference: "Lugmayr et al. 2022, arXiv:2201.09865, Alg. 1",
    schedulers: &["RePaintScheduler"],
    plus_plus: false,
    fixes: &[],
    record: repaint,
}];

/// Algorithm 1 with the step of DDIM for that of DDPM (they agree at eta 1):
///
/// ```text
/// unknown: x_s = alpha_s x0 + sqrt(sigma_s^2 - v) eps + sqrt(v) z,   v = eta^2 beta_tilde
/// known:   x_s = alpha_s y + sigma_s z
/// back:    x_t = sqrt(1 - beta) x_s + sqrt(beta) z
/// ```
///
/// Both parts take one z. After every `jump_length` steps the run goes as many back and comes
/// again, `jump_n_sample` times in all; the last jump is left out. Of n steps that is
/// `n + (n / jump_length - 1) (jump_n_sample - 1) jump_length` evaluations. As in diffusers a step
/// back from the timestep before t multiplies the betas from t on. Where nothing is known there is
/// nothing to agree with, and no jump: it is DDIM.
fn repaint(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let whole = "a model of whole timesteps, whose steps can be taken back";
    if run.timesteps.is_empty() {
        let action = "choose ddim or euler-maruyama";
        return Err(Error::invalid("--solver repaint", whole, "continuous time", action));
    }
    let eta = run.options.eta.unwrap_or(run.keys.eta);
    let (n, stride) = (run.timesteps.len(), run.alpha_bar().len() / run.steps);
    rec.keeps_by_itself();
    rec.initial_noise(run.initial_scale());
    let mut position = n;
    let mut jumps = vec![0; n];
    let last = if rec.keeps() { n.saturating_sub(run.keys.jump_length) } else { 0 };
    for at in (0..last).step_by(run.keys.jump_length) {
        jumps[at] = run.keys.jump_n_sample - 1;
    }
    while position > 0 {
        position -= 1;
        step(run, rec, position * stride, stride, eta);
        if jumps[position] > 0 {
            jumps[position] -= 1;
            for _ in 0..run.keys.jump_length {
                back(run, rec, position * stride, stride);
                position += 1;
            }
        }
    }
    Ok(())
}

/// From timestep t to the one before.
fn step(run: &Setting, rec: &mut Recorder, t: usize, stride: usize, eta: f64) {
    let data = Level { time: 0.0, alpha: 1.0, sigma: 0.0 };
    let (from, to) = (run.level(t), t.checked_sub(stride).map_or(data, |s| run.level(s)));
    rec.denoise(from);
    let variance = eta * eta * ancestral::Posterior::of(from, to).beta_tilde;
    let direction = (to.sigma * to.sigma - variance).max(0.0).sqrt();
    let z = rec.noise();
    let name = rec.name(z);
    let x = to.alpha * X0 + direction * Eps;
    if rec.keeps() {
        rec.known(to, name);
    }
    rec.update(if variance > 0.0 { x + variance.sqrt() * z } else { x });
}

/// Forward again, from the timestep before t to t.
fn back(run: &Setting, rec: &mut Recorder, t: usize, stride: usize) {
    let alpha_bar = run.alpha_bar();
    let before = |t: usize| t.checked_sub(1).map_or(1.0, |t| alpha_bar[t]);
    let kept = alpha_bar[(t + stride).min(alpha_bar.len()) - 1] / before(t);
    let z = rec.noise();
    rec.update(kept.sqrt() * X + (1.0 - kept).sqrt() * z);
}
