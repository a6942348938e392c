//! A graph as text: one line a layer.

use super::{Graph, Shape};
use std::fmt;

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Map { h, w, c } => write!(f, "[{h}, {w}, {c}]"),
            Shape::Row { c } => write!(f, "[{c}]"),
        }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<String> = node.inputs.iter().map(|n| format!("%{}", n.0)).collect();
            writeln!(
                f,
                "%{i} {} = {:?}({}) {}",
                node.name,
                node.layer,
                inputs.join(", "),
                node.shape
            )?;
        }
        Ok(())
    }
}
