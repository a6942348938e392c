//! The graph before and after fusion in the language of Graphviz, side by side.

use super::flow::{Item, after, before};
use super::{Color, HOISTED, Palette, sides};
use crate::sampler::Inspection;

/// A text in quotes; `\l` within it ends a line.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace(['\n', '\r'], "\\l"))
}

/// The picture as one `digraph` of two clusters: nodes `b0, b1, ..` are the layers of the network,
/// `a0, a1, ..` the launches, each with the layers that it computes. Edges carry shapes; what runs
/// before the loop is green.
pub fn dot(inspection: &Inspection) -> String {
    let palette = Palette::of(inspection);
    let (before, after) = (before(inspection), after(inspection));
    let (hoisted, step) = (inspection.launches_hoisted, inspection.launches_per_step);
    let titles = [
        format!("before: {} layers", before.len()),
        format!("after: {step} launches a step, {hoisted} before the loop"),
    ];
    let mut text = format!("digraph {} {{\n", quoted(&inspection.model));
    text += "  node [shape=box, style=filled, fontname=\"monospace\", fontsize=10];\n";
    text += "  edge [fontname=\"monospace\", fontsize=8, color=\"#6b7684\"];\n";
    for ((items, title), name) in [before, after].iter().zip(titles).zip(["before", "after"]) {
        text += &format!("  subgraph cluster_{name} {{\n    label={};\n", quoted(&title));
        for (id, item) in items.iter().enumerate() {
            let color = item.hoisted.map_or(palette.color(item.name), |_| HOISTED);
            text += &node(&name[..1], id, item, color);
        }
        for (id, item) in items.iter().enumerate() {
            for read in &item.reads {
                let label = quoted(&sides(items[*read].shape));
                text += &format!("    {0}{read} -> {0}{id} [label={label}];\n", &name[..1]);
            }
        }
        text += "  }\n";
    }
    text + "}\n"
}

fn node(cluster: &str, id: usize, item: &Item, color: Color) -> String {
    let mut label = format!("{} {}", item.kind, item.name);
    if let Some(why) = item.hoisted {
        label += &format!("\nbefore the loop, by {why}");
    }
    item.layers.iter().for_each(|layer| label += &format!("\n  {layer}"));
    let Color { fill, line } = color;
    let label = quoted(&(label + "\n"));
    format!("    {cluster}{id} [label={label}, fillcolor=\"{fill}\", color=\"{line}\"];\n")
}
