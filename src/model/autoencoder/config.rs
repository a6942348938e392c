//! The options of `AutoencoderKL`, as its config.json names them: those of its decoder.

use crate::error::Result;
use crate::json::brief;
use crate::model::keys::{ACTIVATIONS, CHANNELS, Keys, LAYERS, as_size, words};
use crate::ops::Act;
use serde_json::Value;

/// What `config.json` says of the decoder, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub latent_channels: usize,
    pub out_channels: usize,
    /// Channels of the blocks, that of the pictures first.
    pub channels: Vec<usize>,
    /// Whether each up block attends, that of the latents first.
    pub up_blocks: Vec<bool>,
    pub layers: usize,
    pub groups: usize,
    pub act: Act,
    /// Whether latents go through a 1x1 convolution first.
    pub post_quant: bool,
    /// Whether the middle attends.
    pub attends: bool,
    /// Latents are multiplied by it as pictures are encoded.
    pub scaling_factor: f64,
    /// Sides of the pictures of the training, and of a tile of a larger one.
    pub sample_size: usize,
    /// Whether half precision was too narrow for it.
    pub force_upcast: bool,
}

const UP_BLOCKS: &[(Option<&str>, bool)] =
    &[(Some("UpDecoderBlock2D"), false), (Some("AttnUpDecoderBlock2D"), true)];
const SIDE: std::ops::RangeInclusive<usize> = 1..=65_536;
const BLOCKS: std::ops::RangeInclusive<usize> = 1..=12;

impl Config {
    /// Reads the keys that `keys` holds; those absent take the defaults of diffusers' class.
    pub fn read(mut keys: Keys) -> Result<Config> {
        let k = &mut keys;
        k.size("in_channels", CHANNELS, 3)?;
        k.take("down_block_types", "a list of block types", (), |v| v.as_array().map(drop))?;
        for key in ["latents_mean", "latents_std"] {
            k.take(key, "a list of numbers, or null", (), |v| {
                (v.is_array() || v.is_null()).then_some(())
            })?;
        }
        k.take("shift_factor", "a number, or null", (), |v| {
            (v.is_number() || v.is_null()).then_some(())
        })?;
        k.flag("use_quant_conv", true)?;
        let config = Config {
            latent_channels: k.size("latent_channels", CHANNELS, 4)?,
            out_channels: k.size("out_channels", CHANNELS, 3)?,
            channels: channels(k)?,
            up_blocks: up_blocks(k)?,
            layers: k.size("layers_per_block", LAYERS, 1)? + 1,
            groups: k.size("norm_num_groups", CHANNELS, 32)?,
            act: k.word("act_fn", ACTIVATIONS, Act::Silu)?,
            post_quant: k.flag("use_post_quant_conv", true)?,
            attends: k.flag("mid_block_add_attention", true)?,
            scaling_factor: k.number("scaling_factor", "a number that is not 0", 0.18215, |n| {
                (1.0 / n as f32).is_finite()
            })?,
            sample_size: sample_size(k)?,
            force_upcast: k.flag("force_upcast", true)?,
        };
        config.check(k)?;
        keys.finish()?;
        Ok(config)
    }

    /// Pixels of a picture along a pixel of the latents.
    pub fn factor(&self) -> usize {
        1 << (self.channels.len() - 1)
    }

    fn check(&self, keys: &Keys) -> Result<()> {
        let n = self.channels.len();
        if self.up_blocks.len() != n {
            let expected = format!("{n} entries, as block_out_channels has");
            return Err(keys.bad("up_block_types", expected, self.up_blocks.len().to_string()));
        }
        if let Some(c) = self.channels.iter().find(|c| !c.is_multiple_of(self.groups)) {
            let expected = format!("a divisor of the {c} channels of a block");
            return Err(keys.bad("norm_num_groups", expected, self.groups.to_string()));
        }
        Ok(())
    }
}

fn channels(keys: &mut Keys) -> Result<Vec<usize>> {
    let expected = format!(
        "a list of 1 to {} integers from {} to {}",
        BLOCKS.end(),
        CHANNELS.start(),
        CHANNELS.end()
    );
    keys.take("block_out_channels", &expected, vec![64], |v| {
        let list = v.as_array().filter(|list| BLOCKS.contains(&list.len()))?;
        list.iter().map(|n| as_size(n).filter(|n| CHANNELS.contains(n))).collect()
    })
}

fn up_blocks(keys: &mut Keys) -> Result<Vec<bool>> {
    let key = "up_block_types";
    let default = vec![Value::from("UpDecoderBlock2D")];
    let list = keys.take(key, "a list of block types", default, |v| v.as_array().cloned())?;
    let kind = |v: &Value| {
        let found = UP_BLOCKS.iter().find(|(name, _)| *name == v.as_str());
        found.map(|(_, attends)| *attends).ok_or_else(|| keys.bad(key, words(UP_BLOCKS), brief(v)))
    };
    list.iter().map(kind).collect()
}

/// One side for both, or height and width, of which the height counts for tiles.
fn sample_size(keys: &mut Keys) -> Result<usize> {
    let expected = format!("an integer from {} to {}, or two", SIDE.start(), SIDE.end());
    keys.take("sample_size", &expected, 32, |v| {
        let first = v.as_array().map_or(Some(v), |list| list.first());
        as_size(first?).filter(|n| SIDE.contains(n))
    })
}
