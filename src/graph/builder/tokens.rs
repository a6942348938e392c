//! Layers of networks over tokens.

use super::GraphBuilder;
use crate::error::Result;
use crate::graph::{Layer, NodeId, Shape};

impl GraphBuilder {
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
