//! The launches of one row: fused into `solver_step`, or step by step.

use super::slots::Slots;
use super::{Body, Covers, Input, Launch, NoiseMode, Options, Program, SlotId, Source, table};
use crate::ops::control::{self, layout};
use crate::ops::{combine, guidance, noise, predict, replace, row, solver_step, trace};
use crate::solver::{Projection, Reduce, Trajectory};
use crate::tensor::DType;

/// The buffers of a trajectory and the sizes of its state and of the network's output
/// `[b, hw, cf]`.
pub(super) struct Solver {
    pub x: SlotId,
    pub table: SlotId,
    run: SlotId,
    draws: Option<SlotId>,
    saved: Option<SlotId>,
    history: Option<SlotId>,
    /// A row for each sample, written by `control`.
    live: Option<SlotId>,
    /// What the network is told of each sample's time, written by `control` in adaptive steps.
    pub times: Option<SlotId>,
    /// Known data and the table of what becomes of them, where rows read them.
    known: Option<[SlotId; 2]>,
    mask: Option<SlotId>,
    projection: Projection,
    /// The state after each of `rows` rows, if asked for.
    trace: Option<SlotId>,
    rows: u32,
    b: u32,
    c: u32,
    cf: u32,
    w: u32,
    hw: u32,
    depth: u32,
    guided: bool,
    batch_norms: bool,
    noise: NoiseMode,
    fuse: bool,
}

impl Solver {
    /// `cf`: channels of the network's output.
    pub fn new(slots: &mut Slots, trajectory: &Trajectory, options: &Options, cf: usize) -> Solver {
        let [c, h, w] = options.state;
        let (b, guided, depth) = (options.batch, options.guided, trajectory.history);
        let n = b * c * h * w;
        let adaptive = trajectory.adaptive.is_some();
        let report = if adaptive { layout::REPORT * b } else { 0 };
        let x = slots.add("x", DType::F32, n + report, Source::State);
        let setting = table::Setting { numel: c * h * w, guided };
        let table = slots.table("rows", DType::F32, table::rows(trajectory, setting));
        let words = solver_step::run_words(b);
        let run = slots.add("run", DType::U32, words, Source::Input(Input::Run));
        let draws = (options.noise == NoiseMode::Table).then(|| {
            let len = trajectory.draws * n;
            slots.add("draws", DType::F32, len, Source::Input(Input::Draws))
        });
        let saves = trajectory.rows.iter().any(|r| r.saved.is_some() || r.stage.is_some());
        let saved = saves.then(|| slots.add("saved", DType::F32, n, Source::State));
        let history =
            (depth > 0).then(|| slots.add("history", DType::F32, depth * n, Source::State));
        let controlled = trajectory.rows.iter().any(|r| table::is_controlled(r, guided));
        let live = (controlled || adaptive)
            .then(|| slots.add("live", DType::F32, b * row::WORDS, Source::State));
        let times = adaptive.then(|| slots.add("live_times", DType::F32, b, Source::State));
        let known = trajectory.rows.iter().any(|row| row.known.is_some()).then(|| {
            let data = slots.add("known", DType::F32, n, Source::Input(Input::Known));
            [data, slots.table("known_rows", DType::F32, table::known(trajectory))]
        });
        let keeps = trajectory.rows.iter().any(|row| row.known.is_some_and(|known| !known.whole));
        let masked = keeps && options.projection == Projection::Mask;
        let mask =
            masked.then(|| slots.add("mask", DType::F32, b * h * w, Source::Input(Input::Mask)));
        let rows = trajectory.rows.len();
        let len = rows * slots[x].len;
        let trace = options.trace.then(|| slots.add("trace", DType::F32, len, Source::State));
        Solver {
            x,
            table,
            run,
            draws,
            saved,
            history,
            live,
            times,
            known,
            mask,
            projection: options.projection,
            trace,
            rows: rows as u32,
            b: b as u32,
            c: c as u32,
            cf: cf as u32,
            w: w as u32,
            hw: (h * w) as u32,
            depth: depth as u32,
            guided,
            batch_norms: trajectory.reduce == Reduce::Batch,
            noise: options.noise,
            fuse: options.fuse,
        }
    }

    /// Whether some rows need `control`.
    pub fn controls(&self) -> bool {
        self.live.is_some()
    }

    /// Whether the network's output is for one launch alone, which reads each sample's by itself.
    pub fn joins(&self) -> bool {
        self.fuse && !self.guided && !self.controls()
    }

    /// Buffers that a step binds, beside the network's output.
    pub fn bound(&self) -> usize {
        3 + [self.draws, self.saved, self.history].iter().flatten().count()
    }

    /// The table that the network's input reads: in adaptive steps that of the samples.
    pub fn input_table(&self) -> SlotId {
        self.times.and(self.live).unwrap_or(self.table)
    }

    /// The launches of a row that is not controlled; `f` is the network's output, if it evaluates.
    pub fn update(&self, slots: &mut Slots, f: Option<SlotId>) -> Vec<Launch> {
        let update = self.step(slots, f, self.table);
        match (self.live, self.times) {
            // The start of adaptive steps.
            (Some(live), Some(_)) => [vec![self.control(f, live)], update].concat(),
            _ => update,
        }
    }

    /// The launches of a row that is.
    pub fn controlled(&self, slots: &mut Slots, f: SlotId) -> Vec<Launch> {
        let Some(live) = self.live else { return self.update(slots, Some(f)) };
        [vec![self.control(Some(f), live)], self.step(slots, Some(f), live)].concat()
    }

