//! The Inception network of the FID: Inception-v3 (Szegedy et al. 2016, arXiv:1512.00567, table 1)
//! as its TensorFlow graph of 2015 has it, which differs from later ones: means leave the padding
//! out, the last block has a maximum, there are 1008 outputs, and images are brought to 299 x 299
//! by weights of which pixel i lies at `i side / 299`, whatever the size.
//!
//! A convolution has no bias but a batch norm, whose statistics are known:
//! `gamma (w x - mean) / sqrt(variance + eps) + beta` is a convolution with a bias
//! ([`crate::weights::Normalised`]).

use crate::error::Result;
use crate::graph::{Graph, GraphBuilder, NodeId, Param, Shape, Window};
use crate::ops::{Act, pool};

pub(super) const FEATURES: usize = 2048;
pub(super) const CLASSES: usize = 1008;
const SIDE: usize = 299;

/// The tensors of the checkpoint, as the parameters of a graph without layers.
pub(super) fn stored() -> Result<Graph> {
    let graph = graph([SIDE; 2])?;
    let mut params = Vec::new();
    for param in graph.params {
        match param.name.strip_suffix(".conv.bias") {
            None => params.push(param),
            Some(module) => {
                let norms = ["weight", "bias", "running_mean", "running_var"];
                let norm = |part| Param::new(format!("{module}.bn.{part}"), &param.shape);
                params.extend(norms.map(norm));
            }
        }
    }
    // The logits of the score are taken without their bias.
    let mut unread = GraphBuilder::new();
    unread.unread("fc.bias", &[CLASSES], None);
    let unread = unread.finish(graph.output).unread;
    Ok(Graph { params, unread, nodes: Vec::new(), output: graph.output })
}

/// Images `[h, w]` of three channels of bytes to features and logits.
pub(super) fn graph([h, w]: [usize; 2]) -> Result<Graph> {
    let mut net = Net(GraphBuilder::new());
    // (x - 128) / 128; weights of pixels that sum to one may come after.
    let x = net.0.state(Shape::Map { h, w, c: 3 }, 1.0 / 128.0, -1.0);
    let x = net.0.interpolate("resize", x, [SIDE; 2], 0.0)?;
    let x = net.conv("Conv2d_1a_3x3", x, 32, Window::square(3, 2, (0, 0)))?;
    let x = net.conv("Conv2d_2a_3x3", x, 32, Window::square(3, 1, (0, 0)))?;
    let x = net.conv("Conv2d_2b_3x3", x, 64, Window::same([3; 2]))?;
    let x = net.halved("maxpool1", x)?;
    let x = net.conv("Conv2d_3b_1x1", x, 80, Window::same([1; 2]))?;
    let x = net.conv("Conv2d_4a_3x3", x, 192, Window::square(3, 1, (0, 0)))?;
    let x = net.halved("maxpool2", x)?;
    let x = net.a("Mixed_5b", x, 32)?;
    let x = net.a("Mixed_5c", x, 64)?;
    let x = net.a("Mixed_5d", x, 64)?;
    let x = net.b("Mixed_6a", x)?;
    let x = net.c("Mixed_6b", x, 128)?;
    let x = net.c("Mixed_6c", x, 160)?;
    let x = net.c("Mixed_6d", x, 160)?;
    let x = net.c("Mixed_6e", x, 192)?;
    let x = net.d("Mixed_7a", x)?;
    let x = net.e("Mixed_7b", x, pool::Mode::Mean)?;
    let x = net.e("Mixed_7c", x, pool::Mode::Max)?;
    let features = net.0.global_mean("mean", x)?;
    let logits = net.0.linear("fc", features, CLASSES, false);
    let output = net.0.concat("features, classes", features, logits)?;
    Ok(net.0.finish(output))
}

/// Blocks by the letters of table 1's figures.
struct Net(GraphBuilder);

impl Net {
    /// Convolution, batch norm, ReLU.
    fn conv(&mut self, name: &str, x: NodeId, out: usize, window: Window) -> Result<NodeId> {
        let conv = self.0.convolution(&format!("{name}.conv"), x, out, window, true)?;
        Ok(self.0.activation(&format!("{name}.relu"), conv, Act::Relu))
    }

    /// Convolutions one after another, each of odd sides and padded to keep the size.
    fn chain(&mut self, x: NodeId, convs: &[(String, usize, [usize; 2])]) -> Result<NodeId> {
        convs
            .iter()
            .try_fold(x, |x, (name, out, size)| self.conv(name, x, *out, Window::same(*size)))
    }

    /// The maximum under 3x3, every second.
    fn halved(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        self.0.pool(name, x, Window::square(3, 2, (0, 0)), pool::Mode::Max, false)
    }

