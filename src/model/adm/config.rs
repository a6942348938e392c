//! The flags of the scripts of the three repositories, by their names there, as config.json holds
//! them; those absent take the defaults of the repository.

use super::super::keys::{CHANNELS, CLASSES, Keys, SIDE, as_size};
use super::flags::{Flags, divided, multipliers};
use super::sampling::Sampling;
use crate::error::Result;
use std::ops::RangeInclusive;

/// Whose network it is: the three differ in defaults and in the order of q, k and v.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repository {
    /// openai/guided-diffusion (Dhariwal & Nichol 2021).
    Guided,
    /// openai/improved-diffusion (Nichol & Dhariwal 2021).
    Improved,
    /// openai/consistency_models (Song et al. 2023).
    Consistency,
}

const REPOSITORIES: &[(Option<&str>, Option<Repository>)] = &[
    (Some("guided-diffusion"), Some(Repository::Guided)),
    (Some("improved-diffusion"), Some(Repository::Improved)),
    (Some("consistency_models"), Some(Repository::Consistency)),
];

/// The configuration, checked: what it describes can be built.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub image_size: usize,
    pub in_channels: usize,
    pub num_channels: usize,
    pub num_res_blocks: usize,
    /// Channels of each level.
    pub channels: Vec<usize>,
    /// Whether a level has attention.
    pub attention: Vec<bool>,
    heads: Heads,
    pub conv_resample: bool,
    pub resblock_updown: bool,
    pub use_scale_shift_norm: bool,
    /// Rows of the fused projection are `[3, C]`; otherwise `[heads, 3, C / heads]`.
    pub split_first: bool,
    pub classes: Option<usize>,
    pub learn_sigma: bool,
    pub sampling: Sampling,
}

/// How the channels of an attention are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heads {
    /// Wins where it is given.
    channels: Option<usize>,
    down: usize,
    up: usize,
}

/// Groups of every norm.
pub(super) const GROUPS: usize = 32;

/// Bounds that keep a mistyped number from asking for terabytes.
const BLOCKS: RangeInclusive<usize> = 1..=64;

/// Classes of a network of the scripts, which were written for ImageNet.
const NUM_CLASSES: usize = 1000;

impl Config {
    /// Reads the keys that `keys` holds.
    pub fn read(mut keys: Keys) -> Result<Config> {
        let k = &mut keys;
        let names = "guided-diffusion, improved-diffusion or consistency_models";
        let repository = k.word("repository", REPOSITORIES, None)?;
        let repository = repository.ok_or_else(|| k.bad("repository", names, "no such key"))?;
        super::refuse_super_resolution(k)?;
        let guided = repository != Repository::Improved;
        let image_size = k.size("image_size", SIDE, 64)?;
        let num_channels = k.size("num_channels", CHANNELS, 128)?;
        let learn_sigma = k.flag("learn_sigma", false)?;
        if learn_sigma && repository == Repository::Consistency {
            let expected = "false, as a consistency model has no variance";
            return Err(k.bad("learn_sigma", expected, "true"));
        }
        let default = if repository == Repository::Consistency { "32,16,8" } else { "16,8" };
        let resolutions = k.list("attention_resolutions", default)?;
        let mult = if guided { k.list("channel_mult", "")? } else { String::new() };
        let mult = multipliers(k, &mult, repository, image_size)?;
        let heads = Heads {
            channels: if guided { k.maybe_positive("num_head_channels", CHANNELS)? } else { None },
            down: k.size("num_heads", CHANNELS, 4)?,
            up: 0,
        };
        let up = k.maybe_positive("num_heads_upsample", CHANNELS)?;
        let class_cond = k.flag("class_cond", false)?;
        let num_classes = k.size("num_classes", CLASSES, NUM_CLASSES)?;
        let new_order = guided && k.flag("use_new_attention_order", false)?;
        training_only(k)?;
        let config = Config {
            image_size,
            in_channels: k.size("in_channels", CHANNELS, 3)?,
            num_channels,
            num_res_blocks: k.size("num_res_blocks", BLOCKS, 2)?,
            attention: divided(k, &resolutions, image_size, mult.len())?,
            channels: mult.iter().map(|m| (m * num_channels as f64) as usize).collect(),
            heads: Heads { up: up.unwrap_or(heads.down), ..heads },
            conv_resample: k.flag("conv_resample", true)?,
            resblock_updown: guided && k.flag("resblock_updown", false)?,
            use_scale_shift_norm: k.flag("use_scale_shift_norm", true)?,
            split_first: new_order || repository == Repository::Consistency,
            classes: class_cond.then_some(num_classes),
            learn_sigma,
            sampling: Sampling::read(k, repository, learn_sigma)?,
        };
        config.check(k)?;
        keys.finish()?;
        Ok(config)
    }

