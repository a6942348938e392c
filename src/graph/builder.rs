//! Builds a graph layer by layer; shapes are inferred and checked as it grows.

mod filters;
mod tokens;

use super::{
    Frequencies, Graph, Layer, Node, NodeId, Param, ParamId, Part, Shape, Stored, Unread, Window,
};
use crate::error::{Error, Result};
use crate::ops::{Act, pool};

/// Grows a [`Graph`]. Methods take the module's name (`mid_block.resnets.0.conv1`), under which
/// parameters `.weight` and `.bias` are declared.
#[derive(Default)]
pub struct GraphBuilder {
    nodes: Vec<Node>,
    params: Vec<Param>,
    unread: Vec<Unread>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// The shape of a node.
    pub fn shape(&self, id: NodeId) -> Shape {
        self.nodes[id.0].shape
    }

    /// Declares a parameter.
    pub fn param(&mut self, name: impl Into<String>, shape: &[usize]) -> ParamId {
        self.stored(Param::new(name, shape))
    }

    /// Declares a parameter that is not a tensor of its own.
    pub fn stored(&mut self, param: Param) -> ParamId {
        self.params.push(param);
        ParamId(self.params.len() - 1)
    }

    /// A parameter that no file holds, every element being `value`.
    pub fn constant(&mut self, shape: &[usize], value: f32) -> ParamId {
        self.stored(Param { stored: Stored::Constant(value), ..Param::new("constant", shape) })
    }

    /// Declares what the checkpoint may hold though nothing reads it.
    pub fn unread(&mut self, name: impl Into<String>, shape: &[usize], values: Option<Vec<f32>>) {
        self.unread.push(Unread { name: name.into(), shape: shape.to_vec(), values });
    }

    pub(super) fn push(
        &mut self,
        name: &str,
        layer: Layer,
        inputs: &[NodeId],
        shape: Shape,
    ) -> NodeId {
        self.nodes.push(Node { name: name.to_string(), layer, inputs: inputs.to_vec(), shape });
        NodeId(self.nodes.len() - 1)
    }

    /// The state x, entering the network as `scale c_in x + offset`.
    pub fn state(&mut self, shape: Shape, scale: f32, offset: f32) -> NodeId {
        self.push("input", Layer::State { scale, offset }, &[], shape)
    }

    /// The sinusoidal embedding of the time, `dim` wide ([`Layer::TimeEmbedding`]).
    pub fn time_embedding(
        &mut self,
        name: &str,
        dim: usize,
        flip: bool,
        frequencies: Frequencies,
    ) -> NodeId {
        let layer = Layer::TimeEmbedding { dim, flip, frequencies };
        self.push(name, layer, &[], Shape::Row { c: dim })
    }

    /// The same embedding of the class number ([`Layer::LabelEmbedding`]).
    pub fn label_embedding(
        &mut self,
        name: &str,
        dim: usize,
        flip: bool,
        frequencies: Frequencies,
    ) -> NodeId {
        let layer = Layer::LabelEmbedding { dim, flip, frequencies };
        self.push(name, layer, &[], Shape::Row { c: dim })
    }

    /// The embedding of the time with `count` frequencies of the checkpoint.
    pub fn fourier_embedding(&mut self, name: &str, count: usize, log: bool, flip: bool) -> NodeId {
        let weight = self.param(format!("{name}.weight"), &[count]);
        self.time_embedding(name, 2 * count, flip, Frequencies::Stored { weight, log })
    }

    /// The learned vector of a time below `times` ([`Layer::LearnedTime`]).
    pub fn learned_time(&mut self, name: &str, times: usize, c: usize) -> NodeId {
        let table = self.param(format!("{name}.weight"), &[times, c]);
        self.push(name, Layer::LearnedTime { table }, &[], Shape::Row { c })
    }

