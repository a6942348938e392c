//! UNet2DConditionModel: the U-Net of latent diffusion, told by a text (Rombach et al. 2022,
//! arXiv:2112.10752, section 3.3 and appendix E.2), as diffusers configures and names it.
//!
//! ```text
//! time -> emb; text -> encoder -> keys and values of every cross attention, once a run
//! x -> conv_in -> down blocks -> mid -> up blocks -> norm, SiLU, conv_out -> F
//! block: residual, transformer (self attention, cross attention, feed-forward), ..
//! ```

mod config;

use super::Network;
use super::clip;
use super::keys::Keys;
use super::residual::{Residual, Resize, Style, residual};
use crate::error::Result;
use crate::graph::{Frequencies, Graph, GraphBuilder, NodeId, Shape};
use config::{Config, Level};

/// The longest period of the sinusoidal embeddings.
const MAX_PERIOD: f64 = 10_000.0;
/// The epsilon of a transformer's first norm, and of the norms in its blocks.
const FIRST_EPS: f64 = 1e-6;
const EPS: f64 = 1e-5;
/// How much wider a feed-forward layer is than a token.
const WIDER: usize = 4;

/// Builds the network that `config.json` describes, with the text encoder that belongs to it.
pub(super) fn build(keys: Keys) -> Result<Network> {
    let Some(text) = keys.text.clone() else {
        let expected = "a pipeline's folder, with text_encoder and tokenizer beside the network";
        return Err(keys.bad("_class_name", expected, "the network alone"));
    };
    let origin = keys.origin().to_string();
    let config = Config::read(keys)?;
    if config.cross_attention_dim != text.width {
        return Err(crate::error::Error::invalid(
            format!("{origin}: cross_attention_dim"),
            format!("{}, the hidden_size of the text encoder", text.width),
            config.cross_attention_dim.to_string(),
            "use the text encoder that belongs to the network",
        ));
    }
    let [h, w] = config.sample_size;
    Ok(Network::new(graph(&config, &text)?, [config.in_channels, h, w]))
}

fn graph(config: &Config, text: &clip::Config) -> Result<Graph> {
    let mut g = GraphBuilder::new();
    let [h, w] = config.sample_size;
    let tokens = clip::grow(&mut g, text, "text_encoder", 0)?;
    // A centred input is 2 x - 1.
    let (scale, offset) = if config.center_input_sample { (2.0, -1.0) } else { (1.0, 0.0) };
    let x = g.state(Shape::Map { h, w, c: config.in_channels }, scale, offset);
    let time = time(&mut g, config);
    let style =
        Style { act: config.act, eps: config.norm_eps, time_shift: config.time_shift, time };
    let mut blocks = Blocks { g: &mut g, config, style, tokens };
    let (levels, last) = (&config.levels, config.levels.len() - 1);
    let mut h = blocks.g.conv2d("conv_in", x, levels[0].channels, 3, 1, (1, 1))?;
    let mut skips = vec![h];
    for (i, level) in levels.iter().enumerate() {
        h = blocks.down(&format!("down_blocks.{i}"), level, h, i != last, &mut skips)?;
    }
    if config.mid_block {
        h = blocks.mid(h, &levels[last])?;
    }
    for (i, level) in levels.iter().rev().enumerate() {
        h = blocks.up(&format!("up_blocks.{i}"), level, h, i != last, &mut skips)?;
    }
    h = g.group_norm("conv_norm_out", h, config.norm_num_groups, config.norm_eps)?;
    h = g.activation("conv_act", h, config.act);
    h = g.conv2d("conv_out", h, config.out_channels, 3, 1, (1, 1))?;
    Ok(g.finish(h))
}

/// The embedding of the time, activated as residual blocks take it.
fn time(g: &mut GraphBuilder, config: &Config) -> NodeId {
    let frequencies = Frequencies::Exponential { max_period: MAX_PERIOD, shift: config.freq_shift };
    let (dim, width) = (config.levels[0].channels, config.time_embedding_dim);
    let mut t = g.time_embedding("time_proj", dim, config.flip_sin_to_cos, frequencies);
    t = g.linear("time_embedding.linear_1", t, width, true);
    t = g.activation("time_embedding.act", t, config.act);
    t = g.linear("time_embedding.linear_2", t, width, true);
    g.activation("time_embedding.nonlinearity", t, config.act)
}

/// Grows the graph block by block.
struct Blocks<'a> {
    g: &'a mut GraphBuilder,
    config: &'a Config,
    style: Style,
    /// The text.
    tokens: NodeId,
}

