//! `config.json` of a UNet2DModel: every key of diffusers' class, its default and what is covered.

use super::super::keys::{ACTIVATIONS, CHANNELS, CLASSES, Keys, LAYERS, SIDE, as_size};
use super::super::layout::EMBEDDINGS;
use super::super::residual::{TIME_SHIFTS, TimeShift};
use crate::error::Result;
use crate::json::brief;
use crate::ops::Act;
use serde_json::Value;

/// How a block halves or doubles its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resampling {
    /// A convolution: of stride 2 down, after nearest up.
    Conv,
    /// A residual block that resamples inside.
    Resnet,
}

/// Whose blocks they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Ho et al. 2020 and Dhariwal & Nichol 2021.
    Plain,
    /// NCSN++ with its progressive branches (Song et al. 2021).
    Skip,
    /// K-diffusion's.
    K,
}

/// One entry of `down_block_types` or `up_block_types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockKind {
    pub family: Family,
    pub attention: bool,
    /// None: what `downsample_type` or `upsample_type` says.
    pub resampling: Option<Resampling>,
}

/// What the time is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeEmbedding {
    /// Sinusoids of fixed frequencies (Ho et al. 2020).
    Positional,
    /// Sinusoids of the logarithm, of stored frequencies; the output is divided by the time.
    Fourier,
    /// A learned vector for each of so many times.
    Learned(usize),
}

/// What the class of a sample is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClassEmbedding {
    None,
    /// A vector for each of so many classes, learned or given.
    Table(usize),
    /// The sinusoidal embedding of the class number.
    Number,
}

/// The configuration, checked: what it describes can be built.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    /// Height and width.
    pub sample_size: [usize; 2],
    pub in_channels: usize,
    pub out_channels: usize,
    pub center_input_sample: bool,
    pub time_embedding: TimeEmbedding,
    pub time_embedding_dim: usize,
    pub freq_shift: f64,
    pub flip_sin_to_cos: bool,
    pub down_blocks: Vec<BlockKind>,
    pub mid_block: bool,
    pub up_blocks: Vec<BlockKind>,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub mid_block_scale_factor: f64,
    pub downsample_padding: usize,
    pub downsample_type: Resampling,
    pub upsample_type: Resampling,
    pub act: Act,
    /// None: one head as wide as the block.
    pub attention_head_dim: Option<usize>,
    /// None: a quarter of the channels, at most 32.
    pub norm_num_groups: Option<usize>,
    pub attn_norm_num_groups: Option<usize>,
    pub norm_eps: f64,
    pub time_shift: TimeShift,
    pub add_attention: bool,
    pub class_embedding: ClassEmbedding,
    /// Labels must be below it, if the configuration says so.
    pub num_class_embeds: Option<usize>,
}

const PLAIN: BlockKind =
    BlockKind { family: Family::Plain, attention: false, resampling: Some(Resampling::Conv) };
const ATTENTION: BlockKind = BlockKind { attention: true, resampling: None, ..PLAIN };
const RESNET: BlockKind = BlockKind { resampling: Some(Resampling::Resnet), ..PLAIN };
const SKIP: BlockKind = BlockKind { family: Family::Skip, ..PLAIN };
const ATTENTION_SKIP: BlockKind = BlockKind { attention: true, ..SKIP };
const K: BlockKind = BlockKind { family: Family::K, ..PLAIN };
const ATTENTION_K: BlockKind = BlockKind { attention: true, ..K };

/// Names of the first checkpoints carry this before the name of today.
const FIRST_PREFIX: &str = "UNetRes";

