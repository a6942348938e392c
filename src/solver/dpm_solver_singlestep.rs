//! The single-step solvers DPM-Solver-2 and -3 and DPM-Solver++(2S) and (3S) (Lu et al. 2022,
//! arXiv:2206.00927, Alg. 1 and 2, and arXiv:2211.01095, Alg. 1).
//!
//! They are of Runge-Kutta's kind: a block from s to t passes through one or two levels between,
//! and starts anew from x_s each time. Those levels count as steps of the run, so that n steps are
//! n evaluations for every order (2206.00927, section 3.4).

use super::Term::{History, Saved, X};
use super::dpm_solver::{Step, check, prediction};
use super::dpm_solver_1::dpm_solver_1;
use super::{Expr, Kind, Level, Recorder, Setting, SolverInfo, SolverType, Term};
use crate::error::Result;

/// What this file adds to the catalogue.
pub(super) const SOLVERS: &[SolverInfo] = &[
    SolverInfo {
        name: "dpmpp-2s",
        family: "exponential integrator",
        reference: "Lu et al. 2022, arXiv:2211.01095, Alg. 1",
        fixes: &[("solver_order", "2"), ("algorithm_type", "\"dpmsolver++\"")],
        ..SINGLESTEP
    },
    SolverInfo {
        name: "dpmpp-3s",
        family: "exponential integrator",
        order: 3,
        reference: "Lu et al. 2022, arXiv:2211.01095, prop. 4.1 with a parabola for x0",
        fixes: &[("solver_order", "3"), ("algorithm_type", "\"dpmsolver++\"")],
        ..SINGLESTEP
    },
    SolverInfo {
        name: "dpmpp-2s-sde",
        family: "exponential integrator",
        kind: Kind::Sde,
        order: 1,
        reference: "Lu et al. 2022, arXiv:2211.01095, Alg. 1 for the reverse SDE",
        fixes: &[("solver_order", "2"), ("algorithm_type", "\"sde-dpmsolver++\"")],
        ..SINGLESTEP
    },
    SolverInfo {
        name: "dpm-solver-2",
        reference: "Lu et al. 2022, arXiv:2206.00927, Alg. 1",
        fixes: &[
            ("solver_order", "2"),
            ("algorithm_type", "\"dpmsolver\""),
            ("final_sigmas_type", "\"sigma_min\""),
        ],
        ..SINGLESTEP
    },
    SolverInfo {
        name: "dpm-solver-3",
        order: 3,
        reference: "Lu et al. 2022, arXiv:2206.00927, Alg. 2",
        fixes: &[
            ("solver_order", "3"),
            ("algorithm_type", "\"dpmsolver\""),
            ("final_sigmas_type", "\"sigma_min\""),
        ],
        ..SINGLESTEP
    },
    SINGLESTEP,
];

/// The class with its keys as they are.
const SINGLESTEP: SolverInfo = SolverInfo {
    name: "dpm-solver-singlestep",
    family: "exponential integrator",
    kind: Kind::Ode,
    nfe_per_step: 1,
    nfe_extra: 0,
    order: 2,
    reference: "Lu et al. 2022, arXiv:2206.00927; solver_order and algorithm_type choose",
    schedulers: &["DPMSolverSinglestepScheduler"],
    plus_plus: false,
    fixes: &[],
    record: singlestep,
};

