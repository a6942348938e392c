//! `config.json` of EDM's networks: the arguments of a preconditioning class and of its network,
//! with their defaults (Karras et al. 2022, arXiv:2206.00364, tables 1 and 7).

use super::super::keys::{CHANNELS, Keys, SIDE, as_size};
use crate::error::Result;
use crate::ops::fir_resample::MOST_TAPS;
use serde_json::Value;

/// How the network's output is read, with the numbers that it was trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Precond {
    Edm { sigma_min: f64, sigma_max: f64, sigma_data: f64 },
    Vp { beta_d: f64, beta_min: f64, timesteps: usize, epsilon_t: f64 },
    Ve { sigma_min: f64, sigma_max: f64 },
    Iddpm { c_1: f64, c_2: f64, timesteps: usize },
}

/// What the image itself does on the way down, beside the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoder {
    Standard,
    /// It is halved, and added to the features by a 1x1 convolution.
    Skip,
    /// A convolution halves it, and the sum with the features takes its place.
    Residual,
}

/// What SongUNet has over what both networks have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Song {
    /// The noise level is embedded by random frequencies.
    pub fourier: bool,
    pub channel_mult_noise: usize,
    pub encoder: Encoder,
    /// Every level of the way up has an image of its own, which is doubled and added to.
    pub decoder_skip: bool,
    /// Of the resampling filter; they add up to 1.
    pub taps: Vec<f32>,
}

/// The configuration, checked: what it describes can be built.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub img_resolution: usize,
    pub img_channels: usize,
    /// 0 for an unconditional network.
    pub label_dim: usize,
    pub precond: Precond,
    /// 0 for a network that was trained without augmentation labels.
    pub augment_dim: usize,
    pub model_channels: usize,
    pub channel_mult: Vec<usize>,
    pub channel_mult_emb: usize,
    pub num_blocks: usize,
    pub attn_resolutions: Vec<usize>,
    /// None: DhariwalUNet.
    pub song: Option<Song>,
}

/// Bounds that keep a mistyped number from asking for terabytes.
const MULTIPLES: std::ops::RangeInclusive<usize> = 1..=256;
const LABELS: std::ops::RangeInclusive<usize> = 0..=1_048_576;
const BLOCKS: std::ops::RangeInclusive<usize> = 0..=64;
const LEVELS: std::ops::RangeInclusive<usize> = 1..=12;
const TIMESTEPS: std::ops::RangeInclusive<usize> = 2..=100_000;

/// Whether it is SongUNet.
const MODEL_TYPES: &[(Option<&str>, bool)] =
    &[(Some("SongUNet"), true), (Some("DhariwalUNet"), false)];
const EMBEDDINGS: &[(Option<&str>, bool)] = &[(Some("positional"), false), (Some("fourier"), true)];
const ENCODERS: &[(Option<&str>, Encoder)] = &[
    (Some("standard"), Encoder::Standard),
    (Some("skip"), Encoder::Skip),
    (Some("residual"), Encoder::Residual),
];
const DECODERS: &[(Option<&str>, bool)] = &[(Some("standard"), false), (Some("skip"), true)];

impl Config {
    /// Reads the keys that `keys` holds, those of `precond` among them; those absent take the
    /// defaults of the classes. `song` is whether the network is SongUNet by default.
    pub fn read(
        mut keys: Keys,
        song: bool,
        precond: fn(&mut Keys) -> Result<Precond>,
    ) -> Result<Config> {
        let k = &mut keys;
        // What the training alone or another device's precision needs.
        k.flag("use_fp16", false)?;
        k.take("dropout", "a number", (), |v| v.as_f64().map(drop))?;
        k.take("label_dropout", "a number", (), |v| v.as_f64().map(drop))?;
        let song = k.word("model_type", MODEL_TYPES, song)?;
        let img_resolution = k.maybe_size("img_resolution", SIDE, None)?;
        let img_channels = k.maybe_size("img_channels", CHANNELS, None)?;
        let needed = |value: Option<usize>, key: &str| {
            value.ok_or_else(|| k.bad(key, "a whole number", "no such key"))
        };
        let (img_resolution, img_channels) =
            (needed(img_resolution, "img_resolution")?, needed(img_channels, "img_channels")?);
        let (width, mults, blocks, attends): (_, &[usize], _, &[usize]) = match song {
            true => (128, &[1, 2, 2, 2], 4, &[16]),
            false => (192, &[1, 2, 3, 4], 3, &[32, 16, 8]),
        };
        let config = Config {
            img_resolution,
            img_channels,
            label_dim: k.size("label_dim", LABELS, 0)?,
            precond: precond(k)?,
            augment_dim: k.size("augment_dim", LABELS, 0)?,
            model_channels: k.size("model_channels", CHANNELS, width)?,
            channel_mult: sizes(k, "channel_mult", LEVELS, MULTIPLES, mults)?,
            channel_mult_emb: k.size("channel_mult_emb", MULTIPLES, 4)?,
            num_blocks: k.size("num_blocks", BLOCKS, blocks)?,
            attn_resolutions: sizes(k, "attn_resolutions", 0..=64, SIDE, attends)?,
            song: if song { Some(Song::read(k)?) } else { None },
        };
        config.check(k)?;
        keys.finish()?;
        Ok(config)
    }

    /// Channels of the embedding of the noise level.
    pub fn noise_channels(&self) -> usize {
        self.model_channels * self.song.as_ref().map_or(1, |song| song.channel_mult_noise)
    }

