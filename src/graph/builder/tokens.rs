//! Layers of networks over tokens and in latent spaces.

use super::GraphBuilder;
use crate::error::Result;
use crate::graph::{Layer, NodeId, Shape};

impl GraphBuilder {
    /// A part of the final state ([`Layer::Latents`]).
    pub fn latents(&mut self, shape: Shape, scale: f32) -> NodeId {
        self.push("latents", Layer::Latents { scale }, &[], shape)
    }

    /// The learned vectors of `length` tokens out of `vocabulary` ([`Layer::Tokens`]).
    pub fn tokens(
        &mut self,
        name: &str,
        text: usize,
        [vocabulary, length]: [usize; 2],
        c: usize,
    ) -> NodeId {
        let table = self.param(format!("{name}.weight"), &[vocabulary, c]);
        self.push(name, Layer::Tokens { table, text }, &[], Shape::Map { h: 1, w: length, c })
    }

    /// x plus a parameter of as many pixels and channels.
    pub fn add_table(&mut self, name: &str, x: NodeId) -> NodeId {
        let shape = self.shape(x);
        let table = self.param(format!("{name}.weight"), &[shape.pixels(), shape.channels()]);
        self.push(name, Layer::AddTable { table }, &[x], shape)
    }

    /// A norm over channels without parameters.
    pub fn plain_layer_norm(&mut self, name: &str, x: NodeId, eps: f64) -> NodeId {
        let (shape, c) = (self.shape(x), self.shape(x).channels());
        let (gamma, beta) = (self.constant(&[c], 1.0), self.constant(&[c], 0.0));
        self.push(name, Layer::LayerNorm { gamma, beta, eps }, &[x], shape)
    }

    /// x times a row of as many channels.
    pub fn multiply(&mut self, name: &str, x: NodeId, row: NodeId) -> NodeId {
        let shape = self.shape(x);
        debug_assert_eq!(self.shape(row), Shape::Row { c: shape.channels() });
        self.push(name, Layer::Multiply, &[x, row], shape)
    }

    /// x, of a multiple of four channels, plus the embedding of its places.
    pub fn add_positions(&mut self, name: &str, x: NodeId) -> NodeId {
        let shape = self.shape(x);
        self.push(name, Layer::AddPositions, &[x], shape)
    }

    /// Tokens as the pixels of their patches of `side x side`.
    pub fn unpatchify(&mut self, name: &str, x: NodeId, side: usize) -> Result<NodeId> {
        let Shape::Map { h, w, c } = self.shape(x) else { return Err(self.not_a_map(name)) };
        let shape = Shape::Map { h: side * h, w: side * w, c: c / (side * side) };
        Ok(self.push(name, Layer::Unpatchify { side }, &[x], shape))
    }
}
