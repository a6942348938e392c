//! The denoiser in plain layers: what a paper's figure shows, with names and shapes.
//!
//! A graph knows no device, buffer or batch. A value is either a map `[H, W, C]` or a row `[C]`,
//! each per sample. Three leaves feed it: the state, the time and the condition. Parameters keep
//! the names and shapes of the checkpoint.

mod builder;
mod display;
mod positions;
mod stored;
mod times;

pub use builder::GraphBuilder;
pub use positions::positions;
pub use stored::{Filter, Param, Part, Stored, Unread};

use crate::ops::{Act, pool};

/// Index of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// Index of a parameter in [`Graph::params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// The shape of a value, without the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A feature map.
    Map { h: usize, w: usize, c: usize },
    /// One vector.
    Row { c: usize },
}

impl Shape {
    pub fn channels(self) -> usize {
        match self {
            Shape::Map { c, .. } | Shape::Row { c } => c,
        }
    }
    /// Pixels (or tokens): 1 for a row.
    pub fn pixels(self) -> usize {
        match self {
            Shape::Map { h, w, .. } => h * w,
            Shape::Row { .. } => 1,
        }
    }
    /// `[H, W, C]`, or `[C]`.
    pub fn sides(self) -> Vec<usize> {
        match self {
            Shape::Map { h, w, c } => vec![h, w, c],
            Shape::Row { c } => vec![c],
        }
    }
    pub fn elements(self) -> usize {
        self.pixels() * self.channels()
    }
}

/// The frequencies of a sinusoidal embedding, half as many as it is wide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frequencies {
    /// `exp(-ln(max_period) i / (half - shift))`, i below `half` (Ho et al. 2020).
    Exponential { max_period: f64, shift: f64 },
    /// The same numbers as powers, `(1 / max_period)^(i / (half - shift))`: they are rounded
    /// elsewhere, as EDM has it (Karras et al. 2022).
    Power { max_period: f64, shift: f64 },
    /// 2 pi times the checkpoint's own (Tancik et al. 2020, arXiv:2006.10739); with `log`, times
    /// the logarithm of the time, as NCSN++ has it (Song et al. 2021, arXiv:2011.13456, H.2).
    Stored { weight: ParamId, log: bool },
}

/// What a convolution or a pooling sees of a map: `size` `[kh, kw]` pixels, every `stride` of them,
/// of a map with `before` zeros above and to the left, `after` below and to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub size: [usize; 2],
    pub stride: usize,
    pub before: [usize; 2],
    pub after: [usize; 2],
}

impl Window {
    /// `k x k`, with `before` and `after` on both axes.
    pub fn square(k: usize, stride: usize, (before, after): (usize, usize)) -> Window {
        Window { size: [k; 2], stride, before: [before; 2], after: [after; 2] }
    }

    /// `kh x kw`, of which every place has its pixel of the map: an odd kernel's padding.
    pub fn same(size: [usize; 2]) -> Window {
        let pad = size.map(|k| k / 2);
        Window { size, stride: 1, before: pad, after: pad }
    }

    /// Lines and columns of the result; `None` where the map is smaller than the window.
    pub fn places(&self, map: [usize; 2]) -> Option<[usize; 2]> {
        let along = |i: usize| {
            let padded = map[i] + self.before[i] + self.after[i];
            padded.checked_sub(self.size[i]).map(|rest| rest / self.stride.max(1) + 1)
        };
        Some([along(0)?, along(1)?])
    }
}

