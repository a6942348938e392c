//! The library's front door: a model, a request and a backend make a [`Sampler`].

mod compare;
mod decode;
mod edit;
mod exact;
mod inspect;
mod precision;
mod profile;
mod request;
mod resolved;
mod room;

pub use compare::{Compared, Comparison, Measured, Skipped, compare};
pub use decode::Tiles;
pub use edit::{Arrays, Task, slerp};
pub use inspect::{
    Arena, Inspection, LaunchRow, LayerRow, MemoryMap, SlotRow, Value, bytes, inspect,
};
pub use precision::Precision;
pub use request::{Classes, Request, Shard};
pub use room::Needs;

use crate::backend::tune::Tuned;
use crate::backend::{Backend, Observer, RunInputs, RunStats, Session};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::noise::{self, NoiseKind};
use crate::program::{self, NoiseMode, Program};
use crate::solver::{self, Adaptive, SchedulerConfig, Trajectory};
use crate::tensor::DType;
use precision::storage;
use resolved::Resolved;
use serde::Serialize;
use std::ops::Range;
use std::time::Instant;

/// What was compiled, for people and for `--json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub model: String,
    pub backend: String,
    pub device: String,
    pub precision: String,
    pub solver: String,
    pub steps: usize,
    /// Network evaluations of one sample; guidance is not counted twice.
    pub nfe: usize,
    pub guidance: f64,
    /// None leaves it to the solver.
    pub eta: Option<f64>,
    pub clipped_eps: bool,
    pub count: usize,
    pub batch: usize,
    pub seed: u64,
    pub launches_per_step: usize,
    pub launches_hoisted: usize,
    pub compile_ms: f64,
    /// What of the model's configuration the solver does not follow.
    pub notes: Vec<String>,
}

/// One batch of samples.
#[derive(Clone, Debug)]
pub struct Samples {
    /// f32 `[n, C, H, W]` in the model's range.
    pub data: Vec<f32>,
    /// How far each came in adaptive steps; empty where the steps are fixed.
    pub reports: Vec<program::Report>,
    /// The same after each row, `[rows, n, C, H, W]`; empty unless the request asks for it.
    pub trace: Vec<f32>,
    /// What the device did.
    pub stats: RunStats,
    /// From the upload of the inputs to the samples on the host.
    pub wall_ms: f64,
}

/// A compiled trajectory on a device, ready to run as often as asked.
pub struct Sampler {
    session: Box<dyn Session>,
    report: Report,
    resolved: Resolved,
    labels: Vec<u32>,
    /// `[C, H, W]` of a sample, and of its state.
    shape: [usize; 3],
    state: [usize; 3],
    seed: u64,
    program: Program,
    traced: bool,
    adaptive: Option<Adaptive>,
    draws: Draws,
    inputs: RunInputs,
    output: Vec<f32>,
}

/// Host-made noise of the shard, `[draws, samples, C, H, W]`; no draws if the device makes it.
#[derive(Default)]
struct Draws {
    data: Vec<f32>,
    draws: usize,
    samples: Range<usize>,
}

/// A trace larger than this is refused: it fits one binding of every adapter.
const TRACE_BYTES: usize = 128 << 20;

/// Host-made noise larger than this is refused.
const DRAWS_BYTES: usize = 4 << 30;

impl Sampler {
    /// Compiles `request` for `model` on `backend`: reads and checks the weights, records the
    /// trajectory, builds the program, prepares it.
    pub fn compile(model: &Model, request: &Request, backend: &dyn Backend) -> Result<Sampler> {
        let start = Instant::now();
        let scheduler = model.scheduler()?;
        let resolved = Resolved::new(model, &scheduler, request)?;
        let trajectory = resolved.record(model, &scheduler, request)?;
        let storage = storage(request.precision, backend)?;
        let options = options(model, request, &resolved, storage)?;
        check_trace(model, request, &trajectory)?;
        let decoder = decode::decoder(model, request, &resolved, storage)?;
        let program = Program::build_with(&model.graph, &trajectory, &options, decoder.as_ref());
        room::check(&program, options.batch, storage, backend)?;
        let weights = model.weights()?;
        let draws = Draws::new(model, request, &resolved, &trajectory)?;
        program.check_values()?;
        let session = backend.prepare(&program, &weights)?;
        let report = Report {
            model: model.name.clone(),
            backend: backend.name().into(),
            device: backend.device(),
            precision: storage.name().into(),
            solver: resolved.solver.clone(),
            steps: resolved.steps,
            nfe: trajectory.nfe(),
            guidance: resolved.guidance,
            eta: resolved.eta,
            clipped_eps: resolved.clipped_eps,
            count: request.count,
            batch: resolved.batch,
            seed: request.seed,
            launches_per_step: program.launches_per_step(),
            launches_hoisted: program.prologue.len(),
            compile_ms: start.elapsed().as_secs_f64() * 1e3,
            notes: resolved.notes.clone(),
        };
        Ok(Sampler {
            session,
            report,
            labels: options.labels,
            shape: request.shape(model)?,
            state: model.state,
            seed: request.seed,
            traced: request.trace,
            adaptive: trajectory.adaptive,
            draws,
            inputs: RunInputs::default(),
            output: vec![0.0; program.output_len],
            program,
            resolved,
        })
    }

