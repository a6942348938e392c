//! `config.json` of UNet2DConditionModel, read as diffusers 0.42.1 reads it.

use crate::error::Result;
use crate::model::keys::{ACTIVATIONS, CHANNELS, Keys, LAYERS, SIDE, as_size};
use crate::model::residual::{TIME_SHIFTS, TimeShift};
use crate::ops::Act;
use serde_json::Value;
use std::ops::RangeInclusive;

/// A level of the U: what its down block and its up block are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Level {
    pub channels: usize,
    pub heads: usize,
    /// Residual blocks of the down block; the up block has one more.
    pub layers: usize,
    /// Blocks of each transformer.
    pub depth: usize,
    /// Whether there are transformers on the way down, and on the way up.
    pub attends: [bool; 2],
}

/// The configuration, checked: what it describes can be built.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    /// Height and width.
    pub sample_size: [usize; 2],
    pub in_channels: usize,
    pub out_channels: usize,
    pub center_input_sample: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    pub time_embedding_dim: usize,
    pub levels: Vec<Level>,
    pub mid_block: bool,
    pub mid_block_scale_factor: f64,
    pub downsample_padding: usize,
    pub act: Act,
    pub norm_num_groups: usize,
    pub norm_eps: f64,
    pub time_shift: TimeShift,
    /// Channels of a text's tokens.
    pub cross_attention_dim: usize,
}

/// Block types, and whether they have transformers.
const DOWN_BLOCKS: &[(Option<&str>, bool)] =
    &[(Some("CrossAttnDownBlock2D"), true), (Some("DownBlock2D"), false)];
const UP_BLOCKS: &[(Option<&str>, bool)] =
    &[(Some("CrossAttnUpBlock2D"), true), (Some("UpBlock2D"), false)];
const MID_BLOCKS: &[(Option<&str>, bool)] =
    &[(Some("UNetMidBlock2DCrossAttn"), true), (None, false)];

/// Keys of which one value is covered, null or what stands here.
const FIXED: &[(&str, &str)] = &[
    ("only_cross_attention", "false"),
    ("dual_cross_attention", "false"),
    ("reverse_transformer_layers_per_block", "null"),
    ("encoder_hid_dim", "null"),
    ("encoder_hid_dim_type", "null"),
    ("class_embed_type", "null"),
    ("num_class_embeds", "null"),
    ("addition_embed_type", "null"),
    ("resnet_skip_time_act", "false"),
    ("resnet_out_scale_factor", "1.0"),
    ("time_embedding_type", "\"positional\""),
    ("time_embedding_act_fn", "null"),
    ("timestep_post_act", "null"),
    ("time_cond_proj_dim", "null"),
    ("conv_in_kernel", "3"),
    ("conv_out_kernel", "3"),
    ("attention_type", "\"default\""),
    ("class_embeddings_concat", "false"),
    ("mid_block_only_cross_attention", "null"),
    ("cross_attention_norm", "null"),
];

const BLOCKS: RangeInclusive<usize> = 1..=12;

