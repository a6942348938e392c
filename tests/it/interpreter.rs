//! Runs a trajectory in f64, one sample element after another: what the table says, nothing else.

use unnoise::solver::{Eval, Expr, Term, Trajectory};

/// The network's output for one element: F and, for a learned variance, its channel.
pub struct Output {
    pub f: f64,
    pub variance: f64,
}

struct State {
    x: f64,
    saved: f64,
    /// Newest first.
    history: Vec<f64>,
}

/// The final x of one element; `network(x, time)` and the noise `draw(index)` are those of that
/// element.
pub fn run(
    trajectory: &Trajectory,
    network: impl Fn(f64, f64) -> Output,
    draw: impl Fn(usize) -> f64,
) -> f64 {
    let mut state = State { x: 0.0, saved: 0.0, history: Vec::new() };
    for row in &trajectory.rows {
        let (mut x0, mut eps, mut scale) = (f64::NAN, f64::NAN, 1.0);
        if let Some(eval) = &row.eval {
            let output = network(eval.prediction.c_in * state.x, trajectory.times[eval.time]);
            (x0, eps) = predict(eval, state.x, output.f);
            if let Some((min, max)) = eval.log_variance {
                let v = (output.variance + 1.0) / 2.0;
                scale = (0.5 * (v * max + (1.0 - v) * min)).exp();
            }
        }
        let value = |expr: &Expr| -> f64 {
            let term = |term| match term {
                Term::X => state.x,
                Term::Saved => state.saved,
                Term::X0 => x0,
                Term::Eps => eps,
                Term::History(n) => state.history[n],
                Term::Noise(n) => scale * draw(row.draws[n].index as usize),
            };
            expr.terms().map(|(t, c)| c * term(t)).sum()
        };
        let x = value(&row.x);
        let saved = row.saved.as_ref().map_or(state.saved, value);
        let push = row.push.as_ref().map(value);
        (state.x, state.saved) = (x, saved);
        if let Some(p) = push {
            state.history.insert(0, p);
            state.history.truncate(trajectory.history);
        }
    }
    state.x
}

fn predict(eval: &Eval, x: f64, f: f64) -> (f64, f64) {
    let p = &eval.prediction;
    let limit = p.clip.unwrap_or(f64::INFINITY);
    let x0 = (p.x0_x * x + p.x0_f * f).clamp(-limit, limit);
    (x0, p.eps_x * x + p.eps_f * f + p.eps_x0 * x0)
}
