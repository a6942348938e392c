//! DiT: the class-conditional diffusion transformer (Peebles & Xie 2023, arXiv:2212.09748) as
//! diffusers configures and names it.
//!
//! ```text
//! time, class -> emb -> rows: shift, scale, gate, twice a block
//! x -> patches + places -> blocks -> norm, scaled and shifted -> linear -> pixels of patches -> F
//! block: x += gate attention(shift + (1 + scale) norm(x)), x += gate' ff(shift' + ..)
//! ```
//!
//! Every block embeds time and class with parameters of its own. None of it depends on the state,
//! so the planner takes all of it out of the loop.

mod config;

use super::Network;
use super::keys::Keys;
use crate::error::Result;
use crate::graph::{Frequencies, Graph, GraphBuilder, NodeId, Shape, Stored, Window};
use crate::ops::Act;
use config::{Config, FeedForward};

/// The epsilon of norms without a key for it.
const EPS: f64 = 1e-6;
/// Elements of the embedding of the time.
const TIME: usize = 256;
/// How much wider a feed-forward layer is than a token.
const WIDER: usize = 4;
/// The guidance of diffusers' `DiTPipeline`.
const GUIDANCE: f64 = 4.0;

/// The class, and as what it was published first.
pub(super) const CLASSES: [&str; 2] = ["DiTTransformer2DModel", "Transformer2DModel"];

/// Builds the network that `config.json` describes.
pub(super) fn build(keys: Keys) -> Result<Network> {
    network(&Config::read(keys)?)
}

/// The same of a file of the older class.
pub(super) fn build_older(keys: Keys) -> Result<Network> {
    network(&Config::read_older(keys)?)
}

/// The guidance of the network where no file says one.
pub(super) fn published(class: &str, network: &Network) -> Option<f64> {
    network.classes.filter(|_| CLASSES.contains(&class)).map(|_| GUIDANCE)
}

fn network(config: &Config) -> Result<Network> {
    Ok(Network {
        graph: graph(config)?,
        state: [config.in_channels, config.side, config.side],
        learned_variance: config.learned_variance(),
        // The last is that of no class.
        classes: Some(config.classes + 1),
        null_class: Some(config.classes),
        form: None,
        time: None,
        sampler: None,
        mixture: None,
    })
}

fn graph(config: &Config) -> Result<Graph> {
    let mut g = GraphBuilder::new();
    let (side, patch, c) = (config.side, config.patch, config.width());
    let x = g.state(Shape::Map { h: side, w: side, c: config.in_channels }, 1.0, 0.0);
    let window = Window::square(patch, patch, (0, 0));
    let mut h = g.convolution("pos_embed.proj", x, c, window, true)?;
    h = g.add_positions("pos_embed", h);
    let tokens = (side / patch) * (side / patch);
    g.unread("pos_embed.pos_embed", &[1, tokens, c], None);
    let mut first = None;
    for i in 0..config.layers {
        let name = format!("transformer_blocks.{i}");
        let conditioning = conditioning(&mut g, config, &format!("{name}.norm1.emb"))?;
        first = first.or(Some(conditioning));
        let mut block = Block { g: &mut g, config, name, conditioning };
        h = block.attention(h)?;
        h = block.feed_forward(h)?;
    }
    if let Some(conditioning) = first {
        let name = "proj_out_1";
        let rows = Stored::Chunks { of: 2, taken: &[1, 0] };
        let rows = g.linear_of(name, name, conditioning, 2 * c, rows);
        h = g.plain_layer_norm("norm_out", h, EPS);
        h = g.scale_shift("norm_out.modulated", h, rows);
    }
    h = g.linear("proj_out_2", h, patch * patch * config.out_channels, true);
    h = g.unpatchify("unpatchify", h, patch)?;
    Ok(g.finish(h))
}

