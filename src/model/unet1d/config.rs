//! `config.json` of a UNet1DModel: every key of diffusers' class and what of it can be run.

use super::super::keys::{CHANNELS, Keys, LAYERS, as_size, words};
use crate::error::Result;
use crate::json::brief;
use crate::ops::Act;
use serde_json::Value;

/// One entry of `down_block_types` or `up_block_types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// Residual blocks that the time is added in, as planners have them.
    Residual,
    /// Convolutions behind or before a cubic filter, as networks for waveforms have them.
    Filtered,
    /// The same with attention.
    Attention,
    /// At full length; on the way down the time is joined to the channels.
    Outer,
}

/// What lies between the ways down and up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MidKind {
    Attention,
    Residual,
}

/// How the time is embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeEmbedding {
    Fourier,
    Positional,
}

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    /// Length of the series.
    pub sample_size: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub time_embedding: TimeEmbedding,
    /// Channels of the embedding of the time, before its layers.
    pub time_channels: usize,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    /// The embedding goes through two layers, and is then a row for residual blocks.
    pub use_timestep_embedding: bool,
    pub down_blocks: Vec<BlockKind>,
    pub mid_block: MidKind,
    pub up_blocks: Vec<BlockKind>,
    /// Two convolutions at the end.
    pub out_block: bool,
    pub block_out_channels: Vec<usize>,
    /// Of the layers of the time and of the end.
    pub act: Option<Act>,
    pub norm_num_groups: usize,
    pub layers_per_block: usize,
    pub downsample_each_block: bool,
}

const DOWN_BLOCKS: &[(Option<&str>, BlockKind)] = &[
    (Some("DownResnetBlock1D"), BlockKind::Residual),
    (Some("DownBlock1D"), BlockKind::Filtered),
    (Some("AttnDownBlock1D"), BlockKind::Attention),
    (Some("DownBlock1DNoSkip"), BlockKind::Outer),
];
const UP_BLOCKS: &[(Option<&str>, BlockKind)] = &[
    (Some("UpResnetBlock1D"), BlockKind::Residual),
    (Some("UpBlock1D"), BlockKind::Filtered),
    (Some("AttnUpBlock1D"), BlockKind::Attention),
    (Some("UpBlock1DNoSkip"), BlockKind::Outer),
];
const MID_BLOCKS: &[(Option<&str>, MidKind)] = &[
    (Some("UNetMidBlock1D"), MidKind::Attention),
    (Some("MidResTemporalBlock1D"), MidKind::Residual),
];
const OUT_BLOCKS: &[(Option<&str>, bool)] = &[(None, false), (Some("OutConv1DBlock"), true)];
const TIME_EMBEDDINGS: &[(Option<&str>, TimeEmbedding)] =
    &[(Some("fourier"), TimeEmbedding::Fourier), (Some("positional"), TimeEmbedding::Positional)];
const ACTIVATIONS: &[(Option<&str>, Option<Act>)] = &[
    (None, None),
    (Some("silu"), Some(Act::Silu)),
    (Some("swish"), Some(Act::Silu)),
    (Some("mish"), Some(Act::Mish)),
    (Some("gelu"), Some(Act::Gelu)),
    (Some("relu"), Some(Act::Relu)),
];

/// Bounds that keep a mistyped number from asking for terabytes.
const LENGTH: std::ops::RangeInclusive<usize> = 1..=1 << 24;
const BLOCKS: std::ops::RangeInclusive<usize> = 1..=24;

impl Config {
    /// Reads the keys that `keys` holds; those absent take the defaults of diffusers' class.
    pub fn read(mut keys: Keys) -> Result<Config> {
        let k = &mut keys;
        let down = ["DownBlock1DNoSkip", "DownBlock1D", "AttnDownBlock1D"];
        let up = ["AttnUpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"];
        k.take("sample_rate", "a number or null", (), |v| {
            (v.is_null() || v.is_number()).then_some(())
        })?;
        let block_out_channels = channels(k)?;
        let time_embedding =
            k.word("time_embedding_type", TIME_EMBEDDINGS, TimeEmbedding::Fourier)?;
        let wide = k.maybe_size("time_embedding_dim", CHANNELS, None)?;
        let first = block_out_channels[0];
        let config = Config {
            sample_size: k.size("sample_size", LENGTH, 65_536)?,
            in_channels: k.size("in_channels", CHANNELS, 2)?,
            out_channels: k.size("out_channels", CHANNELS, 2)?,
            time_embedding,
            time_channels: match time_embedding {
                TimeEmbedding::Fourier => wide.unwrap_or(2 * first),
                TimeEmbedding::Positional => first,
            },
            flip_sin_to_cos: k.flag("flip_sin_to_cos", true)?,
            freq_shift: k.number("freq_shift", "a number", 0.0, |_| true)?,
            use_timestep_embedding: k.flag("use_timestep_embedding", false)?,
            down_blocks: blocks(k, "down_block_types", DOWN_BLOCKS, &down)?,
            mid_block: k.word("mid_block_type", MID_BLOCKS, MidKind::Attention)?,
            up_blocks: blocks(k, "up_block_types", UP_BLOCKS, &up)?,
            out_block: k.word("out_block_type", OUT_BLOCKS, false)?,
            block_out_channels,
            act: k.word("act_fn", ACTIVATIONS, None)?,
            norm_num_groups: k
                .maybe_size("norm_num_groups", CHANNELS, Some(8))?
                .unwrap_or((first / 4).clamp(1, 32)),
            layers_per_block: k.size("layers_per_block", 0..=*LAYERS.end(), 1)?,
            downsample_each_block: k.flag("downsample_each_block", false)?,
        };
        let extra = k.size("extra_in_channels", 0..=65_536, 0)?;
        config.check(k)?;
        config.check_time(k, extra)?;
        keys.finish()?;
        Ok(config)
    }

