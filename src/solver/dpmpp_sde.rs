//! DPM-Solver++ (SDE) and DPM-Solver++(2S) ancestral, the second-order single-step solvers of
//! k-diffusion with noise (after Lu et al. 2022, arXiv:2211.01095, Alg. 1).

use super::Term::{Saved, X, X0};
use super::dpm_solver::eta;
use super::euler_ancestral::down_and_up;
use super::{Kind, Level, Recorder, Setting, SolverInfo};
use crate::error::Result;

/// What this file adds to the catalogue. No scheduler class stands for the second: one of
/// DPMSolverSDEScheduler does not know s_noise, which sets it apart.
pub(super) const SOLVERS: &[SolverInfo] = &[
    SolverInfo {
        name: "dpmpp-sde",
        family: "exponential integrator",
        kind: Kind::Sde,
        nfe_per_step: 2,
        nfe_extra: -1,
        order: 2,
        reference: "Lu et al. 2022, arXiv:2211.01095, Alg. 1; k-diffusion's sample_dpmpp_sde",
        schedulers: &["DPMSolverSDEScheduler"],
        plus_plus: false,
        fixes: &[],
        record: dpmpp_sde,
    },
    SolverInfo {
        name: "dpmpp-2s-ancestral",
        family: "exponential integrator",
        kind: Kind::Sde,
        nfe_per_step: 2,
        nfe_extra: -1,
        order: 2,
        reference: "Lu et al. 2022, arXiv:2211.01095, Alg. 1; k-diffusion's \
                    sample_dpmpp_2s_ancestral",
        schedulers: &["DPMSolverSDEScheduler"],
        plus_plus: false,
        fixes: &[("s_noise", "1.0")],
        record: dpmpp_2s_ancestral,
    },
];

/// With sigma the ratio of noise to data, u half way from s to t in lambda (r = 1/2) and the
/// ancestral step of [`Ancestral`]:
///
/// ```text
/// x_u = ancestral step from s to u with x0(x_s), along the Brownian path W
/// x_t = ancestral step from s to t with x0(x_u), along the same path
/// z_u = (W(sigma_u) - W(sigma_s)) / sqrt(sigma_s - sigma_u),   z_t likewise
/// ```
///
/// A step into the data is x0.
fn dpmpp_sde(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let s_noise = run.keys.s_noise;
    rec.initial_noise(run.initial_scale());
    for pair in run.levels.windows(2) {
        let (s, t) = (pair[0], pair[1]);
        rec.denoise(s);
        if t.sigma == 0.0 {
            rec.update(t.alpha * X0);
            continue;
        }
        let u = run.level_of((s.ratio() * t.ratio()).sqrt());
        let half = Ancestral::new(s, u, eta(run));
        let z = rec.noise();
        let first = rec.name(z);
        rec.save(X);
        rec.update(half.keep * X + half.data * X0 + (half.noise * s_noise) * z);

        rec.denoise(u);
        let whole = Ancestral::new(s, t, eta(run));
        let length = (s.ratio() - t.ratio()).sqrt();
        let z = ((s.ratio() - u.ratio()).sqrt() / length) * rec.again(first)
            + ((u.ratio() - t.ratio()).sqrt() / length) * rec.noise();
        rec.update(whole.keep * Saved + whole.data * X0 + (whole.noise * s_noise) * z);
    }
    Ok(())
}

/// DPM-Solver++(2S) from s to the level `down` of the ancestral step, then its noise:
///
/// ```text
/// x_u = step from s to u with x0(x_s),   u half way from s to down in lambda
/// x_t = step from s to down with x0(x_u), + sigma_up z
/// ```
///
/// A step into the data is x0.
fn dpmpp_2s_ancestral(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let s_noise = run.keys.s_noise;
    rec.initial_noise(run.initial_scale());
    for pair in run.levels.windows(2) {
        let (s, t) = (pair[0], pair[1]);
        rec.denoise(s);
        if t.sigma == 0.0 {
            rec.update(t.alpha * X0);
            continue;
        }
        let step = Ancestral::new(s, t, eta(run));
        let u = run.level_of((s.ratio() * step.down).sqrt());
        rec.save(X);
        rec.update((u.sigma / s.sigma) * X + u.alpha * (1.0 - u.ratio() / s.ratio()) * X0);

        rec.denoise(u);
        let mut x = step.keep * Saved + step.data * X0;
        if step.noise > 0.0 {
            x = x + (step.noise * s_noise) * rec.noise();
        }
        rec.update(x);
    }
    Ok(())
}

/// The step down to less noise than t has, and the noise that makes up for it, as [`down_and_up`]
/// shares them out, sigma being the ratio of noise to data:
///
/// ```text
/// x_t / alpha_t = sigma_down / sigma_s x_s / alpha_s + (1 - sigma_down / sigma_s) x0 + sigma_up z
/// ```
struct Ancestral {
    /// sigma_down.
    down: f64,
    keep: f64,
    data: f64,
    noise: f64,
}

impl Ancestral {
    fn new(s: Level, t: Level, eta: f64) -> Ancestral {
        let (down, up) = down_and_up(s.ratio(), t.ratio(), eta);
        let data = t.alpha * (1.0 - down / s.ratio());
        Ancestral { down, keep: t.alpha * down / s.sigma, data, noise: t.alpha * up }
    }
}
