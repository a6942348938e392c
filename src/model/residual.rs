//! The residual block of UNets for pictures, and how it resamples.

use crate::error::Result;
use crate::graph::{Fir, GraphBuilder, NodeId};
use crate::ops::Act;

/// What a residual block does to the size of its map.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    Keep,
    Halve,
    Double,
    /// The same behind and before NCSN++'s filter.
    FirHalve,
    FirDouble,
}

/// What residual blocks differ in.
#[derive(Clone, Copy)]
pub struct Residual {
    /// Of the first norm and of the second.
    pub groups: [usize; 2],
    pub resize: Resize,
    /// What the sum is divided by.
    pub scale: f64,
    /// A 1x1 convolution beside it even where the channels stay.
    pub shortcut: bool,
}

/// How the time enters a residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeShift {
    /// Added before the second norm (Ho et al. 2020).
    Default,
    /// Scales and shifts after the second norm (Dhariwal & Nichol 2021).
    ScaleShift,
}

/// What diffusers calls them.
pub const TIME_SHIFTS: &[(Option<&str>, TimeShift)] =
    &[(Some("default"), TimeShift::Default), (Some("scale_shift"), TimeShift::ScaleShift)];

/// What all residual blocks of a network share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    pub act: Act,
    pub eps: f64,
    pub time_shift: TimeShift,
    /// The embedding of the time, activated.
    pub time: NodeId,
}

/// The filter of NCSN++, with what keeps the mean.
const FIR_DOWN: [f32; 4] = [0.125, 0.375, 0.375, 0.125];
const FIR_UP: [f32; 4] = [0.25, 0.75, 0.75, 0.25];

/// Half the size behind the filter; what lies outside is zero, or mirrored.
pub fn filtered_half(g: &mut GraphBuilder, name: &str, x: NodeId, mirror: bool) -> Result<NodeId> {
    g.fir_resample(name, x, Fir { up: false, mirror, flat: false }, &FIR_DOWN)
}

/// Twice the size before the filter.
pub fn filtered_double(
    g: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    mirror: bool,
) -> Result<NodeId> {
    g.fir_resample(name, x, Fir { up: true, mirror, flat: false }, &FIR_UP)
}

fn resized(g: &mut GraphBuilder, name: &str, x: NodeId, resize: Resize) -> Result<NodeId> {
    match resize {
        Resize::Keep => Ok(x),
        Resize::Halve => g.downsample(name, x),
        Resize::Double => g.upsample(name, x),
        Resize::FirHalve => filtered_half(g, name, x, false),
        Resize::FirDouble => filtered_double(g, name, x, false),
    }
}

/// `h = conv1(act(norm1(x)))`, time, `h = conv2(act(norm2(h)))`, `(h + shortcut(x)) / scale`
/// (Ho et al. 2020, appendix B); with `resize` both branches are resampled before `conv1`.
pub fn residual(
    g: &mut GraphBuilder,
    c: &Style,
    name: &str,
    x: NodeId,
    channels: usize,
    how: Residual,
) -> Result<NodeId> {
    let part = |p: &str| format!("{name}.{p}");
    let mut h = g.group_norm(&part("norm1"), x, how.groups[0], c.eps)?;
    h = g.activation(&part("nonlinearity1"), h, c.act);
    let mut shortcut = resized(g, &part("resample_shortcut"), x, how.resize)?;
    h = resized(g, &part("resample"), h, how.resize)?;
    h = g.conv2d(&part("conv1"), h, channels, 3, 1, (1, 1))?;
    h = match c.time_shift {
        TimeShift::Default => {
            let row = g.linear(&part("time_emb_proj"), c.time, channels, true);
            h = g.add(&part("time"), h, row, 1.0)?;
            g.group_norm(&part("norm2"), h, how.groups[1], c.eps)?
        }
        TimeShift::ScaleShift => {
            let row = g.linear(&part("time_emb_proj"), c.time, 2 * channels, true);
            h = g.group_norm(&part("norm2"), h, how.groups[1], c.eps)?;
            g.scale_shift(&part("time"), h, row)
        }
    };
    h = g.activation(&part("nonlinearity2"), h, c.act);
    // Before conv2, whose epilogue can then add it.
    if how.shortcut || g.shape(shortcut).channels() != channels {
        let conv = part("conv_shortcut");
        shortcut = g.conv2d(&conv, shortcut, channels, 1, 1, (0, 0))?;
    }
    h = g.conv2d(&part("conv2"), h, channels, 3, 1, (1, 1))?;
    g.add(&part("residual"), h, shortcut, (1.0 / how.scale) as f32)
}