    /// What was compiled.
    pub fn report(&self) -> &Report {
        &self.report
    }
    /// How the launches are cut, on a backend that has a choice.
    pub fn tuned(&self) -> Option<&Tuned> {
        self.session.tuned()
    }
    /// Global indices of the samples of this shard.
    pub fn indices(&self) -> Range<usize> {
        self.resolved.indices.clone()
    }
    /// Rows of the trajectory: what [`Observer::rows_done`] counts to.
    pub fn rows(&self) -> usize {
        self.program.rows.len()
    }
    /// How adaptive steps are chosen, if they are.
    pub fn adaptive(&self) -> Option<&Adaptive> {
        self.adaptive.as_ref()
    }
    /// Samples computed at once.
    pub fn batch(&self) -> usize {
        self.resolved.batch
    }
    /// The class of sample `index`, of a model that has classes.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.resolved.label(index).filter(|_| self.resolved.texts.is_empty())
    }
    /// `[C, H, W]` of one sample.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Draws the samples with these global indices, at most [`Sampler::batch`] of them. A sample
    /// depends on its index and the request only, not on the others beside it.
    pub fn sample(&mut self, indices: &[usize], observer: &mut Observer) -> Result<Samples> {
        self.check(indices)?;
        let start = Instant::now();
        self.fill_inputs(indices);
        let stats = self.session.run(&self.inputs, observer, &mut self.output)?;
        let wanted = indices.len() * self.shape.iter().product::<usize>();
        let state = self.output.len() / if self.traced { self.rows() } else { 1 };
        let rows: Vec<&[f32]> = self.output.chunks(state).collect();
        let last = rows[rows.len() - 1];
        let data = last[..wanted].to_vec();
        let parts = rows.iter().take(if self.traced { rows.len() } else { 0 });
        let trace = parts.flat_map(|row| &row[..wanted]).copied().collect();
        if let Some(at) = data.iter().position(|v| !v.is_finite()) {
            let numel = self.shape.iter().product::<usize>();
            let (sample, element) = (indices[at / numel], at % numel);
            return Err(Error::device(
                self.report.device.clone(),
                format!("sample {sample} holds {} at element {element}", data[at]),
                "try --precision f32, or --device cpu to see whether the model itself diverges",
            ));
        }
        let numel = self.shape.iter().product::<usize>();
        let tail = &last[self.resolved.batch * numel..];
        let reports: Vec<program::Report> =
            bytemuck::cast_slice(tail).iter().take(indices.len()).copied().collect();
        let wall_ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(Samples { data, reports, trace, stats, wall_ms })
    }

    /// Whether samples with these global indices can be drawn at once.
    fn check(&self, indices: &[usize]) -> Result<()> {
        if indices.is_empty() || indices.len() > self.resolved.batch {
            return Err(Error::invalid(
                "sample indices",
                format!("1 to {} of them", self.resolved.batch),
                indices.len().to_string(),
                "compile with a larger batch or ask in parts",
            ));
        }
        let shard = &self.resolved.indices;
        if let Some(stranger) = indices.iter().find(|i| !shard.contains(i)) {
            return Err(Error::invalid(
                "sample indices",
                format!("those of the shard, {shard:?}"),
                stranger.to_string(),
                "compile for a larger count or another shard",
            ));
        }
        Ok(())
    }

    /// A short batch repeats its last sample; the surplus is not read.
    fn fill_inputs(&mut self, indices: &[usize]) {
        let batch = self.resolved.batch;
        let index = |i: usize| indices[i.min(indices.len() - 1)];
        let guidance = (self.resolved.guidance as f32).to_bits();
        self.inputs.run.clear();
        self.inputs.run.extend([self.seed as u32, (self.seed >> 32) as u32, 0, 0]);
        self.inputs.run.extend((0..batch).flat_map(|i| [index(i) as u32, guidance]));
        let position = |label: Option<u32>| {
            let found = self.labels.iter().position(|l| Some(*l) == label);
            found.unwrap_or(0) as u32
        };
        self.inputs.condition.clear();
        let labels = (0..batch).map(|i| self.resolved.label(index(i)));
        self.inputs.condition.extend(labels.map(position));
        if self.resolved.null_class.is_some() {
            let null = position(self.resolved.null_class);
            self.inputs.condition.extend(std::iter::repeat_n(null, batch));
        }
        let numel = self.state.iter().product::<usize>();
        if let Some(editing) = &self.resolved.editing {
            let (known, mask) = editing.inputs((0..batch).map(index));
            (self.inputs.known, self.inputs.mask) = (known, mask);
        }
        self.inputs.draws.clear();
        for draw in 0..self.draws.draws {
            for i in 0..batch {
                let samples = &self.draws.samples;
                let at = (draw * samples.len() + index(i) - samples.start) * numel;
                self.inputs.draws.extend_from_slice(&self.draws.data[at..at + numel]);
            }
        }
    }
}