    /// Relations between keys.
    fn check(&self, keys: &Keys) -> Result<()> {
        let (side, halvings) = (self.img_resolution, self.channel_mult.len() - 1);
        if !side.is_multiple_of(1 << halvings) {
            let step = 1 << halvings;
            let expected = format!("a multiple of {step}: {halvings} levels halve the image");
            return Err(keys.bad("img_resolution", expected, side.to_string()));
        }
        let noise = self.noise_channels();
        // With SongUNet's endpoint the frequencies of two channels are 0 / 0.
        let fewest = if self.song.as_ref().is_some_and(|song| !song.fourier) { 4 } else { 2 };
        if !noise.is_multiple_of(2) || noise < fewest {
            let expected = format!("an even number of channels from {fewest} on in the embedding");
            return Err(keys.bad("model_channels", expected, noise.to_string()));
        }
        for mult in &self.channel_mult {
            let c = self.model_channels * mult;
            if self.song.is_none() && c >= 64 && !c.is_multiple_of(c / 64) {
                let expected = format!("channels that {} heads divide", c / 64);
                return Err(keys.bad("model_channels", expected, c.to_string()));
            }
        }
        Ok(())
    }
}

impl Song {
    fn read(k: &mut Keys) -> Result<Song> {
        let expected =
            format!("a list of 2 to {MOST_TAPS} numbers, an even number of them, with a sum");
        let tap = |v: &Value| v.as_f64().filter(|v| (*v as f32).is_finite());
        let filter = k.take("resample_filter", &expected, vec![1.0, 1.0], |v| {
            let taps = v.as_array()?.iter().map(tap).collect::<Option<Vec<_>>>()?;
            let sum = taps.iter().sum::<f64>();
            let held = taps.len() % 2 == 0 && (2..=MOST_TAPS).contains(&taps.len());
            (held && taps.iter().all(|tap| ((tap / sum) as f32).is_finite())).then_some(taps)
        })?;
        let sum = filter.iter().sum::<f64>();
        Ok(Song {
            fourier: k.word("embedding_type", EMBEDDINGS, false)?,
            channel_mult_noise: k.size("channel_mult_noise", MULTIPLES, 1)?,
            encoder: k.word("encoder_type", ENCODERS, Encoder::Standard)?,
            decoder_skip: k.word("decoder_type", DECODERS, false)?,
            taps: filter.into_iter().map(|tap| (tap / sum) as f32).collect(),
        })
    }
}

/// Reads the keys of EDMPrecond.
pub(super) fn edm(k: &mut Keys) -> Result<Precond> {
    let sigma_min = from_0(k, "sigma_min", 0.0)?;
    // JSON has no infinity, the default.
    let expected = format!("a number above sigma_min ({sigma_min}), or null for no bound");
    let sigma_max = k.take("sigma_max", &expected, f64::INFINITY, |v| match v {
        Value::Null => Some(f64::INFINITY),
        v => v.as_f64().filter(|n| *n > sigma_min && (*n as f32).is_finite()),
    })?;
    let sigma_data = above_0(k, "sigma_data", 0.5)?;
    Ok(Precond::Edm { sigma_min, sigma_max, sigma_data })
}

/// Reads the keys of VPPrecond.
pub(super) fn vp(k: &mut Keys) -> Result<Precond> {
    Ok(Precond::Vp {
        beta_d: above_0(k, "beta_d", 19.9)?,
        beta_min: above_0(k, "beta_min", 0.1)?,
        timesteps: k.size("M", TIMESTEPS, 1000)?,
        epsilon_t: k
            .number("epsilon_t", "a number above 0 and below 1", 1e-5, |n| n > 0.0 && n < 1.0)?,
    })
}

/// Reads the keys of VEPrecond.
pub(super) fn ve(k: &mut Keys) -> Result<Precond> {
    let sigma_min = from_0(k, "sigma_min", 0.02)?;
    let expected = format!("a number above sigma_min ({sigma_min})");
    let sigma_max = k.number("sigma_max", &expected, 100.0, |n| n > sigma_min)?;
    Ok(Precond::Ve { sigma_min, sigma_max })
}

/// Reads the keys of iDDPMPrecond.
pub(super) fn iddpm(k: &mut Keys) -> Result<Precond> {
    Ok(Precond::Iddpm {
        c_1: k.number("C_1", "a number above 0 and below 1", 0.001, |n| n > 0.0 && n < 1.0)?,
        c_2: above_0(k, "C_2", 0.008)?,
        timesteps: k.size("M", TIMESTEPS, 1000)?,
    })
}

fn above_0(k: &mut Keys, key: &'static str, default: f64) -> Result<f64> {
    k.number(key, "a number above 0", default, |n| n > 0.0)
}

fn from_0(k: &mut Keys, key: &'static str, default: f64) -> Result<f64> {
    k.number(key, "a number from 0 on", default, |n| n >= 0.0)
}

/// A list of `count` integers in `range`.
fn sizes(
    keys: &mut Keys,
    key: &'static str,
    count: std::ops::RangeInclusive<usize>,
    range: std::ops::RangeInclusive<usize>,
    default: &[usize],
) -> Result<Vec<usize>> {
    let (fewest, most) = (count.start(), count.end());
    let (least, largest) = (range.start(), range.end());
    let expected = format!("a list of {fewest} to {most} integers from {least} to {largest}");
    keys.take(key, &expected, default.to_vec(), |v| {
        let list = v.as_array().filter(|list| count.contains(&list.len()))?;
        list.iter().map(|n| as_size(n).filter(|n| range.contains(n))).collect()
    })
}