    /// What the embedding of the time `time` makes of the class number instead, with the same
    /// parameters; `None` if `time` is no such embedding.
    pub fn label_as_time(&mut self, name: &str, time: NodeId) -> Option<NodeId> {
        let layer = match self.nodes[time.0].layer {
            Layer::TimeEmbedding { dim, flip, frequencies } => {
                Layer::LabelEmbedding { dim, flip, frequencies }
            }
            Layer::LearnedTime { table } => Layer::ClassEmbedding { table },
            _ => return None,
        };
        let shape = self.shape(time);
        Some(self.push(name, layer, &[], shape))
    }

    /// The sample's class as a vector ([`Layer::LabelVector`]).
    pub fn label_vector(&mut self, name: &str, classes: usize, scale: f32) -> NodeId {
        let layer = Layer::LabelVector { classes, scale };
        self.push(name, layer, &[], Shape::Row { c: classes })
    }

    pub fn class_embedding(&mut self, name: &str, classes: usize, c: usize) -> NodeId {
        let table = self.param(format!("{name}.weight"), &[classes, c]);
        self.push(name, Layer::ClassEmbedding { table }, &[], Shape::Row { c })
    }

    pub fn linear(&mut self, name: &str, x: NodeId, out: usize, bias: bool) -> NodeId {
        let shape = match self.shape(x) {
            Shape::Map { h, w, .. } => Shape::Map { h, w, c: out },
            Shape::Row { .. } => Shape::Row { c: out },
        };
        let weight = self.param(format!("{name}.weight"), &[out, self.shape(x).channels()]);
        let bias = bias.then(|| self.param(format!("{name}.bias"), &[out]));
        self.push(name, Layer::Linear { weight, bias }, &[x], shape)
    }

    /// Those rows of the linear layer `name` that are of kind `part`: one of several that are
    /// stored as one.
    pub fn linear_part(&mut self, name: &str, x: NodeId, out: usize, part: Part) -> NodeId {
        self.linear_of(&format!("{name}.{}", part.part), name, x, out, Stored::Rows(part))
    }

    /// The linear layer `label`, whose parameters are stored so in those of `name`.
    pub fn linear_of(
        &mut self,
        label: &str,
        name: &str,
        x: NodeId,
        out: usize,
        stored: Stored,
    ) -> NodeId {
        let sides = [out, self.shape(x).channels()];
        let shape = match self.shape(x) {
            Shape::Map { h, w, .. } => Shape::Map { h, w, c: out },
            Shape::Row { .. } => Shape::Row { c: out },
        };
        let weight = Param { stored, ..Param::new(format!("{name}.weight"), &sides) };
        let bias = Param { stored, ..Param::new(format!("{name}.bias"), &[out]) };
        let (weight, bias) = (self.stored(weight), Some(self.stored(bias)));
        self.push(label, Layer::Linear { weight, bias }, &[x], shape)
    }

    /// A convolution with `pad` before and `pad_end` after each side.
    pub fn conv2d(
        &mut self,
        name: &str,
        x: NodeId,
        out: usize,
        k: usize,
        stride: usize,
        pad: (usize, usize),
    ) -> Result<NodeId> {
        self.convolution(name, x, out, Window::square(k, stride, pad), true)
    }

    /// A convolution under any window, with or without a bias.
    pub fn convolution(
        &mut self,
        name: &str,
        x: NodeId,
        out: usize,
        window: Window,
        bias: bool,
    ) -> Result<NodeId> {
        let c = self.shape(x).channels();
        let shape = self.under(name, x, window, out)?;
        let [kh, kw] = window.size;
        let weight = self.param(format!("{name}.weight"), &[out, c, kh, kw]);
        let bias = bias.then(|| self.param(format!("{name}.bias"), &[out]));
        Ok(self.push(name, Layer::Conv2d { weight, bias, window }, &[x], shape))
    }

