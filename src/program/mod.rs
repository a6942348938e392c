//! A program: everything a device does for one batch of samples, as a value.
//!
//! Flat lists of kernel launches over numbered slots: a prologue, the rows of the trajectory (each
//! names one of a few loop bodies), and the slot that holds the samples. It is complete, printable
//! and comparable; the same value runs on every backend.

mod adaptive;
mod arenas;
mod build;
mod decode;
mod display;
mod embed;
mod forward;
mod last;
mod lower;
mod products;
mod slots;
mod solver;
mod table;
mod validate;

pub use crate::graph::{Param, Part, Stored};
pub use crate::plan::{Domain, Place};
pub use build::{NoiseMode, Options, TABLE_BYTES};
pub use decode::{Decoder, Tiling};
pub use forward::Forward;

use crate::graph::{NodeId, Shape};
use crate::ops::{Call, Facts, Span};
use crate::solver::Adaptive;
use crate::tensor::DType;
use std::sync::Arc;

/// Index of a slot in [`Program::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub usize);

/// How a parameter is laid out for its kernel. Shapes in are the checkpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pack {
    /// As it is.
    Flat,
    /// `[out, in]` to `[in][out]`, a row of the matrix for each input.
    Linear,
    /// `[out, in, kh, kw]` to `[kh][kw][in][out]`, likewise.
    Conv,
}

/// A parameter, or the product of two, in the matrix of a slot, added to what is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub param: Param,
    /// The matrix `[out, mid]` that the parameter, `[mid, ..]`, is multiplied by from the left.
    pub left: Option<Param>,
    pub pack: Pack,
    /// The element of the matrix that its first one goes to.
    pub at: usize,
}

/// What a run hands to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Seed, sample indices and guidance, see [`crate::ops::solver_step`].
    Run,
    /// For each network sample the index of its condition.
    Condition,
    /// Draws made by the host, `[draws, B, C, H, W]` f32.
    Draws,
    /// Known data, `[B, C, H, W]` f32, see [`crate::solver::Known`].
    Known,
    /// What of them is to be redrawn, `[B, H, W]` f32, see [`crate::solver::Projection::Mask`].
    Mask,
    /// What [`Program::forward`] is evaluated on, `[B, C, H, W]` f32.
    Images,
}

/// Where a slot's content comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Written before it is read; undefined at the start.
    Scratch,
    /// The same, in a part of an arena that other values have at other times.
    Arena(Place),
    /// Zero at the start of each run, kept between rows.
    State,
    /// Parameters of the model in a matrix with rows of `width` elements; what no piece covers is
    /// zero.
    Weight { pieces: Vec<Piece>, width: usize },
    /// Fixed data of the program, as 32-bit words.
    Table(Arc<[u32]>),
    /// Uploaded for each run.
    Input(Input),
}

/// One buffer, or a part of an arena.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    pub name: String,
    pub dtype: DType,
    /// Elements.
    pub len: usize,
    pub source: Source,
}

impl Slot {
    pub fn bytes(&self) -> u64 {
        (self.len * self.dtype.size()) as u64
    }
}

/// One kernel launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    pub call: Call,
    /// For each of the call's arguments the slot, if bound.
    pub args: Vec<Option<SlotId>>,
    /// The layer it computes: `down_blocks.1.resnets.0.conv1`.
    pub layer: String,
    pub covers: Covers,
}

/// The part of the network that a launch computes; none of it for one of the solver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covers {
    /// Nodes of the graph, in order.
    pub nodes: Vec<NodeId>,
    /// For how many things: what decides whether it leaves the loop.
    pub domain: Domain,
    /// Of the value that it leaves, for one of them.
    pub shape: Option<Shape>,
}

/// The launches of one kind of row.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    pub name: &'static str,
    pub launches: Vec<Launch>,
}

impl Body {
    /// The name of those that decode a part of the final state.
    pub const DECODE: &str = "decode";
    /// The name of the one that makes a picture of decoded parts.
    pub const BLEND: &str = "blend";

