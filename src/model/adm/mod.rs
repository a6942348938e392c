//! UNetModel: the U-Net of ADM (Dhariwal & Nichol 2021, arXiv:2105.05233), of iDDPM (Nichol &
//! Dhariwal 2021, arXiv:2102.09672) and of the consistency models (Song et al. 2023,
//! arXiv:2303.01469), with the parameter names of their repositories.
//!
//! ```text
//! time, class -> time_embed, label_emb -> emb ----+-------------+
//! x -> input_blocks -> middle_block -> output_blocks -> out -> F
//!          +------------- skips -----------+
//! ```

mod blocks;
mod config;
mod flags;
mod sampling;

use super::Network;
use super::keys::Keys;
use crate::error::{Error, Result};
use crate::graph::{Frequencies, Graph, GraphBuilder, NodeId, Shape};
use crate::ops::Act;
use blocks::{Blocks, Resize};
use config::Config;

/// The longest period of the sinusoidal embedding.
const MAX_PERIOD: f64 = 10_000.0;

/// Builds the network that the flags in `config.json` describe.
pub(super) fn build(keys: Keys) -> Result<Network> {
    let config = Config::read(keys)?;
    let state = [config.in_channels, config.image_size, config.image_size];
    Ok(Network {
        learned_variance: config.learn_sigma,
        classes: config.classes,
        form: config.sampling.form,
        time: config.sampling.time,
        sampler: Some(config.sampling.sampler()),
        ..Network::new(graph(&config)?, state)
    })
}

/// The upsampling networks of the same repositories, which take a picture beside the state.
pub(super) fn super_resolution(keys: Keys) -> Result<Network> {
    Err(no_upsampler(&keys, "_class_name", "SuperResModel"))
}

/// The classifier of guided-diffusion, which is no denoiser.
pub(super) fn classifier(keys: Keys) -> Result<Network> {
    let expected = "UNetModel, the denoiser";
    Err(keys.bad("_class_name", expected, "EncoderUNetModel, the classifier of guided-diffusion"))
}

/// Flags that only the upsampling networks have.
fn refuse_super_resolution(keys: &mut Keys) -> Result<()> {
    for key in ["large_size", "small_size"] {
        let there = keys.take(key, "no such key", false, |_| Some(true))?;
        if there {
            return Err(no_upsampler(keys, key, "a flag of the super-resolution model"));
        }
    }
    Ok(())
}

fn no_upsampler(keys: &Keys, key: &str, found: &str) -> Error {
    let expected = "a network of the state alone: models that upsample a picture (low_res) are not \
                    covered";
    keys.bad(key, expected, found)
}

fn graph(config: &Config) -> Result<Graph> {
    let mut g = GraphBuilder::new();
    let side = config.image_size;
    let x = g.state(Shape::Map { h: side, w: side, c: config.in_channels }, 1.0, 0.0);
    let time = embeddings(&mut g, config)?;
    let mut blocks = Blocks { g: &mut g, config, time };

    let first = config.channels[0];
    let h = blocks.g.conv2d("input_blocks.0.0", x, first, 3, 1, (1, 1))?;
    let mut skips = vec![h];
    input_blocks(&mut blocks, &mut skips)?;
    let last = config.channels[config.channels.len() - 1];
    let mut h = skips[skips.len() - 1];
    h = blocks.residual("middle_block.0", h, last, Resize::Keep)?;
    h = blocks.attention("middle_block.1", h, false)?;
    h = blocks.residual("middle_block.2", h, last, Resize::Keep)?;
    h = output_blocks(&mut blocks, h, skips)?;

    h = blocks.normed("out.0", h)?;
    let out = config.in_channels * if config.learn_sigma { 2 } else { 1 };
    h = g.conv2d("out.2", h, out, 3, 1, (1, 1))?;
    Ok(g.finish(h))
}

/// The embedding of time and class, activated: what every residual block projects.
fn embeddings(g: &mut GraphBuilder, config: &Config) -> Result<NodeId> {
    let (dim, width) = (config.num_channels, 4 * config.num_channels);
    let frequencies = Frequencies::Exponential { max_period: MAX_PERIOD, shift: 0.0 };
    let mut emb = g.time_embedding("timestep_embedding", dim, true, frequencies);
    emb = g.linear("time_embed.0", emb, width, true);
    emb = g.activation("time_embed.1", emb, Act::Silu);
    emb = g.linear("time_embed.2", emb, width, true);
    if let Some(classes) = config.classes {
        let class = g.class_embedding("label_emb", classes, width);
        emb = g.add("emb", emb, class, 1.0)?;
    }
    Ok(g.activation("emb_layers.0", emb, Act::Silu))
}

/// Every map that they make is a skip; the last is their output.
fn input_blocks(blocks: &mut Blocks, skips: &mut Vec<NodeId>) -> Result<()> {
    let config = blocks.config;
    for (level, (&channels, &attends)) in config.channels.iter().zip(&config.attention).enumerate()
    {
        for _ in 0..config.num_res_blocks {
            let name = format!("input_blocks.{}", skips.len());
            let x = skips[skips.len() - 1];
            let mut h = blocks.residual(&format!("{name}.0"), x, channels, Resize::Keep)?;
            if attends {
                h = blocks.attention(&format!("{name}.1"), h, false)?;
            }
            skips.push(h);
        }
        if level + 1 < config.channels.len() {
            let name = format!("input_blocks.{}.0", skips.len());
            let h = blocks.down(&name, skips[skips.len() - 1])?;
            skips.push(h);
        }
    }
    Ok(())
}

/// Each takes the map and the newest skip that is left.
fn output_blocks(blocks: &mut Blocks, mut h: NodeId, mut skips: Vec<NodeId>) -> Result<NodeId> {
    let config = blocks.config;
    let mut index = 0;
    for level in (0..config.channels.len()).rev() {
        for i in 0..=config.num_res_blocks {
            let name = format!("output_blocks.{index}");
            if let Some(skip) = skips.pop() {
                h = blocks.g.concat(&format!("{name}.cat"), h, skip)?;
            }
            let mut part = 0;
            let mut next = || {
                part += 1;
                format!("{name}.{}", part - 1)
            };
            h = blocks.residual(&next(), h, config.channels[level], Resize::Keep)?;
            if config.attention[level] {
                h = blocks.attention(&next(), h, true)?;
            }
            if level > 0 && i == config.num_res_blocks {
                h = blocks.up(&next(), h)?;
            }
            index += 1;
        }
    }
    Ok(h)
}
