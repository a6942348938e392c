//! The blocks of k-diffusion's upscaler as diffusers has them: norms without weights, scaled and
//! shifted by the embedding of the time, and a mirrored filter before each resampling.

use super::blocks::{BlockSpec, Blocks, Skips};
use crate::error::{Error, Result};
use crate::graph::{NodeId, Window};

/// Channels of a norm group.
const GROUP: usize = 32;
/// Of the norms before an attention, whatever the configuration says.
const ATTENTION_EPS: f64 = 1e-5;

/// Channels between the two convolutions of a residual block and behind them, and the groups of the
/// norm between.
struct Widths {
    middle: usize,
    out: usize,
    groups: usize,
}

impl Blocks<'_> {
    /// A down block; each layer's map is a skip, but for a last block that attends, whose up block
    /// takes none.
    pub fn k_down(
        &mut self,
        block: &BlockSpec,
        mut h: NodeId,
        skips: &mut Skips,
    ) -> Result<NodeId> {
        let (name, c) = (block.name, block.channels);
        for j in 0..self.config.layers_per_block {
            let widths = Widths { middle: c, out: c, groups: c / GROUP };
            h = self.k_residual(&format!("{name}.resnets.{j}"), h, widths)?;
            if block.kind.attention {
                h = self.k_attention(&format!("{name}.attentions.{j}"), h, !block.resamples)?;
            }
            skips.push((block.resamples || !block.kind.attention).then_some(h));
        }
        if !block.resamples {
            return Ok(h);
        }
        self.filtered_half(&format!("{name}.downsamplers.0"), h, true)
    }

    /// An up block: the newest skip is appended to the channels once; the last layer has the
    /// channels of the next block.
    pub fn k_up(&mut self, block: &BlockSpec, mut h: NodeId, skips: &mut Skips) -> Result<NodeId> {
        let (name, c, next) = (block.name, block.channels, block.next);
        let layers = self.config.layers_per_block;
        let skip = skips.take(name, layers)?.swap_remove(0);
        // What diffusers takes for the first block that attends.
        let first = block.kind.attention && c == next && c == self.config.time_embedding_dim;
        if first == skip.is_some() {
            return Err(Error::invalid(
                format!("{name}: up_block_types"),
                "KCrossAttn blocks at the bottom, as wide as the next and as the time embedding",
                if first { "a map to join, and no room for it" } else { "no map to join" },
                "correct config.json: diffusers' class fails there too",
            ));
        }
        if let Some(skip) = skip {
            h = self.g.concat(&format!("{name}.concat"), h, skip)?;
        }
        for j in 0..layers {
            let out = if j + 1 == layers { next } else { c };
            let middle = if block.kind.attention { c } else { out };
            let widths = Widths { middle, out, groups: c / GROUP };
            h = self.k_residual(&format!("{name}.resnets.{j}"), h, widths)?;
            if block.kind.attention {
                h = self.k_attention(&format!("{name}.attentions.{j}"), h, first)?;
            }
        }
        if !block.resamples {
            return Ok(h);
        }
        self.filtered_double(&format!("{name}.upsamplers.0"), h, true)
    }

    /// `conv2(act(norm2(conv1(act(norm1(x))))))` beside x, norms as of [`Blocks::ada_norm`].
    fn k_residual(&mut self, name: &str, x: NodeId, widths: Widths) -> Result<NodeId> {
        let (act, part) = (self.config.act, |p: &str| format!("{name}.{p}"));
        let (channels, eps) = (self.g.shape(x).channels(), self.config.norm_eps);
        let mut h = self.ada_norm(&part("norm1"), x, channels / GROUP, eps)?;
        h = self.g.activation(&part("nonlinearity1"), h, act);
        h = self.g.conv2d(&part("conv1"), h, widths.middle, 3, 1, (1, 1))?;
        h = self.ada_norm(&part("norm2"), h, widths.groups, eps)?;
        h = self.g.activation(&part("nonlinearity2"), h, act);
        let mut shortcut = x;
        if channels != widths.out {
            let window = Window::square(1, 1, (0, 0));
            shortcut = self.g.convolution(&part("conv_shortcut"), x, widths.out, window, false)?;
        }
        h = self.g.conv2d(&part("conv2"), h, widths.out, 3, 1, (1, 1))?;
        self.g.add(&part("residual"), h, shortcut, 1.0)
    }

    /// Attention over the pixels, twice if `own`. The second would be over a text; the class gives
    /// it none, so that it too is over the pixels, and the norm of the text is not read.
    fn k_attention(&mut self, name: &str, mut h: NodeId, own: bool) -> Result<NodeId> {
        let c = self.g.shape(h).channels();
        for i in if own { 1..=2 } else { 2..=2 } {
            let (norm, attention) = (format!("{name}.norm{i}"), format!("{name}.attn{i}"));
            let normed = self.ada_norm(&norm, h, (c / GROUP).max(1), ATTENTION_EPS)?;
            let y = self.attended(&attention, normed)?;
            h = self.g.add(&format!("{attention}.residual"), y, h, 1.0)?;
        }
        for part in ["weight", "bias"] {
            self.g.unread(format!("{name}.attn2.norm_cross.{part}"), &[c], None);
        }
        Ok(h)
    }

    /// `norm(x) (1 + s) + t` with `[s | t]` a projection of the embedding as it is.
    fn ada_norm(&mut self, name: &str, x: NodeId, groups: usize, eps: f64) -> Result<NodeId> {
        let c = self.g.shape(x).channels();
        let row = self.g.linear(&format!("{name}.linear"), self.raw_time, 2 * c, true);
        let h = self.g.bare_group_norm(name, x, groups, eps)?;
        Ok(self.g.scale_shift(&format!("{name}.shift"), h, row))
    }
}
