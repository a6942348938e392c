//! Fusion at the start of kernels: what stands before a matrix product happens while it loads.
//!
//! Each pattern is a small function from a kernel to what it becomes when it reads through the
//! layer before it. Layers that nobody reads any more are dropped at the end.

use super::{Domain, Head, Kernel, KernelId, NormOnLoad, Plan, Shortcut, StateOnLoad, Tail};
use crate::graph::{Layer, Shape, Window};
use crate::ops::{self, Act, moments};

/// A pattern: what kernel `id` becomes; `None` where the pattern does not apply.
type Pattern = fn(&Plan, KernelId, &[usize]) -> Option<Kernel>;

/// In the order in which they apply: a norm lies before the upsampling of its result.
const PATTERNS: &[Pattern] = &[upsample, group_norm, layer_norm, concat, shortcut, state];

/// Regions of moments with more tiles than this are not worth merging in every workgroup.
const MOST_TILES: usize = 64;
/// Groups whose statistics a workgroup keeps.
const MOST_GROUPS: usize = 64;

/// Fuses until no pattern applies.
pub(super) fn fuse(plan: &mut Plan) {
    for id in 0..plan.kernels.len() {
        pack(plan, id);
    }
    plan.sweep();
    let readers = plan.readers();
    for pattern in PATTERNS {
        for id in 0..plan.kernels.len() {
            if let Some(kernel) = pattern(plan, id, &readers) {
                plan.kernels[id] = kernel;
            }
        }
    }
    for id in 0..plan.kernels.len() {
        let norm = plan.kernels[id].head.norm;
        if norm.is_some_and(|norm| norm.groups.is_some()) {
            for input in plan.kernels[id].inputs.clone() {
                plan.kernels[input].tail.moments = true;
            }
        }
    }
    plan.sweep();
}

/// Projections of one value that an attention reads become one linear layer.
fn pack(plan: &mut Plan, id: KernelId) {
    let kernel = &plan.kernels[id];
    let Layer::Attention { .. } = kernel.layer else { return };
    let readers = plan.readers();
    let (operands, domain) = (kernel.inputs.clone(), kernel.domain);
    let plain = |operand: KernelId| {
        let k = &plan.kernels[operand];
        let alone = readers[operand] == 1 && (k.head, k.tail) == (Head::NONE, Tail::NONE);
        matches!(k.layer, Layer::Linear { .. }) && alone && k.domain == domain
    };
    // The keys and values of a cross attention share what the queries do not.
    let source = |operand: KernelId| plan.kernels[operand].inputs[0];
    let shared = source(operands[operands.len() - 1]);
    let packed: Vec<KernelId> =
        operands.iter().copied().filter(|o| plain(*o) && source(*o) == shared).collect();
    if packed.len() < 2 {
        return;
    }
    let first = packed[0];
    let mut c = 0;
    for other in &packed {
        let kernel = plan.kernels[*other].clone();
        c += kernel.shape.channels();
        plan.kernels[first].covers = plan.kernels[first].covering(&[&kernel]);
        if let (Layer::Linear { weight, bias }, true) = (kernel.layer, *other != first) {
            plan.kernels[first].beside.push((weight, bias));
            let part = kernel.name.rsplit('.').next().unwrap_or_default();
            plan.kernels[first].name.push_str(&format!("+{part}"));
        }
    }
    let shape = &mut plan.kernels[first].shape;
    *shape = match *shape {
        Shape::Map { h, w, .. } => Shape::Map { h, w, c },
        Shape::Row { .. } => Shape::Row { c },
    };
    // Only values have a layer behind them, and they are the last.
    plan.kernels[first].behind = plan.kernels[packed[packed.len() - 1]].behind;
    let inputs = &mut plan.kernels[id].inputs;
    inputs.iter_mut().filter(|i| packed.contains(i)).for_each(|i| *i = first);
}

/// The kernel before `kernel`, if nobody else reads it and it runs as often.
fn before<'a>(plan: &'a Plan, kernel: &Kernel, readers: &[usize]) -> Option<&'a Kernel> {
    let [input] = kernel.inputs[..] else { return None };
    let before = &plan.kernels[input];
    (readers[input] == 1 && before.domain == kernel.domain).then_some(before)
}