    /// Heads of the attention of `channels` on the way down and in the middle, or on the way up.
    pub fn heads(&self, channels: usize, up: bool) -> usize {
        match self.heads.channels {
            Some(each) => channels / each,
            None if up => self.heads.up,
            None => self.heads.down,
        }
    }

    /// Relations between keys.
    fn check(&self, keys: &Keys) -> Result<()> {
        let levels = self.channels.len();
        let step = 1 << (levels - 1);
        if !self.image_size.is_multiple_of(step) {
            let expected = format!("a side that {step} divides: {} levels halve it", levels - 1);
            return Err(keys.bad("image_size", expected, self.image_size.to_string()));
        }
        for (i, (&c, &attends)) in self.channels.iter().zip(&self.attention).enumerate() {
            if c == 0 || !c.is_multiple_of(GROUPS) {
                let expected =
                    format!("a number that makes {GROUPS}, the groups of a norm, divide");
                let found = format!("{}, with {c} channels at level {i}", self.num_channels);
                return Err(keys.bad("num_channels", expected + " every level", found));
            }
            if !CHANNELS.contains(&c) {
                let expected = format!("at most {} channels at a level", CHANNELS.end());
                return Err(keys.bad("channel_mult", expected, c.to_string()));
            }
            // The middle attends on the channels of the last level.
            if attends || i + 1 == levels {
                self.check_heads(keys, c, attends)?;
            }
        }
        if !self.num_channels.is_multiple_of(2) {
            let found = self.num_channels.to_string();
            return Err(keys.bad("num_channels", "an even number", found));
        }
        Ok(())
    }

    fn check_heads(&self, keys: &Keys, c: usize, up: bool) -> Result<()> {
        let Heads { channels, down, up: heads_up } = self.heads;
        let divisors = match channels {
            Some(each) => vec![("num_head_channels", each)],
            None if up => vec![("num_heads", down), ("num_heads_upsample", heads_up)],
            None => vec![("num_heads", down)],
        };
        match divisors.iter().find(|(_, divisor)| !c.is_multiple_of(*divisor)) {
            None => Ok(()),
            Some((key, divisor)) => {
                let expected = format!("a divisor of the {c} channels of a level that attends");
                Err(keys.bad(key, expected, divisor.to_string()))
            }
        }
    }
}

/// Flags that change the training, or the precision that a run chooses itself.
fn training_only(keys: &mut Keys) -> Result<()> {
    keys.take("dropout", "a number", (), |v| v.as_f64().map(drop))?;
    for key in ["use_checkpoint", "use_fp16", "use_kl", "rescale_learned_sigmas"] {
        keys.flag(key, false)?;
    }
    keys.take("weight_schedule", "a word", (), |v| v.as_str().map(drop))?;
    keys.take("attention_type", "a word", (), |v| v.as_str().map(drop))
}

/// The size of what a key may also leave open, by -1 or null.
pub(super) fn positive(
    value: &serde_json::Value,
    range: &RangeInclusive<usize>,
) -> Option<Option<usize>> {
    if value.is_null() || value.as_i64() == Some(-1) {
        return Some(None);
    }
    as_size(value).filter(|n| range.contains(n)).map(Some)
}
