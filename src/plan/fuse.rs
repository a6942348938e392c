//! Fusion at the end of kernels: elementwise layers become the tail of the kernel that feeds them.
//!
//! Each pattern is a small function from a consumer and its producer to the producer's new tail.

use super::{Kernel, KernelId, Plan, Tail};
use crate::graph::{Layer, Shape};
use crate::ops::Act;

/// A pattern: the tail that `producer` has after it took in `consumer`, which reads it as its
/// `operand`-th input; `None` where the pattern does not apply.
type Pattern = fn(&Plan, &Kernel, usize, &Kernel) -> Option<Tail>;

const PATTERNS: &[Pattern] = &[add_row, multiply, add_residual, scale_shift, activation, gate];

/// Fuses until no pattern applies.
pub(super) fn fuse(plan: &mut Plan) {
    let readers = plan.readers();
    let mut dead = vec![false; plan.kernels.len()];
    for consumer in 0..plan.kernels.len() {
        let Some((producer, tail)) = find(plan, consumer, &readers) else { continue };
        // The producer moves to the consumer's place, after everything the tail reads.
        let mut fused = plan.kernels[producer].clone();
        fused.tail = tail;
        fused.shape = plan.kernels[consumer].shape;
        fused.covers = fused.covering(&[&plan.kernels[consumer]]);
        plan.kernels[consumer] = fused;
        dead[producer] = true;
    }
    plan.remove(&dead);
}

fn find(plan: &Plan, consumer: KernelId, readers: &[usize]) -> Option<(KernelId, Tail)> {
    let kernel = &plan.kernels[consumer];
    // The producer that runs last: the other one's inputs need not be kept alive for it.
    let mut operands: Vec<usize> = (0..kernel.inputs.len()).collect();
    operands.sort_by_key(|&o| std::cmp::Reverse(kernel.inputs[o]));
    for operand in operands {
        let producer = kernel.inputs[operand];
        let source = &plan.kernels[producer];
        if readers[producer] != 1 || source.domain != kernel.domain {
            continue;
        }
        let tail = PATTERNS.iter().find_map(|pattern| pattern(plan, kernel, operand, source));
        if let Some(tail) = tail {
            return Some((producer, tail));
        }
    }
    None
}

fn is_product(kernel: &Kernel) -> bool {
    matches!(kernel.layer, Layer::Conv2d { .. } | Layer::Linear { .. })
}

/// conv2d + a row: the time embedding of a ResBlock.
fn add_row(plan: &Plan, consumer: &Kernel, operand: usize, producer: &Kernel) -> Option<Tail> {
    let Layer::Add { scale } = consumer.layer else { return None };
    let row = *consumer.inputs.get(1)?;
    let is_row = matches!(plan.kernels[row].shape, Shape::Row { .. })
        && matches!(consumer.shape, Shape::Map { .. });
    let conv = matches!(producer.layer, Layer::Conv2d { .. });
    (operand == 0 && is_row && conv && producer.tail == Tail::NONE).then_some(Tail {
        row: Some(row),
        scale,
        ..Tail::NONE
    })
}

/// linear times a row: the gate of a residual branch.
fn multiply(_: &Plan, consumer: &Kernel, operand: usize, producer: &Kernel) -> Option<Tail> {
    let linear = matches!(producer.layer, Layer::Linear { .. }) && producer.tail == Tail::NONE;
    let map = matches!(producer.shape, Shape::Map { .. });
    (consumer.layer == Layer::Multiply && operand == 0 && linear && map)
        .then(|| Tail { times: Some(consumer.inputs[1]), ..Tail::NONE })
}

/// conv2d or linear + a value of the same shape: the end of a residual branch.
fn add_residual(plan: &Plan, consumer: &Kernel, operand: usize, producer: &Kernel) -> Option<Tail> {
    let Layer::Add { scale } = consumer.layer else { return None };
    let other = consumer.inputs[1 - operand];
    let same = plan.kernels[other].shape == consumer.shape
        && plan.kernels[other].domain == consumer.domain
        && producer.shape == consumer.shape
        && other != consumer.inputs[operand];
    let t = producer.tail;
    let free = t.residual.is_none() && t.scale == 1.0 && t.act == Act::None;
    (is_product(producer) && same && free).then_some(Tail { residual: Some(other), scale, ..t })
}

/// group_norm + the row `[scale | shift]`.
fn scale_shift(_: &Plan, consumer: &Kernel, operand: usize, producer: &Kernel) -> Option<Tail> {
    let norm = matches!(producer.layer, Layer::GroupNorm { .. }) && producer.tail == Tail::NONE;
    (consumer.layer == Layer::ScaleShift && operand == 0 && norm)
        .then(|| Tail { scale_shift: Some(consumer.inputs[1]), ..Tail::NONE })
}

/// Any kernel with a tail + its activation.
fn activation(_: &Plan, consumer: &Kernel, _: usize, producer: &Kernel) -> Option<Tail> {
    let Layer::Activation(act) = consumer.layer else { return None };
    let takes = is_product(producer) || matches!(producer.layer, Layer::GroupNorm { .. });
    (takes && producer.tail.act == Act::None).then_some(Tail { act, ..producer.tail })
}

/// linear to `[values | gates]` + their product.
fn gate(_: &Plan, consumer: &Kernel, _: usize, producer: &Kernel) -> Option<Tail> {
    let linear = matches!(producer.layer, Layer::Linear { .. }) && producer.tail == Tail::NONE;
    (consumer.layer == Layer::Geglu && linear).then_some(Tail { gate: true, ..Tail::NONE })
}
