//! Plan + trajectory -> program.

use super::decode::Decoder;
use super::last;
use super::lower::{Lowering, lower};
use super::slots::Slots;
use super::solver::Solver;
use super::{Body, Input, Launch, Memory, Place, Program, RowRef, SlotId, Source, table};
use crate::graph::{Graph, Shape};
use crate::ops::Span;
use crate::ops::moments::{self, Region};
use crate::plan::{self, Domain, Kernel, KernelId, Lifetime, Plan, Sizes};
use crate::solver::{Projection, Trajectory};
use crate::tensor::DType;

/// Where the noise comes from, see [`crate::ops::noise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseMode {
    /// Philox, counted by sample, step and stream.
    Philox,
    /// Draws made by the host.
    Table,
    /// PyTorch's layout on a CUDA device of `threads` threads, `calls` counter steps a draw.
    TorchCuda { threads: u32, calls: u32 },
}

/// What a program is built for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Element type of activations and weights; state, tables and the network's output are f32.
    pub storage: DType,
    /// Samples of one run.
    pub batch: usize,
    /// `[C, H, W]` of the state.
    pub state: [usize; 3],
    /// Classifier-free guidance: the network sees the batch twice.
    pub guided: bool,
    /// The class labels that the run's condition indices stand for; empty if unconditional.
    pub labels: Vec<u32>,
    /// Of each tokenizer the tokens of the texts that they stand for, one text after the other.
    pub texts: Vec<Vec<u32>>,
    pub noise: NoiseMode,
    pub hoist: bool,
    pub fuse: bool,
    /// The output is the state after each row, `[rows, B, C, H, W]`; the last is the samples.
    pub trace: bool,
    /// A hoisted table larger than this stays in the loop.
    pub table_bytes: usize,
    /// What rows that keep a part of known data replace ([`crate::solver::Row::known`]).
    pub projection: Projection,
}

/// The default of [`Options::table_bytes`]: far below every adapter's largest binding.
pub const TABLE_BYTES: usize = 64 << 20;

impl Program {
    /// Compiles the whole trajectory of `graph` for one batch.
    pub fn build(graph: &Graph, trajectory: &Trajectory, options: &Options) -> Program {
        Program::build_with(graph, trajectory, options, None)
    }

    /// The same, and then the final state is decoded; not under [`Options::trace`].
    pub fn build_with(
        graph: &Graph,
        trajectory: &Trajectory,
        options: &Options,
        decoder: Option<&Decoder>,
    ) -> Program {
        let sizes = Sizes {
            times: trajectory.times.len().max(1),
            conditions: options.labels.len().max(1),
            samples: options.batch * if options.guided { 2 } else { 1 },
        };
        let plan = Plan::new(
            graph,
            &plan::Options {
                hoist: options.hoist,
                fuse: options.fuse,
                sizes,
                table_bytes: options.table_bytes,
                times_vary: trajectory.adaptive.is_some(),
            },
        );
        Builder::new(graph, &plan, trajectory, options).finish(decoder.filter(|_| !options.trace))
    }
}

/// A body, and whether its rows end with the whole state replaced, a part of it, or nothing.
type Kind = (usize, Option<bool>);

pub(super) struct Builder<'a> {
    pub graph: &'a Graph,
    plan: &'a Plan,
    pub trajectory: &'a Trajectory,
    pub options: &'a Options,
    pub slots: Slots,
    pub solver: Solver,
    /// Arenas that a decoder has beside those of the loop.
    pub added: Vec<usize>,
}

/// The values of a plan in memory.
pub(super) struct Values {
    /// The slot of each kernel's value, but for an output that has none in an arena.
    pub slots: Vec<Option<SlotId>>,
    pub arenas: Vec<u64>,
    /// How many of the arenas, the first, are for values made before the loop.
    pub hoisted: usize,
    pub memory: Memory,
}

impl<'a> Builder<'a> {
    fn new(
        graph: &'a Graph,
        plan: &'a Plan,
        trajectory: &'a Trajectory,
        options: &'a Options,
    ) -> Self {
        let output = &plan.kernels[plan.output];
        debug_assert_eq!(output.domain, Domain::Sample);
        let mut slots = Slots::default();
        let solver = Solver::new(&mut slots, trajectory, options, output.shape.channels());
        Builder { graph, plan, trajectory, options, slots, solver, added: Vec::new() }
    }