const DOWN_BLOCKS: &[(Option<&str>, BlockKind)] = &[
    (Some("DownBlock2D"), PLAIN),
    (Some("AttnDownBlock2D"), ATTENTION),
    (Some("ResnetDownsampleBlock2D"), RESNET),
    (Some("SkipDownBlock2D"), SKIP),
    (Some("AttnSkipDownBlock2D"), ATTENTION_SKIP),
    (Some("KDownBlock2D"), K),
    (Some("KCrossAttnDownBlock2D"), ATTENTION_K),
];
const UP_BLOCKS: &[(Option<&str>, BlockKind)] = &[
    (Some("UpBlock2D"), PLAIN),
    (Some("AttnUpBlock2D"), ATTENTION),
    (Some("ResnetUpsampleBlock2D"), RESNET),
    (Some("SkipUpBlock2D"), SKIP),
    (Some("AttnSkipUpBlock2D"), ATTENTION_SKIP),
    (Some("KUpBlock2D"), K),
    (Some("KCrossAttnUpBlock2D"), ATTENTION_K),
];
const MID_BLOCKS: &[(Option<&str>, bool)] = &[(Some("UNetMidBlock2D"), true), (None, false)];
const RESAMPLINGS: &[(Option<&str>, Resampling)] = &[
    (Some("conv"), Resampling::Conv),
    (Some("resnet"), Resampling::Resnet),
    (None, Resampling::Conv),
];
/// Where embeddings of classes come from.
#[derive(Clone, Copy, PartialEq)]
enum ClassEmbedType {
    /// A table of the network, if it has one.
    Learned,
    /// The class number is embedded like a time.
    Timestep,
    /// They are given as they are.
    Identity,
}
const CLASS_EMBED_TYPES: &[(Option<&str>, ClassEmbedType)] = &[
    (None, ClassEmbedType::Learned),
    (Some("timestep"), ClassEmbedType::Timestep),
    (Some("identity"), ClassEmbedType::Identity),
];
/// A learned embedding has as many times as another key says.
const TIME_EMBEDDING_TYPES: &[(Option<&str>, TimeEmbedding)] = &[
    (Some("positional"), TimeEmbedding::Positional),
    (Some("fourier"), TimeEmbedding::Fourier),
    (Some("learned"), TimeEmbedding::Learned(0)),
];

/// Bounds that keep a mistyped number from asking for terabytes.
const BLOCKS: std::ops::RangeInclusive<usize> = 1..=12;

impl Config {
    /// Reads the keys that `keys` holds; those absent take the defaults of diffusers' class.
    pub fn read(mut keys: Keys) -> Result<Config> {
        let k = &mut keys;
        let block_out_channels = sizes(k, "block_out_channels", &[224, 448, 672, 896])?;
        let in_channels = k.size("in_channels", CHANNELS, 3)?;
        let time_embedding = time_embedding(k)?;
        k.take("dropout", "a number", (), |v| v.as_f64().map(drop))?;
        let num_class_embeds = k.maybe_size("num_class_embeds", CLASSES, None)?;
        let class_embedding = class_embedding(k, num_class_embeds)?;
        let down = ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"];
        let up = ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"];
        let config = Config {
            sample_size: sample_size(k)?,
            in_channels,
            out_channels: k.size("out_channels", CHANNELS, 3)?,
            center_input_sample: k.flag("center_input_sample", false)?,
            time_embedding,
            time_embedding_dim: k
                .maybe_size("time_embedding_dim", CHANNELS, None)?
                .unwrap_or(4 * block_out_channels[0]),
            freq_shift: k.number("freq_shift", "a number", 0.0, |_| true)?,
            flip_sin_to_cos: k.flag("flip_sin_to_cos", true)?,
            down_blocks: blocks(k, "down_block_types", DOWN_BLOCKS, &down)?,
            mid_block: k.word("mid_block_type", MID_BLOCKS, true)?,
            up_blocks: blocks(k, "up_block_types", UP_BLOCKS, &up)?,
            block_out_channels,
            layers_per_block: k.size("layers_per_block", LAYERS, 2)?,
            mid_block_scale_factor: k.number(
                "mid_block_scale_factor",
                "a number that is not 0",
                1.0,
                |n| (1.0 / n as f32).is_finite(),
            )?,
            downsample_padding: k.size("downsample_padding", 0..=1, 1)?,
            downsample_type: k.word("downsample_type", RESAMPLINGS, Resampling::Conv)?,
            upsample_type: k.word("upsample_type", RESAMPLINGS, Resampling::Conv)?,
            act: k.word("act_fn", ACTIVATIONS, Act::Silu)?,
            attention_head_dim: k.maybe_size("attention_head_dim", CHANNELS, Some(8))?,
            norm_num_groups: k.maybe_size("norm_num_groups", CHANNELS, Some(32))?,
            attn_norm_num_groups: k.maybe_size("attn_norm_num_groups", CHANNELS, None)?,
            norm_eps: k.number("norm_eps", "a number above 0", 1e-5, |n| n > 0.0)?,
            time_shift: k.word("resnet_time_scale_shift", TIME_SHIFTS, TimeShift::Default)?,
            add_attention: k.flag("add_attention", true)?,
            class_embedding,
            num_class_embeds,
        };
        config.check(k)?;
        keys.finish()?;
        Ok(config)
    }