impl Config {
    /// Reads the keys that `keys` holds; those absent take the defaults of diffusers' class.
    pub fn read(mut keys: Keys) -> Result<Config> {
        let k = &mut keys;
        for (key, value) in FIXED {
            let expected = format!("{value}, as Stable Diffusion has it");
            k.take(key, &expected, (), |v| is(v, value).then_some(()))?;
        }
        k.take("dropout", "a number", (), |v| v.as_f64().map(drop))?;
        // Numbers of parts that are not there, and how the same product is stored or rounded.
        for key in ["addition_time_embed_dim", "projection_class_embeddings_input_dim"] {
            k.maybe_size(key, CHANNELS, None)?;
        }
        k.size("addition_embed_type_num_heads", CHANNELS, 64)?;
        k.flag("upcast_attention", false)?;
        k.flag("use_linear_projection", false)?;
        let channels = list(k, "block_out_channels", CHANNELS, &[320, 640, 1280, 1280])?;
        let n = channels.len();
        let down = blocks(k, "down_block_types", DOWN_BLOCKS, [true, true, true, false], n)?;
        let up = blocks(k, "up_block_types", UP_BLOCKS, [false, true, true, true], n)?;
        let layers = each(k, "layers_per_block", LAYERS, 2, n)?;
        let depth = each(k, "transformer_layers_per_block", LAYERS, 1, n)?;
        // The key of that name has always been the number of heads.
        let named = each(k, "attention_head_dim", CHANNELS, 8, n)?;
        let heads = match k.has("num_attention_heads") {
            true => maybe_each(k, "num_attention_heads", n)?.unwrap_or(named),
            false => named,
        };
        let level = |i: usize| Level {
            channels: channels[i],
            heads: heads[i],
            layers: layers[i],
            depth: depth[i],
            attends: [down[i], up[n - 1 - i]],
        };
        let cross = each(k, "cross_attention_dim", CHANNELS, 1280, n)?;
        if cross.iter().any(|c| *c != cross[0]) {
            let expected = "one number: every block reads the same text";
            return Err(k.bad("cross_attention_dim", expected, format!("{cross:?}")));
        }
        let config = Config {
            sample_size: sample_size(k)?,
            in_channels: k.size("in_channels", CHANNELS, 4)?,
            out_channels: k.size("out_channels", CHANNELS, 4)?,
            center_input_sample: k.flag("center_input_sample", false)?,
            flip_sin_to_cos: k.flag("flip_sin_to_cos", true)?,
            freq_shift: k.number("freq_shift", "a number", 0.0, |_| true)?,
            time_embedding_dim: k
                .maybe_size("time_embedding_dim", CHANNELS, None)?
                .unwrap_or(4 * channels[0]),
            levels: (0..n).map(level).collect(),
            mid_block: k.word("mid_block_type", MID_BLOCKS, true)?,
            mid_block_scale_factor: k.number(
                "mid_block_scale_factor",
                "a number that is not 0",
                1.0,
                |n| (1.0 / n as f32).is_finite(),
            )?,
            downsample_padding: k.size("downsample_padding", 0..=1, 1)?,
            act: k.word("act_fn", ACTIVATIONS, Act::Silu)?,
            norm_num_groups: k.size("norm_num_groups", CHANNELS, 32)?,
            norm_eps: k.number("norm_eps", "a number above 0", 1e-5, |n| n > 0.0)?,
            time_shift: k.word("resnet_time_scale_shift", TIME_SHIFTS, TimeShift::Default)?,
            cross_attention_dim: cross[0],
        };
        config.check(k)?;
        keys.finish()?;
        Ok(config)
    }

    /// Relations between keys.
    fn check(&self, keys: &Keys) -> Result<()> {
        let [h, w] = self.sample_size;
        let step = 1 << (self.levels.len() - 1);
        if h % step != 0 || w % step != 0 {
            let expected = format!("sides that {step} divides: blocks halve the map");
            return Err(keys.bad("sample_size", expected, format!("{h} x {w}")));
        }
        if self.out_channels != self.in_channels {
            let expected = format!("in_channels ({})", self.in_channels);
            return Err(keys.bad("out_channels", expected, self.out_channels.to_string()));
        }
        if (self.levels[0].channels / 2) as f64 == self.freq_shift {
            let expected = "a number that is not half of block_out_channels[0]";
            return Err(keys.bad("freq_shift", expected, self.freq_shift.to_string()));
        }
        let last = self.levels.len() - 1;
        for (i, level) in self.levels.iter().enumerate() {
            let (c, whose) = (level.channels, format!("block {i}"));
            divides(keys, "norm_num_groups", self.norm_num_groups, c, &whose)?;
            if level.attends.contains(&true) || (self.mid_block && i == last) {
                divides(keys, "attention_head_dim", level.heads, c, &whose)?;
            }
        }
        Ok(())
    }
}

