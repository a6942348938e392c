//! SongUNet (DDPM++ and NCSN++ of Song et al. 2021, arXiv:2011.13456) and DhariwalUNet (ADM of
//! Dhariwal & Nichol 2021, arXiv:2105.05233), as EDM writes and names them.
//!
//! ```text
//! noise level, class -> emb ----+------------+
//! x -> conv -> levels down -> in0, in1 -> levels up -> norm, SiLU, conv -> F
//!                    +---------- skips --------+
//! ```

use super::blocks::{Block, Blocks, Resize, Style};
use super::config::{Config, Encoder, Song};
use crate::error::Result;
use crate::graph::{Frequencies, Graph, GraphBuilder, NodeId, Shape};
use crate::ops::Act;
use std::f64::consts::FRAC_1_SQRT_2;

/// The longest period of the sinusoidal embedding.
const MAX_PERIOD: f64 = 10_000.0;

/// The network, whose last convolution has `out` channels.
pub(super) fn graph(config: &Config, out: usize) -> Result<Graph> {
    let mut g = GraphBuilder::new();
    let side = config.img_resolution;
    let x = g.state(Shape::Map { h: side, w: side, c: config.img_channels }, 1.0, 0.0);
    let (emb, style) = match &config.song {
        Some(song) => (song_embedding(&mut g, config, song)?, song_style(song)),
        None => (dhariwal_embedding(&mut g, config)?, dhariwal_style()),
    };
    let mut unet = Unet { blocks: Blocks { g: &mut g, style, emb }, config, skips: Vec::new() };
    let h = unet.encoder(x)?;
    let f = unet.decoder(h, out)?;
    Ok(g.finish(f))
}

fn song_style(song: &Song) -> Style {
    Style {
        eps: 1e-6,
        scale: FRAC_1_SQRT_2 as f32,
        adaptive: false,
        projects: true,
        one_head: true,
        taps: song.taps.clone(),
    }
}

fn dhariwal_style() -> Style {
    let taps = vec![0.5, 0.5];
    Style { eps: 1e-5, scale: 1.0, adaptive: true, projects: false, one_head: false, taps }
}

/// Sines, then cosines of the noise level; the class joins them, and two layers follow.
fn song_embedding(g: &mut GraphBuilder, config: &Config, song: &Song) -> Result<NodeId> {
    let channels = config.noise_channels();
    let frequencies = match song.fourier {
        true => {
            let weight = g.param("model.map_noise.freqs", &[channels / 2]);
            Frequencies::Stored { weight, log: false }
        }
        false => Frequencies::Power { max_period: MAX_PERIOD, shift: 1.0 },
    };
    let mut emb = g.time_embedding("model.map_noise", channels, false, frequencies);
    if config.label_dim > 0 {
        let scale = (config.label_dim as f64).sqrt() as f32;
        let label = g.label_vector("model.label", config.label_dim, scale);
        let label = g.linear("model.map_label", label, channels, true);
        emb = g.add("model.map_label.sum", emb, label, 1.0)?;
    }
    augment(g, config, channels);
    emb = layers(g, config, emb);
    Ok(g.activation("model.map_layer1.silu", emb, Act::Silu))
}

/// Cosines, then sines of the noise level and two layers; the class joins behind them.
fn dhariwal_embedding(g: &mut GraphBuilder, config: &Config) -> Result<NodeId> {
    let channels = config.noise_channels();
    let frequencies = Frequencies::Power { max_period: MAX_PERIOD, shift: 0.0 };
    let emb = g.time_embedding("model.map_noise", channels, true, frequencies);
    augment(g, config, channels);
    let mut emb = layers(g, config, emb);
    if config.label_dim > 0 {
        let width = g.shape(emb).channels();
        let label = g.label_vector("model.label", config.label_dim, 1.0);
        let label = g.linear("model.map_label", label, width, false);
        emb = g.add("model.map_label.sum", emb, label, 1.0)?;
    }
    Ok(g.activation("model.map_layer1.silu", emb, Act::Silu))
}

/// Linear, SiLU, linear.
fn layers(g: &mut GraphBuilder, config: &Config, emb: NodeId) -> NodeId {
    let width = config.model_channels * config.channel_mult_emb;
    let emb = g.linear("model.map_layer0", emb, width, true);
    let emb = g.activation("model.map_layer0.silu", emb, Act::Silu);
    g.linear("model.map_layer1", emb, width, true)
}

/// Sampling has no augmentation labels: their layer stays unread.
fn augment(g: &mut GraphBuilder, config: &Config, channels: usize) {
    if config.augment_dim > 0 {
        g.unread("model.map_augment.weight", &[channels, config.augment_dim], None);
    }
}

/// Grows the two ways through the levels.
struct Unet<'a> {
    blocks: Blocks<'a>,
    config: &'a Config,
    /// What the way down leaves for the way up.
    skips: Vec<NodeId>,
}

