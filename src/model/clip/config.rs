//! `config.json` of a text encoder.

use crate::error::Result;
use crate::model::keys::{CHANNELS, CLASSES, Keys, LAYERS};
use crate::ops::Act;

/// What decides the network; other keys of the file are about training and other classes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub vocabulary: usize,
    /// Tokens of a text.
    pub length: usize,
    pub width: usize,
    /// Elements between the layers of an mlp.
    pub wide: usize,
    pub layers: usize,
    pub heads: usize,
    pub act: Act,
    pub eps: f64,
}

/// What transformers calls the activations of CLIP.
const ACTIVATIONS: &[(Option<&str>, Act)] =
    &[(Some("quick_gelu"), Act::QuickGelu), (Some("gelu"), Act::Gelu)];
const TOKENS: std::ops::RangeInclusive<usize> = 2..=8_192;

impl Config {
    pub fn read(mut keys: Keys) -> Result<Config> {
        let k = &mut keys;
        let config = Config {
            vocabulary: k.size("vocab_size", CLASSES, 49_408)?,
            length: k.size("max_position_embeddings", TOKENS, 77)?,
            width: k.size("hidden_size", CHANNELS, 512)?,
            wide: k.size("intermediate_size", CHANNELS, 2_048)?,
            layers: k.size("num_hidden_layers", LAYERS, 12)?,
            heads: k.size("num_attention_heads", CHANNELS, 8)?,
            act: k.word("hidden_act", ACTIVATIONS, Act::QuickGelu)?,
            eps: k.number("layer_norm_eps", "a number above 0", 1e-5, |n| n > 0.0)?,
        };
        if !config.width.is_multiple_of(config.heads) {
            let expected = format!("a divisor of hidden_size, {}", config.width);
            return Err(keys.bad("num_attention_heads", expected, config.heads.to_string()));
        }
        Ok(config)
    }
}
