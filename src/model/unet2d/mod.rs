//! UNet2DModel: the U-Net of DDPM (Ho et al. 2020, arXiv:2006.11239, appendix B) as diffusers
//! configures and names it.
//!
//! ```text
//! time, class -> emb -------------+-------+------+
//! x -> conv_in -> down blocks -> mid -> up blocks -> norm, SiLU, conv_out -> F
//!                      +------- skips ------+
//! ```

mod blocks;
mod config;

use super::Network;
use super::keys::Keys;
use crate::error::Result;
use crate::graph::{Frequencies, Graph, GraphBuilder, NodeId, Shape};
use crate::ops::Act;
use blocks::{BlockSpec, Blocks};
use config::{ClassEmbedding, Config};

/// The longest period of the sinusoidal embeddings.
const MAX_PERIOD: f64 = 10_000.0;

/// Class numbers that f32 holds exactly: the bound where the network has no table of classes.
const EXACT_NUMBERS: usize = 1 << 24;

/// Builds the network that `config.json` describes.
pub(super) fn build(keys: Keys) -> Result<Network> {
    let config = Config::read(keys)?;
    let [h, w] = config.sample_size;
    let classes = match config.class_embedding {
        ClassEmbedding::None => None,
        ClassEmbedding::Table(n) => Some(n),
        ClassEmbedding::Number => Some(config.num_class_embeds.unwrap_or(EXACT_NUMBERS)),
    };
    Ok(Network {
        learned_variance: config.learned_variance(),
        classes,
        ..Network::new(graph(&config)?, [config.in_channels, h, w])
    })
}

fn graph(config: &Config) -> Result<Graph> {
    let mut g = GraphBuilder::new();
    let [h, w] = config.sample_size;
    // A centred input is 2 x - 1.
    let (scale, offset) = if config.center_input_sample { (2.0, -1.0) } else { (1.0, 0.0) };
    let x = g.state(Shape::Map { h, w, c: config.in_channels }, scale, offset);
    let time = embeddings(&mut g, config)?;
    let mut blocks = Blocks { g: &mut g, config, time };
    let channels = &config.block_out_channels;
    let last = channels.len() - 1;

    let mut h = blocks.g.conv2d("conv_in", x, channels[0], 3, 1, (1, 1))?;
    let mut skips = vec![h];
    for (i, &kind) in config.down_blocks.iter().enumerate() {
        let name = &format!("down_blocks.{i}");
        let block = BlockSpec { name, kind, channels: channels[i], resamples: i != last };
        h = blocks.down(&block, h, &mut skips)?;
    }
    if config.mid_block {
        h = blocks.mid(h)?;
    }
    for (i, &kind) in config.up_blocks.iter().enumerate() {
        let name = &format!("up_blocks.{i}");
        let block = BlockSpec { name, kind, channels: channels[last - i], resamples: i != last };
        h = blocks.up(&block, h, &mut skips)?;
    }
    h = g.group_norm("conv_norm_out", h, config.norm_num_groups, config.norm_eps)?;
    h = g.activation("conv_act", h, Act::Silu);
    h = g.conv2d("conv_out", h, config.out_channels, 3, 1, (1, 1))?;
    Ok(g.finish(h))
}

/// The embedding of time and class, activated: what every residual block projects.
fn embeddings(g: &mut GraphBuilder, config: &Config) -> Result<NodeId> {
    let (dim, width) = (config.block_out_channels[0], config.time_embedding_dim);
    let flip = config.flip_sin_to_cos;
    let frequencies = Frequencies::Exponential { max_period: MAX_PERIOD, shift: config.freq_shift };
    let t = g.time_embedding("time_proj", dim, flip, frequencies);
    let mut emb = embedding_mlp(g, "time_embedding", t, width);
    let class = match config.class_embedding {
        ClassEmbedding::None => None,
        ClassEmbedding::Table(n) => Some(g.class_embedding("class_embedding", n, width)),
        ClassEmbedding::Number => {
            let number = g.label_embedding("class_proj", dim, flip, frequencies);
            Some(embedding_mlp(g, "class_embedding", number, width))
        }
    };
    if let Some(class) = class {
        emb = g.add("time_embedding.class", emb, class, 1.0)?;
    }
    Ok(g.activation("time_embedding.nonlinearity", emb, config.act))
}

/// Linear, SiLU, linear.
fn embedding_mlp(g: &mut GraphBuilder, name: &str, x: NodeId, width: usize) -> NodeId {
    let h = g.linear(&format!("{name}.linear_1"), x, width, true);
    let h = g.activation(&format!("{name}.act"), h, Act::Silu);
    g.linear(&format!("{name}.linear_2"), h, width, true)
}