impl Unet<'_> {
    /// `enc.32x32_`, and whether that level attends.
    fn level(&self, half: &str, level: usize) -> (String, bool) {
        let side = self.config.img_resolution >> level;
        let attends = self.config.attn_resolutions.contains(&side);
        (format!("model.{half}.{side}x{side}_"), attends)
    }

    fn channels(&self, level: usize) -> usize {
        self.config.model_channels * self.config.channel_mult[level]
    }

    fn encoder(&mut self, x: NodeId) -> Result<NodeId> {
        let (mut h, mut image) = (x, x);
        for level in 0..self.config.channel_mult.len() {
            let (name, attention) = self.level("enc", level);
            let block = Block { channels: self.channels(level), resize: Resize::Keep, attention };
            if level == 0 {
                let first = match self.config.song {
                    Some(_) => self.config.model_channels,
                    None => block.channels,
                };
                h = self.blocks.g.conv2d(&format!("{name}conv"), x, first, 3, 1, (1, 1))?;
            } else {
                let channels = self.blocks.g.shape(h).channels();
                let down = Block { channels, resize: Resize::Halve, attention: false };
                h = self.blocks.block(&format!("{name}down"), h, down)?;
                (h, image) = self.join(&name, h, image)?;
            }
            self.skips.push(h);
            for i in 0..self.config.num_blocks {
                h = self.blocks.block(&format!("{name}block{i}"), h, block)?;
                self.skips.push(h);
            }
        }
        Ok(h)
    }

    /// The features and the image, both halved, after they met.
    fn join(&mut self, name: &str, h: NodeId, image: NodeId) -> Result<(NodeId, NodeId)> {
        let c = self.blocks.g.shape(h).channels();
        let part = |p: &str| format!("{name}{p}");
        match self.config.song.as_ref().map_or(Encoder::Standard, |song| song.encoder) {
            Encoder::Standard => Ok((h, image)),
            Encoder::Skip => {
                let image = self.blocks.resized(&part("aux_down"), image, Resize::Halve)?;
                let y = self.blocks.g.conv2d(&part("aux_skip"), image, c, 1, 1, (0, 0))?;
                Ok((self.blocks.g.add(&part("aux_skip.sum"), h, y, 1.0)?, image))
            }
            Encoder::Residual => {
                let y = self.blocks.conv_down(&part("aux_residual"), image, c)?;
                let scale = FRAC_1_SQRT_2 as f32;
                let sum = self.blocks.g.add(&part("aux_residual.sum"), h, y, scale)?;
                Ok((sum, sum))
            }
        }
    }

    fn decoder(&mut self, mut h: NodeId, out: usize) -> Result<NodeId> {
        let last = self.config.channel_mult.len() - 1;
        let by_level = self.config.song.as_ref().is_some_and(|song| song.decoder_skip);
        let mut image = None;
        for level in (0..=last).rev() {
            let (name, attends) = self.level("dec", level);
            let channels = self.blocks.g.shape(h).channels();
            let mut block = Block { channels, resize: Resize::Keep, attention: false };
            if level == last {
                h = self.blocks.block(
                    &format!("{name}in0"),
                    h,
                    Block { attention: true, ..block },
                )?;
                h = self.blocks.block(&format!("{name}in1"), h, block)?;
            } else {
                let up = Block { resize: Resize::Double, ..block };
                h = self.blocks.block(&format!("{name}up"), h, up)?;
            }
            block.channels = self.channels(level);
            for i in 0..=self.config.num_blocks {
                let name = format!("{name}block{i}");
                if let Some(skip) = self.skips.pop() {
                    h = self.blocks.g.concat(&format!("{name}.concat"), h, skip)?;
                }
                // On the way up SongUNet attends once a level.
                let once = self.config.song.is_some() && i < self.config.num_blocks;
                h = self.blocks.block(&name, h, Block { attention: attends && !once, ..block })?;
            }
            if self.config.song.is_some() && (by_level || level == 0) {
                image = Some(self.image(&name, h, image, out)?);
            }
        }
        match image {
            Some(image) => Ok(image),
            None => self.output("model.out_norm", "model.out_conv", h, out),
        }
    }

    /// The image of one level, added to that of the level below.
    fn image(
        &mut self,
        name: &str,
        h: NodeId,
        below: Option<NodeId>,
        out: usize,
    ) -> Result<NodeId> {
        let part = |p: &str| format!("{name}{p}");
        let below = match below {
            None => None,
            Some(image) => Some(self.blocks.resized(&part("aux_up"), image, Resize::Double)?),
        };
        let y = self.output(&part("aux_norm"), &part("aux_conv"), h, out)?;
        match below {
            None => Ok(y),
            Some(image) => self.blocks.g.add(&part("aux_conv.sum"), y, image, 1.0),
        }
    }

    fn output(&mut self, norm: &str, conv: &str, h: NodeId, out: usize) -> Result<NodeId> {
        let h = self.blocks.norm(norm, h)?;
        let h = self.blocks.g.activation(&format!("{norm}.silu"), h, Act::Silu);
        self.blocks.g.conv2d(conv, h, out, 3, 1, (1, 1))
    }
}
