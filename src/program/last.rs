//! The last convolution of a network and the step that its output is for, in one launch.

use super::Launch;
use super::solver::Solver;
use crate::graph::{Layer, Shape};
use crate::ops::{self, Call, conv_step};
use crate::plan::{Kernel, Tail};

/// Whether the kernel that computes the network's output can take the step with it.
pub(super) fn joins(output: &Kernel, solver: &Solver) -> bool {
    let Kernel { head, tail, .. } = output;
    let plain = *tail == Tail::NONE && head.state.is_none() && output.inputs.len() == 1;
    let scaled = head.norm.is_some_and(|norm| norm.scale_shift.is_some());
    let fits = match output.shape {
        Shape::Map { w, c, .. } => {
            w % conv_step::ACROSS as usize == 0 && c <= conv_step::CHANNELS as usize
        }
        Shape::Row { .. } => false,
    };
    let (normed, biased) = match output.layer {
        Layer::Conv2d { bias, .. } => (head.norm.is_some(), bias.is_some()),
        _ => return false,
    };
    // The input and its weight.
    let always = 2;
    let bound = always + usize::from(normed || biased) + usize::from(normed) + solver.bound();
    plain && !scaled && fits && solver.joins() && bound <= ops::MAX_BOUND
}

/// The launch that does what `conv` and then `step` do, without the output between them.
pub(super) fn join(conv: Launch, step: Launch) -> Launch {
    let (Call::Conv2d(of_conv), Call::SolverStep(of_step)) = (conv.call, step.call) else {
        unreachable!("a convolution and a step, which `joins` has seen");
    };
    Launch {
        call: conv_step::Params { conv: of_conv, step: of_step }.into(),
        args: conv_step::args(&conv.args, &step.args),
        layer: format!("{}+{}", conv.layer, step.layer),
        covers: conv.covers,
    }
}
