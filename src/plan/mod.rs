//! From a graph to the kernels that compute it: what leaves the loop, what fuses, where it lives.
//!
//! Passes over one list of kernels, each separately testable: `hoist` gives each kernel its
//! [`Domain`], `fuse` takes what follows a kernel into it as its [`Tail`], `fold` multiplies two
//! linear layers into one, `load` takes what precedes a kernel as its [`Head`], [`place`] lets
//! values that are never alive together overlap. The plain list, neither hoisted nor fused, is the
//! truth that the others are tested against.

mod fold;
mod fuse;
mod hoist;
mod load;
mod memory;

pub use memory::{ALIGN, Lifetime, Place, Placement, place};

use crate::graph::{Graph, Layer, NodeId, ParamId, Shape};
use crate::ops::Act;

/// For how many things a value is computed, and so where: all but [`Domain::Sample`] leave the
/// loop and become tables that the loop reads rows of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Domain {
    /// Depends on weights alone: one row.
    Weights,
    /// One row for each time of the trajectory.
    Time,
    /// One row for each condition of the run.
    Condition,
    /// One row for each time and condition, time-major.
    TimeCondition,
    /// One for each network sample, in the loop.
    #[default]
    Sample,
}

impl Domain {
    /// Whether a value depends on the sample's condition, and so must be found by it.
    fn has_condition(self) -> bool {
        matches!(self, Domain::Condition | Domain::TimeCondition)
    }

    /// Rows of a table of this domain.
    pub fn rows(self, sizes: Sizes) -> usize {
        match self {
            Domain::Weights => 1,
            Domain::Time => sizes.times,
            Domain::Condition => sizes.conditions,
            Domain::TimeCondition => sizes.times * sizes.conditions,
            Domain::Sample => sizes.samples,
        }
    }
}

/// How many of each there are in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Unique times of the trajectory.
    pub times: usize,
    /// Unique conditions of the run, the null condition included; 1 for an unconditional model.
    pub conditions: usize,
    /// Network samples: the batch, twice that under guidance.
    pub samples: usize,
}

/// What to do, and how large a table may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub hoist: bool,
    pub fuse: bool,
    pub sizes: Sizes,
    /// A hoisted table larger than this stays in the loop.
    pub table_bytes: usize,
    /// Each sample has a time of its own.
    pub times_vary: bool,
}

/// Index of a kernel in [`Plan::kernels`], and of the one value it computes.
pub type KernelId = usize;

/// Work done by a kernel as it reads: `up(act(norm(inputs)))`, the inputs of a conv2d joined
/// channel by channel, or made of the sampler's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    pub norm: Option<NormOnLoad>,
    pub act: Act,
    /// Each pixel is repeated `up x up` times.
    pub up: usize,
    /// The state takes the place of the inputs.
    pub state: Option<StateOnLoad>,
}

/// The network's input made of the state where it is read, see [`Layer::State`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StateOnLoad {
    pub shape: Shape,
    pub scale: f32,
    pub offset: f32,
}

/// The norm of a [`Head`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOnLoad {
    pub gamma: ParamId,
    pub beta: ParamId,
    /// Groups of channels, by the moments of the inputs; `None`: over each row.
    pub groups: Option<usize>,
    pub eps: f64,
    /// A row `[s | t]`.
    pub scale_shift: Option<KernelId>,
}

impl Head {
    pub const NONE: Head = Head { norm: None, act: Act::None, up: 1, state: None };
}

/// Work done by a kernel as it writes:
/// `act((value * times + shortcut + row + residual) * scale)`, or for a norm
/// `act(value (1 + s) + t)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// A row added to every pixel (conv2d).
    pub row: Option<KernelId>,
    /// A row that every pixel is multiplied by (linear).
    pub times: Option<KernelId>,
    /// A value of the same shape (conv2d, linear, attention).
    pub residual: Option<KernelId>,
    /// A 1x1 convolution of other values (conv2d).
    pub shortcut: Option<Shortcut>,
    pub scale: f32,
    /// A row `[s | t]` (group_norm).
    pub scale_shift: Option<KernelId>,
    pub act: Act,
    /// `[values | gates]` become values times gelu(gates) (linear).
    pub gate: bool,
    /// The value's moments are kept for a norm on load.
    pub moments: bool,
}

/// The 1x1 convolution of a [`Tail`], of one value or of two joined channel by channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shortcut {
    pub weight: ParamId,
    pub bias: Option<ParamId>,
    pub inputs: (KernelId, Option<KernelId>),
}

impl Tail {
    pub const NONE: Tail = Tail {
        row: None,
        times: None,
        residual: None,
        shortcut: None,
        scale: 1.0,
        scale_shift: None,
        act: Act::None,
        gate: false,
        moments: false,
    };
}

