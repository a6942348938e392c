//! Rows of a trajectory as the device reads them: f64 expressions rounded once to f32.

use super::adaptive;
use crate::ops::control::layout;
use crate::ops::row::{self, Mix, Row as DeviceRow};
use crate::solver::{Adaptive, Eval, Expr, Row, Stage, Term, Threshold, Trajectory};

impl From<&Expr> for Mix {
    fn from(expr: &Expr) -> Mix {
        let c = |term| expr.coefficient(term) as f32;
        Mix {
            x: c(Term::X),
            x0: c(Term::X0),
            eps: c(Term::Eps),
            saved: c(Term::Saved),
            h: std::array::from_fn(|j| c(Term::History(j))),
            z0: c(Term::Noise(0)),
            z1: c(Term::Noise(1)),
        }
    }
}

/// What the rows are read in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// Elements of a sample: the place of a quantile among them is known beforehand.
    pub numel: usize,
    pub guided: bool,
}

/// The table that `solver_step` reads, one [`DeviceRow`] a row; the numbers of adaptive steps
/// follow.
pub(super) fn rows(trajectory: &Trajectory, setting: Setting) -> Vec<u32> {
    let mut pushes = 0;
    let mut rows = Vec::with_capacity(trajectory.rows.len());
    for row in &trajectory.rows {
        let ring = if trajectory.history == 0 { 0 } else { pushes % trajectory.history };
        let device = match (&trajectory.adaptive, row.stage) {
            (Some(adaptive), Some(stage)) => staged_row(adaptive, stage, setting),
            (Some(_), None) => DeviceRow { stage: layout::INIT, ..device_row(row, setting) },
            (None, _) => device_row(row, setting),
        };
        rows.push(DeviceRow { ring: ring as u32, ..device });
        pushes += usize::from(device.has(row::PUSH));
    }
    if let Some(adaptive) = &trajectory.adaptive {
        rows.extend(row::pack_numbers(&adaptive::numbers(adaptive)));
    }
    bytemuck::cast_slice(&rows).to_vec()
}

/// The table that `replace` reads: of each row what known data and noise are multiplied by, and
/// its draw.
pub(super) fn known(trajectory: &Trajectory) -> Vec<u32> {
    let row = |row: &Row| {
        let Some(known) = row.known else { return DeviceRow::default() };
        let x = Mix { x0: known.alpha as f32, z0: known.sigma as f32, ..Mix::default() };
        let mut d = DeviceRow { x, ..DeviceRow::default() };
        if let Some(draw) = known.draw {
            (d.z0_step, d.z0_stream, d.z0_index) = (draw.step, draw.stream, draw.index);
        }
        d
    };
    let rows: Vec<DeviceRow> = trajectory.rows.iter().map(row).collect();
    bytemuck::cast_slice(&rows).to_vec()
}

/// What is known beforehand of a row that follows the progress of each sample.
fn staged_row(adaptive: &Adaptive, stage: Stage, setting: Setting) -> DeviceRow {
    let mut d = DeviceRow { stage: adaptive::stage(stage), ..DeviceRow::default() };
    let decides = stage == Stage::Step(adaptive.method.rows() - 1);
    d.flags = row::EVAL;
    d.flags |= if stage == Stage::Finish { 0 } else { row::PUSH };
    d.flags |= if stage == Stage::Start || decides { row::WRITE_SAVED } else { 0 };
    d.clip = adaptive.model.clip.map_or(f32::MAX, |c| c as f32);
    if let Some(threshold) = adaptive.model.threshold {
        set_threshold(&mut d, threshold, setting);
    }
    if setting.guided {
        d.rescale = adaptive.guidance.rescale as f32;
    }
    d
}

fn set_threshold(d: &mut DeviceRow, threshold: Threshold, setting: Setting) {
    let at = threshold.quantile.clamp(0.0, 1.0) * (setting.numel - 1) as f64;
    d.flags |= row::THRESHOLD;
    (d.threshold_rank, d.threshold_part) = (at.floor() as u32, at.fract() as f32);
    d.threshold_max = threshold.max as f32;
}

/// Whether the row needs the launch of [`crate::ops::control`].
pub(super) fn is_controlled(row: &Row, guided: bool) -> bool {
    let rescales = |eval: &Eval| guided && eval.guidance.on && eval.guidance.rescale != 0.0;
    let asks = |eval: &Eval| eval.prediction.threshold.is_some() || rescales(eval);
    row.snr.is_some() || row.eval.as_ref().is_some_and(asks)
}

fn device_row(row: &Row, setting: Setting) -> DeviceRow {
    let mut d = DeviceRow::default();
    if let Some(eval) = &row.eval {
        evaluation(&mut d, eval, setting);
    }
    d.x = Mix::from(&row.x);
    if let Some(saved) = &row.saved {
        d.flags |= row::WRITE_SAVED;
        d.saved = Mix::from(saved);
    }
    if let Some(push) = &row.push {
        d.flags |= row::PUSH;
        d.push = Mix::from(push);
    }
    if let Some(snr) = row.snr {
        d.flags |= row::SNR;
        (d.snr_ratio, d.snr_factor) = (snr.ratio as f32, snr.factor as f32);
    }
    if let Some(draw) = row.draws.first() {
        (d.z0_step, d.z0_stream, d.z0_index) = (draw.step, draw.stream, draw.index);
    }
    if let Some(draw) = row.draws.get(1) {
        (d.z1_step, d.z1_stream, d.z1_index) = (draw.step, draw.stream, draw.index);
    }
    d
}

fn evaluation(d: &mut DeviceRow, eval: &Eval, setting: Setting) {
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
    if let Some(threshold) = p.threshold {
        set_threshold(d, threshold, setting);
    }
    if setting.guided && eval.guidance.on {
        d.flags |= row::GUIDE;
        d.rescale = eval.guidance.rescale as f32;
        if eval.guidance.unconditional_eps {
            d.flags |= row::UNCOND_EPS;
        }
    }
}
