//! Hoisting: what does not depend on the state leaves the loop.

use super::{Domain, Plan};
use crate::graph::Layer;

/// What a value depends on, besides weights.
#[derive(Clone, Copy, Default)]
struct Depends {
    time: bool,
    condition: bool,
    state: bool,
}

impl Depends {
    fn domain(self) -> Domain {
        match self {
            Depends { state: true, .. } => Domain::Sample,
            Depends { time: true, condition: true, .. } => Domain::TimeCondition,
            Depends { time: true, .. } => Domain::Time,
            Depends { condition: true, .. } => Domain::Condition,
            _ => Domain::Weights,
        }
    }
}

/// Tables together may have so many times the bytes that one may have.
const TABLES: usize = 16;

/// Gives each kernel its domain. A table of more than `table_bytes`, or one too many, stays in the
/// loop, where it costs a little work in each row instead of memory; what it reads may still leave.
/// Where times vary, a time is as much a sample's own as its state.
pub(super) fn hoist(plan: &mut Plan, table_bytes: usize, times_vary: bool) {
    let mut total = 0;
    let mut depends: Vec<Depends> = Vec::with_capacity(plan.kernels.len());
    for kernel in &mut plan.kernels {
        let mut d = match kernel.layer {
            Layer::TimeEmbedding { .. } if times_vary => {
                Depends { state: true, ..Depends::default() }
            }
            Layer::State { .. } => Depends { state: true, ..Depends::default() },
            Layer::TimeEmbedding { .. }
            | Layer::LearnedTime { .. }
            | Layer::DivideByTime
            | Layer::Mixture { .. } => Depends { time: true, ..Depends::default() },
            Layer::ClassEmbedding { .. }
            | Layer::Tokens { .. }
            | Layer::LabelEmbedding { .. }
            | Layer::LabelVector { .. } => Depends { condition: true, ..Depends::default() },
            _ => Depends::default(),
        };
        for input in &kernel.inputs {
            d.time |= depends[*input].time;
            d.condition |= depends[*input].condition;
            d.state |= depends[*input].state;
        }
        let rows = d.domain().rows(plan.sizes);
        // Tables are f32: they are small, and every row of them is reused.
        let bytes = rows * kernel.shape.elements() * 4;
        d.state |= bytes > table_bytes || total + bytes > TABLES * table_bytes;
        total += if d.state { 0 } else { bytes };
        kernel.domain = d.domain();
        depends.push(d);
    }
}
