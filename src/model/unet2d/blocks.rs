//! The parts of the UNet: residual block, attention, down, mid and up block.

use super::config::{BlockKind, Config, Resampling};
use crate::error::{Error, Result};
use crate::graph::{GraphBuilder, NodeId};
use crate::model::residual::{self, Residual, Resize, Style, TimeShift};

/// Grows the graph block by block.
pub(super) struct Blocks<'a> {
    pub g: &'a mut GraphBuilder,
    pub config: &'a Config,
    /// The embedding of time and class.
    pub raw_time: NodeId,
    /// The same, activated: what a residual block projects.
    pub time: NodeId,
}

/// Names and widths of one down or up block.
pub(super) struct BlockSpec<'a> {
    /// `down_blocks.1`
    pub name: &'a str,
    pub kind: BlockKind,
    pub channels: usize,
    /// Channels of the next block, for an up block.
    pub next: usize,
    /// Whether it resamples: all but the last do.
    pub resamples: bool,
}

/// The maps that down blocks leave for up blocks.
#[derive(Default)]
pub(super) struct Skips(Vec<Option<NodeId>>);

impl Skips {
    pub fn push(&mut self, h: Option<NodeId>) {
        self.0.push(h);
    }

    /// The newest `count`, the newest first; None for what a block did not leave.
    pub fn take(&mut self, block: &str, count: usize) -> Result<Vec<Option<NodeId>>> {
        let Some(rest) = self.0.len().checked_sub(count) else {
            return Err(unmatched(block, count, self.0.len()));
        };
        Ok(self.0.split_off(rest).into_iter().rev().collect())
    }

    /// The same where each must be there.
    pub fn all(&mut self, block: &str, count: usize) -> Result<Vec<NodeId>> {
        let taken = self.take(block, count)?;
        let there: Vec<NodeId> = taken.into_iter().flatten().collect();
        let found = there.len();
        if found == count { Ok(there) } else { Err(unmatched(block, count, found)) }
    }
}

fn unmatched(block: &str, count: usize, found: usize) -> Error {
    Error::invalid(
        format!("{block}: up_block_types"),
        format!("{count} maps of the down blocks to join"),
        found.to_string(),
        "use blocks of one family on both sides: diffusers' class fails there too",
    )
}

impl Blocks<'_> {
    /// Half the size behind the filter; what lies outside is zero, or mirrored.
    pub fn filtered_half(&mut self, name: &str, x: NodeId, mirror: bool) -> Result<NodeId> {
        residual::filtered_half(self.g, name, x, mirror)
    }

    /// Twice the size before the filter.
    pub fn filtered_double(&mut self, name: &str, x: NodeId, mirror: bool) -> Result<NodeId> {
        residual::filtered_double(self.g, name, x, mirror)
    }

    /// A residual block of the plain family.
    fn resnet(
        &mut self,
        name: &str,
        x: NodeId,
        channels: usize,
        resize: Resize,
        scale: f64,
    ) -> Result<NodeId> {
        let groups = [self.g.shape(x).channels(), channels].map(|c| self.config.groups(c));
        self.residual(name, x, channels, Residual { groups, resize, scale, shortcut: false })
    }

    /// See [`residual::residual`].
    pub fn residual(
        &mut self,
        name: &str,
        x: NodeId,
        channels: usize,
        how: Residual,
    ) -> Result<NodeId> {
        let Config { act, norm_eps, time_shift, .. } = *self.config;
        let style = Style { act, eps: norm_eps, time_shift, time: self.time };
        residual::residual(self.g, &style, name, x, channels, how)
    }

    /// Self-attention over the pixels with a residual (Wang et al. 2018, arXiv:1711.07971, in the
    /// form of Ho et al. 2020): `(out(softmax(q k^T / sqrt(d)) v) + x) / scale`.
    pub fn attention(
        &mut self,
        name: &str,
        x: NodeId,
        groups: Option<usize>,
        scale: f64,
    ) -> Result<NodeId> {
        let normed = match groups {
            Some(n) => {
                self.g.group_norm(&format!("{name}.group_norm"), x, n, self.config.norm_eps)?
            }
            None => x,
        };
        let y = self.attended(name, normed)?;
        self.g.add(&format!("{name}.residual"), y, x, (1.0 / scale) as f32)
    }

    /// `out(softmax(q k^T / sqrt(d)) v)`. Heads need not fill the channels.
    pub fn attended(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let channels = self.g.shape(x).channels();
        let (head_dim, heads) = self.config.heads(channels);
        if heads == 0 {
            return Err(Error::invalid(
                format!("{name}: attention_head_dim"),
                format!("at most the {channels} channels of the map"),
                head_dim.to_string(),
                "correct config.json: diffusers' class fails there too",
            ));
        }
        let inner = head_dim * heads;
        let qkv = ["to_q", "to_k", "to_v"].map(|to| self.g.linear(&part(to), x, inner, true));
        let softmax_scale = (1.0 / (head_dim as f64).sqrt()) as f32;
        let y = self.g.attention(&part("attention"), qkv, heads, softmax_scale);
        Ok(self.g.linear(&part("to_out.0"), y, channels, true))
    }

    /// Layer `j` of a down or up block: a residual block, then attention if the block has it.
    fn layer(&mut self, block: &BlockSpec, j: usize, x: NodeId) -> Result<NodeId> {
        let resnet = format!("{}.resnets.{j}", block.name);
        let h = self.resnet(&resnet, x, block.channels, Resize::Keep, 1.0)?;
        if !block.kind.attention {
            return Ok(h);
        }
        let groups = Some(self.config.groups(block.channels));
        self.attention(&format!("{}.attentions.{j}", block.name), h, groups, 1.0)
    }

    /// A down block; every map it makes is pushed on `skips`.
    pub fn down(&mut self, block: &BlockSpec, mut h: NodeId, skips: &mut Skips) -> Result<NodeId> {
        for j in 0..self.config.layers_per_block {
            h = self.layer(block, j, h)?;
            skips.push(Some(h));
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
            skips.push(Some(h));
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
            let default = (c.time_shift == TimeShift::Default).then(|| c.groups(channels));
            let groups = c.attn_norm_num_groups.or(default);
            h = self.attention("mid_block.attentions.0", h, groups, scale)?;
        }
        self.resnet("mid_block.resnets.1", h, channels, Resize::Keep, scale)
    }

    /// An up block: before each layer the newest of `skips` is appended to the channels.
    pub fn up(&mut self, block: &BlockSpec, mut h: NodeId, skips: &mut Skips) -> Result<NodeId> {
        let layers = self.config.layers_per_block + 1;
        for (j, skip) in skips.all(block.name, layers)?.into_iter().enumerate() {
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