    /// Whether the network also predicts a variance.
    pub fn learned_variance(&self) -> bool {
        self.out_channels == 2 * self.in_channels
    }

    /// Relations between keys.
    fn check(&self, keys: &Keys) -> Result<()> {
        let n = self.block_out_channels.len();
        if self.down_blocks.len() != n {
            let expected = format!("{n} entries, as block_out_channels has");
            return Err(keys.bad("down_block_types", expected, self.down_blocks.len().to_string()));
        }
        if self.up_blocks.is_empty() || self.up_blocks.len() > n {
            let expected = format!("1 to {n} entries, as block_out_channels has");
            return Err(keys.bad("up_block_types", expected, self.up_blocks.len().to_string()));
        }
        if self.out_channels != self.in_channels && !self.learned_variance() {
            let (c, with_variance) = (self.in_channels, 2 * self.in_channels);
            let expected = format!("in_channels ({c}), or {with_variance} with a learned variance");
            return Err(keys.bad("out_channels", expected, self.out_channels.to_string()));
        }
        if self.act.is_none() && (self.use_timestep_embedding || self.out_block) {
            let expected = "an activation, for use_timestep_embedding and OutConv1DBlock";
            return Err(keys.bad("act_fn", expected, "null"));
        }
        Ok(())
    }

    /// A row of the time is for residual blocks, a map of it for the first block.
    fn check_time(&self, keys: &Keys, extra: usize) -> Result<()> {
        let residual = self.mid_block == MidKind::Residual
            || [&self.down_blocks, &self.up_blocks]
                .iter()
                .any(|side| side.contains(&BlockKind::Residual));
        if residual && !self.use_timestep_embedding {
            let expected = "true, as residual blocks add the embedded time";
            return Err(keys.bad("use_timestep_embedding", expected, "false"));
        }
        let outer = self.down_blocks.iter().rposition(|b| *b == BlockKind::Outer);
        if outer.is_some_and(|at| at > 0) {
            let expected = "DownBlock1DNoSkip as the first alone";
            return Err(keys.bad("down_block_types", expected, "one further down"));
        }
        if outer.is_some() && self.use_timestep_embedding {
            let expected = "false, as DownBlock1DNoSkip joins the time to the channels";
            return Err(keys.bad("use_timestep_embedding", expected, "true"));
        }
        let wanted = if outer.is_some() { self.time_channels } else { 0 };
        if extra != wanted {
            let expected = format!("{wanted}, the channels of the time that the first block joins");
            return Err(keys.bad("extra_in_channels", expected, extra.to_string()));
        }
        let odd = !self.time_channels.is_multiple_of(2);
        if odd && self.time_embedding == TimeEmbedding::Fourier {
            let found = self.time_channels.to_string();
            return Err(keys.bad("time_embedding_dim", "an even number", found));
        }
        let positional = self.time_embedding == TimeEmbedding::Positional;
        if positional && (self.time_channels / 2) as f64 == self.freq_shift {
            let expected = "a number that is not half of block_out_channels[0]";
            return Err(keys.bad("freq_shift", expected, self.freq_shift.to_string()));
        }
        Ok(())
    }
}

/// The channels of the blocks.
fn channels(keys: &mut Keys) -> Result<Vec<usize>> {
    let (least, most) = (CHANNELS.start(), CHANNELS.end());
    let expected = format!("a list of 1 to {} integers from {least} to {most}", BLOCKS.end());
    keys.take("block_out_channels", &expected, vec![32, 32, 64], |v| {
        let list = v.as_array().filter(|list| BLOCKS.contains(&list.len()))?;
        let size = |v: &Value| as_size(v).filter(|n| CHANNELS.contains(n));
        list.iter().map(size).collect()
    })
}

/// A list of block types.
fn blocks(
    keys: &mut Keys,
    key: &'static str,
    table: &[(Option<&str>, BlockKind)],
    default: &[&str],
) -> Result<Vec<BlockKind>> {
    let find = |name: &str| table.iter().find(|(n, _)| *n == Some(name)).map(|(_, kind)| *kind);
    let default: Vec<Value> = default.iter().map(|name| Value::from(*name)).collect();
    let list = keys.take(key, "a list of block types", default, |v| v.as_array().cloned())?;
    let kind =
        |v: &Value| v.as_str().and_then(find).ok_or_else(|| keys.bad(key, words(table), brief(v)));
    list.iter().map(kind).collect()
}