/// The embedding of time and class, activated.
fn conditioning(g: &mut GraphBuilder, config: &Config, name: &str) -> Result<NodeId> {
    let part = |p: &str| format!("{name}.{p}");
    let c = config.width();
    let frequencies = Frequencies::Exponential { max_period: 10_000.0, shift: 1.0 };
    let mut t = g.time_embedding(&part("time_proj"), TIME, true, frequencies);
    t = g.linear(&part("timestep_embedder.linear_1"), t, c, true);
    t = g.activation(&part("timestep_embedder.act"), t, Act::Silu);
    t = g.linear(&part("timestep_embedder.linear_2"), t, c, true);
    let table = part("class_embedder.embedding_table");
    let class = g.class_embedding(&table, config.classes + 1, c);
    let sum = g.add(&part("sum"), t, class, 1.0)?;
    Ok(g.activation(&part("silu"), sum, Act::Silu))
}

/// One block as it grows.
struct Block<'a> {
    g: &'a mut GraphBuilder,
    config: &'a Config,
    /// `transformer_blocks.7`
    name: String,
    conditioning: NodeId,
}

impl Block<'_> {
    fn part(&self, p: &str) -> String {
        format!("{}.{p}", self.name)
    }

    /// Some of the six rows that the block makes of time and class: shift, scale and gate of the
    /// attention, then of the feed-forward layer.
    fn rows(&mut self, what: &str, taken: &'static [usize]) -> NodeId {
        let name = self.part("norm1.linear");
        let out = taken.len() * self.config.width();
        let stored = Stored::Chunks { of: 6, taken };
        self.g.linear_of(&format!("{name}.{what}"), &name, self.conditioning, out, stored)
    }

    /// `x + gate out(attention(norm(x) (1 + scale) + shift))`
    fn attention(&mut self, x: NodeId) -> Result<NodeId> {
        let Config { heads, head_dim, attention_bias, .. } = *self.config;
        let c = self.config.width();
        let rows = self.rows("attention", &[1, 0]);
        let gate = self.rows("attention_gate", &[2]);
        let name = self.part("norm1.norm");
        let h = self.g.plain_layer_norm(&name, x, EPS);
        let h = self.g.scale_shift(&format!("{name}.modulated"), h, rows);
        let qkv = ["to_q", "to_k", "to_v"].map(|to| {
            let name = self.part(&format!("attn1.{to}"));
            self.g.linear(&name, h, c, attention_bias)
        });
        let scale = (1.0 / (head_dim as f64).sqrt()) as f32;
        let h = self.g.attention(&self.part("attn1.attention"), qkv, heads, scale);
        let h = self.g.linear(&self.part("attn1.to_out.0"), h, c, true);
        let h = self.g.multiply(&self.part("attn1.gated"), h, gate);
        self.g.add(&self.part("attn1.residual"), h, x, 1.0)
    }

    /// `x + gate ff(norm(x) (1 + scale) + shift)`
    fn feed_forward(&mut self, x: NodeId) -> Result<NodeId> {
        let Config { feed_forward, affine, eps, .. } = *self.config;
        let c = self.config.width();
        let rows = self.rows("feed_forward", &[4, 3]);
        let gate = self.rows("feed_forward_gate", &[5]);
        let name = self.part("norm3");
        let h = match affine {
            true => self.g.layer_norm(&name, x, eps),
            false => self.g.plain_layer_norm(&name, x, eps),
        };
        let h = self.g.scale_shift(&format!("{name}.modulated"), h, rows);
        let (proj, name) = (self.part("ff.net.0.proj"), self.part("ff.net.0"));
        let h = match feed_forward {
            FeedForward::Act(act) => {
                let h = self.g.linear(&proj, h, WIDER * c, true);
                self.g.activation(&name, h, act)
            }
            FeedForward::Geglu => {
                let h = self.g.linear(&proj, h, 2 * WIDER * c, true);
                self.g.geglu(&name, h)?
            }
        };
        let h = self.g.linear(&self.part("ff.net.2"), h, c, true);
        let h = self.g.multiply(&self.part("ff.gated"), h, gate);
        self.g.add(&self.part("ff.residual"), h, x, 1.0)
    }
}