    /// Mean or maximum of the 3x3 around each pixel, then a 1x1 convolution.
    fn pooled(&mut self, name: &str, x: NodeId, mode: pool::Mode, out: usize) -> Result<NodeId> {
        let around = self.0.pool(&format!("{name}.pool"), x, Window::same([3; 2]), mode, false)?;
        self.conv(&format!("{name}.branch_pool"), around, out, Window::same([1; 2]))
    }

    fn join(&mut self, name: &str, branches: &[NodeId]) -> Result<NodeId> {
        let mut rest = branches.iter().enumerate().skip(1);
        rest.try_fold(branches[0], |joined, (i, branch)| {
            self.0.concat(&format!("{name}.concat.{i}"), joined, *branch)
        })
    }

    fn a(&mut self, name: &str, x: NodeId, pooled: usize) -> Result<NodeId> {
        let n = |branch: &str| format!("{name}.branch{branch}");
        let one = self.chain(x, &[(n("1x1"), 64, [1; 2])])?;
        let five = self.chain(x, &[(n("5x5_1"), 48, [1; 2]), (n("5x5_2"), 64, [5; 2])])?;
        let (first, rest) = (n("3x3dbl_1"), [n("3x3dbl_2"), n("3x3dbl_3")]);
        let [second, third] = rest.map(|name| (name, 96, [3; 2]));
        let three = self.chain(x, &[(first, 64, [1; 2]), second, third])?;
        let pooled = self.pooled(name, x, pool::Mode::Mean, pooled)?;
        self.join(name, &[one, five, three, pooled])
    }

    fn b(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let n = |branch: &str| format!("{name}.branch{branch}");
        let halves = Window::square(3, 2, (0, 0));
        let once = self.conv(&n("3x3"), x, 384, halves)?;
        let two = [(n("3x3dbl_1"), 64, [1; 2]), (n("3x3dbl_2"), 96, [3; 2])];
        let twice = self.chain(x, &two)?;
        let twice = self.conv(&n("3x3dbl_3"), twice, 96, halves)?;
        let pooled = self.halved(&format!("{name}.pool"), x)?;
        self.join(name, &[once, twice, pooled])
    }

    fn c(&mut self, name: &str, x: NodeId, seven: usize) -> Result<NodeId> {
        let n = |branch: &str| format!("{name}.branch{branch}");
        let (wide, high) = ([1, 7], [7, 1]);
        let one = self.chain(x, &[(n("1x1"), 192, [1; 2])])?;
        let once =
            [(n("7x7_1"), seven, [1; 2]), (n("7x7_2"), seven, wide), (n("7x7_3"), 192, high)];
        let once = self.chain(x, &once)?;
        let twice = [
            (n("7x7dbl_1"), seven, [1; 2]),
            (n("7x7dbl_2"), seven, high),
            (n("7x7dbl_3"), seven, wide),
            (n("7x7dbl_4"), seven, high),
            (n("7x7dbl_5"), 192, wide),
        ];
        let twice = self.chain(x, &twice)?;
        let pooled = self.pooled(name, x, pool::Mode::Mean, 192)?;
        self.join(name, &[one, once, twice, pooled])
    }

    fn d(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let n = |branch: &str| format!("{name}.branch{branch}");
        let halves = Window::square(3, 2, (0, 0));
        let three = self.chain(x, &[(n("3x3_1"), 192, [1; 2])])?;
        let three = self.conv(&n("3x3_2"), three, 320, halves)?;
        let seven =
            [(n("7x7x3_1"), 192, [1; 2]), (n("7x7x3_2"), 192, [1, 7]), (n("7x7x3_3"), 192, [7, 1])];
        let seven = self.chain(x, &seven)?;
        let seven = self.conv(&n("7x7x3_4"), seven, 192, halves)?;
        let pooled = self.halved(&format!("{name}.pool"), x)?;
        self.join(name, &[three, seven, pooled])
    }

    fn e(&mut self, name: &str, x: NodeId, mode: pool::Mode) -> Result<NodeId> {
        let n = |branch: &str| format!("{name}.branch{branch}");
        let one = self.chain(x, &[(n("1x1"), 320, [1; 2])])?;
        let once = self.chain(x, &[(n("3x3_1"), 384, [1; 2])])?;
        let twice = [(n("3x3dbl_1"), 448, [1; 2]), (n("3x3dbl_2"), 384, [3; 2])];
        let twice = self.chain(x, &twice)?;
        let mut branches = vec![one];
        for (from, module) in [(once, "3x3_2"), (twice, "3x3dbl_3")] {
            for (end, size) in [("a", [1, 3]), ("b", [3, 1])] {
                branches.push(self.chain(from, &[(n(&format!("{module}{end}")), 384, size)])?);
            }
        }
        branches.push(self.pooled(name, x, mode, 192)?);
        self.join(name, &branches)
    }
}