/// Whether a value is the one that JSON text says; 1 and 1.0 are one number.
fn is(value: &Value, expected: &str) -> bool {
    match (value.as_f64(), expected.parse::<f64>()) {
        (Some(a), Ok(b)) => a == b,
        _ => expected.parse::<Value>().is_ok_and(|expected| *value == expected),
    }
}

fn divides(keys: &Keys, key: &str, divisor: usize, c: usize, whose: &str) -> Result<()> {
    if c.is_multiple_of(divisor) {
        return Ok(());
    }
    let expected = format!("a divisor of the {c} channels of {whose}");
    Err(keys.bad(key, expected, divisor.to_string()))
}

fn sample_size(keys: &mut Keys) -> Result<[usize; 2]> {
    let side = |v: &Value| as_size(v).filter(|n| SIDE.contains(n));
    let expected = format!("an integer from {} to {}, or two", SIDE.start(), SIDE.end());
    keys.take("sample_size", &expected, [64; 2], |v| match v.as_array() {
        None => side(v).map(|n| [n; 2]),
        Some(sides) => match sides.as_slice() {
            [h, w] => Some([side(h)?, side(w)?]),
            _ => None,
        },
    })
}

fn numbers(v: &Value, range: &RangeInclusive<usize>) -> Option<Vec<usize>> {
    let list = v.as_array().filter(|list| BLOCKS.contains(&list.len()))?;
    list.iter().map(|n| as_size(n).filter(|n| range.contains(n))).collect()
}

fn list(
    keys: &mut Keys,
    key: &'static str,
    range: RangeInclusive<usize>,
    default: &[usize],
) -> Result<Vec<usize>> {
    let expected = format!(
        "a list of 1 to {} integers from {} to {}",
        BLOCKS.end(),
        range.start(),
        range.end()
    );
    keys.take(key, &expected, default.to_vec(), |v| numbers(v, &range))
}

/// One integer for all `n` blocks, or one for each.
fn each(
    keys: &mut Keys,
    key: &'static str,
    range: RangeInclusive<usize>,
    default: usize,
    n: usize,
) -> Result<Vec<usize>> {
    let expected =
        format!("an integer from {} to {}, or {n}, one a block", range.start(), range.end());
    keys.take(key, &expected, vec![default; n], |v| match as_size(v) {
        Some(one) => range.contains(&one).then(|| vec![one; n]),
        None => numbers(v, &range).filter(|list| list.len() == n),
    })
}

/// The same, or null.
fn maybe_each(keys: &mut Keys, key: &'static str, n: usize) -> Result<Option<Vec<usize>>> {
    let expected = format!("an integer, {n} of them, one a block, or null");
    keys.take(key, &expected, None, |v| match (v, as_size(v)) {
        (Value::Null, _) => Some(None),
        (_, Some(one)) => CHANNELS.contains(&one).then(|| Some(vec![one; n])),
        _ => numbers(v, &CHANNELS).filter(|list| list.len() == n).map(Some),
    })
}

fn blocks(
    keys: &mut Keys,
    key: &'static str,
    table: &[(Option<&str>, bool)],
    default: [bool; 4],
    n: usize,
) -> Result<Vec<bool>> {
    let names: Vec<&str> = table.iter().filter_map(|(name, _)| *name).collect();
    let expected = format!("{n} of {}", names.join(", "));
    let of = |v: &Value| {
        let name = v.as_str()?;
        table.iter().find(|(known, _)| *known == Some(name)).map(|(_, attends)| *attends)
    };
    let found =
        keys.take(key, &expected, default.to_vec(), |v| v.as_array()?.iter().map(of).collect())?;
    if found.len() == n {
        return Ok(found);
    }
    let expected = format!("{n} entries, as block_out_channels has");
    Err(keys.bad(key, expected, found.len().to_string()))
}