    fn finish(mut self, decoder: Option<&Decoder>) -> Program {
        let output = &self.plan.kernels[self.plan.output];
        let kept = !last::joins(output, &self.solver);
        let mut placed = Values::place(self.plan, self.options.storage, kept, &mut self.slots);
        let values = std::mem::take(&mut placed.slots);
        let condition = self.slots.add(
            "condition",
            DType::U32,
            self.plan.sizes.samples,
            Source::Input(Input::Condition),
        );
        let (moments, regions) = place_moments(self.plan, &mut self.slots);
        let lowering = Lowering {
            moments,
            regions: &regions,
            graph: self.graph,
            plan: self.plan,
            values: &values,
            storage: self.options.storage,
            state: self.solver.x,
            table: self.solver.input_table(),
            sample_times: self.solver.times,
            condition,
            batch: self.options.batch,
            times: &self.trajectory.times,
            labels: &self.options.labels,
            texts: &self.options.texts,
            places: None,
        };
        let (mut prologue, mut step) = (Vec::new(), Vec::new());
        for id in 0..self.plan.kernels.len() {
            let launch = lower(&lowering, &mut self.slots, id);
            let hoisted = self.plan.kernels[id].hoisted();
            if hoisted { &mut prologue } else { &mut step }.push(launch);
        }
        let f = values[self.plan.output];
        let update = self.solver.update(&mut self.slots, None);
        let mut bodies = vec![
            Body { name: "update", launches: update },
            Body { name: "step", launches: self.step(step.clone(), f) },
        ];
        if let (true, Some(f)) = (self.solver.controls(), f) {
            step.extend(self.solver.controlled(&mut self.slots, f));
            bodies.push(Body { name: "controlled", launches: step });
        }
        let guided = self.options.guided;
        let mut kinds: Vec<Kind> = (0..bodies.len()).map(|body| (body, None)).collect();
        let rows = self.trajectory.rows.iter().map(|row| {
            let (body, time) = match &row.eval {
                None if row.stage.is_some() => (2, 0),
                None => (0, 0),
                Some(eval) => (1 + usize::from(table::is_controlled(row, guided)), eval.time),
            };
            let kind = (body, row.known.map(|known| known.whole));
            let found = kinds.iter().position(|known| *known == kind);
            let body = found.unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            RowRef { body, time: time as u32 }
        });
        let mut rows: Vec<RowRef> = rows.collect();
        for (body, whole) in kinds.split_off(bodies.len()) {
            let body = self.solver.replacing(&bodies[body], whole == Some(true));
            bodies.push(body);
        }
        let mut output = match self.solver.trace(&self.slots) {
            Some((launch, trace)) => {
                bodies.iter_mut().for_each(|body| body.launches.push(launch.clone()));
                trace
            }
            None => self.solver.x,
        };
        if let Some(decoder) = decoder {
            let Values { arenas, memory, hoisted, .. } = &mut placed;
            let loops = *hoisted..arenas.len();
            let decoding = self.decoding(decoder, bodies.len(), arenas, loops);
            bodies.extend(decoding.bodies);
            rows.extend(decoding.rows);
            output = decoding.pictures;
            let bound = memory.lower_bound_bytes.max(decoding.memory.lower_bound_bytes);
            memory.lower_bound_bytes = bound;
            memory.activation_bytes = arenas[*hoisted..].iter().sum();
        }
        Program {
            rows,
            prologue,
            bodies,
            output,
            output_len: self.slots[output].len,
            span: Span {
                times: self.plan.sizes.times,
                conditions: self.plan.sizes.conditions,
                rows: self.trajectory.rows.len(),
                draws: self.trajectory.draws,
            },
            memory: placed.memory,
            slots: self.slots.finish(),
            arenas: placed.arenas,
        }
    }

    /// The launches of a network evaluation, which `f` is the output of, and of its update.
    fn step(&mut self, mut network: Vec<Launch>, f: Option<SlotId>) -> Vec<Launch> {
        let mut update = self.solver.update(&mut self.slots, f);
        if f.is_none() {
            let last = network.pop().zip(update.pop()).map(|(conv, step)| last::join(conv, step));
            network.extend(last);
        }
        network.extend(update);
        network
    }
}