/// Each block by the orders 1, 2, 3 of its length; with the levels s, u, v and t
///
/// ```text
/// x_u = from x_s with D0 = m_s
/// x_v = from x_s with D0 = m_s and D1 = (m_u - m_s) / r_u
/// x_t = from x_s with D0 = m_s and D1, D2 by the parabola through m_s, m_u and m_v
/// ```
///
/// where m is the prediction and r_u = (lambda_u - lambda_s) / h. See [`Step`] for what multiplies
/// them and [`second`], [`third`].
fn singlestep(run: &Setting, rec: &mut Recorder) -> Result<()> {
    check(run)?;
    let algorithm = run.keys.algorithm_type;
    if run.keys.solver_order == 1 {
        return dpm_solver_1(run, rec);
    }
    let m = prediction(algorithm);
    rec.clipped_eps();
    rec.initial_noise(run.initial_scale());
    for block in blocks(run) {
        let s = block[0];
        for (i, &t) in block[1..].iter().enumerate() {
            let step = Step::new(algorithm, s, t);
            let r = |j: usize| (block[j].lambda() - s.lambda()) / step.h;

            rec.denoise(block[i]);
            let (x, predictions) = match i {
                0 => (X, step.weight(1) * m),
                1 => (Saved, second(run, &step, r(1), History(0), m)),
                _ => (Saved, third(run, &step, [r(1), r(2)], [History(1), History(0), m])),
            };
            if i == 0 {
                rec.save(X);
            }
            if i + 2 < block.len() {
                rec.push(m);
            }
            let x = step.from(x, predictions, rec);
            rec.update(x);
        }
    }
    Ok(())
}

/// `D0 = m_s`, `D1 = (m_u - m_s) / r_u`: the midpoint rule takes half of phi_1 for phi_2.
fn second(run: &Setting, step: &Step, r: f64, m_s: Term, m_u: Term) -> Expr {
    let first = step.weight(1) * m_s;
    let d1 = (1.0 / r) * (1.0 * m_u - 1.0 * m_s);
    first + step.slope_weight(run.keys.solver_type) * d1
}

/// With the divided differences `D1_u = (m_u - m_s) / r_u` and `D1_v = (m_v - m_s) / r_v`:
///
/// ```text
/// midpoint  D1 = D1_v
/// heun      D1 = (r_v D1_u - r_u D1_v) / (r_v - r_u)    D2 = 2 (D1_v - D1_u) / (r_v - r_u)
/// ```
///
/// The first is Alg. 2 of arXiv:2206.00927, of order three where r_v = 2/3. As in the multistep
/// solver, sde-dpmsolver++ is as diffusers has it, see [`Step::third_weight`].
fn third(run: &Setting, step: &Step, r: [f64; 2], [m_s, m_u, m_v]: [Term; 3]) -> Expr {
    let first = step.weight(1) * m_s;
    let d1_v = (1.0 / r[1]) * (1.0 * m_v - 1.0 * m_s);
    if run.keys.solver_type != SolverType::Heun {
        return first + step.weight(2) * d1_v;
    }
    let d1_u = (1.0 / r[0]) * (1.0 * m_u - 1.0 * m_s);
    let spread = 1.0 / (r[1] - r[0]);
    let d1 = spread * (r[1] * d1_u.clone() - r[0] * d1_v.clone());
    let d2 = (2.0 * spread) * (d1_v - d1_u);
    first + step.weight(2) * d1 + step.third_weight() * d2
}

/// The levels of the run in blocks of solver_order steps, neighbours sharing a level. Where
/// `lower_order_final` says so, the number of steps is no multiple of the order, or the data is
/// reached, shorter blocks end the run (2206.00927, section 3.4), and the last step of all is of
/// order one where it reaches the data.
fn blocks<'a>(run: &'a Setting<'_>) -> Vec<&'a [Level]> {
    let (order, steps) = (run.keys.solver_order, run.steps);
    let reaches_data = run.levels[run.levels.len() - 1].sigma == 0.0;
    let mut lengths = vec![order; steps / order];
    if run.keys.lower_order_final || reaches_data || !steps.is_multiple_of(order) {
        match steps % order {
            0 => {
                lengths.pop();
                lengths.extend([order - 1, 1]);
            }
            rest => lengths.push(rest),
        }
    }
    if reaches_data && lengths.last() == Some(&2) {
        lengths.pop();
        lengths.extend([1, 1]);
    }
    // A run that begins later begins within a block.
    let mut left_out = steps + 1 - run.levels.len();
    let mut start = 0;
    let block = |length: usize| {
        let taken = length.saturating_sub(left_out);
        left_out -= length - taken;
        start += taken;
        (taken > 0).then(|| &run.levels[start - taken..=start])
    };
    lengths.into_iter().filter_map(block).collect()
}