    /// Whether it is part of the trajectory.
    pub fn steps(&self) -> bool {
        ![Self::DECODE, Self::BLEND].contains(&self.name)
    }
}

/// One row: which body runs, and at which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef {
    pub body: usize,
    /// Index into the times table.
    pub time: u32,
}

/// Everything a device does for one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub slots: Vec<Slot>,
    /// Bytes of each arena: a buffer that values share.
    pub arenas: Vec<u64>,
    /// Once a run: what depends on time and condition only.
    pub prologue: Vec<Launch>,
    pub bodies: Vec<Body>,
    pub rows: Vec<RowRef>,
    /// f32 `[B, C, H, W]` and, where steps are adaptive, the [`Report`] of each sample; under
    /// [`Options::trace`] one of these a row; behind a decoder the pictures. Read back once.
    pub output: SlotId,
    /// Elements of the output to read.
    pub output_len: usize,
    /// How far times, conditions, rows and draws go.
    pub span: Span,
    pub memory: Memory,
}

/// How far a sample came in adaptive steps, as the output holds it after the samples.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Report {
    /// Steps that went through, and steps that were taken back.
    pub accepted: f32,
    pub rejected: f32,
    /// -ln(sigma) where it stands.
    pub lambda: f32,
}

impl Report {
    /// Whether the sample came to the end, which the device holds in f32.
    pub fn arrived(&self, adaptive: &Adaptive) -> bool {
        self.lambda >= -adaptive.sigma_end.ln() as f32
    }
}

const _: () = assert!(size_of::<Report>() == 4 * crate::ops::control::layout::REPORT);

/// What the placement came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Arenas of the values of the loop and of a decoder.
    pub activation_bytes: u64,
    /// The most bytes of the loop's values alive at one launch: no placement needs less.
    pub lower_bound_bytes: u64,
    /// Arenas of the prologue's values: the tables that the loop reads.
    pub hoisted_bytes: u64,
}

impl Program {
    /// The layer name of launches that are not the network's.
    pub const SOLVER: &'static str = "solver";

    /// The launches of one network evaluation with its update: the longest body.
    pub fn step(&self) -> &[Launch] {
        let steps = self.bodies.iter().filter(|body| body.steps());
        let longest = steps.max_by_key(|body| body.launches.len());
        longest.map_or(&[], |body| &body.launches)
    }

    /// How many launches that is.
    pub fn launches_per_step(&self) -> usize {
        self.step().len()
    }

    /// The element types of a launch's arguments.
    pub fn dtypes(&self, launch: &Launch) -> Vec<Option<DType>> {
        launch.args.iter().map(|slot| Some(self.slots[(*slot)?.0].dtype)).collect()
    }

    /// Launches of a step whose sum a device of these `facts` splits before anything is measured:
    /// each is a dispatch more.
    pub fn split_per_step(&self, facts: &Facts) -> usize {
        let splits = |launch: &&Launch| {
            let tiles = launch.call.tiles(&self.dtypes(launch), facts);
            tiles.first().is_some_and(|tile| tile.splits > 1)
        };
        let bodies = self.bodies.iter().filter(|body| body.steps());
        let counts = bodies.map(|b| (b.launches.len(), b.launches.iter().filter(splits).count()));
        counts.max().map_or(0, |(_, split)| split)
    }

    /// Floating-point operations of one step of the batch: an evaluation and its update.
    pub fn flops_per_step(&self) -> u64 {
        let flops = |b: &Body| b.launches.iter().map(|l| l.call.flops()).sum();
        self.bodies.iter().filter(|body| body.steps()).map(flops).max().unwrap_or(0)
    }

    /// Bytes of packed parameters.
    pub fn weight_bytes(&self) -> u64 {
        let weights = self.slots.iter().filter(|s| matches!(s.source, Source::Weight { .. }));
        weights.map(Slot::bytes).sum()
    }
}