impl Values {
    /// Places every value in an arena: those of the prologue in some, those of the loop in others;
    /// the network's output too if it is `kept` there.
    pub fn place(plan: &Plan, storage: DType, kept: bool, slots: &mut Slots) -> Values {
        let kernels = &plan.kernels;
        let end = kernels.len();
        let last = last_reads(plan);
        let placed = (0..end).filter(|id| *id != plan.output || kept);
        let (hoisted, looped): (Vec<_>, Vec<_>) = placed.partition(|&id| kernels[id].hoisted());
        let (mut of, mut arenas) = (vec![None; end], Vec::new());
        let mut before = Vec::new();
        let [hoisted, looped] = [hoisted, looped].map(|ids| {
            before.push(arenas.len());
            let lifetime = |id: &usize| lifetime(plan, storage, *id, &last, &ids);
            let lifetimes: Vec<_> = ids.iter().map(lifetime).collect();
            let placement = plan::place(&lifetimes);
            for (&id, &Place { arena, offset }) in ids.iter().zip(&placement.places) {
                let place = Place { arena: arenas.len() + arena, offset };
                let (dtype, len) = (dtype(plan, storage, id), elements(plan, id));
                let slot = slots.add(&kernels[id].name, dtype, len, Source::Arena(place));
                of[id] = Some(slot);
            }
            arenas.extend(&placement.arenas);
            placement
        });
        let memory = Memory {
            activation_bytes: looped.arenas.iter().sum(),
            lower_bound_bytes: looped.lower_bound,
            hoisted_bytes: hoisted.arenas.iter().sum(),
        };
        Values { slots: of, arenas, hoisted: before[1], memory }
    }
}

/// One buffer for the moments of all values that keep them, and where each kernel's are.
pub(super) fn place_moments(
    plan: &Plan,
    slots: &mut Slots,
) -> (Option<SlotId>, Vec<Option<Region>>) {
    let mut end = 0;
    let place = |kernel: &Kernel| {
        let Shape::Map { h, w, c } = kernel.shape else { return None };
        let region = Region {
            at: end as u32,
            n: plan.sizes.samples as u32,
            tiles: moments::tiles(h, w) as u32,
            c: c as u32,
        };
        let kept = kernel.tail.moments.then_some(region);
        end = kept.map_or(end, |region| region.end());
        kept
    };
    let regions = plan.kernels.iter().map(place).collect();
    let slot = (end > 0).then(|| slots.add("moments", DType::F32, 2 * end, Source::State));
    (slot, regions)
}

/// The element type of a value: rows and the network's output are f32.
fn dtype(plan: &Plan, storage: DType, id: KernelId) -> DType {
    match plan.kernels[id].shape {
        Shape::Map { .. } if id != plan.output => storage,
        _ => DType::F32,
    }
}

/// The kernel that reads each value last.
fn last_reads(plan: &Plan) -> Vec<KernelId> {
    let kernels = &plan.kernels;
    let end = kernels.len();
    let mut last: Vec<usize> = (0..end).collect();
    for (id, kernel) in kernels.iter().enumerate() {
        for read in kernel.reads() {
            // What the loop reads of the prologue lives to the end.
            let forever = kernels[read].hoisted() && !kernel.hoisted();
            last[read] = last[read].max(if forever { end } else { id });
        }
    }
    last[plan.output] = end;
    last
}

/// When kernel `id`'s value is alive, among those of the kernels `ids`.
fn lifetime(
    plan: &Plan,
    storage: DType,
    id: KernelId,
    last: &[usize],
    ids: &[KernelId],
) -> Lifetime {
    let reads = plan.kernels[id].reads().filter_map(|read| ids.binary_search(&read).ok());
    Lifetime {
        first: id,
        last: last[id],
        bytes: (elements(plan, id) * dtype(plan, storage, id).size()) as u64,
        reads: reads.collect(),
    }
}

/// Elements of a value over its whole domain.
pub(super) fn elements(plan: &Plan, id: KernelId) -> usize {
    let kernel = &plan.kernels[id];
    kernel.domain.rows(plan.sizes) * kernel.shape.elements()
}