/// Whether the kernel keeps to the buffers that a launch may bind.
fn bindable(plan: &Plan, kernel: &Kernel) -> bool {
    let Kernel { head, tail, .. } = kernel;
    let rows = head.norm.and_then(|n| n.scale_shift).or(tail.row).or(tail.times);
    let condition = rows.is_some_and(|row| plan.kernels[row].domain.has_condition());
    let skips = tail.shortcut.map_or(0, |s| 1 + usize::from(s.inputs.1.is_some()));
    // The weight, the vectors, the moments and the result.
    let always = 4;
    // The state comes with its table.
    let inputs = if head.state.is_some() { 2 } else { kernel.inputs.len() };
    let maps = inputs + skips + usize::from(tail.residual.is_some());
    always + maps + usize::from(rows.is_some()) + usize::from(condition) <= ops::MAX_BOUND
}

/// conv2d of an upsampled value.
fn upsample(plan: &Plan, id: KernelId, readers: &[usize]) -> Option<Kernel> {
    let kernel = &plan.kernels[id];
    let before = before(plan, kernel, readers)?;
    let conv = matches!(kernel.layer, Layer::Conv2d { .. }) && kernel.head == Head::NONE;
    let head = Head { up: 2, ..Head::NONE };
    (conv && before.layer == Layer::Upsample).then(|| Kernel {
        inputs: before.inputs.clone(),
        head,
        covers: kernel.covering(&[before]),
        ..kernel.clone()
    })
}

/// Whether the kernel can leave the moments of its value.
fn measures(kernel: &Kernel) -> bool {
    let product = matches!(
        kernel.layer,
        Layer::Conv2d { .. } | Layer::Linear { .. } | Layer::Attention { .. }
    );
    let tiles = match kernel.shape {
        Shape::Map { h, w, .. } => moments::tiles(h, w),
        Shape::Row { .. } => return false,
    };
    product && tiles <= MOST_TILES && kernel.domain == Domain::Sample
}

/// conv2d or linear of a normalised value, or conv2d of two joined and then normalised.
fn group_norm(plan: &Plan, id: KernelId, readers: &[usize]) -> Option<Kernel> {
    let kernel = &plan.kernels[id];
    let norm = before(plan, kernel, readers)?;
    let Layer::GroupNorm { gamma, beta, groups, eps } = norm.layer else { return None };
    let source = &plan.kernels[norm.inputs[0]];
    let (inputs, taken) = match (&kernel.layer, &source.layer) {
        (Layer::Conv2d { .. }, Layer::Concat) => (source.inputs.clone(), vec![norm, source]),
        (Layer::Conv2d { .. } | Layer::Linear { .. }, _) => (norm.inputs.clone(), vec![norm]),
        _ => return None,
    };
    let measured =
        |id: &KernelId| measures(&plan.kernels[*id]) && plan.kernels[*id].domain == kernel.domain;
    let scale_shift = norm.tail.scale_shift;
    let rows = scale_shift.is_none() || has_no_row(kernel);
    let fits = kernel.head.norm.is_none() && kernel.head.act == Act::None && rows;
    if !fits || groups > MOST_GROUPS || !inputs.iter().all(measured) {
        return None;
    }
    let on_load = NormOnLoad { gamma, beta, groups: Some(groups), eps, scale_shift };
    let head = Head { norm: Some(on_load), act: norm.tail.act, ..kernel.head };
    let fused = Kernel { inputs, head, covers: kernel.covering(&taken), ..kernel.clone() };
    bindable(plan, &fused).then_some(fused)
}

/// Whether a norm on load may scale and shift by a row: one is bound.
fn has_no_row(kernel: &Kernel) -> bool {
    kernel.tail.row.is_none() && kernel.tail.times.is_none()
}

/// What stands before `kernel` and scales and shifts a norm, and the row that it does so by.
fn modulated<'a>(
    plan: &'a Plan,
    kernel: &Kernel,
    readers: &[usize],
) -> Option<(&'a Kernel, KernelId)> {
    let [input] = kernel.inputs[..] else { return None };
    let scaled = &plan.kernels[input];
    let [_, row] = scaled.inputs[..] else { return None };
    let alone = readers[input] == 1 && scaled.domain == kernel.domain && has_no_row(kernel);
    (scaled.layer == Layer::ScaleShift && alone).then_some((scaled, row))
}

