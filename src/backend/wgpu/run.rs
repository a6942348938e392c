//! One run: the trajectory is recorded ahead and submitted in bounded chunks.

mod transfer;

use super::Wgpu;
use super::adapters::AdapterInfo;
use super::gpu::Gpu;
use crate::backend::tune::Tuned;
use crate::backend::{Observer, RunInputs, RunStats, Session};
use crate::error::Result;
use crate::ops::Cursor;
use crate::program::{Program, RowRef};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use transfer::Mapping;
pub(super) use transfer::Uploads;
use wgpu::{BindGroup, Buffer, CommandEncoder, ComputePipeline, MapMode, SubmissionIndex};

/// Device time of one submission: drivers of desktops stop one that takes seconds.
const CHUNK: Duration = Duration::from_millis(20);
/// Submissions ahead of the device. More would only make Ctrl-C slower.
const AHEAD: usize = 4;
/// How often a wait looks at the observer.
const GLANCE: Duration = Duration::from_millis(20);

/// A dispatch with everything that recording it needs.
pub(super) struct Dispatch {
    pub pipeline: ComputePipeline,
    pub bind_group: BindGroup,
    pub grid: [u32; 2],
    /// Whether it is the last dispatch of its launch.
    pub last: bool,
    pub flops: f64,
    /// Bytes that it touches.
    pub bytes: f64,
}

impl Wgpu {
    /// How many of each kind of object the device holds now, and their bytes. A run leaves them as
    /// they are; command buffers, which it records anew, are not counted.
    pub fn objects(&self) -> [(&'static str, isize); 6] {
        let held = self.gpu.device.get_internal_counters().hal;
        [
            ("buffers", held.buffers.read()),
            ("bytes of buffers", held.buffer_memory.read()),
            ("bind groups", held.bind_groups.read()),
            ("bind group layouts", held.bind_group_layouts.read()),
            ("pipelines", held.compute_pipelines.read()),
            ("shader modules", held.shader_modules.read()),
        ]
    }
}

/// A program on a device. A run creates no buffer, bind group or pipeline.
pub(super) struct WgpuSession {
    pub gpu: Gpu,
    pub prologue: Vec<Dispatch>,
    pub bodies: Vec<Vec<Dispatch>>,
    /// The slots that each run fills.
    pub inputs: Uploads,
    pub states: Vec<Buffer>,
    pub output: Buffer,
    pub download: Buffer,
    pub program: Program,
    pub pace: Pace,
    pub tuned: Tuned,
}

/// How fast the device works, learnt from finished chunks.
pub(super) struct Pace {
    /// Units of [`Pace::work`] a second.
    rate: f64,
}

impl Pace {
    /// Starts from a low guess of the device's kind: a chunk too short costs little.
    pub fn new(info: &AdapterInfo) -> Pace {
        let rate = match info.device_type {
            "discrete" => 1e12,
            "integrated" | "virtual" => 1e11,
            _ => 2e9,
        };
        Pace { rate }
    }

    /// Work of a dispatch, in about the time of a floating-point operation: devices do 10 to 50 in
    /// the time of a byte, and about 1e6 in the gap between dispatches.
    fn work(dispatch: &Dispatch) -> f64 {
        dispatch.flops + 16.0 * dispatch.bytes + 1e6
    }

    fn seconds(&self, work: f64) -> f64 {
        work / self.rate
    }

    fn learn(&mut self, work: f64, took: Duration) {
        let rate = work / took.as_secs_f64().max(1e-6);
        self.rate = 0.5 * (self.rate + rate.clamp(0.25 * self.rate, 4.0 * self.rate));
    }
}

/// A submission on its way.
struct Chunk {
    index: SubmissionIndex,
    work: f64,
    /// Rows finished when it is.
    rows: usize,
    submitted: Instant,
    done: Arc<OnceLock<Instant>>,
}

/// The submissions of one run.
struct Flight<'a, 'b, 'c> {
    gpu: &'a Gpu,
    pace: &'a mut Pace,
    observer: &'b mut Observer<'c>,
    chunks: VecDeque<Chunk>,
    last_done: Instant,
    submits: u64,
    /// Time spent handing over what was recorded, and of it waiting for the device.
    submitting: Duration,
    waited: Duration,
}

impl Flight<'_, '_, '_> {
    /// Submits what was recorded, then waits while too much is on its way.
    fn submit(&mut self, encoder: CommandEncoder, work: f64, rows: usize) -> Result<()> {
        // wgpu notes commands as they come and records them here.
        let recorded = encoder.finish();
        let start = Instant::now();
        let index = self.gpu.submit(Some(recorded));
        let done = Arc::new(OnceLock::new());
        let mark = done.clone();
        self.gpu.queue.on_submitted_work_done(move || {
            mark.get_or_init(Instant::now);
        });
        self.chunks.push_back(Chunk { index, work, rows, submitted: Instant::now(), done });
        self.submits += 1;
        self.gpu.poll(None)?;
        self.collect();
        self.drain(AHEAD)?;
        self.submitting += start.elapsed();
        Ok(())
    }

    /// Waits until at most `most` submissions are on their way.
    fn drain(&mut self, most: usize) -> Result<()> {
        let start = Instant::now();
        self.observer.check()?;
        while self.chunks.len() > most {
            let oldest = self.chunks[0].index.clone();
            self.gpu.poll(Some((&oldest, GLANCE)))?;
            self.collect();
            self.observer.check()?;
        }
        self.waited += start.elapsed();
        Ok(())
    }

    /// Learns from finished submissions and reports their rows.
    fn collect(&mut self) {
        while let Some(done) = self.chunks.front().and_then(|chunk| chunk.done.get().copied()) {
            let Some(chunk) = self.chunks.pop_front() else { break };
            let began = chunk.submitted.max(self.last_done);
            self.pace.learn(chunk.work, done.saturating_duration_since(began));
            self.last_done = done;
            (self.observer.rows_done)(chunk.rows);
        }
    }
}

