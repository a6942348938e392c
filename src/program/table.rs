//! Rows of a trajectory as the device reads them: f64 expressions rounded once to f32.

use crate::ops::row::{self, Row as DeviceRow};
use crate::solver::{Expr, Row, Term, Trajectory};

/// Coefficients of one expression in the order of the device's row.
struct Coefficients {
    x: f32,
    x0: f32,
    eps: f32,
    saved: f32,
    history: [f32; row::HISTORY],
    noise: [f32; 2],
}

impl From<&Expr> for Coefficients {
    fn from(expr: &Expr) -> Self {
        let c = |term| expr.coefficient(term) as f32;
        Coefficients {
            x: c(Term::X),
            x0: c(Term::X0),
            eps: c(Term::Eps),
            saved: c(Term::Saved),
            history: std::array::from_fn(|j| c(Term::History(j))),
            noise: [c(Term::Noise(0)), c(Term::Noise(1))],
        }
    }
}

/// The table that `solver_step` reads, one [`DeviceRow`] a row.
pub(super) fn rows(trajectory: &Trajectory) -> Vec<u32> {
    let mut pushes = 0;
    let mut words = Vec::with_capacity(trajectory.rows.len() * row::WORDS);
    for row in &trajectory.rows {
        let ring = if trajectory.history == 0 { 0 } else { pushes % trajectory.history };
        words.extend_from_slice(bytemuck::cast_slice(&[device_row(row, ring)]));
        pushes += usize::from(row.push.is_some());
    }
    words
}

fn device_row(row: &Row, ring: usize) -> DeviceRow {
    let mut d = DeviceRow { ring: ring as u32, clip: f32::MAX, c_in: 1.0, ..Default::default() };
    if let Some(eval) = &row.eval {
        let p = eval.prediction;
        d.flags |= row::EVAL;
        d.c_in = p.c_in as f32;
        (d.x0_x, d.x0_f) = (p.x0_x as f32, p.x0_f as f32);
        (d.eps_x, d.eps_f, d.eps_x0) = (p.eps_x as f32, p.eps_f as f32, p.eps_x0 as f32);
        d.clip = p.clip.map_or(f32::MAX, |c| c as f32);
        if let Some((low, high)) = eval.log_variance {
            d.flags |= row::LEARNED;
            (d.log_var_min, d.log_var_max) = (low as f32, high as f32);
        }
    }
    let x = Coefficients::from(&row.x);
    (d.x_x, d.x_x0, d.x_eps, d.x_saved) = (x.x, x.x0, x.eps, x.saved);
    (d.x_h, d.x_z0, d.x_z1) = (x.history, x.noise[0], x.noise[1]);
    if let Some(saved) = &row.saved {
        let s = Coefficients::from(saved);
        d.flags |= row::WRITE_SAVED;
        (d.s_x, d.s_x0, d.s_eps, d.s_saved) = (s.x, s.x0, s.eps, s.saved);
        (d.s_h, d.s_z0, d.s_z1) = (s.history, s.noise[0], s.noise[1]);
    }
    if let Some(push) = &row.push {
        let p = Coefficients::from(push);
        d.flags |= row::PUSH;
        (d.p_x, d.p_x0, d.p_eps) = (p.x, p.x0, p.eps);
    }
    if let Some(draw) = row.draws.first() {
        (d.z0_step, d.z0_stream, d.z0_index) = (draw.step, draw.stream, draw.index);
    }
    if let Some(draw) = row.draws.get(1) {
        (d.z1_step, d.z1_stream, d.z1_index) = (draw.step, draw.stream, draw.index);
    }
    d
}