/// How a filter resamples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fir {
    /// To twice the size, not half.
    pub up: bool,
    /// What lies outside is mirrored, not zero.
    pub mirror: bool,
    /// Along each line alone.
    pub flat: bool,
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// The network's input `scale * c_in * x + offset`, a map, or a row of a state without pixels.
    State {
        scale: f32,
        offset: f32,
    },
    /// A part of the final state times `scale`, a map: what a decoder begins with.
    Latents {
        scale: f32,
    },
    /// Sinusoidal embedding of the row's time, a row of `dim`: sines first, or cosines if `flip`.
    TimeEmbedding {
        dim: usize,
        flip: bool,
        frequencies: Frequencies,
    },
    /// The learned vector of the row's time, a whole number, a row.
    LearnedTime {
        table: ParamId,
    },
    /// The learned vector of the sample's class, a row.
    ClassEmbedding {
        table: ParamId,
    },
    /// Sinusoidal embedding of the sample's class number, a row of `dim`, parameters as above.
    LabelEmbedding {
        dim: usize,
        flip: bool,
        frequencies: Frequencies,
    },
    /// A row of `classes` elements: `scale` at the sample's class and 0 elsewhere, and 0 everywhere
    /// for the class number `classes`, which stands for none.
    LabelVector {
        classes: usize,
        scale: f32,
    },
    /// The learned vectors of the tokens of the sample's text, a map of one line: those that
    /// tokenizer `text` makes of it.
    Tokens {
        table: ParamId,
        text: usize,
    },
    /// `x W^T + b`, over rows or over the pixels of a map.
    Linear {
        weight: ParamId,
        bias: Option<ParamId>,
    },
    Conv2d {
        weight: ParamId,
        bias: Option<ParamId>,
        window: Window,
    },
    GroupNorm {
        gamma: ParamId,
        beta: ParamId,
        groups: usize,
        eps: f64,
    },
    /// Over the channels of each pixel (Ba, Kiros & Hinton 2016, arXiv:1607.06450).
    LayerNorm {
        gamma: ParamId,
        beta: ParamId,
        eps: f64,
    },
    Activation(Act),
    /// `values * gelu(gates)` of channels `[values | gates]` (Shazeer 2020, arXiv:2002.05202).
    Geglu,
    /// `(a + b) * scale`; a row b is added to every pixel of a map a.
    Add {
        scale: f32,
    },
    /// `x (1 + s) + t` with the row input `[s | t]`.
    ScaleShift,
    /// x times the row input.
    Multiply,
    /// x plus the fixed embedding of the place of each pixel ([`positions`]).
    AddPositions,
    /// A map plus a parameter `[pixels, channels]`.
    AddTable {
        table: ParamId,
    },
    /// Channels `[side, side, c]` of a token become the pixels of its patch
    /// ([`crate::ops::unpatchify`]).
    Unpatchify {
        side: usize,
    },
    /// Channels of a, then of b.
    Concat,
    /// Nearest, twice the size.
    Upsample,
    /// Mean of 2x2 pixels.
    Downsample,
    /// The largest or the mean of the pixels under a window; of padding only the mean knows, and
    /// only if `count_padding`.
    Pool {
        window: Window,
        mode: pool::Mode,
        count_padding: bool,
    },
    /// The map at the size of the node's shape, bilinearly ([`crate::ops::interpolate`]).
    Interpolate {
        offset: f32,
    },
    /// Half or twice the size, filtered by `taps` in each direction ([`crate::ops::fir_resample`]);
    /// what lies outside is zero, or mirrored.
    FirResample {
        how: Fir,
        taps: Vec<f32>,
    },
    /// x over the row's time.
    DivideByTime,
    /// The exact denoiser of a Gaussian mixture ([`crate::ops::mixture`]), whose noise level is the
    /// row's time.
    Mixture {
        count: usize,
        components: Vec<f32>,
    },
    /// Softmax attention of the pixels of map q over those of maps k and v; `causal`: of each over
    /// those up to itself.
    Attention {
        heads: usize,
        scale: f32,
        causal: bool,
    },
}

/// One layer, its inputs and its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The module it stands for: `down_blocks.1.resnets.0.conv1`.
    pub name: String,
    pub layer: Layer,
    pub inputs: Vec<NodeId>,
    pub shape: Shape,
}

/// A denoiser. Nodes are in evaluation order; the output's channels are the state's, or twice as
/// many where the network also predicts a variance.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub params: Vec<Param>,
    /// What a checkpoint may hold beside them.
    pub unread: Vec<Unread>,
    pub output: NodeId,
}

impl Graph {
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.0]
    }
    /// Elements of the largest value of one sample that a kernel may see. Rows are counted in
    /// fours, and the queries, keys and values of an attention may lie side by side.
    pub fn largest(&self) -> usize {
        let elements = |node: &Node| {
            let side_by_side = if matches!(node.layer, Layer::Attention { .. }) { 3 } else { 1 };
            node.shape.pixels() * node.shape.channels().next_multiple_of(4) * side_by_side
        };
        self.nodes.iter().map(elements).max().unwrap_or(1)
    }
    /// Number of scalar parameters.
    pub fn parameters(&self) -> usize {
        self.params.iter().map(Param::parameters).sum()
    }
}

impl Frequencies {
    /// Whether the logarithm of the time is embedded.
    pub fn log(self) -> bool {
        matches!(self, Frequencies::Stored { log: true, .. })
    }

    /// The frequencies of an embedding of twice as many channels, each step rounded to f32 as
    /// PyTorch does: at t = 999 one unit in the last place of a frequency is already 6e-5 of an
    /// angle. Empty where the checkpoint has them.
    pub fn table(self, half: usize) -> Vec<f32> {
        let exponential = |i: usize, max_period: f64, shift: f64| {
            let exponent = -(max_period.ln() as f32) * i as f32 / (half as f64 - shift) as f32;
            f64::from(exponent).exp() as f32
        };
        let power = |i: usize, max_period: f64, shift: f64| {
            let (base, exponent) =
                ((1.0 / max_period) as f32, i as f32 / (half as f64 - shift) as f32);
            f64::from(base).powf(f64::from(exponent)) as f32
        };
        match self {
            Frequencies::Exponential { max_period, shift } => {
                (0..half).map(|i| exponential(i, max_period, shift)).collect()
            }
            Frequencies::Power { max_period, shift } => {
                (0..half).map(|i| power(i, max_period, shift)).collect()
            }
            Frequencies::Stored { .. } => Vec::new(),
        }
    }
}
