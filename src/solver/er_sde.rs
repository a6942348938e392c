//! Extended reverse-time SDE solvers (Cui et al. 2023, arXiv:2309.06169).

use super::Term::{History, X, X0};
use super::{Expr, Kind, Recorder, Setting, SolverInfo, Term};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[
    named("er-sde", 2, |run, rec| er_sde(run, rec, 3)),
    named("er-sde-1", 1, |run, rec| er_sde(run, rec, 1)),
    named("er-sde-2", 2, |run, rec| er_sde(run, rec, 2)),
];

const fn named(
    name: &'static str,
    order: u32,
    record: fn(&Setting, &mut Recorder) -> Result<()>,
) -> SolverInfo {
    SolverInfo {
        name,
        family: "SDE",
        kind: Kind::Sde,
        nfe_per_step: 1,
        nfe_extra: 0,
        order,
        reference: "Cui et al. 2023, arXiv:2309.06169, ER-SDE-Solver-1 to 3, ER SDE 5",
        schedulers: &["EulerDiscreteScheduler"],
        plus_plus: false,
        fixes: &[],
        record,
    }
}

/// ER-SDE-Solver-1 to 3, a Taylor expansion of x0 in s = sigma / alpha (the paper's sigma for VE,
/// its lambda for VP), from s to s', with r = phi(s') / phi(s) and d = s' - s:
///
/// ```text
/// x' / alpha' = r x / alpha + (1 - r) x0
///             + (d + phi(s') int_{s'}^{s} 1 / phi) D                    order 2
///             + (d^2 / 2 + phi(s') int_{s'}^{s} (u - s) / phi(u) du) E  order 3
///             + sqrt(s'^2 - r^2 s^2) z
/// ```
///
/// D and E are the first and second derivative of x0 by differences of the last predictions. phi is
/// the noise of ER SDE 5, which the authors recommend. A step to s' = 0 gives x0. On noisy paths a
/// third prediction makes the error smaller, not its order higher: weak order 2.
fn er_sde(run: &Setting, rec: &mut Recorder, most: usize) -> Result<()> {
    run.without_eta()?;
    rec.initial_noise(run.initial_scale());
    let ratios: Vec<f64> = run.levels.iter().map(|level| level.ratio()).collect();
    for (i, step) in run.levels.windows(2).enumerate() {
        let (from, to, s, next) = (step[0], step[1], ratios[i], ratios[i + 1]);
        rec.denoise(from);
        rec.push(X0);
        if next == 0.0 {
            rec.update(to.alpha * X0);
            continue;
        }
        let (order, r, d) = (most.min(i + 1), phi(next) / phi(s), next - s);
        let mut x = (r / from.alpha) * X + (1.0 - r) * X0;
        if order >= 2 {
            let slope = slope(X0, History(0), s - ratios[i - 1]);
            x = x + (d + phi(next) * integral(next, s, |_| 1.0)) * slope;
        }
        if order >= 3 {
            let (newer, older) = (s - ratios[i - 1], ratios[i - 1] - ratios[i - 2]);
            let change = slope(X0, History(0), newer) - slope(History(0), History(1), older);
            let curvature = (2.0 / (newer + older)) * change;
            x = x + (0.5 * d * d + phi(next) * integral(next, s, |u| u - s)) * curvature;
        }
        let noise = (next * next - (r * s).powi(2)).max(0.0).sqrt();
        let z = rec.noise();
        rec.update(to.alpha * (x + noise * z));
    }
    Ok(())
}

/// The slope between two predictions, `width` apart in s.
fn slope(newer: Term, older: Term, width: f64) -> Expr {
    (1.0 / width) * (1.0 * newer - 1.0 * older)
}

/// The noise scaling function of ER SDE 5.
fn phi(s: f64) -> f64 {
    s * (s.powf(0.3).exp() + 10.0)
}

/// `int_from^to f(u) / phi(u) du` by Simpson's rule in ln u, in which the integrand is smooth.
fn integral(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    const INTERVALS: usize = 200;
    let (start, width) = (from.ln(), (to / from).ln() / INTERVALS as f64);
    let at = |i: usize| {
        let u = (start + i as f64 * width).exp();
        let weight = if i == 0 || i == INTERVALS { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
        weight * f(u) * u / phi(u)
    };
    (0..=INTERVALS).map(at).sum::<f64>() * width / 3.0
}