impl Draws {
    fn new(
        model: &Model,
        request: &Request,
        resolved: &Resolved,
        trajectory: &Trajectory,
    ) -> Result<Draws> {
        if request.noise != NoiseKind::TorchCpu {
            return Ok(Draws::default());
        }
        let (samples, draws) = (resolved.indices.clone(), trajectory.draws);
        let numel = model.state.iter().product::<usize>();
        let bytes = samples.len().saturating_mul(numel).saturating_mul(draws).saturating_mul(4);
        if bytes > DRAWS_BYTES {
            return Err(Error::invalid(
                "--noise torch-cpu",
                format!("at most {DRAWS_BYTES} bytes of noise made on the host"),
                format!("{bytes} bytes for {} samples", samples.len()),
                "lower --count or --steps, cut the run with --shard, or use --noise native",
            ));
        }
        let (seed, count) = (request.seed, request.count);
        let data = noise::torch_cpu(seed, draws, count, numel, samples.clone());
        Ok(Draws { data, draws, samples })
    }
}

/// One sentence that names the keys without meaning for the solver. Whether there is such a solver
/// is for [`Resolved::record`] to say.
fn notes(scheduler: &SchedulerConfig, solver: &str) -> Vec<String> {
    let unread = solver::find(solver).map(|info| scheduler.unread(info)).unwrap_or_default();
    let (keys, origin) = (unread.join(", "), &scheduler.origin);
    let sentence = || format!("{origin}: {keys} not followed by --solver {solver}");
    if unread.is_empty() { Vec::new() } else { vec![sentence()] }
}

fn options(
    model: &Model,
    request: &Request,
    resolved: &Resolved,
    storage: DType,
) -> Result<program::Options> {
    let guided = resolved.null_class.is_some();
    check_batch(model, resolved.batch, guided)?;
    let numel = request.count.saturating_mul(model.state.iter().product::<usize>());
    let noise = match request.noise {
        NoiseKind::Native => NoiseMode::Philox,
        NoiseKind::TorchCpu => NoiseMode::Table,
        // PyTorch cuts larger tensors into several launches, each with counters of its own.
        NoiseKind::TorchCuda(_) if numel > i32::MAX as usize => {
            return Err(Error::invalid(
                "--noise torch-cuda",
                format!("at most {} elements in the whole run", i32::MAX),
                format!("{numel} in {} samples", request.count),
                "lower --count, or use --noise native",
            ));
        }
        NoiseKind::TorchCuda(gpu) => {
            let layout = gpu.layout(numel as u64);
            NoiseMode::TorchCuda { threads: layout.threads, calls: layout.calls }
        }
    };
    Ok(program::Options {
        storage,
        batch: resolved.batch,
        state: model.state,
        guided,
        labels: resolved.labels(),
        texts: resolved.tokens(model)?,
        noise,
        hoist: request.hoist,
        fuse: request.fuse,
        trace: request.trace,
        table_bytes: program::TABLE_BYTES,
        projection: resolved.editing.as_ref().map(|editing| editing.projection).unwrap_or_default(),
    })
}

/// The states of all rows are one buffer on the device and one array on the host.
fn check_trace(model: &Model, request: &Request, trajectory: &Trajectory) -> Result<()> {
    let numel = model.state.iter().product::<usize>();
    let (rows, count) = (trajectory.rows.len(), request.count);
    let bytes = rows.saturating_mul(count).saturating_mul(numel).saturating_mul(4);
    if !request.trace || bytes <= TRACE_BYTES {
        return Ok(());
    }
    Err(Error::invalid(
        "--trace",
        format!("at most {TRACE_BYTES} bytes"),
        format!("{bytes} bytes for {rows} rows of {count} samples"),
        "lower --count or --steps",
    ))
}

/// Kernels count elements in 32 bits.
fn check_batch(model: &Model, batch: usize, guided: bool) -> Result<()> {
    let most = u32::MAX as usize / model.graph.largest() / if guided { 2 } else { 1 };
    if batch <= most {
        return Ok(());
    }
    let (expected, action) = match most {
        0 => ("a model whose largest layer has fewer elements".into(), "use a smaller sample_size"),
        _ => (format!("at most {most} samples of '{}' at once", model.name), "lower --batch"),
    };
    Err(Error::invalid("--batch", expected, batch.to_string(), action))
}
