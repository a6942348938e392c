//! CLIPTextModel: the text encoder of CLIP (Radford et al. 2021, arXiv:2103.00020, section 2.4) as
//! transformers configures and names it.
//!
//! ```text
//! tokens -> vectors + places -> blocks -> norm -> one vector a token
//! block: x += out(attention(norm(x))), a token seeing those before it; x += mlp(norm(x))
//! ```

mod config;
mod tokenizer;

pub(super) use config::Config;
pub use tokenizer::Tokenizer;

use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId};

/// Grows the encoder number `text` of a network; its parameters are called `{name}.`.
pub(super) fn grow(
    g: &mut GraphBuilder,
    config: &Config,
    name: &str,
    text: usize,
) -> Result<NodeId> {
    let part = |p: &str| format!("{name}.{p}");
    let Config { vocabulary, length, width, eps, .. } = *config;
    let mut h = g.tokens(&part("embeddings.token_embedding"), text, [vocabulary, length], width);
    h = g.add_table(&part("embeddings.position_embedding"), h);
    g.unread(part("embeddings.position_ids"), &[], None);
    g.unread(part("text_projection."), &[], None);
    for i in 0..config.layers {
        h = block(g, config, &part(&format!("encoder.layers.{i}")), h)?;
    }
    Ok(g.layer_norm(&part("final_layer_norm"), h, eps))
}

fn block(g: &mut GraphBuilder, config: &Config, name: &str, x: NodeId) -> Result<NodeId> {
    let part = |p: &str| format!("{name}.{p}");
    let Config { width: c, heads, eps, .. } = *config;
    let h = g.layer_norm(&part("layer_norm1"), x, eps);
    let qkv = ["q_proj", "k_proj", "v_proj"]
        .map(|to| g.linear(&part(&format!("self_attn.{to}")), h, c, true));
    let scale = (1.0 / ((c / heads) as f64).sqrt()) as f32;
    let h = g.causal_attention(&part("self_attn.attention"), qkv, heads, scale);
    let h = g.linear(&part("self_attn.out_proj"), h, c, true);
    let x = g.add(&part("self_attn.residual"), h, x, 1.0)?;
    let h = g.layer_norm(&part("layer_norm2"), x, eps);
    let h = g.linear(&part("mlp.fc1"), h, config.wide, true);
    let h = g.activation(&part("mlp.act"), h, config.act);
    let h = g.linear(&part("mlp.fc2"), h, c, true);
    g.add(&part("mlp.residual"), h, x, 1.0)
}
