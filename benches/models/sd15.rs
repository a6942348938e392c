//! The UNet of Stable Diffusion 1.5 (Rombach et al. 2022, arXiv:2112.10752) at 64x64 latents:
//! 320, 640, 1280 and 1280 channels, transformers of eight heads at the first three, whose second
//! attention is over the tokens of a text.

use super::Net;
use unnoise::graph::{Graph, GraphBuilder, NodeId, Shape};

pub const DIFFERS: &str = "the text is 81 tokens made of the state by a convolution, as a graph \
                           has no second input: 77 given ones as published";

const HEADS: usize = 8;
const BLOCKS: usize = 2;

/// The network.
pub fn graph(tiny: bool) -> Graph {
    let base = if tiny { 32 } else { 320 };
    let channels = [1, 2, 4, 4].map(|times| times * base);
    let mut net = Net(GraphBuilder::new());
    let text = text(&mut net, if tiny { 32 } else { 768 });
    let x = net.0.state(Shape::Map { h: 64, w: 64, c: 4 }, 1.0, 0.0);
    let time = net.time(base, 4 * base);
    let time = net.silu("time.silu", time);
    let mut blocks = Blocks { net, time, text, made: 0 };
    let mut h = blocks.net.conv("conv_in", x, base, 3, 1);
    let mut skips = vec![h];
    for (level, out) in channels.into_iter().enumerate() {
        for _ in 0..BLOCKS {
            h = blocks.resnet(h, out);
            if level < 3 {
                h = blocks.transformer(h);
            }
            skips.push(h);
        }
        if level < 3 {
            h = blocks.net.conv(&format!("down.{level}"), h, out, 3, 2);
            skips.push(h);
        }
    }
    h = blocks.resnet(h, channels[3]);
    h = blocks.transformer(h);
    h = blocks.resnet(h, channels[3]);
    for (level, out) in channels.into_iter().enumerate().rev() {
        for i in 0..=BLOCKS {
            let skip = skips.pop().expect("as many as were made");
            h = blocks.net.0.concat(&format!("concat.{level}.{i}"), h, skip).expect("one side");
            h = blocks.resnet(h, out);
            if level < 3 {
                h = blocks.transformer(h);
            }
        }
        if level > 0 {
            h = blocks.net.0.upsample(&format!("up.{level}"), h).expect("a map");
            h = blocks.net.conv(&format!("up.{level}.conv"), h, out, 3, 1);
        }
    }
    let mut net = blocks.net;
    h = net.norm("norm_out", h, 1e-5);
    h = net.silu("silu_out", h);
    h = net.conv("conv_out", h, 4, 3, 1);
    net.0.finish(h)
}

/// What stands for a text: a map of 9x9.
fn text(net: &mut Net, width: usize) -> NodeId {
    let x = net.0.state(Shape::Map { h: 64, w: 64, c: 4 }, 1.0, 0.0);
    let x = net.0.downsample("text.half", x).expect("a map");
    let x = net.0.downsample("text.quarter", x).expect("a map");
    net.0.conv2d("text", x, width, 3, 2, (2, 1)).expect("a map")
}

struct Blocks {
    net: Net,
    time: NodeId,
    text: NodeId,
    made: usize,
}

impl Blocks {
    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}.{}", self.made)
    }

    /// `shortcut(x) + conv(silu(norm(conv(silu(norm(x))) + time)))`.
    fn resnet(&mut self, x: NodeId, out: usize) -> NodeId {
        let name = self.name("resnet");
        let part = |p: &str| format!("{name}.{p}");
        let net = &mut self.net;
        let mut h = net.norm(&part("norm1"), x, 1e-5);
        h = net.silu(&part("silu1"), h);
        h = net.conv(&part("conv1"), h, out, 3, 1);
        let row = net.0.linear(&part("time"), self.time, out, true);
        h = net.add(&part("add"), h, row, 1.0);
        h = net.norm(&part("norm2"), h, 1e-5);
        h = net.silu(&part("silu2"), h);
        let mut skip = x;
        if net.0.shape(x).channels() != out {
            skip = net.conv(&part("skip"), x, out, 1, 1);
        }
        h = net.conv(&part("conv2"), h, out, 3, 1);
        net.add(&part("sum"), h, skip, 1.0)
    }

    /// Attention to itself, to the text, and a gated feed-forward layer, between two 1x1
    /// convolutions.
    fn transformer(&mut self, x: NodeId) -> NodeId {
        let name = self.name("transformer");
        let part = |p: &str| format!("{name}.{p}");
        let (net, text) = (&mut self.net, self.text);
        let c = net.0.shape(x).channels();
        let mut h = net.norm(&part("norm"), x, 1e-6);
        h = net.conv(&part("proj_in"), h, c, 1, 1);
        let normed = net.0.layer_norm(&part("norm1"), h, 1e-5);
        let y = net.attention(&part("self"), [normed; 2], HEADS, false);
        h = net.add(&part("sum1"), y, h, 1.0);
        let normed = net.0.layer_norm(&part("norm2"), h, 1e-5);
        let y = net.attention(&part("text"), [normed, text], HEADS, false);
        h = net.add(&part("sum2"), y, h, 1.0);
        let normed = net.0.layer_norm(&part("norm3"), h, 1e-5);
        let y = net.0.linear(&part("ff.in"), normed, 8 * c, true);
        let y = net.0.geglu(&part("ff.geglu"), y).expect("an even width");
        let y = net.0.linear(&part("ff.out"), y, c, true);
        h = net.add(&part("sum3"), y, h, 1.0);
        h = net.conv(&part("proj_out"), h, c, 1, 1);
        net.add(&part("sum"), h, x, 1.0)
    }
}