impl WgpuSession {
    fn encoder(&self) -> CommandEncoder {
        self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Records and submits every launch; the first submission also copies the inputs, the last the
    /// output. Gives the numbers of launches and dispatches.
    fn submit_all(&self, inputs: &RunInputs, flight: &mut Flight) -> Result<[u64; 2]> {
        let start = RowRef { body: 0, time: 0 };
        let prologue = std::iter::once((0, start, &self.prologue));
        let rows =
            self.program.rows.iter().enumerate().map(|(i, row)| (i, *row, &self.bodies[row.body]));
        let mut encoder = self.encoder();
        self.inputs.record(inputs, &mut encoder);
        self.states.iter().for_each(|state| encoder.clear_buffer(state, 0, None));
        let (mut work, mut counts, mut finished) = (0.0, [0, 0], 0);
        for (part, (row, at, recorded)) in prologue.chain(rows).enumerate() {
            let cursor = Cursor { row: row as u32, time: at.time };
            let mut rest = recorded.as_slice();
            while !rest.is_empty() {
                let taken = take(rest, &mut work, flight.pace);
                record(&mut encoder, &rest[..taken], cursor);
                counts[0] += rest[..taken].iter().filter(|d| d.last).count() as u64;
                counts[1] += taken as u64;
                rest = &rest[taken..];
                if rest.is_empty() && part > 0 {
                    finished = row + 1;
                }
                // The first row goes out at once, so that the device begins.
                let full = flight.pace.seconds(work) >= CHUNK.as_secs_f64();
                if full || (part == 1 && rest.is_empty()) {
                    let next = self.encoder();
                    flight.submit(std::mem::replace(&mut encoder, next), work, finished)?;
                    work = 0.0;
                }
            }
        }
        let bytes = 4 * self.program.output_len as u64;
        encoder.copy_buffer_to_buffer(&self.output, 0, &self.download, 0, bytes);
        flight.submit(encoder, work, self.program.rows.len())?;
        Ok(counts)
    }

    /// Maps the download buffer and copies it out.
    fn download(&self, flight: &mut Flight, out: &mut [f32]) -> Result<()> {
        let mapping = Mapping::start(&self.download, MapMode::Read);
        flight.drain(0)?;
        mapping.wait(&self.gpu, || flight.observer.check())?;
        let view = self.download.get_mapped_range(..size_of_val(out) as u64);
        let failed = |e| self.gpu.failed(&format!("the samples cannot be read: {e}"));
        bytemuck::cast_slice_mut(out).copy_from_slice(&view.map_err(failed)?);
        Ok(())
    }
}

impl Session for WgpuSession {
    fn run(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<RunStats> {
        self.program.check_output(out)?;
        let start = Instant::now();
        inputs.check(&self.program)?;
        self.gpu.check()?;
        self.inputs.fill(&self.gpu, inputs, || observer.check())?;
        let mut pace = Pace { rate: self.pace.rate };
        let mut flight = Flight {
            gpu: &self.gpu,
            pace: &mut pace,
            observer,
            chunks: VecDeque::new(),
            last_done: Instant::now(),
            submits: 0,
            submitting: Duration::ZERO,
            waited: Duration::ZERO,
        };
        let recording = Instant::now();
        let [launches, dispatches] = self.submit_all(inputs, &mut flight)?;
        let encode_ms = (recording.elapsed() - flight.submitting).as_secs_f64() * 1e3;
        let host_ms = (start.elapsed() - flight.waited).as_secs_f64() * 1e3;
        self.download(&mut flight, out)?;
        let submits = flight.submits;
        let stats = RunStats { submits, readbacks: 1, launches, dispatches, host_ms, encode_ms };
        self.pace = pace;
        Ok(stats)
    }

    fn tuned(&self) -> Option<&Tuned> {
        Some(&self.tuned)
    }
}

/// How many of `dispatches` still fit into the chunk that holds `work`: at least one.
fn take(dispatches: &[Dispatch], work: &mut f64, pace: &Pace) -> usize {
    let mut taken = 0;
    for dispatch in dispatches {
        *work += Pace::work(dispatch);
        taken += 1;
        if pace.seconds(*work) >= CHUNK.as_secs_f64() {
            break;
        }
    }
    taken
}

pub(super) fn record(encoder: &mut CommandEncoder, dispatches: &[Dispatch], cursor: Cursor) {
    let words = [cursor.row, cursor.time];
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for dispatch in dispatches {
        pass.set_pipeline(&dispatch.pipeline);
        pass.set_immediates(0, bytemuck::bytes_of(&words));
        pass.set_bind_group(0, &dispatch.bind_group, &[]);
        pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], 1);
    }
}
