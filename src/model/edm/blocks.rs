//! What both networks are made of: a residual block that may resample and attend, and the
//! resampling of a map.

use crate::error::{Error, Result};
use crate::graph::{Fir, GraphBuilder, NodeId, Part};
use crate::ops::Act;

/// What a block does to the size of its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resize {
    Keep,
    Halve,
    Double,
}

/// What a block is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub channels: usize,
    pub resize: Resize,
    pub attention: bool,
}

/// In what the blocks of the two networks differ.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub eps: f64,
    /// Of every sum with a shortcut.
    pub scale: f32,
    /// The embedding scales and shifts after the second norm; otherwise it is added before it.
    pub adaptive: bool,
    /// A shortcut that is resampled has a convolution even where its channels stay.
    pub projects: bool,
    /// One head; otherwise one for every 64 channels.
    pub one_head: bool,
    /// Of the resampling filter; they add up to 1.
    pub taps: Vec<f32>,
}

/// Grows the graph block by block.
pub(super) struct Blocks<'a> {
    pub g: &'a mut GraphBuilder,
    pub style: Style,
    /// The activated embedding of noise level and class, which every block projects.
    pub emb: NodeId,
}

impl Blocks<'_> {
    /// `h = conv0(resize(silu(norm0(x))))`, embedding, `h = conv1(silu(norm1(h)))`,
    /// `(h + skip(x)) scale`, and then perhaps attention (Karras et al. 2022, appendix F.2).
    pub fn block(&mut self, name: &str, x: NodeId, block: Block) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let (before, c) = (self.g.shape(x).channels(), block.channels);
        let mut h = self.norm(&part("norm0"), x)?;
        h = self.g.activation(&part("silu0"), h, Act::Silu);
        h = self.resized(&part("conv0"), h, block.resize)?;
        h = self.g.conv2d(&part("conv0"), h, c, 3, 1, (1, 1))?;
        h = self.embedded(name, h)?;
        h = self.g.activation(&part("silu1"), h, Act::Silu);
        // Before conv1, whose epilogue can then add it.
        let skip = self.resized(&part("skip"), x, block.resize)?;
        let resizes = block.resize != Resize::Keep;
        let skip = match before != c || (resizes && self.style.projects) {
            true => self.g.conv2d(&part("skip"), skip, c, 1, 1, (0, 0))?,
            false => skip,
        };
        h = self.g.conv2d(&part("conv1"), h, c, 3, 1, (1, 1))?;
        h = self.g.add(&part("residual"), h, skip, self.style.scale)?;
        // With fewer than 64 channels there is no head.
        let heads = if self.style.one_head { 1 } else { c / 64 };
        if block.attention && heads > 0 { self.attention(name, h, heads) } else { Ok(h) }
    }

    /// The embedding's row comes in around the second norm.
    fn embedded(&mut self, name: &str, h: NodeId) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let c = self.g.shape(h).channels();
        if self.style.adaptive {
            let row = self.g.linear(&part("affine"), self.emb, 2 * c, true);
            let h = self.norm(&part("norm1"), h)?;
            return Ok(self.g.scale_shift(&part("embedding"), h, row));
        }
        let row = self.g.linear(&part("affine"), self.emb, c, true);
        let h = self.g.add(&part("embedding"), h, row, 1.0)?;
        self.norm(&part("norm1"), h)
    }

    /// `(proj(softmax(q k^T / sqrt(d)) v) + x) scale`; queries, keys and values take turns in the
    /// rows of one projection.
    fn attention(&mut self, name: &str, x: NodeId, heads: usize) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let c = self.g.shape(x).channels();
        let normed = self.norm(&part("norm2"), x)?;
        let qkv = [0, 1, 2].map(|of| {
            let turn = Part { part: of, parts: 3, run: 1 };
            self.g.linear_part(&part("qkv"), normed, c, turn)
        });
        let scale = (1.0 / ((c / heads) as f64).sqrt()) as f32;
        let y = self.g.attention(&part("attention"), qkv, heads, scale);
        let y = self.g.linear(&part("proj"), y, c, true);
        self.g.add(&part("attention.residual"), y, x, self.style.scale)
    }

    /// A norm of up to 32 groups of no fewer than 4 channels.
    pub fn norm(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let c = self.g.shape(x).channels();
        let groups = (c / 4).min(32);
        if groups == 0 || !c.is_multiple_of(groups) {
            return Err(Error::invalid(
                format!("{name}: its {c} channels"),
                format!("at least 4, divided by {} groups", groups.max(1)),
                c.to_string(),
                "correct model_channels or channel_mult in config.json",
            ));
        }
        self.g.group_norm(name, x, groups, self.style.eps)
    }

    /// x at its new size; `conv` is the convolution whose buffer holds the filter.
    pub fn resized(&mut self, conv: &str, x: NodeId, resize: Resize) -> Result<NodeId> {
        let name = format!("{conv}.resample");
        let taps = &self.style.taps;
        let box_filter = matches!(taps.as_slice(), [a, b] if a == b);
        let y = match (resize, box_filter) {
            (Resize::Keep, _) => return Ok(x),
            (Resize::Halve, true) => self.g.downsample(&name, x)?,
            (Resize::Double, true) => self.g.upsample(&name, x)?,
            (Resize::Halve, false) => {
                // A correlation, where the op convolves.
                let turned: Vec<f32> = taps.iter().rev().copied().collect();
                self.g.fir_resample(&name, x, resampling(false), &turned)?
            }
            (Resize::Double, false) => {
                let doubled: Vec<f32> = taps.iter().map(|tap| 2.0 * tap).collect();
                self.g.fir_resample(&name, x, resampling(true), &doubled)?
            }
        };
        self.filter(conv);
        Ok(y)
    }

    /// A 3x3 convolution whose result is filtered and halved.
    pub fn conv_down(&mut self, name: &str, x: NodeId, channels: usize) -> Result<NodeId> {
        let taps = self.style.taps.clone();
        let y = self.g.conv2d_down(name, x, channels, 3, &taps)?;
        self.filter(name);
        Ok(y)
    }

    /// Declares the buffer that holds the filter once more.
    fn filter(&mut self, conv: &str) {
        let taps = &self.style.taps;
        let values = taps.iter().flat_map(|down| taps.iter().map(move |across| down * across));
        let shape = [1, 1, taps.len(), taps.len()];
        self.g.unread(format!("{conv}.resample_filter"), &shape, Some(values.collect()));
    }
}

/// Along both sides, with zeros outside.
fn resampling(up: bool) -> Fir {
    Fir { up, mirror: false, flat: false }
}