impl Blocks<'_> {
    fn resnet(&mut self, name: &str, x: NodeId, channels: usize, scale: f64) -> Result<NodeId> {
        let groups = [self.config.norm_num_groups; 2];
        let how = Residual { groups, resize: Resize::Keep, scale, shortcut: false };
        residual(self.g, &self.style, name, x, channels, how)
    }

    /// Layer `j` of a block: a residual block, then a transformer if the block has them.
    fn layer(
        &mut self,
        block: &str,
        j: usize,
        x: NodeId,
        level: &Level,
        attends: bool,
    ) -> Result<NodeId> {
        let h = self.resnet(&format!("{block}.resnets.{j}"), x, level.channels, 1.0)?;
        if !attends {
            return Ok(h);
        }
        self.transformer(&format!("{block}.attentions.{j}"), h, level)
    }

    fn down(
        &mut self,
        name: &str,
        level: &Level,
        mut h: NodeId,
        halves: bool,
        skips: &mut Vec<NodeId>,
    ) -> Result<NodeId> {
        for j in 0..level.layers {
            h = self.layer(name, j, h, level, level.attends[0])?;
            skips.push(h);
        }
        if halves {
            // Padding 0 stands for one row and column below and to the right only.
            let pad = (self.config.downsample_padding, 1);
            let conv = format!("{name}.downsamplers.0.conv");
            h = self.g.conv2d(&conv, h, level.channels, 3, 2, pad)?;
            skips.push(h);
        }
        Ok(h)
    }

    fn mid(&mut self, mut h: NodeId, level: &Level) -> Result<NodeId> {
        let scale = self.config.mid_block_scale_factor;
        h = self.resnet("mid_block.resnets.0", h, level.channels, scale)?;
        h = self.transformer("mid_block.attentions.0", h, level)?;
        self.resnet("mid_block.resnets.1", h, level.channels, scale)
    }

    fn up(
        &mut self,
        name: &str,
        level: &Level,
        mut h: NodeId,
        doubles: bool,
        skips: &mut Vec<NodeId>,
    ) -> Result<NodeId> {
        for j in 0..=level.layers {
            if let Some(skip) = skips.pop() {
                h = self.g.concat(&format!("{name}.resnets.{j}.concat"), h, skip)?;
            }
            h = self.layer(name, j, h, level, level.attends[1])?;
        }
        if !doubles {
            return Ok(h);
        }
        let part = |p: &str| format!("{name}.upsamplers.0.{p}");
        h = self.g.upsample(&part("upsample"), h)?;
        self.g.conv2d(&part("conv"), h, level.channels, 3, 1, (1, 1))
    }

    /// `x + out(blocks(in(norm(x))))`
    fn transformer(&mut self, name: &str, x: NodeId, level: &Level) -> Result<NodeId> {
        let (part, c) = (|p: &str| format!("{name}.{p}"), level.channels);
        let groups = self.config.norm_num_groups;
        let mut h = self.g.group_norm(&part("norm"), x, groups, FIRST_EPS)?;
        // Stored as a matrix or as a convolution of one tap.
        h = self.g.linear(&part("proj_in"), h, c, true);
        for i in 0..level.depth {
            h = self.block(&part(&format!("transformer_blocks.{i}")), h, level.heads)?;
        }
        h = self.g.linear(&part("proj_out"), h, c, true);
        self.g.add(&part("residual"), h, x, 1.0)
    }

    /// Self attention, cross attention and a gated feed-forward layer, each `x + f(norm(x))`.
    fn block(&mut self, name: &str, x: NodeId, heads: usize) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let c = self.g.shape(x).channels();
        let h = self.g.layer_norm(&part("norm1"), x, EPS);
        let x = self.attention(&part("attn1"), [h, h], x, heads)?;
        let h = self.g.layer_norm(&part("norm2"), x, EPS);
        let x = self.attention(&part("attn2"), [h, self.tokens], x, heads)?;
        let h = self.g.layer_norm(&part("norm3"), x, EPS);
        let h = self.g.linear(&part("ff.net.0.proj"), h, 2 * WIDER * c, true);
        let h = self.g.geglu(&part("ff.net.0"), h)?;
        let h = self.g.linear(&part("ff.net.2"), h, c, true);
        self.g.add(&part("ff.residual"), h, x, 1.0)
    }

    /// `x + out(softmax(q k^T / sqrt(d)) v)`, q of the first value, k and v of the second.
    fn attention(
        &mut self,
        name: &str,
        [own, others]: [NodeId; 2],
        x: NodeId,
        heads: usize,
    ) -> Result<NodeId> {
        let part = |p: &str| format!("{name}.{p}");
        let c = self.g.shape(x).channels();
        let qkv = [("to_q", own), ("to_k", others), ("to_v", others)]
            .map(|(to, of)| self.g.linear(&part(to), of, c, false));
        let scale = (1.0 / ((c / heads) as f64).sqrt()) as f32;
        let h = self.g.attention(&part("attention"), qkv, heads, scale);
        let h = self.g.linear(&part("to_out.0"), h, c, true);
        self.g.add(&part("residual"), h, x, 1.0)
    }
}
