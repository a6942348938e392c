//! The parts of the one-dimensional UNet.

use super::config::{BlockKind, Config, MidKind};
use crate::error::{Error, Result};
use crate::graph::{Fir, GraphBuilder, NodeId};
use crate::ops::Act;

/// A cubic filter, with what keeps the mean; twice as much before doubling.
const CUBIC: [f32; 8] = [
    -0.011_718_75,
    -0.035_156_25,
    0.113_281_25,
    0.433_593_75,
    0.433_593_75,
    0.113_281_25,
    -0.035_156_25,
    -0.011_718_75,
];
/// Of every norm.
const EPS: f64 = 1e-5;
/// Norm groups of a residual block.
const GROUPS: usize = 8;
/// Channels of a head, at least.
const HEAD: usize = 32;
/// Taps of the convolutions.
const TAPS: (usize, usize) = (5, 1);

/// Grows the graph block by block.
pub(super) struct Blocks<'a> {
    g: &'a mut GraphBuilder,
    config: &'a Config,
    /// The embedding of the time, a row.
    time: NodeId,
}

impl<'a> Blocks<'a> {
    pub fn new(g: &'a mut GraphBuilder, config: &'a Config, time: NodeId) -> Self {
        Blocks { g, config, time }
    }

    /// A down block; what it leaves for an up block is pushed on `skips`.
    pub fn down(
        &mut self,
        name: &str,
        kind: BlockKind,
        mut h: NodeId,
        channels: usize,
        halves: bool,
        skips: &mut Vec<NodeId>,
    ) -> Result<NodeId> {
        match kind {
            BlockKind::Residual => {
                h = self.residuals(name, h, channels)?;
                skips.push(h);
                if halves {
                    let conv = format!("{name}.downsample.conv");
                    h = self.g.line_conv(&conv, h, channels, (3, 2), true)?;
                }
                return Ok(h);
            }
            BlockKind::Outer => {
                let time = self.g.everywhere(&format!("{name}.time"), self.time, h)?;
                h = self.g.concat(&format!("{name}.concat"), h, time)?;
            }
            BlockKind::Filtered | BlockKind::Attention => {
                h = self.filtered(&format!("{name}.down"), h, false)?;
            }
        }
        h = self.layers(name, h, &[channels; 3], kind, false)?;
        skips.push(h);
        Ok(h)
    }

    /// The middle: six layers at half the length, or residual blocks.
    pub fn mid(&mut self, mut h: NodeId) -> Result<NodeId> {
        let channels = self.g.shape(h).channels();
        match self.config.mid_block {
            MidKind::Attention => {
                h = self.filtered("mid_block.down", h, false)?;
                h = self.layers("mid_block", h, &[channels; 6], BlockKind::Attention, false)?;
                self.filtered("mid_block.up", h, true)
            }
            MidKind::Residual => {
                h = self.residuals("mid_block", h, channels)?;
                if self.config.downsample_each_block {
                    let conv = "mid_block.downsample.conv";
                    h = self.g.line_conv(conv, h, channels, (3, 2), true)?;
                }
                Ok(h)
            }
        }
    }

    /// An up block: `skip` is appended to the channels of `h`.
    pub fn up(
        &mut self,
        name: &str,
        kind: BlockKind,
        (h, skip): (NodeId, NodeId),
        out: usize,
        doubles: bool,
    ) -> Result<NodeId> {
        let channels = self.g.shape(h).channels();
        let mut h = self.g.concat(&format!("{name}.concat"), h, skip)?;
        match kind {
            BlockKind::Residual => {
                h = self.residuals(name, h, out)?;
                if !doubles {
                    return Ok(h);
                }
                self.g.line_double(&format!("{name}.upsample.conv"), h, out)
            }
            BlockKind::Outer => self.layers(name, h, &[channels, channels, out], kind, true),
            BlockKind::Filtered => {
                h = self.layers(name, h, &[channels, channels, out], kind, false)?;
                self.filtered(&format!("{name}.up"), h, true)
            }
            BlockKind::Attention => {
                h = self.layers(name, h, &[out; 3], kind, false)?;
                self.filtered(&format!("{name}.up"), h, true)
            }
        }
    }

    /// The end: convolution, norm, activation, convolution.
    pub fn out(&mut self, h: NodeId) -> Result<NodeId> {
        let (c, name) = (self.config, "out_block.final_conv1d");
        let channels = self.g.shape(h).channels();
        let mut h = self.g.line_conv(&format!("{name}_1"), h, channels, TAPS, true)?;
        h = self.g.group_norm(&format!("{name}_gn"), h, c.norm_num_groups, EPS)?;
        h = self.g.activation(&format!("{name}_act"), h, c.act.unwrap_or(Act::None));
        self.g.line_conv(&format!("{name}_2"), h, c.out_channels, (1, 1), true)
    }