    /// The launches that carry out the row in `table`.
    fn step(&self, slots: &mut Slots, f: Option<SlotId>, table: SlotId) -> Vec<Launch> {
        match self.fuse {
            true => vec![self.fused(f, table)],
            false => self.plain(slots, f, table),
        }
    }

    fn control(&self, f: Option<SlotId>, live: SlotId) -> Launch {
        let (mode, threads, calls) = self.noise_mode();
        let adaptive = self.times.is_some();
        let params = control::Params {
            b: self.b,
            c: self.c,
            cf: self.cf,
            hw: self.hw,
            guided: self.guided.into(),
            depth: self.depth,
            mode,
            threads,
            calls,
            batch: self.batch_norms.into(),
            adaptive: if adaptive { self.rows } else { 0 },
        };
        let (x, table, run) = (Some(self.x), Some(self.table), Some(self.run));
        let mut args = vec![x, f, table, run, None, Some(live), None, None, None];
        match adaptive {
            true => (args[6], args[7], args[8]) = (self.saved, self.history, self.times),
            false => args[4] = self.draws,
        }
        launch(params.into(), args)
    }

    /// A body whose rows end by replacing the whole state, or what the projection says.
    pub fn replacing(&self, body: &Body, whole: bool) -> Body {
        let [known, table] = self.known.expect("a row that replaces reads known data");
        let (mode, threads, calls) = self.noise_mode();
        let (kind, side) = match self.projection {
            _ if whole => (replace::ALL, 1),
            Projection::Mask => (replace::MASK, 1),
            Projection::Channels => (replace::CHANNELS, 1),
            Projection::Squares(side) => (replace::SQUARES, side as u32),
        };
        let (b, c, h, w) = (self.b, self.c, self.hw / self.w, self.w);
        let params = replace::Params { b, c, h, w, kind, side, mode, threads, calls };
        let mask = self.mask.filter(|_| kind == replace::MASK);
        let run = Some(self.run);
        let args = vec![Some(self.x), Some(known), mask, Some(table), run, self.draws];
        let mut launches = body.launches.clone();
        launches.push(launch(params.into(), args));
        let name = match (body.name, whole) {
            (_, true) => "start",
            ("update", false) => "update, replace",
            ("step", false) => "step, replace",
            _ => "controlled, replace",
        };
        Body { name, launches }
    }

    /// The launch that ends every row of a traced program, and the slot of the trace.
    pub fn trace(&self, slots: &Slots) -> Option<(Launch, SlotId)> {
        let params = trace::Params { n: slots[self.x].len as u32, rows: self.rows };
        let bind = |slot| (launch(params.into(), vec![Some(self.x), Some(slot)]), slot);
        self.trace.map(bind)
    }

    /// Whether `table` holds a row for each sample.
    fn per_sample(&self, table: SlotId) -> u32 {
        (self.live == Some(table)).into()
    }

    fn fused(&self, f: Option<SlotId>, table: SlotId) -> Launch {
        let (mode, threads, calls) = self.noise_mode();
        let params = solver_step::Params {
            b: self.b,
            c: self.c,
            cf: self.cf,
            hw: self.hw,
            guided: self.guided.into(),
            depth: self.depth,
            mode,
            threads,
            calls,
            per_sample: self.per_sample(table),
        };
        let (x, run) = (Some(self.x), Some(self.run));
        let args = vec![x, f, Some(table), run, self.draws, self.saved, self.history];
        launch(params.into(), args)
    }

    fn plain(&self, slots: &mut Slots, f: Option<SlotId>, table: SlotId) -> Vec<Launch> {
        let &Solver { b, c, cf, hw, .. } = self;
        let n = (b * c * hw) as usize;
        let per_sample = self.per_sample(table);
        let (x, rows, run) = (Some(self.x), Some(table), Some(self.run));
        let mut launches = Vec::new();
        let mut prediction = [None; 3];
        if let Some(f) = f {
            let (mut guided, mut pair) = (f, None);
            if self.guided {
                guided = slots.scratch("guided", (b * hw * cf) as usize);
                pair = Some(f);
                let params = guidance::Params { b, c, cf, hw, per_sample };
                launches.push(launch(params.into(), vec![Some(f), rows, run, Some(guided)]));
            }
            prediction = ["x0", "eps", "log_scale"].map(|name| Some(slots.scratch(name, n)));
            let [x0, eps, log_scale] = prediction;
            let params = predict::Params { b, c, cf, hw, per_sample };
            let args = vec![x, Some(guided), pair, rows, x0, eps, log_scale];
            launches.push(launch(params.into(), args));
        }
        let z = Some(slots.scratch("z", 2 * n));
        let (mode, threads, calls) = self.noise_mode();
        let numel = c * hw;
        let params = noise::Params { b, numel, mode, threads, calls, per_sample };
        launches.push(launch(params.into(), vec![rows, run, self.draws, z]));
        let params = combine::Params { b, numel, depth: self.depth, per_sample };
        let [x0, eps, log_scale] = prediction;
        let args = vec![x, rows, x0, eps, log_scale, z, self.saved, self.history];
        launches.push(launch(params.into(), args));
        launches
    }

    fn noise_mode(&self) -> (u32, u32, u32) {
        match self.noise {
            NoiseMode::Philox => (noise::MODE_PHILOX, 0, 0),
            NoiseMode::Table => (noise::MODE_TABLE, 0, 0),
            NoiseMode::TorchCuda { threads, calls } => (noise::MODE_TORCH_CUDA, threads, calls),
        }
    }
}

fn launch(call: crate::ops::Call, args: Vec<Option<SlotId>>) -> Launch {
    Launch { call, args, layer: Program::SOLVER.into(), covers: Covers::default() }
}
