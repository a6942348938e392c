//! The parts of the UNet: residual block, attention, down, mid and up block.

use super::config::{BlockKind, Config, Resampling, TimeShift};
use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId};

/// Grows the graph block by block. `time` is the activated time embedding, which every residual
/// block projects.
pub(super) struct Blocks<'a> {
    pub g: &'a mut GraphBuilder,
    pub config: &'a Config,
    pub time: NodeId,
}

/// What a residual block does to the size of its map.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resize {
    Keep,
    Halve,
    Double,
}

/// Names and widths of one down or up block.
pub(super) struct BlockSpec<'a> {
    /// `down_blocks.1`
    pub name: &'a str,
    pub kind: BlockKind,
    pub channels: usize,
    /// Whether it resamples: all but the last do.
    pub resamples: bool,
}

impl Blocks<'_> {
    /// `h = conv1(act(norm1(x)))`, time, `h = conv2(act(norm2(h)))`, `(h + shortcut(x)) / scale`
    /// (Ho et al. 2020, appendix B); with `resize` both branches are resampled before `conv1`.
    fn resnet(
        &mut self,
        name: &str,
        x: NodeId,
        channels: usize,
        resize: Resize,
        scale: f64,
    ) -> Result<NodeId> {
        let (c, part) = (self.config, |p: &str| format!("{name}.{p}"));
        let mut h = self.g.group_norm(&part("norm1"), x, c.norm_num_groups, c.norm_eps)?;
        h = self.g.activation(&part("nonlinearity1"), h, c.act);
        let mut shortcut = x;
        match resize {
            Resize::Keep => {}
            Resize::Halve => {
                shortcut = self.g.downsample(&part("downsample_shortcut"), shortcut)?;
                h = self.g.downsample(&part("downsample"), h)?;
            }
            Resize::Double => {
                shortcut = self.g.upsample(&part("upsample_shortcut"), shortcut)?;
                h = self.g.upsample(&part("upsample"), h)?;
            }
        }
        h = self.g.conv2d(&part("conv1"), h, channels, 3, 1, (1, 1))?;
        h = match c.time_shift {
            TimeShift::Default => {
                let row = self.g.linear(&part("time_emb_proj"), self.time, channels, true);
                h = self.g.add(&part("time"), h, row, 1.0)?;
                self.g.group_norm(&part("norm2"), h, c.norm_num_groups, c.norm_eps)?
            }
            TimeShift::ScaleShift => {
                let row = self.g.linear(&part("time_emb_proj"), self.time, 2 * channels, true);
                h = self.g.group_norm(&part("norm2"), h, c.norm_num_groups, c.norm_eps)?;
                self.g.scale_shift(&part("time"), h, row)
            }
        };
        h = self.g.activation(&part("nonlinearity2"), h, c.act);
        // Before conv2, whose epilogue can then add it.
        if self.g.shape(shortcut).channels() != channels {
            let conv = part("conv_shortcut");
            shortcut = self.g.conv2d(&conv, shortcut, channels, 1, 1, (0, 0))?;
        }
        h = self.g.conv2d(&part("conv2"), h, channels, 3, 1, (1, 1))?;
        self.g.add(&part("residual"), h, shortcut, (1.0 / scale) as f32)
    }

    /// Self-attention over the pixels with a residual (Wang et al. 2018, arXiv:1711.07971, in the
    /// form of Ho et al. 2020): `(out(softmax(q k^T / sqrt(d)) v) + x) / scale`.
    fn attention(
        &mut self,
        name: &str,
        x: NodeId,
        groups: Option<usize>,
        scale: f64,
    ) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let channels = self.g.shape(x).channels();
        let head_dim = self.config.head_dim(channels);
        let normed = match groups {
            Some(n) => self.g.group_norm(&part("group_norm"), x, n, self.config.norm_eps)?,
            None => x,
        };
        let qkv =
            ["to_q", "to_k", "to_v"].map(|to| self.g.linear(&part(to), normed, channels, true));
        let softmax_scale = (1.0 / (head_dim as f64).sqrt()) as f32;
        let y = self.g.attention(&part("attention"), qkv, channels / head_dim, softmax_scale);
        let y = self.g.linear(&part("to_out.0"), y, channels, true);
        self.g.add(&part("residual"), y, x, (1.0 / scale) as f32)
    }

    /// Layer `j` of a down or up block: a residual block, then attention if the block has it.
    fn layer(&mut self, block: &BlockSpec, j: usize, x: NodeId) -> Result<NodeId> {
        let resnet = format!("{}.resnets.{j}", block.name);
        let h = self.resnet(&resnet, x, block.channels, Resize::Keep, 1.0)?;
        if !block.kind.attention {
            return Ok(h);
        }
        let groups = Some(self.config.norm_num_groups);
        self.attention(&format!("{}.attentions.{j}", block.name), h, groups, 1.0)
    }

    /// A down block; every map it makes is pushed on `skips`.
    pub fn down(
        &mut self,
        block: &BlockSpec,
        mut h: NodeId,
        skips: &mut Vec<NodeId>,
    ) -> Result<NodeId> {
        for j in 0..self.config.layers_per_block {
            h = self.layer(block, j, h)?;
            skips.push(h);
        }
        if block.resamples {
            let name = format!("{}.downsamplers.0", block.name);
            h = match block.kind.resampling.unwrap_or(self.config.downsample_type) {
                Resampling::Resnet => self.resnet(&name, h, block.channels, Resize::Halve, 1.0)?,
                Resampling::Conv => {
                    // Padding 0 stands for one row and column below and to the right only.
                    let pad = (self.config.downsample_padding, 1);
                    self.g.conv2d(&format!("{name}.conv"), h, block.channels, 3, 2, pad)?
                }
            };
            skips.push(h);
        }
        Ok(h)
    }

    /// The middle: two residual blocks around an attention, each rescaled by
    /// `mid_block_scale_factor`.
    pub fn mid(&mut self, mut h: NodeId) -> Result<NodeId> {
        let c = self.config;
        let (channels, scale) = (self.g.shape(h).channels(), c.mid_block_scale_factor);
        h = self.resnet("mid_block.resnets.0", h, channels, Resize::Keep, scale)?;
        if c.add_attention {
            // Under scale_shift diffusers leaves this norm out unless its groups are given.
            let default = (c.time_shift == TimeShift::Default).then_some(c.norm_num_groups);
            let groups = c.attn_norm_num_groups.or(default);
            h = self.attention("mid_block.attentions.0", h, groups, scale)?;
        }
        self.resnet("mid_block.resnets.1", h, channels, Resize::Keep, scale)
    }

    /// An up block: before each layer the newest of `skips` is appended to the channels.
    pub fn up(
        &mut self,
        block: &BlockSpec,
        mut h: NodeId,
        skips: &mut Vec<NodeId>,
    ) -> Result<NodeId> {
        let layers = self.config.layers_per_block + 1;
        for (j, skip) in skips.split_off(skips.len() - layers).into_iter().rev().enumerate() {
            h = self.g.concat(&format!("{}.resnets.{j}.concat", block.name), h, skip)?;
            h = self.layer(block, j, h)?;
        }
        if !block.resamples {
            return Ok(h);
        }
        let name = format!("{}.upsamplers.0", block.name);
        match block.kind.resampling.unwrap_or(self.config.upsample_type) {
            Resampling::Resnet => self.resnet(&name, h, block.channels, Resize::Double, 1.0),
            Resampling::Conv => {
                h = self.g.upsample(&format!("{name}.upsample"), h)?;
                self.g.conv2d(&format!("{name}.conv"), h, block.channels, 3, 1, (1, 1))
            }
        }
    }
}
