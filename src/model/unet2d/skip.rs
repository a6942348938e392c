//! The blocks of NCSN++ (Song et al. 2021, arXiv:2011.13456, appendix H.1): residual blocks that
//! resample behind and before a filter, and a progressive branch on either side, which takes the
//! input down and the output up beside them.

use super::blocks::{BlockSpec, Blocks, Skips};
use crate::error::{Error, Result};
use crate::graph::NodeId;
use crate::model::residual::{Residual, Resize};
use crate::ops::Act;
use std::f64::consts::SQRT_2;

/// What every sum of these blocks is divided by.
const RESCALE: f64 = SQRT_2;
/// Channels of the progressive branches.
const BRANCH: usize = 3;
/// Norm groups of an attention, whatever the configuration says.
const ATTENTION_GROUPS: usize = 32;

/// Norm groups of residual blocks.
fn groups(channels: usize) -> usize {
    (channels / 4).min(32)
}

impl Blocks<'_> {
    /// A down block: `h = layers(h)`, then `h = skip_conv(half of input) + half of h`. Every map it
    /// makes is pushed on `skips`; `input` becomes its own half.
    pub fn skip_down(
        &mut self,
        block: &BlockSpec,
        mut h: NodeId,
        skips: &mut Skips,
        input: &mut NodeId,
    ) -> Result<NodeId> {
        let (name, channels) = (block.name, block.channels);
        let keep = |c| Residual {
            groups: [groups(c), groups(channels)],
            resize: Resize::Keep,
            scale: RESCALE,
            shortcut: false,
        };
        for j in 0..self.config.layers_per_block {
            let how = keep(self.g.shape(h).channels());
            h = self.residual(&format!("{name}.resnets.{j}"), h, channels, how)?;
            if block.kind.attention {
                let at = format!("{name}.attentions.{j}");
                h = self.attention(&at, h, Some(ATTENTION_GROUPS), RESCALE)?;
            }
            skips.push(Some(h));
        }
        if !block.resamples {
            return Ok(h);
        }
        self.branch_channels(name, "in_channels", *input)?;
        let how = Residual { resize: Resize::FirHalve, shortcut: true, ..keep(channels) };
        h = self.residual(&format!("{name}.resnet_down"), h, channels, how)?;
        *input = self.filtered_half(&format!("{name}.downsamplers.0"), *input, false)?;
        let taken = format!("{name}.skip_conv");
        let branch = self.g.conv2d(&taken, *input, channels, 1, 1, (0, 0))?;
        self.same_size(name, branch, h)?;
        h = self.g.add(&format!("{name}.skip"), branch, h, 1.0)?;
        skips.push(Some(h));
        Ok(h)
    }

    /// An up block: before each layer the newest of `skips` is appended to the channels. `output`
    /// is doubled, and what this block has to say to it is added.
    pub fn skip_up(
        &mut self,
        block: &BlockSpec,
        mut h: NodeId,
        skips: &mut Skips,
        output: &mut Option<NodeId>,
    ) -> Result<NodeId> {
        let (name, channels) = (block.name, block.channels);
        let how = |first| Residual {
            groups: [first, groups(channels)],
            resize: Resize::Keep,
            scale: RESCALE,
            shortcut: false,
        };
        let layers = self.config.layers_per_block + 1;
        for (j, skip) in skips.all(name, layers)?.into_iter().enumerate() {
            let resnet = format!("{name}.resnets.{j}");
            let (ours, theirs) = (self.g.shape(h).channels(), self.g.shape(skip).channels());
            h = self.g.concat(&format!("{resnet}.concat"), h, skip)?;
            // With attention only the channels of the skip are quartered.
            let first = if block.kind.attention {
                (ours + theirs / 4).min(32)
            } else {
                groups(ours + theirs)
            };
            h = self.residual(&resnet, h, channels, how(first))?;
        }
        if block.kind.attention {
            let at = format!("{name}.attentions.0");
            h = self.attention(&at, h, Some(ATTENTION_GROUPS), RESCALE)?;
        }
        if let Some(before) = *output {
            *output = Some(self.filtered_double(&format!("{name}.upsampler"), before, false)?);
        }
        if !block.resamples {
            return Ok(h);
        }
        let norm = format!("{name}.skip_norm");
        let mut own = self.g.group_norm(&norm, h, groups(channels), self.config.norm_eps)?;
        own = self.g.activation(&format!("{name}.act"), own, Act::Silu);
        own = self.g.conv2d(&format!("{name}.skip_conv"), own, BRANCH, 3, 1, (1, 1))?;
        *output = Some(match *output {
            Some(before) => self.g.add(&format!("{name}.skip"), own, before, 1.0)?,
            None => own,
        });
        let how = Residual { resize: Resize::FirDouble, shortcut: true, ..how(groups(channels)) };
        self.residual(&format!("{name}.resnet_up"), h, channels, how)
    }

    /// The network's output with the branch added.
    pub fn skip_out(&mut self, h: NodeId, output: Option<NodeId>) -> Result<NodeId> {
        let Some(branch) = output else { return Ok(h) };
        self.branch_channels("up_blocks", "out_channels", h)?;
        self.g.add("skip", h, branch, 1.0)
    }

    fn branch_channels(&self, name: &str, key: &str, x: NodeId) -> Result<()> {
        let channels = self.g.shape(x).channels();
        if channels == BRANCH {
            return Ok(());
        }
        Err(Error::invalid(
            format!("{name}: {key}"),
            format!("{BRANCH}, the channels of the branch of Skip blocks"),
            channels.to_string(),
            "correct config.json: diffusers' class fails there too",
        ))
    }

    /// The branch has the size of the map only where Skip blocks alone resampled it.
    fn same_size(&self, name: &str, branch: NodeId, h: NodeId) -> Result<()> {
        let [a, b] = [branch, h].map(|x| self.g.shape(x).sides());
        if a[..2] == b[..2] {
            return Ok(());
        }
        Err(Error::invalid(
            format!("{name}: down_block_types"),
            "Skip blocks from the first one on, before any that halves the map otherwise",
            format!("a branch of {}x{} beside a map of {}x{}", a[0], a[1], b[0], b[1]),
            "correct config.json: diffusers' class fails there too",
        ))
    }
}
