//! The parts of the UNet: residual block, attention, what changes the size of the map.

use super::config::{Config, GROUPS};
use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId, Part};
use crate::ops::Act;

/// PyTorch's default of a group norm.
pub(super) const EPS: f64 = 1e-5;

/// Grows the graph block by block; `time` is the activated embedding of time and class.
pub(super) struct Blocks<'a> {
    pub g: &'a mut GraphBuilder,
    pub config: &'a Config,
    pub time: NodeId,
}

/// What a block does to the size of its map.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Resize {
    Keep,
    Halve,
    Double,
}

impl Blocks<'_> {
    /// Group norm and SiLU.
    pub fn normed(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let h = self.g.group_norm(name, x, GROUPS, EPS)?;
        Ok(self.g.activation(&format!("{name}.silu"), h, Act::Silu))
    }

    fn resized(&mut self, name: &str, x: NodeId, resize: Resize) -> Result<NodeId> {
        match resize {
            Resize::Keep => Ok(x),
            Resize::Halve => self.g.downsample(name, x),
            Resize::Double => self.g.upsample(name, x),
        }
    }

    /// `skip(x) + out_layers(in_layers(x), time)`, both branches resized before the first
    /// convolution (BigGAN's block as Song et al. 2021 have it; Dhariwal & Nichol 2021,
    /// arXiv:2105.05233, section 3). The time is added before the second norm, or scales and shifts
    /// after it (AdaGN, eq. 3).
    pub fn residual(
        &mut self,
        name: &str,
        x: NodeId,
        channels: usize,
        resize: Resize,
    ) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let mut h = self.normed(&part("in_layers.0"), x)?;
        h = self.resized(&part("h_upd"), h, resize)?;
        let mut skip = self.resized(&part("x_upd"), x, resize)?;
        h = self.g.conv2d(&part("in_layers.2"), h, channels, 3, 1, (1, 1))?;
        h = if self.config.use_scale_shift_norm {
            let row = self.g.linear(&part("emb_layers.1"), self.time, 2 * channels, true);
            h = self.g.group_norm(&part("out_layers.0"), h, GROUPS, EPS)?;
            self.g.scale_shift(&part("time"), h, row)
        } else {
            let row = self.g.linear(&part("emb_layers.1"), self.time, channels, true);
            h = self.g.add(&part("time"), h, row, 1.0)?;
            self.g.group_norm(&part("out_layers.0"), h, GROUPS, EPS)?
        };
        h = self.g.activation(&part("out_layers.1"), h, Act::Silu);
        // Before the last convolution, whose epilogue can then add it.
        if self.g.shape(skip).channels() != channels {
            skip = self.g.conv2d(&part("skip_connection"), skip, channels, 1, 1, (0, 0))?;
        }
        h = self.g.conv2d(&part("out_layers.3"), h, channels, 3, 1, (1, 1))?;
        self.g.add(&part("residual"), h, skip, 1.0)
    }

    /// `x + proj_out(softmax(q k^T / sqrt(d)) v)`; q, k and v are rows of one projection.
    pub fn attention(&mut self, name: &str, x: NodeId, up: bool) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let channels = self.g.shape(x).channels();
        let heads = self.config.heads(channels, up);
        let width = channels / heads;
        let normed = self.g.group_norm(&part("norm"), x, GROUPS, EPS)?;
        let run = if self.config.split_first { channels } else { width };
        let of = |part| Part { part, parts: 3, run };
        let qkv = [0, 1, 2].map(|i| self.g.linear_part(&part("qkv"), normed, channels, of(i)));
        let scale = (1.0 / (width as f64).sqrt()) as f32;
        let h = self.g.attention(&part("attention"), qkv, heads, scale);
        let h = self.g.linear(&part("proj_out"), h, channels, true);
        self.g.add(&part("residual"), h, x, 1.0)
    }

    /// Half the size: by a residual block, a convolution of stride 2 or the mean.
    pub fn down(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let channels = self.g.shape(x).channels();
        match (self.config.resblock_updown, self.config.conv_resample) {
            (true, _) => self.residual(name, x, channels, Resize::Halve),
            (_, true) => self.g.conv2d(&format!("{name}.op"), x, channels, 3, 2, (1, 1)),
            _ => self.g.downsample(name, x),
        }
    }

    /// Twice the size: by a residual block, or nearest, with or without a convolution.
    pub fn up(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let channels = self.g.shape(x).channels();
        if self.config.resblock_updown {
            return self.residual(name, x, channels, Resize::Double);
        }
        let h = self.g.upsample(name, x)?;
        match self.config.conv_resample {
            true => self.g.conv2d(&format!("{name}.conv"), h, channels, 3, 1, (1, 1)),
            false => Ok(h),
        }
    }
}
