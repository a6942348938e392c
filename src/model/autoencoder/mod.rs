//! AutoencoderKL: the decoder that turns latents into pictures (Rombach et al. 2022,
//! arXiv:2112.10752, section 3.1) as diffusers configures and names it.
//!
//! ```text
//! z -> 1x1 -> conv_in -> residual, attention, residual -> up blocks -> norm, SiLU, conv_out
//! ```

mod config;

use super::keys::Keys;
use crate::error::Result;
use crate::graph::{Graph, GraphBuilder, NodeId, Shape};
use crate::ops::Act;
use config::Config;

/// The class, as `_class_name` calls it.
const CLASS: &str = "AutoencoderKL";
/// The epsilon of every norm.
const EPS: f64 = 1e-6;

/// A decoder of latents: a network for parts of the state of any size.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    config: Config,
}

impl Decoder {
    /// Reads a `config.json`. `channels` are those of the state.
    pub(super) fn read(keys: Keys, channels: usize) -> Result<Decoder> {
        let class = keys.class()?;
        if class != CLASS {
            return Err(keys.bad("_class_name", CLASS, class));
        }
        let origin = keys.origin().to_string();
        let config = Config::read(keys)?;
        if config.latent_channels != channels {
            return Err(crate::error::Error::invalid(
                format!("{origin}: latent_channels"),
                format!("{channels}, the in_channels of the network"),
                config.latent_channels.to_string(),
                "use the decoder that belongs to the network",
            ));
        }
        Ok(Decoder { config })
    }

    /// `[C, H, W]` of the picture of a state.
    pub fn picture(&self, [_, h, w]: [usize; 3]) -> [usize; 3] {
        let factor = self.config.factor();
        [self.config.out_channels, factor * h, factor * w]
    }

    /// What the state is multiplied by before it is decoded.
    pub fn scale(&self) -> f32 {
        (1.0 / self.config.scaling_factor) as f32
    }

    /// Whether the decoder was found to need f32 where the network does with halves.
    pub fn needs_f32(&self) -> bool {
        self.config.force_upcast
    }

    /// Sides of a tile of latents, a multiple of four, so that a quarter of it is whole.
    pub fn tile(&self) -> usize {
        (self.config.sample_size / self.config.factor() / 4 * 4).max(4)
    }

    /// The network for latents of `[h, w]`.
    pub fn graph(&self, [h, w]: [usize; 2]) -> Result<Graph> {
        let config = &self.config;
        let mut g = GraphBuilder::new();
        let shape = Shape::Map { h, w, c: config.latent_channels };
        let mut x = g.latents(shape, self.scale());
        if config.post_quant {
            x = g.conv2d("post_quant_conv", x, config.latent_channels, 1, 1, (0, 0))?;
        }
        g.unread("encoder.", &[], None);
        g.unread("quant_conv.", &[], None);
        let mut blocks = Blocks { g: &mut g, config };
        let x = blocks.decode(x)?;
        Ok(g.finish(x))
    }
}

/// Grows the decoder block by block.
struct Blocks<'a> {
    g: &'a mut GraphBuilder,
    config: &'a Config,
}

impl Blocks<'_> {
    fn decode(&mut self, x: NodeId) -> Result<NodeId> {
        let channels = &self.config.channels;
        let last = channels[channels.len() - 1];
        let mut h = self.g.conv2d("decoder.conv_in", x, last, 3, 1, (1, 1))?;
        h = self.resnet("decoder.mid_block.resnets.0", h, last)?;
        if self.config.attends {
            h = self.attention("decoder.mid_block.attentions.0", h)?;
        }
        h = self.resnet("decoder.mid_block.resnets.1", h, last)?;
        for (i, attends) in self.config.up_blocks.iter().enumerate() {
            let (name, c) = (format!("decoder.up_blocks.{i}"), channels[channels.len() - 1 - i]);
            for j in 0..self.config.layers {
                h = self.resnet(&format!("{name}.resnets.{j}"), h, c)?;
                if *attends {
                    h = self.attention(&format!("{name}.attentions.{j}"), h)?;
                }
            }
            if i + 1 < channels.len() {
                let upsampler = format!("{name}.upsamplers.0");
                h = self.g.upsample(&format!("{upsampler}.up"), h)?;
                h = self.g.conv2d(&format!("{upsampler}.conv"), h, c, 3, 1, (1, 1))?;
            }
        }
        h = self.g.group_norm("decoder.conv_norm_out", h, self.config.groups, EPS)?;
        h = self.g.activation("decoder.conv_act", h, Act::Silu);
        self.g.conv2d("decoder.conv_out", h, self.config.out_channels, 3, 1, (1, 1))
    }

    /// `conv2(act(norm2(conv1(act(norm1(x)))))) + shortcut(x)`
    fn resnet(&mut self, name: &str, x: NodeId, channels: usize) -> Result<NodeId> {
        let (config, part) = (self.config, |p: &str| format!("{name}.{p}"));
        let mut h = self.g.group_norm(&part("norm1"), x, config.groups, EPS)?;
        h = self.g.activation(&part("nonlinearity1"), h, config.act);
        h = self.g.conv2d(&part("conv1"), h, channels, 3, 1, (1, 1))?;
        h = self.g.group_norm(&part("norm2"), h, config.groups, EPS)?;
        h = self.g.activation(&part("nonlinearity2"), h, config.act);
        let mut shortcut = x;
        if self.g.shape(x).channels() != channels {
            shortcut = self.g.conv2d(&part("conv_shortcut"), x, channels, 1, 1, (0, 0))?;
        }
        h = self.g.conv2d(&part("conv2"), h, channels, 3, 1, (1, 1))?;
        self.g.add(&part("residual"), h, shortcut, 1.0)
    }

    /// Self-attention over the pixels in one head, with a residual.
    fn attention(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let c = self.g.shape(x).channels();
        let normed = self.g.group_norm(&part("group_norm"), x, self.config.groups, EPS)?;
        let qkv = ["to_q", "to_k", "to_v"].map(|to| self.g.linear(&part(to), normed, c, true));
        let scale = (1.0 / (c as f64).sqrt()) as f32;
        let h = self.g.attention(&part("attention"), qkv, 1, scale);
        let h = self.g.linear(&part("to_out.0"), h, c, true);
        self.g.add(&part("residual"), h, x, 1.0)
    }
}