    /// Whether the network also predicts a variance.
    pub fn learned_variance(&self) -> bool {
        self.out_channels == 2 * self.in_channels
    }

    /// The width of a head in a block of `channels`, and how many there are.
    pub fn heads(&self, channels: usize) -> (usize, usize) {
        let width = self.attention_head_dim.unwrap_or(channels);
        (width, channels / width)
    }

    /// The norm groups of `channels` where a block does not say them itself.
    pub fn groups(&self, channels: usize) -> usize {
        self.norm_num_groups.unwrap_or((channels / 4).min(32))
    }

    /// Relations between keys.
    fn check(&self, keys: &Keys) -> Result<()> {
        let n = self.block_out_channels.len();
        for (key, blocks) in
            [("down_block_types", &self.down_blocks), ("up_block_types", &self.up_blocks)]
        {
            if blocks.len() != n {
                let expected = format!("{n} entries, as block_out_channels has");
                return Err(keys.bad(key, expected, blocks.len().to_string()));
            }
        }
        let [h, w] = self.sample_size;
        let step = 1 << (n - 1);
        if h % step != 0 || w % step != 0 {
            let expected = format!("sides that {step} divides: {} blocks halve the map", n - 1);
            return Err(keys.bad("sample_size", expected, format!("{h} x {w}")));
        }
        if self.out_channels != self.in_channels && !self.learned_variance() {
            let (c, with_variance) = (self.in_channels, 2 * self.in_channels);
            let expected = format!("in_channels ({c}), or {with_variance} with a learned variance");
            return Err(keys.bad("out_channels", expected, self.out_channels.to_string()));
        }
        let positional = self.time_embedding == TimeEmbedding::Positional;
        if positional && (self.block_out_channels[0] / 2) as f64 == self.freq_shift {
            let expected = "a number that is not half of block_out_channels[0]";
            return Err(keys.bad("freq_shift", expected, self.freq_shift.to_string()));
        }
        self.check_channels(keys)
    }

    /// Norm groups must divide the channels of the blocks that have them, and heads fit into them.
    fn check_channels(&self, keys: &Keys) -> Result<()> {
        let channels = &self.block_out_channels;
        let last = channels[channels.len() - 1];
        for (i, &c) in channels.iter().enumerate() {
            let sides = [self.down_blocks[i], self.up_blocks[channels.len() - 1 - i]];
            let whose = format!("block {i}");
            if sides.iter().any(|side| side.family == Family::Plain) {
                let Some(groups) = self.norm_num_groups else {
                    let expected = format!("a divisor of the {c} channels of {whose}");
                    return Err(keys.bad("norm_num_groups", expected, "null"));
                };
                divides(keys, "norm_num_groups", groups, c, &whose)?;
            }
            if sides.iter().any(|side| side.attention) {
                self.check_heads(keys, c, &whose)?;
            }
        }
        divides(keys, "norm_num_groups", self.groups(channels[0]), channels[0], "the output")?;
        if !self.mid_block {
            return Ok(());
        }
        divides(keys, "norm_num_groups", self.groups(last), last, "the mid block")?;
        if !self.add_attention {
            return Ok(());
        }
        self.check_heads(keys, last, "the mid block")?;
        match self.attn_norm_num_groups {
            Some(groups) => divides(keys, "attn_norm_num_groups", groups, last, "the mid block"),
            None => Ok(()),
        }
    }