    /// The map of `c` channels that a window leaves of x.
    pub(super) fn under(&self, name: &str, x: NodeId, window: Window, c: usize) -> Result<Shape> {
        let Shape::Map { h, w, .. } = self.shape(x) else { return Err(self.not_a_map(name)) };
        let [kh, kw] = window.size;
        let Some([h, w]) = window.places([h, w]) else {
            return Err(Error::invalid(
                name,
                format!("a map of at least {kh}x{kw} with its padding"),
                format!("{h}x{w}"),
                "use a larger sample_size or fewer down blocks",
            ));
        };
        Ok(Shape::Map { h, w, c })
    }

    pub fn group_norm(&mut self, name: &str, x: NodeId, groups: usize, eps: f64) -> Result<NodeId> {
        let c = self.norm_channels(name, x, groups)?;
        let gamma = self.param(format!("{name}.weight"), &[c]);
        let beta = self.param(format!("{name}.bias"), &[c]);
        let shape = self.shape(x);
        Ok(self.push(name, Layer::GroupNorm { gamma, beta, groups, eps }, &[x], shape))
    }

    /// The same without weights.
    pub fn bare_group_norm(
        &mut self,
        name: &str,
        x: NodeId,
        groups: usize,
        eps: f64,
    ) -> Result<NodeId> {
        let c = self.norm_channels(name, x, groups)?;
        let (gamma, beta) = (self.constant(&[c], 1.0), self.constant(&[c], 0.0));
        let shape = self.shape(x);
        Ok(self.push(name, Layer::GroupNorm { gamma, beta, groups, eps }, &[x], shape))
    }

    /// The channels of x, which the groups of a norm must divide.
    fn norm_channels(&self, name: &str, x: NodeId, groups: usize) -> Result<usize> {
        let c = self.shape(x).channels();
        if groups == 0 || !c.is_multiple_of(groups) {
            return Err(Error::invalid(
                format!("{name}: norm groups"),
                format!("a divisor of its {c} channels"),
                groups.to_string(),
                "correct norm_num_groups or block_out_channels in config.json",
            ));
        }
        Ok(c)
    }

    pub fn layer_norm(&mut self, name: &str, x: NodeId, eps: f64) -> NodeId {
        let (shape, c) = (self.shape(x), self.shape(x).channels());
        let gamma = self.param(format!("{name}.weight"), &[c]);
        let beta = self.param(format!("{name}.bias"), &[c]);
        self.push(name, Layer::LayerNorm { gamma, beta, eps }, &[x], shape)
    }

    /// The first half of the channels times GELU of the second.
    pub fn geglu(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let shape = match self.shape(x) {
            Shape::Map { h, w, c } if c % 2 == 0 => Shape::Map { h, w, c: c / 2 },
            Shape::Row { c } if c % 2 == 0 => Shape::Row { c: c / 2 },
            other => {
                let found = format!("{other:?}");
                let action = "correct the width of the feed-forward layer in config.json";
                return Err(Error::invalid(name, "an even number of channels", found, action));
            }
        };
        Ok(self.push(name, Layer::Geglu, &[x], shape))
    }

    pub fn activation(&mut self, name: &str, x: NodeId, act: Act) -> NodeId {
        let shape = self.shape(x);
        self.push(name, Layer::Activation(act), &[x], shape)
    }

    /// `(a + b) * scale`; b may be a row for a map a.
    pub fn add(&mut self, name: &str, a: NodeId, b: NodeId, scale: f32) -> Result<NodeId> {
        let (sa, sb) = (self.shape(a), self.shape(b));
        let broadcast = matches!(sb, Shape::Row { .. }) && sa.channels() == sb.channels();
        if sa != sb && !broadcast {
            return Err(Error::invalid(
                name,
                "two values of one shape",
                format!("{sa:?} and {sb:?}"),
                "correct block_out_channels or sample_size in config.json",
            ));
        }
        Ok(self.push(name, Layer::Add { scale }, &[a, b], sa))
    }

    pub fn scale_shift(&mut self, name: &str, x: NodeId, row: NodeId) -> NodeId {
        let shape = self.shape(x);
        debug_assert_eq!(self.shape(row), Shape::Row { c: 2 * shape.channels() });
        self.push(name, Layer::ScaleShift, &[x, row], shape)
    }

