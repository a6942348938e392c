//! Unified predictor-corrector (Zhao et al. 2023, arXiv:2302.04867).

use super::Term::{Eps, History, Saved, X, X0};
use super::adams::{Adams, Integrand, LEAST_ALPHA, Slope};
use super::{Expr, Kind, Level, Recorder, Setting, SolverInfo, SolverType};
use crate::error::{Error, Result};

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] =
    &[of_order("unipc", 3, &[]), of_order("unipc-1", 2, FIRST), of_order("unipc-3", 4, THIRD)];

/// UniPC-p is of order p + 1.
const FIRST: &[(&str, &str)] = &[("solver_order", "1")];
const THIRD: &[(&str, &str)] = &[("solver_order", "3")];

const fn of_order(
    name: &'static str,
    order: u32,
    fixes: &'static [(&'static str, &'static str)],
) -> SolverInfo {
    SolverInfo {
        name,
        family: "exponential integrator",
        kind: Kind::Ode,
        nfe_per_step: 1,
        nfe_extra: 0,
        order,
        reference: "Zhao et al. 2023, arXiv:2302.04867, Alg. 1 and 2",
        schedulers: &["UniPCMultistepScheduler"],
        plus_plus: false,
        fixes,
        record: unipc,
    }
}

/// Algorithms 1 (UniC) and 2 (UniP), in x0 or, unless `predict_x0`, in eps. At each level the
/// network speaks once; what it says corrects the x that it was asked about, and predicts the next:
///
/// ```text
/// x_i   <- UniC-p(x_{i-1}; m_{i-1}, m_{i-2}, .., and m_i)    corrector, order p + 1
/// x_{i+1} = UniP-p(x_i; m_i, m_{i-1}, ..)                    predictor, order p
/// ```
///
/// Both put the polynomial through the predictions m under the integral of [`Adams`]: to solve
/// R rho = b (theorem 3.1) is to integrate Lagrange polynomials, and B(h) cancels, but where two
/// points make a line; there the paper takes rho = 1/2, that is B(h) / 2 for the first moment, with
/// B(h) = h (`bh1`) or e^h - 1 (`bh2`).
///
/// The network has seen the uncorrected x; the corrected one is in the saved copy.
fn unipc(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    let prediction = if run.keys.predict_x0 { X0 } else { Eps };
    rec.initial_noise(run.initial_scale());
    for (i, step) in run.levels.windows(2).enumerate() {
        let (from, to) = (step[0], step[1]);
        rec.denoise(from);
        let newest = (from.lambda(), prediction.into());

        let corrects = i > 0 && !run.keys.disable_corrector.contains(&(i - 1));
        let mut x: Expr = X.into();
        if corrects && run.levels[i - 1].alpha > 0.0 {
            let mut known = past(run, i, order(run, i - 1));
            known.push(newest.clone());
            x = adams(run, run.levels[i - 1], from).step(Saved, &known);
        }

        let mut known = vec![newest];
        known.extend(past(run, i, order(run, i) - 1));
        rec.save(x.clone());
        rec.push(prediction);
        rec.update(adams(run, from, to).step(x, &known));
    }
    Ok(())
}

/// p of step i: what the history allows, less in the last steps with `lower_order_final`.
fn order(run: &Setting, i: usize) -> usize {
    let steps = run.levels.len() - 1;
    let left = if run.keys.lower_order_final { steps - i } else { steps };
    run.keys.solver_order.min(i + 1).min(left)
}

/// The `count` predictions before level i, the newest first.
fn past(run: &Setting, i: usize, count: usize) -> Vec<(f64, Expr)> {
    (1..=count).map(|j| (run.levels[i - j].lambda(), History(j - 1).into())).collect()
}

fn adams(run: &Setting, from: Level, to: Level) -> Adams {
    let integrand = if run.keys.predict_x0 { Integrand::Data } else { Integrand::Noise };
    // DPM-Solver's names for its own variants mean nothing here; the class reads them as bh2.
    let slope = match run.keys.solver_type {
        SolverType::Bh1 => Slope::Half,
        _ => Slope::HalfMean,
    };
    Adams { from, to, integrand, tau: 0.0, slope }
}

fn check(run: &Setting) -> Result<()> {
    run.without_eta()?;
    let origin = &run.config.origin;
    if !run.keys.predict_x0 && run.levels[0].alpha < LEAST_ALPHA {
        return Err(Error::invalid(
            format!("{origin}: predict_x0"),
            "true where the first level is pure noise",
            "false",
            "set predict_x0 to true, or rescale_betas_zero_snr to false",
        ));
    }
    Ok(())
}