    fn check_heads(&self, keys: &Keys, c: usize, whose: &str) -> Result<()> {
        match self.heads(c) {
            (width, 0) => {
                let expected = format!("at most the {c} channels of {whose}");
                Err(keys.bad("attention_head_dim", expected, width.to_string()))
            }
            _ => Ok(()),
        }
    }
}

fn divides(keys: &Keys, key: &str, divisor: usize, c: usize, whose: &str) -> Result<()> {
    if divisor > 0 && c.is_multiple_of(divisor) {
        return Ok(());
    }
    let expected = format!("a divisor of the {c} channels of {whose}");
    Err(keys.bad(key, expected, divisor.to_string()))
}

/// What the time becomes; a learned embedding has a vector for each time of the training.
fn time_embedding(k: &mut Keys) -> Result<TimeEmbedding> {
    let times = k.maybe_size("num_train_timesteps", CLASSES, None)?;
    let kind = k.word("time_embedding_type", TIME_EMBEDDING_TYPES, TimeEmbedding::Positional)?;
    match (kind, times) {
        (TimeEmbedding::Learned(_), Some(times)) => Ok(TimeEmbedding::Learned(times)),
        (TimeEmbedding::Learned(_), None) => {
            let expected = "an integer, as time_embedding_type is learned";
            Err(k.bad("num_train_timesteps", expected, "null"))
        }
        (kind, _) => Ok(kind),
    }
}

/// A list of channels.
fn sizes(keys: &mut Keys, key: &'static str, default: &[usize]) -> Result<Vec<usize>> {
    let expected = format!(
        "a list of 1 to {} integers from {} to {}",
        BLOCKS.end(),
        CHANNELS.start(),
        CHANNELS.end()
    );
    keys.take(key, &expected, default.to_vec(), |v| {
        let list = v.as_array().filter(|list| BLOCKS.contains(&list.len()))?;
        list.iter().map(|n| as_size(n).filter(|n| CHANNELS.contains(n))).collect()
    })
}

fn class_embedding(keys: &mut Keys, learned: Option<usize>) -> Result<ClassEmbedding> {
    Ok(match keys.word("class_embed_type", CLASS_EMBED_TYPES, ClassEmbedType::Learned)? {
        ClassEmbedType::Learned => learned.map_or(ClassEmbedding::None, ClassEmbedding::Table),
        ClassEmbedType::Timestep => ClassEmbedding::Number,
        ClassEmbedType::Identity => match keys.embeddings {
            Some(given) => ClassEmbedding::Table(given),
            None => {
                let expected =
                    format!("{EMBEDDINGS} beside the file, as identity takes what is given");
                return Err(keys.bad("class_embed_type", expected, "no such file"));
            }
        },
    })
}

/// One side for both, or height and width.
fn sample_size(keys: &mut Keys) -> Result<[usize; 2]> {
    let (least, most) = (SIDE.start(), SIDE.end());
    let expected = &format!("an integer from {least} to {most}, or [height, width] of such");
    let side = |v: &Value| as_size(v).filter(|n| SIDE.contains(n));
    let size = keys.take("sample_size", expected, None, |v| match v {
        Value::Array(list) => match list.as_slice() {
            [h, w] => Some(Some([side(h)?, side(w)?])),
            _ => None,
        },
        Value::Null => Some(None),
        v => side(v).map(|n| Some([n, n])),
    })?;
    size.ok_or_else(|| keys.bad("sample_size", expected, "no size"))
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
    let kind = |v: &Value| {
        v.as_str()
            .and_then(|name| find(name.strip_prefix(FIRST_PREFIX).unwrap_or(name)))
            .ok_or_else(|| keys.bad(key, super::super::keys::words(table), brief(v)))
    };
    list.iter().map(kind).collect()
}