    /// Half or twice the length behind or before the filter.
    fn filtered(&mut self, name: &str, x: NodeId, up: bool) -> Result<NodeId> {
        let taps = CUBIC.map(|tap| if up { 2.0 * tap } else { tap });
        self.g.unread(format!("{name}.kernel"), &[taps.len()], Some(taps.to_vec()));
        self.g.fir_resample(name, x, Fir { up, mirror: true, flat: true }, &taps)
    }

    /// Layers of these channels, each with an attention if the kind has it; the last one without
    /// its last norm and activation if `bare`.
    fn layers(
        &mut self,
        name: &str,
        mut h: NodeId,
        channels: &[usize],
        kind: BlockKind,
        bare: bool,
    ) -> Result<NodeId> {
        // Between its convolutions a layer has the channels of the first.
        let middle = channels[0];
        for (j, &out) in channels.iter().enumerate() {
            let bare = bare && j + 1 == channels.len();
            h = self.layer(&format!("{name}.resnets.{j}"), h, (middle, out), bare)?;
            if kind == BlockKind::Attention {
                h = self.attention(&format!("{name}.attentions.{j}"), h)?;
            }
        }
        Ok(h)
    }

    /// `gelu(norm(conv(gelu(norm(conv(x)))))) + shortcut(x)`, without the last norm and activation
    /// if `bare`.
    fn layer(
        &mut self,
        name: &str,
        x: NodeId,
        (middle, out): (usize, usize),
        bare: bool,
    ) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let mut shortcut = x;
        if self.g.shape(x).channels() != out {
            shortcut = self.g.line_conv(&part("conv_skip"), x, out, (1, 1), false)?;
        }
        let mut h = self.g.line_conv(&part("conv_1"), x, middle, TAPS, true)?;
        h = self.g.group_norm(&part("group_norm_1"), h, 1, EPS)?;
        h = self.g.activation(&part("gelu_1"), h, Act::Gelu);
        h = self.g.line_conv(&part("conv_2"), h, out, TAPS, true)?;
        if !bare {
            h = self.g.group_norm(&part("group_norm_2"), h, 1, EPS)?;
            h = self.g.activation(&part("gelu_2"), h, Act::Gelu);
        }
        self.g.add(&part("residual"), h, shortcut, 1.0)
    }

    /// Attention over the steps with a residual.
    fn attention(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let channels = self.g.shape(x).channels();
        let heads = channels / HEAD;
        if heads == 0 || !channels.is_multiple_of(heads) {
            return Err(Error::invalid(
                format!("{name}: block_out_channels"),
                format!("channels that as many heads of {HEAD} or more as fit divide"),
                channels.to_string(),
                "correct config.json: diffusers' class fails there too",
            ));
        }
        let normed = self.g.group_norm(&part("group_norm"), x, 1, EPS)?;
        let qkv =
            ["query", "key", "value"].map(|to| self.g.linear(&part(to), normed, channels, true));
        let scale = (1.0 / ((channels / heads) as f64).sqrt()) as f32;
        let y = self.g.attention(&part("attention"), qkv, heads, scale);
        let y = self.g.linear(&part("proj_attn"), y, channels, true);
        self.g.add(&part("residual"), y, x, 1.0)
    }

    /// One residual block more than the configuration's layers.
    fn residuals(&mut self, name: &str, mut h: NodeId, channels: usize) -> Result<NodeId> {
        for j in 0..=self.config.layers_per_block {
            h = self.residual(&format!("{name}.resnets.{j}"), h, channels)?;
        }
        Ok(h)
    }

    /// `block(block(x) + time) + shortcut(x)`, a block being `mish(norm(conv(x)))` (Janner et al.
    /// 2022, appendix C).
    fn residual(&mut self, name: &str, x: NodeId, channels: usize) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let mut shortcut = x;
        if self.g.shape(x).channels() != channels {
            let conv = part("residual_conv");
            shortcut = self.g.line_conv(&conv, x, channels, (1, 1), true)?;
        }
        let time = self.g.activation(&part("time_emb_act"), self.time, Act::Mish);
        let time = self.g.linear(&part("time_emb"), time, channels, true);
        let mut h = self.convolved(&part("conv_in"), x, channels)?;
        h = self.g.add(&part("time"), h, time, 1.0)?;
        h = self.convolved(&part("conv_out"), h, channels)?;
        self.g.add(&part("residual"), h, shortcut, 1.0)
    }

    fn convolved(&mut self, name: &str, x: NodeId, channels: usize) -> Result<NodeId> {
        let h = self.g.line_conv(&format!("{name}.conv1d"), x, channels, TAPS, true)?;
        let h = self.g.group_norm(&format!("{name}.group_norm"), h, GROUPS, EPS)?;
        Ok(self.g.activation(&format!("{name}.mish"), h, Act::Mish))
    }
}