/// linear of rows that are normalised each, and then perhaps scaled and shifted.
fn layer_norm(plan: &Plan, id: KernelId, readers: &[usize]) -> Option<Kernel> {
    let kernel = &plan.kernels[id];
    let scaled = modulated(plan, kernel, readers);
    let norm = match scaled {
        Some((scaled, _)) => {
            let norm = &plan.kernels[scaled.inputs[0]];
            let alone = readers[scaled.inputs[0]] == 1 && norm.domain == kernel.domain;
            alone.then_some(norm)?
        }
        None => before(plan, kernel, readers)?,
    };
    let Layer::LayerNorm { gamma, beta, eps } = norm.layer else { return None };
    let linear = matches!(kernel.layer, Layer::Linear { .. }) && kernel.head == Head::NONE;
    // Rows of a table are found by a map that the norm does not follow.
    let map = matches!(kernel.shape, Shape::Map { .. });
    let scale_shift = scaled.map(|(_, row)| row);
    let on_load = NormOnLoad { gamma, beta, groups: None, eps, scale_shift };
    let head = Head { norm: Some(on_load), act: norm.tail.act, ..Head::NONE };
    let taken: Vec<&Kernel> = scaled.map(|(scaled, _)| scaled).into_iter().chain([norm]).collect();
    let covers = kernel.covering(&taken);
    let fused = Kernel { inputs: norm.inputs.clone(), head, covers, ..kernel.clone() };
    (linear && map && bindable(plan, &fused)).then_some(fused)
}

/// conv2d of two values joined.
fn concat(plan: &Plan, id: KernelId, _: &[usize]) -> Option<Kernel> {
    let kernel = &plan.kernels[id];
    let [input] = kernel.inputs[..] else { return None };
    let joined = &plan.kernels[input];
    let conv = matches!(kernel.layer, Layer::Conv2d { .. }) && joined.domain == kernel.domain;
    if !conv || kernel.head.norm.is_some() || joined.layer != Layer::Concat {
        return None;
    }
    let covers = kernel.covering(&[joined]);
    let fused = Kernel { inputs: joined.inputs.clone(), covers, ..kernel.clone() };
    bindable(plan, &fused).then_some(fused)
}

/// conv2d + a 1x1 convolution of other values.
fn shortcut(plan: &Plan, id: KernelId, readers: &[usize]) -> Option<Kernel> {
    let kernel = &plan.kernels[id];
    let residual = kernel.tail.residual?;
    let skip = &plan.kernels[residual];
    let Layer::Conv2d { weight, bias, window } = skip.layer else { return None };
    if window != Window::square(1, 1, (0, 0)) {
        return None;
    }
    let plain = (skip.head, skip.tail) == (Head::NONE, Tail::NONE);
    let conv = matches!(kernel.layer, Layer::Conv2d { .. });
    if !conv || !plain || readers[residual] != 1 || skip.domain != kernel.domain {
        return None;
    }
    let inputs = (skip.inputs[0], skip.inputs.get(1).copied());
    let shortcut = Some(Shortcut { weight, bias, inputs });
    let tail = Tail { residual: None, shortcut, ..kernel.tail };
    let fused = Kernel { tail, covers: kernel.covering(&[skip]), ..kernel.clone() };
    bindable(plan, &fused).then_some(fused)
}

/// conv2d of the network's input.
fn state(plan: &Plan, id: KernelId, readers: &[usize]) -> Option<Kernel> {
    let kernel = &plan.kernels[id];
    let input = before(plan, kernel, readers)?;
    let Layer::State { scale, offset } = input.layer else { return None };
    let conv = matches!(kernel.layer, Layer::Conv2d { .. }) && kernel.head == Head::NONE;
    let state = Some(StateOnLoad { shape: input.shape, scale, offset });
    let head = Head { state, ..Head::NONE };
    let covers = kernel.covering(&[input]);
    let fused = Kernel { inputs: Vec::new(), head, covers, ..kernel.clone() };
    (conv && bindable(plan, &fused)).then_some(fused)
}