    pub fn concat(&mut self, name: &str, a: NodeId, b: NodeId) -> Result<NodeId> {
        match (self.shape(a), self.shape(b)) {
            (Shape::Map { h, w, c }, Shape::Map { h: hb, w: wb, c: cb }) if (h, w) == (hb, wb) => {
                Ok(self.push(name, Layer::Concat, &[a, b], Shape::Map { h, w, c: c + cb }))
            }
            (Shape::Row { c }, Shape::Row { c: cb }) => {
                Ok(self.push(name, Layer::Concat, &[a, b], Shape::Row { c: c + cb }))
            }
            (sa, sb) => Err(Error::invalid(
                name,
                "two maps of one size",
                format!("{sa:?} and {sb:?}"),
                "use a sample_size that every down block can halve",
            )),
        }
    }

    pub fn upsample(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let Shape::Map { h, w, c } = self.shape(x) else { return Err(self.not_a_map(name)) };
        Ok(self.push(name, Layer::Upsample, &[x], Shape::Map { h: 2 * h, w: 2 * w, c }))
    }

    pub fn downsample(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let Shape::Map { h, w, c } = self.shape(x) else { return Err(self.not_a_map(name)) };
        Ok(self.push(name, Layer::Downsample, &[x], Shape::Map { h: h / 2, w: w / 2, c }))
    }

    /// The largest or the mean under a window ([`Layer::Pool`]).
    pub fn pool(
        &mut self,
        name: &str,
        x: NodeId,
        window: Window,
        mode: pool::Mode,
        count_padding: bool,
    ) -> Result<NodeId> {
        let shape = self.under(name, x, window, self.shape(x).channels())?;
        Ok(self.push(name, Layer::Pool { window, mode, count_padding }, &[x], shape))
    }

    /// The mean of each channel of a map, a row.
    pub fn global_mean(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        let Shape::Map { h, w, c } = self.shape(x) else { return Err(self.not_a_map(name)) };
        let window = Window { size: [h, w], stride: 1, before: [0; 2], after: [0; 2] };
        let layer = Layer::Pool { window, mode: pool::Mode::Mean, count_padding: false };
        Ok(self.push(name, layer, &[x], Shape::Row { c }))
    }

    /// x over the time ([`Layer::DivideByTime`]).
    pub fn divide_by_time(&mut self, name: &str, x: NodeId) -> NodeId {
        let shape = self.shape(x);
        self.push(name, Layer::DivideByTime, &[x], shape)
    }

    pub fn attention(&mut self, name: &str, qkv: [NodeId; 3], heads: usize, scale: f32) -> NodeId {
        let shape = self.shape(qkv[0]);
        self.push(name, Layer::Attention { heads, scale, causal: false }, &qkv, shape)
    }

    /// The same where no pixel sees those after itself.
    pub fn causal_attention(
        &mut self,
        name: &str,
        qkv: [NodeId; 3],
        heads: usize,
        scale: f32,
    ) -> NodeId {
        let shape = self.shape(qkv[0]);
        self.push(name, Layer::Attention { heads, scale, causal: true }, &qkv, shape)
    }

    /// The exact denoiser of a mixture of `count` Gaussians, as [`crate::ops::mixture::table`] has
    /// them.
    pub fn mixture(&mut self, name: &str, x: NodeId, count: usize, components: Vec<f32>) -> NodeId {
        let shape = self.shape(x);
        self.push(name, Layer::Mixture { count, components }, &[x], shape)
    }

    /// Ends the graph at `output`.
    pub fn finish(self, output: NodeId) -> Graph {
        Graph { nodes: self.nodes, params: self.params, unread: self.unread, output }
    }

    pub(super) fn not_a_map(&self, name: &str) -> Error {
        Error::invalid(name, "a feature map", "a row", "this is an error in the model's builder")
    }
}
