//! UNet2DModel: the U-Net of DDPM (Ho et al. 2020, arXiv:2006.11239, appendix B) as diffusers
//! configures and names it, and NCSN++ (Song et al. 2021, arXiv:2011.13456, appendix H) in it.
//!
//! ```text
//! time, class -> emb -------------+-------+------+
//! x -> conv_in -> down blocks -> mid -> up blocks -> norm, SiLU, conv_out -> F
//!                      +------- skips ------+
//! ```

mod blocks;
mod config;
mod k;
mod skip;

use super::Network;
use super::keys::Keys;
use crate::error::{Error, Result};
use crate::graph::{Frequencies, Graph, GraphBuilder, NodeId, Shape};
use crate::ops::Act;
use blocks::{BlockSpec, Blocks, Skips};
use config::{ClassEmbedding, Config, Family, TimeEmbedding};

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
        ClassEmbedding::Number => {
            let most = match config.time_embedding {
                TimeEmbedding::Learned(times) => times,
                _ => EXACT_NUMBERS,
            };
            Some(config.num_class_embeds.unwrap_or(most).min(most))
        }
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
    let raw_time = embeddings(&mut g, config)?;
    let time = g.activation("time_embedding.nonlinearity", raw_time, config.act);
    let mut blocks = Blocks { g: &mut g, config, raw_time, time };
    let channels = &config.block_out_channels;
    let last = channels.len() - 1;

    let mut h = blocks.g.conv2d("conv_in", x, channels[0], 3, 1, (1, 1))?;
    let mut skips = Skips::default();
    skips.push(Some(h));
    let (mut input, mut output) = (x, None);
    for (i, &kind) in config.down_blocks.iter().enumerate() {
        let name = &format!("down_blocks.{i}");
        let resamples = i != last;
        let block = BlockSpec { name, kind, channels: channels[i], next: channels[i], resamples };
        h = match kind.family {
            Family::Plain => blocks.down(&block, h, &mut skips)?,
            Family::Skip => blocks.skip_down(&block, h, &mut skips, &mut input)?,
            Family::K => blocks.k_down(&block, h, &mut skips)?,
        };
    }
    if config.mid_block {
        h = blocks.mid(h)?;
    }
    for (i, &kind) in config.up_blocks.iter().enumerate() {
        let (own, name) = (channels[last - i], &format!("up_blocks.{i}"));
        let next = channels[last.saturating_sub(i + 1)];
        let block = BlockSpec { name, kind, channels: own, next, resamples: i != last };
        // Blocks of k-diffusion end with the channels of the next, others with their own.
        let before =
            if kind.family == Family::K { own } else { channels[(last + 1 - i).min(last)] };
        meets(name, before, blocks.g.shape(h).channels())?;
        h = match kind.family {
            Family::Plain => blocks.up(&block, h, &mut skips)?,
            Family::Skip => blocks.skip_up(&block, h, &mut skips, &mut output)?,
            Family::K => blocks.k_up(&block, h, &mut skips)?,
        };
        if output.is_some() && kind.family != Family::Skip {
            return Err(interrupted(name));
        }
    }
    h = blocks.g.group_norm("conv_norm_out", h, config.groups(channels[0]), config.norm_eps)?;
    h = blocks.g.activation("conv_act", h, Act::Silu);
    h = blocks.g.conv2d("conv_out", h, config.out_channels, 3, 1, (1, 1))?;
    h = blocks.skip_out(h, output)?;
    if config.time_embedding == TimeEmbedding::Fourier {
        h = g.divide_by_time("over_time", h);
    }
    Ok(g.finish(h))
}

/// Whether an up block is given the channels that its weights are for.
fn meets(block: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::invalid(
        format!("{block}: up_block_types"),
        format!("a map of {expected} channels from the block before"),
        found.to_string(),
        "use blocks of one family on both sides: diffusers' class fails there too",
    ))
}

/// Only Skip blocks double the branch of Skip blocks.
fn interrupted(block: &str) -> Error {
    Error::invalid(
        format!("{block}: up_block_types"),
        "Skip blocks to the end, once there was one",
        "a block of another family",
        "correct config.json: diffusers' class fails there too",
    )
}

/// The embedding of time and class.
fn embeddings(g: &mut GraphBuilder, config: &Config) -> Result<NodeId> {
    let (dim, width) = (config.block_out_channels[0], config.time_embedding_dim);
    let name = "time_proj";
    let t = match config.time_embedding {
        TimeEmbedding::Positional => {
            let shift = config.freq_shift;
            let frequencies = Frequencies::Exponential { max_period: MAX_PERIOD, shift };
            g.time_embedding(name, dim, config.flip_sin_to_cos, frequencies)
        }
        TimeEmbedding::Fourier => {
            // The same frequencies under the name of the first versions.
            g.unread("time_proj.W", &[dim], None);
            g.fourier_embedding(name, dim, true, false)
        }
        TimeEmbedding::Learned(times) => g.learned_time(name, times, dim),
    };
    let emb = embedding_mlp(g, "time_embedding", t, width);
    let class = match config.class_embedding {
        ClassEmbedding::None => None,
        ClassEmbedding::Table(n) => Some(g.class_embedding("class_embedding", n, width)),
        ClassEmbedding::Number => g
            .label_as_time("class_proj", t)
            .map(|number| embedding_mlp(g, "class_embedding", number, width)),
    };
    match class {
        Some(class) => g.add("time_embedding.class", emb, class, 1.0),
        None => Ok(emb),
    }
}

/// Linear, SiLU, linear.
fn embedding_mlp(g: &mut GraphBuilder, name: &str, x: NodeId, width: usize) -> NodeId {
    let h = g.linear(&format!("{name}.linear_1"), x, width, true);
    let h = g.activation(&format!("{name}.act"), h, Act::Silu);
    g.linear(&format!("{name}.linear_2"), h, width, true)
}
