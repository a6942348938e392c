//! From a graph to the kernels that compute it: what leaves the loop, what fuses, where it lives.
//!
//! Three passes over one list of kernels, each exact and separately testable:
//! `hoist` gives each kernel its [`Domain`], `fuse` folds elementwise tails into the kernels
//! before them, [`place`] gives values that are never alive together the same slot. The plain
//! list, neither hoisted nor fused, is the truth that the others are tested against.

mod fuse;
mod hoist;
mod memory;

pub use memory::{Lifetime, Placement, place};

use crate::graph::{Graph, Layer, NodeId, Shape};
use crate::ops::Act;

/// For how many things a value is computed, and so where: all but [`Domain::Sample`] leave the
/// loop and become tables that the loop reads rows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    Sample,
}

impl Domain {
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

/// Elementwise work done by a kernel as it writes:
/// `act((value + row + residual) * scale)`, or for a norm `act(value (1 + s) + t)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// A row added to every pixel (conv2d).
    pub row: Option<KernelId>,
    /// A value of the same shape (conv2d, linear).
    pub residual: Option<KernelId>,
    pub scale: f32,
    /// A row `[s | t]` (group_norm).
    pub scale_shift: Option<KernelId>,
    pub act: Act,
}

impl Tail {
    pub const NONE: Tail =
        Tail { row: None, residual: None, scale: 1.0, scale_shift: None, act: Act::None };
}

/// One kernel: a layer with the tails it took in.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    pub name: String,
    pub layer: Layer,
    pub inputs: Vec<KernelId>,
    pub tail: Tail,
    pub shape: Shape,
    pub domain: Domain,
}

impl Kernel {
    /// Every value it reads.
    pub fn reads(&self) -> impl Iterator<Item = KernelId> + '_ {
        let tail = [self.tail.row, self.tail.residual, self.tail.scale_shift];
        self.inputs.iter().copied().chain(tail.into_iter().flatten())
    }

    fn map_reads(&mut self, f: impl Fn(KernelId) -> KernelId) {
        self.inputs.iter_mut().for_each(|i| *i = f(*i));
        let tail = [&mut self.tail.row, &mut self.tail.residual, &mut self.tail.scale_shift];
        tail.into_iter().flatten().for_each(|i| *i = f(*i));
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
        }
        plan
    }

    /// One kernel a node, all in the loop.
    fn plain(graph: &Graph, sizes: Sizes) -> Plan {
        let kernels = graph.nodes.iter().map(|node| Kernel {
            name: node.name.clone(),
            layer: node.layer.clone(),
            inputs: node.inputs.iter().map(|NodeId(i)| *i).collect(),
            tail: Tail::NONE,
            shape: node.shape,
            domain: Domain::Sample,
        });
        Plan { kernels: kernels.collect(), output: graph.output.0, sizes }
    }
}
