//! UNet1DModel: the U-Net for waveforms (Dance Diffusion) and for plans (Janner et al. 2022,
//! arXiv:2205.09991, appendix C) as diffusers configures and names it. A series is a map of one
//! line: state and output are `[C, 1, L]`.

mod blocks;
mod config;

use super::Network;
use super::keys::Keys;
use crate::error::{Error, Result};
use crate::graph::{Frequencies, Graph, GraphBuilder, NodeId, Shape};
use blocks::Blocks;
use config::{Config, TimeEmbedding};

/// The longest period of the sinusoidal embedding.
const MAX_PERIOD: f64 = 10_000.0;

/// Builds the network that `config.json` describes.
pub(super) fn build(keys: Keys) -> Result<Network> {
    let config = Config::read(keys)?;
    Ok(Network {
        learned_variance: config.learned_variance(),
        ..Network::new(graph(&config)?, [config.in_channels, 1, config.sample_size])
    })
}

fn graph(config: &Config) -> Result<Graph> {
    let mut g = GraphBuilder::new();
    let place = |c| Shape::Map { h: 1, w: config.sample_size, c };
    let x = g.state(place(config.in_channels), 1.0, 0.0);
    let time = embedding(&mut g, config);
    let mut blocks = Blocks::new(&mut g, config, time);
    let channels = &config.block_out_channels;
    let last = channels.len() - 1;

    let (mut h, mut skips) = (x, Vec::new());
    for (i, &kind) in config.down_blocks.iter().enumerate() {
        let name = format!("down_blocks.{i}");
        let halves = i != last || config.downsample_each_block;
        h = blocks.down(&name, kind, h, channels[i], halves, &mut skips)?;
    }
    h = blocks.mid(h)?;
    let ups = config.up_blocks.len();
    for (i, &kind) in config.up_blocks.iter().enumerate() {
        let end = if config.out_block { channels[0] } else { config.out_channels };
        let out = if i + 1 < ups { channels[last - i - 1] } else { end };
        // There are no more up blocks than down blocks.
        let Some(skip) = skips.pop() else { continue };
        h = blocks.up(&format!("up_blocks.{i}"), kind, (h, skip), out, i != last)?;
    }
    if config.out_block {
        h = blocks.out(h)?;
    }
    let (found, expected) = (g.shape(h), place(config.out_channels));
    if found != expected {
        return Err(Error::invalid(
            "config.json: up_block_types",
            format!("blocks that end with {} values a step", config.sample_size),
            format!("{} values", found.pixels()),
            "double the length as often as it is halved",
        ));
    }
    Ok(g.finish(h))
}

/// The embedding of the time, a row.
fn embedding(g: &mut GraphBuilder, config: &Config) -> NodeId {
    let (name, dim, flip) = ("time_proj", config.time_channels, config.flip_sin_to_cos);
    let t = match config.time_embedding {
        TimeEmbedding::Fourier => g.fourier_embedding(name, dim / 2, false, flip),
        TimeEmbedding::Positional => {
            let shift = config.freq_shift;
            let frequencies = Frequencies::Exponential { max_period: MAX_PERIOD, shift };
            g.time_embedding(name, dim, flip, frequencies)
        }
    };
    let Some(act) = config.act.filter(|_| config.use_timestep_embedding) else { return t };
    let first = config.block_out_channels[0];
    let h = g.linear("time_mlp.linear_1", t, 4 * first, true);
    let h = g.activation("time_mlp.act", h, act);
    g.linear("time_mlp.linear_2", h, first, true)
}