/// One kernel: a layer with what it took in.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    pub name: String,
    pub layer: Layer,
    /// Further projections of a linear layer's input, their columns after its own.
    pub beside: Vec<(ParamId, Option<ParamId>)>,
    /// A linear layer of what the last projection gives, multiplied into it.
    pub behind: Option<(ParamId, Option<ParamId>)>,
    pub inputs: Vec<KernelId>,
    pub head: Head,
    pub tail: Tail,
    pub shape: Shape,
    pub domain: Domain,
    /// The nodes of the graph that it computes, in order. What several kernels take in, such as two
    /// maps that are joined, each of them computes.
    pub covers: Vec<NodeId>,
}

impl Kernel {
    /// The nodes that it computes once it has taken in `others`.
    fn covering(&self, others: &[&Kernel]) -> Vec<NodeId> {
        let all = std::iter::once(&self).chain(others);
        let mut covers: Vec<NodeId> = all.flat_map(|kernel| kernel.covers.clone()).collect();
        covers.sort_unstable();
        covers.dedup();
        covers
    }

    /// Every value it reads.
    pub fn reads(&self) -> impl Iterator<Item = KernelId> + '_ {
        let Tail { row, times, residual, scale_shift, shortcut, .. } = self.tail;
        let skips = shortcut.map(|s| s.inputs);
        let norm = self.head.norm.and_then(|n| n.scale_shift);
        let skip2 = skips.and_then(|s| s.1);
        let rows = [row, times, scale_shift, norm];
        let beside = [residual, skips.map(|s| s.0), skip2];
        self.inputs.iter().copied().chain(rows.into_iter().chain(beside).flatten())
    }

    fn map_reads(&mut self, f: impl Fn(KernelId) -> KernelId) {
        self.inputs.iter_mut().for_each(|i| *i = f(*i));
        self.each_read(|id| *id = f(*id));
    }

    /// Calls `f` with every value it reads beside its inputs.
    fn each_read(&mut self, mut f: impl FnMut(&mut KernelId)) {
        let Tail { row, times, residual, scale_shift, shortcut, .. } = &mut self.tail;
        [row, times, residual, scale_shift].into_iter().flatten().for_each(&mut f);
        if let Some(Shortcut { inputs: (first, second), .. }) = shortcut {
            f(first);
            second.iter_mut().for_each(&mut f);
        }
        let norm = self.head.norm.as_mut();
        norm.into_iter().flat_map(|n| &mut n.scale_shift).for_each(f);
    }

    /// Whether it runs before the loop.
    pub fn hoisted(&self) -> bool {
        self.domain != Domain::Sample
    }
}

/// Kernels in evaluation order; the last value is the network's output.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub kernels: Vec<Kernel>,
    pub output: KernelId,
    pub sizes: Sizes,
}

impl Plan {
    /// Plans `graph`.
    pub fn new(graph: &Graph, options: &Options) -> Plan {
        let mut plan = Plan::plain(graph, options.sizes);
        if options.hoist {
            hoist::hoist(&mut plan, options.table_bytes, options.times_vary);
        }
        if options.fuse {
            fuse::fuse(&mut plan);
            fold::fold(&mut plan);
            load::fuse(&mut plan);
        }
        plan
    }

    /// How many read each value.
    fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.kernels.len()];
        self.kernels.iter().flat_map(Kernel::reads).for_each(|id| readers[id] += 1);
        readers[self.output] += 1;
        readers
    }

    /// Drops kernels that nobody reads.
    fn sweep(&mut self) {
        let mut readers = self.readers();
        for id in (0..self.kernels.len()).rev() {
            if readers[id] == 0 {
                self.kernels[id].reads().for_each(|read| readers[read] -= 1);
            }
        }
        self.remove(&readers.iter().map(|r| *r == 0).collect::<Vec<_>>());
    }

    /// Drops the `dead` kernels and renumbers.
    fn remove(&mut self, dead: &[bool]) {
        let mut next = 0;
        let number = |dead: &bool| {
            next += usize::from(!dead);
            next.wrapping_sub(1)
        };
        let new: Vec<usize> = dead.iter().map(number).collect();
        let mut kept = dead.iter().map(|dead| !dead);
        self.kernels.retain(|_| kept.next().unwrap_or(true));
        self.kernels.iter_mut().for_each(|k| k.map_reads(|i| new[i]));
        self.output = new[self.output];
    }

    /// One kernel a node, all in the loop.
    fn plain(graph: &Graph, sizes: Sizes) -> Plan {
        let kernels = graph.nodes.iter().enumerate().map(|(id, node)| Kernel {
            name: node.name.clone(),
            layer: node.layer.clone(),
            inputs: node.inputs.iter().map(|NodeId(i)| *i).collect(),
            head: Head::NONE,
            tail: Tail::NONE,
            beside: Vec::new(),
            behind: None,
            shape: node.shape,
            domain: Domain::Sample,
            covers: vec![NodeId(id)],
        });
        Plan { kernels: kernels.collect(), output: graph.output.0, sizes }
    }
}
