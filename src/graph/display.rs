//! A graph as text: one line a layer.

use super::{Graph, Layer, Shape};
use crate::ops::Act;
use std::fmt;

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Map { h, w, c } => write!(f, "[{h}, {w}, {c}]"),
            Shape::Row { c } => write!(f, "[{c}]"),
        }
    }
}

impl Layer {
    /// What it is called in reports: the op that computes it, or the activation.
    pub fn name(&self) -> &'static str {
        match self {
            Layer::State { .. } => "model_input",
            Layer::Latents { .. } => "latent_tile",
            Layer::TimeEmbedding { .. } | Layer::LabelEmbedding { .. } => "time_embedding",
            Layer::ClassEmbedding { .. }
            | Layer::LabelVector { .. }
            | Layer::LearnedTime { .. }
            | Layer::Tokens { .. } => "embedding",
            Layer::Linear { .. } => "linear",
            Layer::Conv2d { .. } => "conv2d",
            Layer::GroupNorm { .. } => "group_norm",
            Layer::LayerNorm { .. } => "layer_norm",
            Layer::Activation(Act::None) => "identity",
            Layer::Activation(Act::Silu) => "silu",
            Layer::Activation(Act::Gelu) => "gelu",
            Layer::Activation(Act::Relu) => "relu",
            Layer::Activation(Act::Mish) => "mish",
            Layer::Activation(Act::GeluTanh) => "gelu_tanh",
            Layer::Activation(Act::QuickGelu) => "quick_gelu",
            Layer::Geglu => "geglu",
            Layer::Add { .. } => "add",
            Layer::ScaleShift => "scale_shift",
            Layer::Multiply => "multiply",
            Layer::AddPositions | Layer::AddTable { .. } => "add",
            Layer::Unpatchify { .. } => "unpatchify",
            Layer::Concat => "concat",
            Layer::Upsample => "upsample",
            Layer::Downsample => "downsample",
            Layer::Pool { .. } => "pool",
            Layer::Interpolate { .. } => "interpolate",
            Layer::FirResample { .. } => "fir_resample",
            Layer::DivideByTime => "divide",
            Layer::Mixture { .. } => "mixture",
            Layer::Attention { .. } => "attention",
        }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<String> = node.inputs.iter().map(|n| format!("%{}", n.0)).collect();
            writeln!(
                f,
                "%{i} {} = {:?}({}) {}",
                node.name,
                node.layer,
                inputs.join(", "),
                node.shape
            )?;
        }
        Ok(())
    }
}
