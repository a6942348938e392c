//! Plan + trajectory -> program.

use super::lower::{Lowering, lower};
use super::slots::Slots;
use super::{Body, Input, Launch, Memory, Program, RowRef, SlotId, Source, table};
use crate::graph::{Graph, Shape};
use crate::ops::{Span, combine, guidance, noise, predict, solver_step};
use crate::plan::{self, Domain, KernelId, Lifetime, Plan, Sizes};
use crate::solver::Trajectory;
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
    pub noise: NoiseMode,
    pub hoist: bool,
    pub fuse: bool,
    /// A hoisted table larger than this stays in the loop.
    pub table_bytes: usize,
}

/// The default of [`Options::table_bytes`]: far below every adapter's largest binding.
pub const TABLE_BYTES: usize = 64 << 20;

impl Program {
    /// Compiles the whole trajectory of `graph` for one batch.
    pub fn build(graph: &Graph, trajectory: &Trajectory, options: &Options) -> Program {
        let sizes = Sizes {
            times: trajectory.times.len(),
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
            },
        );
        Builder::new(graph, &plan, trajectory, options).finish()
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    trajectory: &'a Trajectory,
    options: &'a Options,
    slots: Slots,
    x: SlotId,
    table: SlotId,
    run: SlotId,
    draws: Option<SlotId>,
    saved: Option<SlotId>,
    history: Option<SlotId>,
}

impl<'a> Builder<'a> {
    fn new(
        graph: &'a Graph,
        plan: &'a Plan,
        trajectory: &'a Trajectory,
        options: &'a Options,
    ) -> Self {
        let n = options.batch * options.state.iter().product::<usize>();
        let mut slots = Slots::default();
        let x = slots.add("x", DType::F32, n, Source::State);
        let table = slots.table("rows", DType::F32, table::rows(trajectory));
        let words = solver_step::run_words(options.batch);
        let run = slots.add("run", DType::U32, words, Source::Input(Input::Run));
        let draws = (options.noise == NoiseMode::Table).then(|| {
            let len = trajectory.draws * n;
            slots.add("draws", DType::F32, len, Source::Input(Input::Draws))
        });
        let saves = trajectory.rows.iter().any(|r| r.saved.is_some());
        let saved = saves.then(|| slots.add("saved", DType::F32, n, Source::State));
        let depth = trajectory.history;
        let history =
            (depth > 0).then(|| slots.add("history", DType::F32, depth * n, Source::State));
        Builder { graph, plan, trajectory, options, slots, x, table, run, draws, saved, history }
    }

    fn finish(mut self) -> Program {
        let (values, memory) = self.place_values();
        let condition = self.slots.add(
            "condition",
            DType::U32,
            self.plan.sizes.samples,
            Source::Input(Input::Condition),
        );
        let lowering = Lowering {
            graph: self.graph,
            plan: self.plan,
            values: &values,
            storage: self.options.storage,
            state: self.x,
            table: self.table,
            condition,
            batch: self.options.batch,
            times: &self.trajectory.times,
            labels: &self.options.labels,
        };
        let (mut prologue, mut step) = (Vec::new(), Vec::new());
        for id in 0..self.plan.kernels.len() {
            let launch = lower(&lowering, &mut self.slots, id);
            let hoisted = self.plan.kernels[id].hoisted();
            if hoisted { &mut prologue } else { &mut step }.push(launch);
        }
        let update = self.solver(None);
        step.extend(self.solver(Some(values[self.plan.output])));
        let rows = self.trajectory.rows.iter().map(|row| match &row.eval {
            None => RowRef { body: 0, time: 0 },
            Some(eval) => RowRef { body: 1, time: eval.time as u32 },
        });
        Program {
            rows: rows.collect(),
            prologue,
            bodies: vec![
                Body { name: "update", launches: update },
                Body { name: "step", launches: step },
            ],
            output: self.x,
            output_len: self.slots[self.x].len,
            span: Span {
                times: self.plan.sizes.times,
                conditions: self.plan.sizes.conditions,
                rows: self.trajectory.rows.len(),
                draws: self.trajectory.draws,
            },
            memory,
            slots: self.slots.finish(),
        }
    }

    /// The element type of a value: rows and the network's output are f32.
    fn dtype(&self, id: KernelId) -> DType {
        match self.plan.kernels[id].shape {
            Shape::Map { .. } if id != self.plan.output => self.options.storage,
            _ => DType::F32,
        }
    }

