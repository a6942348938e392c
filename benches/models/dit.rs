//! DiT-XL/2 (Peebles & Xie 2023, arXiv:2212.09748) at 32x32 latents: 256 tokens of 1152 channels,
//! 28 blocks of attention and feed-forward layers, each scaled, shifted and gated by rows that a
//! linear layer makes of time and class.

use super::Net;
use unnoise::graph::{Graph, GraphBuilder, NodeId, Shape};
use unnoise::ops::Act;

pub const DIFFERS: &str = "a gate g is x (1 + g) + g', with the other gate as g'; norms have \
                           parameters; no table of positions; tokens become pixels by a 1x1 \
                           convolution of the enlarged map";

const EPS: f64 = 1e-6;
const CLASSES: usize = 1001;

/// The network.
pub fn graph(tiny: bool) -> Graph {
    let (c, blocks) = if tiny { (64, 2) } else { (1152, 28) };
    let mut net = Net(GraphBuilder::new());
    let x = net.0.state(Shape::Map { h: 32, w: 32, c: 4 }, 1.0, 0.0);
    let time = net.time(256, c);
    let class = net.0.class_embedding("class", CLASSES, c);
    let row = net.add("condition", time, class, 1.0);
    let row = net.silu("condition.silu", row);
    let mut h = net.conv("patches", x, c, 2, 2);
    for i in 0..blocks {
        h = block(&mut net, &format!("block.{i}"), h, row);
    }
    let scaled = net.0.linear("out.modulation", row, 2 * c, true);
    h = net.0.layer_norm("out.norm", h, EPS);
    h = net.0.scale_shift("out.scaled", h, scaled);
    h = net.0.upsample("out.pixels", h).expect("a map");
    h = net.conv("out", h, 8, 1, 1);
    net.0.finish(h)
}

/// `x + gate(attention(modulated(x)))`, then the same of a feed-forward layer.
fn block(net: &mut Net, name: &str, x: NodeId, row: NodeId) -> NodeId {
    let part = |p: &str| format!("{name}.{p}");
    let c = net.0.shape(x).channels();
    // The six rows of the published layer.
    let [first, second, gates] = ["first", "second", "gates"]
        .map(|p| net.0.linear(&part(&format!("modulation.{p}")), row, 2 * c, true));
    let heads = if c == 1152 { 16 } else { 4 };
    let h = net.0.layer_norm(&part("norm1"), x, EPS);
    let h = net.0.scale_shift(&part("modulated1"), h, first);
    let h = net.attention(&part("self"), [h; 2], heads, true);
    let h = net.0.scale_shift(&part("gated1"), h, gates);
    let x = net.add(&part("sum1"), h, x, 1.0);
    let h = net.0.layer_norm(&part("norm2"), x, EPS);
    let h = net.0.scale_shift(&part("modulated2"), h, second);
    let h = net.0.linear(&part("ff.in"), h, 4 * c, true);
    let h = net.0.activation(&part("ff.gelu"), h, Act::Gelu);
    let h = net.0.linear(&part("ff.out"), h, c, true);
    let h = net.0.scale_shift(&part("gated2"), h, gates);
    net.add(&part("sum2"), h, x, 1.0)
}
