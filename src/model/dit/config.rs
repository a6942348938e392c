//! The options of `DiTTransformer2DModel`, as its config.json names them.

use crate::error::Result;
use crate::model::keys::{CHANNELS, Keys, SIDE};
use crate::ops::Act;

/// The feed-forward layer's nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedForward {
    Act(Act),
    /// Values times gelu(gates).
    Geglu,
}

/// What `config.json` says, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub heads: usize,
    pub head_dim: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub layers: usize,
    /// Whether queries, keys and values have a bias.
    pub attention_bias: bool,
    /// Lines and columns of the state.
    pub side: usize,
    pub patch: usize,
    pub feed_forward: FeedForward,
    /// Classes, the null class not counted.
    pub classes: usize,
    /// Whether the norm of the feed-forward layer has parameters, and its epsilon.
    pub affine: bool,
    pub eps: f64,
}

const FEED_FORWARDS: &[(Option<&str>, FeedForward)] = &[
    (Some("gelu-approximate"), FeedForward::Act(Act::GeluTanh)),
    (Some("gelu"), FeedForward::Act(Act::Gelu)),
    (Some("linear-silu"), FeedForward::Act(Act::Silu)),
    (Some("geglu"), FeedForward::Geglu),
];
/// What makes a `Transformer2DModel` a DiT, see [`Config::read_older`].
const NORM_TYPES: &[(Option<&str>, bool)] = &[(Some("ada_norm_zero"), true)];
const ATTENTION_TYPES: &[(Option<&str>, ())] = &[(Some("default"), ()), (None, ())];

/// Bounds that keep a mistyped number from asking for terabytes.
const CLASSES: std::ops::RangeInclusive<usize> = 1..=1_048_576;
const LAYERS: std::ops::RangeInclusive<usize> = 1..=512;
const HEADS: std::ops::RangeInclusive<usize> = 1..=256;

impl Config {
    /// Reads the keys that `keys` holds; those absent take the defaults of diffusers' class.
    pub fn read(mut keys: Keys) -> Result<Config> {
        let k = &mut keys;
        let in_channels = k.size("in_channels", CHANNELS, 4)?;
        k.take("dropout", "a number", (), |v| v.as_f64().map(drop))?;
        k.maybe_size("norm_num_groups", CHANNELS, None)?;
        k.flag("upcast_attention", false)?;
        k.word("norm_type", NORM_TYPES, true)?;
        let config = Config {
            heads: k.size("num_attention_heads", HEADS, 16)?,
            head_dim: k.size("attention_head_dim", CHANNELS, 72)?,
            in_channels,
            out_channels: k.maybe_size("out_channels", CHANNELS, None)?.unwrap_or(in_channels),
            layers: k.size("num_layers", LAYERS, 28)?,
            attention_bias: k.flag("attention_bias", true)?,
            side: k.size("sample_size", SIDE, 32)?,
            patch: k.size("patch_size", SIDE, 2)?,
            feed_forward: k.word("activation_fn", FEED_FORWARDS, FEED_FORWARDS[0].1)?,
            classes: k.size("num_embeds_ada_norm", CLASSES, 1000)?,
            affine: k.flag("norm_elementwise_affine", false)?,
            eps: k.number("norm_eps", "a number above 0", 1e-5, |n| n > 0.0)?,
        };
        config.check(k)?;
        keys.finish()?;
        Ok(config)
    }

    /// The same of a `Transformer2DModel`, as which DiT was published first: of its many networks
    /// the one with patches and `ada_norm_zero`.
    pub fn read_older(mut keys: Keys) -> Result<Config> {
        let k = &mut keys;
        if !k.has("norm_type") {
            return Err(k.bad("norm_type", "ada_norm_zero, that of DiT", "no such key"));
        }
        let absent = ["cross_attention_dim", "num_vector_embeds", "caption_channels"];
        for key in absent.into_iter().chain(["interpolation_scale", "use_additional_conditions"]) {
            k.take(key, "null, as DiT has it", (), |v| v.is_null().then_some(()))?;
        }
        for key in ["only_cross_attention", "double_self_attention"] {
            k.take(key, "false, as DiT has it", (), |v| (!v.as_bool()?).then_some(()))?;
        }
        k.flag("use_linear_projection", false)?;
        k.word("attention_type", ATTENTION_TYPES, ())?;
        Config::read(keys)
    }

    /// Channels of a token.
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Whether the network also predicts a variance.
    pub fn learned_variance(&self) -> bool {
        self.out_channels == 2 * self.in_channels
    }

    /// Relations between keys.
    fn check(&self, keys: &Keys) -> Result<()> {
        if !self.side.is_multiple_of(self.patch) {
            let expected = format!("a multiple of patch_size, {}", self.patch);
            return Err(keys.bad("sample_size", expected, self.side.to_string()));
        }
        if !self.width().is_multiple_of(4) {
            let expected = "heads whose widths together are a multiple of 4, for the sines and \
                            cosines of two axes";
            let found = format!("{} of {}", self.heads, self.head_dim);
            return Err(keys.bad("attention_head_dim", expected, found));
        }
        if self.out_channels != self.in_channels && !self.learned_variance() {
            let (c, with_variance) = (self.in_channels, 2 * self.in_channels);
            let expected = format!("in_channels ({c}), or {with_variance} with a learned variance");
            return Err(keys.bad("out_channels", expected, self.out_channels.to_string()));
        }
        Ok(())
    }
}