    /// Gives every value a slot: one placement for the prologue, one for the loop.
    fn place_values(&mut self) -> (Vec<SlotId>, Memory) {
        let kernels = &self.plan.kernels;
        let end = kernels.len();
        let mut last: Vec<usize> = (0..end).collect();
        for (id, kernel) in kernels.iter().enumerate() {
            for read in kernel.reads() {
                // What the loop reads of the prologue lives to the end.
                let forever = kernels[read].hoisted() && !kernel.hoisted();
                last[read] = last[read].max(if forever { end } else { id });
            }
        }
        last[self.plan.output] = end;
        let mut slots = vec![SlotId(usize::MAX); end];
        let mut memory = Memory::default();
        for hoisted in [true, false] {
            let ids: Vec<usize> = (0..end).filter(|&i| kernels[i].hoisted() == hoisted).collect();
            let lifetime = |&id: &usize| {
                let rows = kernels[id].domain.rows(self.plan.sizes);
                let dtype = self.dtype(id);
                let bytes = rows * kernels[id].shape.elements() * dtype.size();
                Lifetime { first: id, last: last[id], bytes, class: dtype as usize }
            };
            let placement = plan::place(&ids.iter().map(lifetime).collect::<Vec<_>>());
            let dtypes = [DType::F32, DType::F16, DType::U32];
            let made: Vec<SlotId> = (placement.slots.iter().enumerate())
                .map(|(i, &(bytes, class))| {
                    let dtype = dtypes[class];
                    let name = format!("{}.{i}", if hoisted { "hoisted" } else { "scratch" });
                    self.slots.add(&name, dtype, bytes / dtype.size(), Source::Scratch)
                })
                .collect();
            for (&id, &slot) in ids.iter().zip(&placement.slot) {
                slots[id] = made[slot];
            }
            if !hoisted {
                memory.activation_bytes = placement.bytes() as u64;
                memory.lower_bound_bytes = placement.lower_bound as u64;
            } else {
                memory.hoisted_bytes = placement.bytes() as u64;
            }
        }
        (slots, memory)
    }

    /// The launches of one update: fused, or step by step. `f` is the network's output.
    fn solver(&mut self, f: Option<SlotId>) -> Vec<Launch> {
        if self.options.fuse { vec![self.solver_step(f)] } else { self.solver_plain(f) }
    }

    fn solver_step(&self, f: Option<SlotId>) -> Launch {
        let dims = self.dims();
        let (mode, threads, calls) = self.noise_mode();
        let params = solver_step::Params {
            b: dims.b,
            c: dims.c,
            cf: dims.cf,
            hw: dims.hw,
            guided: self.options.guided.into(),
            depth: self.trajectory.history as u32,
            mode,
            threads,
            calls,
        };
        let args = vec![
            Some(self.x),
            f,
            Some(self.table),
            Some(self.run),
            self.draws,
            self.saved,
            self.history,
        ];
        Launch { call: params.into(), args, layer: Program::SOLVER.into() }
    }

    fn solver_plain(&mut self, f: Option<SlotId>) -> Vec<Launch> {
        let Dims { b, c, cf, hw } = self.dims();
        let n = (b * c * hw) as usize;
        let mut launches = Vec::new();
        let mut push = |call, args: Vec<Option<SlotId>>| {
            launches.push(Launch { call, args, layer: Program::SOLVER.into() });
        };
        let mut prediction = [None; 3];
        if let Some(mut f) = f {
            if self.options.guided {
                let y = self.slots.scratch("guided", n / c as usize * cf as usize);
                let params = guidance::Params { b, c, cf, hw };
                push(params.into(), vec![Some(f), Some(self.run), Some(y)]);
                f = y;
            }
            prediction = ["x0", "eps", "log_scale"].map(|name| Some(self.slots.scratch(name, n)));
            let [x0, eps, log_scale] = prediction;
            let params = predict::Params { b, c, cf, hw };
            push(params.into(), vec![Some(self.x), Some(f), Some(self.table), x0, eps, log_scale]);
        }
        let z = Some(self.slots.scratch("z", 2 * n));
        let (mode, threads, calls) = self.noise_mode();
        let params = noise::Params { b, numel: c * hw, mode, threads, calls };
        push(params.into(), vec![Some(self.table), Some(self.run), self.draws, z]);
        let params = combine::Params { n: n as u32, depth: self.trajectory.history as u32 };
        let [x0, eps, log_scale] = prediction;
        let x = Some(self.x);
        let table = Some(self.table);
        push(params.into(), vec![x, table, x0, eps, log_scale, z, self.saved, self.history]);
        launches
    }

    fn noise_mode(&self) -> (u32, u32, u32) {
        match self.options.noise {
            NoiseMode::Philox => (noise::MODE_PHILOX, 0, 0),
            NoiseMode::Table => (noise::MODE_TABLE, 0, 0),
            NoiseMode::TorchCuda { threads, calls } => (noise::MODE_TORCH_CUDA, threads, calls),
        }
    }

    fn dims(&self) -> Dims {
        let [c, h, w] = self.options.state;
        let cf = self.plan.kernels[self.plan.output].shape.channels();
        debug_assert_eq!(self.plan.kernels[self.plan.output].domain, Domain::Sample);
        Dims { b: self.options.batch as u32, c: c as u32, cf: cf as u32, hw: (h * w) as u32 }
    }
}

/// Sizes of the state and of the network's output `[b, hw, cf]`.
struct Dims {
    b: u32,
    c: u32,
    cf: u32,
    hw: u32,
}
