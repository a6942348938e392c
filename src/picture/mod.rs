//! A plan in pictures: the graph before and after fusion, and the values in memory over time.
//!
//! Each takes an [`Inspection`] and gives the text of a file; [`save`] writes it.

mod dot;
mod flow;
mod graph;
mod lanes;
mod memory;
mod svg;

pub use dot::dot;
pub use graph::graph;
pub use memory::memory;

use crate::beside;
use crate::error::{Error, Result};
use crate::sampler::Inspection;
use std::io::Write;
use std::path::Path;

/// Writes `text` to `path`, in place of a file of that name.
///
/// # Errors
/// The file cannot be written.
pub fn save(path: &Path, text: &str) -> Result<()> {
    let written = beside::write(path, |file| file.write_all(text.as_bytes()));
    let action = "check the free space and the permissions there";
    written.map(drop).map_err(|e| Error::write(path, e, action))
}

const INK: &str = "#1c2430";
const GREY: &str = "#6b7684";
const FAINT: &str = "#d5dae1";
/// What is computed before the loop.
const HOISTED: Color = Color { fill: "#dff3e3", line: "#3f8f58" };

/// How a block of layers is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Color {
    fill: &'static str,
    line: &'static str,
}

/// Layers of no block, and the solver.
const PLAIN: Color = Color { fill: "#e3e6ea", line: "#55606e" };

/// Colours that blocks take in turn; light enough for text, lines dark enough for white.
const BLOCKS: [Color; 10] = [
    Color { fill: "#dbe8f8", line: "#2f6db5" },
    Color { fill: "#fde6cf", line: "#c96a12" },
    Color { fill: "#eadff5", line: "#7a4db0" },
    Color { fill: "#fbdcdc", line: "#c03a3a" },
    Color { fill: "#d8f1ef", line: "#15807a" },
    Color { fill: "#f6e9bf", line: "#93750a" },
    Color { fill: "#f9dcec", line: "#b83d80" },
    Color { fill: "#dcdff8", line: "#4350b8" },
    Color { fill: "#ece0d6", line: "#8a5a33" },
    Color { fill: "#d3ecf7", line: "#1480aa" },
];

/// The block that a layer is of, if of any: `down_blocks.1` of `down_blocks.1.resnets.0.conv1`.
fn block(layer: &str) -> Option<&str> {
    let mut dots = layer.match_indices('.').map(|(at, _)| at);
    let first = dots.next()?;
    let second = dots.next().unwrap_or(layer.len());
    let numbered = layer[first + 1..second].parse::<usize>().is_ok();
    Some(if numbered { &layer[..second] } else { &layer[..first] })
}

/// The blocks that a step computes, in order, each with its colour.
struct Palette<'a>(Vec<&'a str>);

impl<'a> Palette<'a> {
    fn of(inspection: &'a Inspection) -> Palette<'a> {
        let step = &inspection.plan[inspection.step.clone()];
        let mut blocks: Vec<&str> = Vec::new();
        for block in step.iter().flat_map(|row| &row.layers).filter_map(|layer| block(layer)) {
            if !blocks.contains(&block) {
                blocks.push(block);
            }
        }
        Palette(blocks)
    }

    fn color(&self, layer: &str) -> Color {
        let place = block(layer).and_then(|block| self.0.iter().position(|other| *other == block));
        place.map_or(PLAIN, |at| BLOCKS[at % BLOCKS.len()])
    }

    fn blocks(&self) -> impl Iterator<Item = (&'a str, Color)> {
        self.0.iter().copied().zip(BLOCKS.into_iter().cycle())
    }
}

/// `32x32x128`.
fn sides(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
