//! Folds the projection behind an attention into the one before it.
//!
//! With a single head `(softmax(q k^T) v) W + b = softmax(q k^T) (v W + b)`: a matrix product is
//! associative, and the weights of a softmax sum to one. Values then arrive projected, W and b are
//! multiplied into their projection when weights are loaded, and the attention does itself what the
//! projection behind it did as it wrote.

use super::{Head, Kernel, KernelId, Plan, Tail};
use crate::graph::{Layer, ParamId};

/// Folds wherever it applies.
pub(super) fn fold(plan: &mut Plan) {
    let readers = plan.readers();
    for id in 0..plan.kernels.len() {
        let Some((values, behind, attention)) = projection(plan, id, &readers) else { continue };
        // The product goes to the values, what follows it to the attention.
        let taken = plan.kernels[id].covers.clone();
        plan.kernels[values].behind = Some(behind);
        plan.kernels[values].covers.extend(taken.iter().take(1));
        plan.kernels[id] = attention;
        plan.kernels[id].covers.extend(taken.iter().skip(1));
    }
    plan.sweep();
}

/// Where kernel `id` is the projection behind an attention: the kernel that projects its values,
/// what is to be multiplied into it, and the attention that takes this kernel's place.
fn projection(
    plan: &Plan,
    id: KernelId,
    readers: &[usize],
) -> Option<(KernelId, (ParamId, Option<ParamId>), Kernel)> {
    let kernel = &plan.kernels[id];
    let Layer::Linear { weight, bias } = kernel.layer else { return None };
    let [before] = kernel.inputs[..] else { return None };
    let attention = &plan.kernels[before];
    let Layer::Attention { heads: 1, .. } = attention.layer else { return None };
    let values = *attention.inputs.last()?;
    let linear = &plan.kernels[values];
    let alone = readers[before] == 1 && readers[values] == 1;
    let projected = matches!(linear.layer, Layer::Linear { .. });
    let plain = [attention, linear].iter().all(|k| (k.head, k.tail) == (Head::NONE, Tail::NONE));
    let same = kernel.shape == attention.shape && kernel.domain == attention.domain;
    // What an attention can do as it writes.
    let tail = Tail { residual: kernel.tail.residual, scale: kernel.tail.scale, ..Tail::NONE };
    let fits = kernel.head == Head::NONE && kernel.tail == tail;
    (alone && projected && plain && same && fits)
        .then(|| (values, (weight, bias), Kernel { tail, ..attention.clone() }))
}
