//! DDPM++ as EDM trains it on CIFAR-10 (Karras et al. 2022, arXiv:2206.00364): residual blocks that
//! resample themselves, shortcuts of 1x1 convolutions, one head of attention at 16x16.

use super::Net;
use unnoise::graph::{Graph, GraphBuilder, NodeId, Shape};

pub const DIFFERS: &str = "without the 1152 parameters of the augmentation labels";

const EPS: f64 = 1e-6;
const LEVELS: usize = 3;
const BLOCKS: usize = 4;
/// Side of the maps with attention.
const ATTENDED: usize = 16;

/// What a block does to the side of its map.
#[derive(Clone, Copy, PartialEq)]
enum Resize {
    Keep,
    Halve,
    Double,
}

/// The network: 128 channels at first, 256 from then on.
pub fn graph(tiny: bool) -> Graph {
    let base = if tiny { 16 } else { 128 };
    let mut net = Net(GraphBuilder::new());
    let x = net.0.state(Shape::Map { h: 32, w: 32, c: 3 }, 1.0, 0.0);
    let time = net.time(base, 4 * base);
    let time = net.silu("time.silu", time);
    let mut blocks = Blocks { net, time, out: 2 * base, made: 0 };
    let mut h = blocks.net.conv("conv_in", x, base, 3, 1);
    let mut skips = vec![h];
    for level in 0..LEVELS {
        if level > 0 {
            h = blocks.block(h, Resize::Halve, false);
            skips.push(h);
        }
        for _ in 0..BLOCKS {
            h = blocks.block(h, Resize::Keep, blocks.side(h) == ATTENDED);
            skips.push(h);
        }
    }
    h = blocks.block(h, Resize::Keep, true);
    h = blocks.block(h, Resize::Keep, false);
    for level in (0..LEVELS).rev() {
        if level + 1 < LEVELS {
            h = blocks.block(h, Resize::Double, false);
        }
        for i in 0..=BLOCKS {
            let skip = skips.pop().expect("as many as were made");
            h = blocks.net.0.concat(&format!("concat.{level}.{i}"), h, skip).expect("one side");
            h = blocks.block(h, Resize::Keep, i == BLOCKS && blocks.side(h) == ATTENDED);
        }
    }
    let mut net = blocks.net;
    h = net.norm("norm_out", h, EPS);
    h = net.silu("silu_out", h);
    h = net.conv("conv_out", h, 3, 3, 1);
    net.0.finish(h)
}

struct Blocks {
    net: Net,
    time: NodeId,
    /// Channels of every block.
    out: usize,
    made: usize,
}

impl Blocks {
    fn side(&self, x: NodeId) -> usize {
        self.net.0.shape(x).pixels().isqrt()
    }

    /// `(shortcut(x) + conv(silu(norm(conv(silu(norm(x))) + time)))) / sqrt 2`, then attention.
    fn block(&mut self, x: NodeId, resize: Resize, attends: bool) -> NodeId {
        let (net, out) = (&mut self.net, self.out);
        let name = format!("block.{}", self.made);
        let part = |p: &str| format!("{name}.{p}");
        self.made += 1;
        let mut h = net.norm(&part("norm1"), x, EPS);
        h = net.silu(&part("silu1"), h);
        let mut skip = x;
        let mut resized = |x: NodeId, p: &str| match resize {
            Resize::Keep => x,
            Resize::Halve => net.0.downsample(&part(p), x).expect("a map"),
            Resize::Double => net.0.upsample(&part(p), x).expect("a map"),
        };
        h = resized(h, "resize");
        skip = resized(skip, "resize_skip");
        h = net.conv(&part("conv1"), h, out, 3, 1);
        let row = net.0.linear(&part("time"), self.time, out, true);
        h = net.add(&part("add"), h, row, 1.0);
        h = net.norm(&part("norm2"), h, EPS);
        h = net.silu(&part("silu2"), h);
        if net.0.shape(skip).channels() != out || resize != Resize::Keep {
            skip = net.conv(&part("skip"), skip, out, 1, 1);
        }
        h = net.conv(&part("conv2"), h, out, 3, 1);
        h = net.add(&part("sum"), h, skip, 0.5_f32.sqrt());
        if !attends {
            return h;
        }
        let normed = net.norm(&part("norm3"), h, EPS);
        let y = net.attention(&name, [normed; 2], 1, true);
        net.add(&part("attended"), y, h, 0.5_f32.sqrt())
    }
}
