//! One run: an upload, one graph for the prologue and one for each row, a download. The graphs step
//! the cursor themselves; the host enqueues ahead and looks at what is done.

use super::device::failed;
use super::kernels::Kernel;
use super::launch::{Recorded, Recording, advance};
use super::layout::Layout;
use super::memory::{DeviceMemory, Pinned, clear, download, upload};
use crate::backend::tune::Tuned;
use crate::backend::{Observer, RunInputs, RunStats, Session};
use crate::error::{Error, Result};
use crate::program::{Program, Source};
use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, DriverError, result, sys};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Device time between two looks at what is done.
const CHUNK: Duration = Duration::from_millis(20);
/// Chunks ahead of the device. More would only make Ctrl-C slower.
const AHEAD: usize = 4;
/// How often a wait looks at the observer.
const GLANCE: Duration = Duration::from_micros(500);

/// A program on a device. The graphs come first: they are dropped before what they use.
pub(super) struct CudaSession {
    prologue: Option<CudaGraph>,
    bodies: Vec<Option<CudaGraph>>,
    stream: Arc<CudaStream>,
    device: String,
    layout: Layout,
    program: Program,
    /// The first row that launches anything, and launches of each body.
    first_row: usize,
    launches: Vec<u64>,
    tuned: Tuned,
    inputs: Pinned,
    output: Pinned,
    memory: DeviceMemory,
    _kernels: Vec<Arc<Kernel>>,
}

/// What a session is made of.
pub(super) struct Parts {
    pub stream: Arc<CudaStream>,
    pub device: String,
    pub layout: Layout,
    pub program: Program,
    pub tuned: Tuned,
    pub memory: DeviceMemory,
    pub kernels: Vec<Arc<Kernel>>,
}

impl CudaSession {
    /// Captures the launches.
    pub fn new(parts: Parts, recording: &Recording) -> Result<CudaSession> {
        let Parts { stream, device, layout, program, tuned, memory, kernels } = parts;
        let context = stream.context();
        let sent = (layout.upload.end - layout.upload.start) as usize;
        let inputs = Pinned::new(context, &device, sent)?;
        let output = Pinned::new(context, &device, 4 * program.output_len)?;
        let graph = |launches: &[Recorded]| capture(&stream, launches, &kernels);
        let wrong = |e| failed(&device, "cannot capture a graph", e);
        let prologue = graph(&recording.prologue).map_err(wrong)?;
        let bodies = recording.bodies.iter().map(|body| graph(body));
        let bodies = bodies.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let empty = |row: &usize| program.bodies[program.rows[*row].body].launches.is_empty();
        Ok(CudaSession {
            prologue,
            bodies,
            first_row: (0..program.rows.len()).take_while(empty).count(),
            launches: recording.bodies.iter().map(|body| body.len() as u64).collect(),
            stream,
            device,
            layout,
            program,
            tuned,
            inputs,
            output,
            memory,
            _kernels: kernels,
        })
    }

    /// Fills what a run uploads.
    fn fill(&mut self, inputs: &RunInputs) -> Result<()> {
        let start = self.layout.upload.start;
        let times = self.memory.base + self.layout.times;
        let cursor = advance(&self.program, times)?;
        let bytes = self.inputs.bytes_mut();
        bytes[..cursor.len()].copy_from_slice(&cursor);
        for (slot, at) in self.program.slots.iter().zip(&self.layout.slots) {
            if let Source::Input(input) = slot.source {
                let words: &[u8] = bytemuck::cast_slice(inputs.words(input));
                bytes[(at - start) as usize..][..words.len()].copy_from_slice(words);
            }
        }
        Ok(())
    }

    /// Enqueues everything, row after row, never far ahead of the device.
    fn enqueue(&mut self, observer: &mut Observer, stats: &mut RunStats) -> Result<()> {
        let device = self.device.clone();
        let wrong = |e| failed(&device, "cannot enqueue a run", e);
        let started = Instant::now();
        upload(&self.stream, &self.inputs, &self.memory, self.layout.upload.start)
            .and_then(|()| clear(&self.stream, &self.memory, &self.layout.zeroed))
            .map_err(wrong)?;
        let mut flight = Flight::new(self.stream.clone(), device.clone());
        if let Some(prologue) = &self.prologue {
            prologue.launch().map_err(wrong)?;
            stats.submits += 1;
        }
        stats.launches += self.program.prologue.len() as u64;
        for row in self.first_row..self.program.rows.len() {
            let body = self.program.rows[row].body;
            if let Some(graph) = &self.bodies[body] {
                graph.launch().map_err(wrong)?;
                stats.submits += 1;
            }
            stats.launches += self.launches[body];
            flight.row(row + 1, observer)?;
        }
        let at = self.layout.slots[self.program.output.0];
        download(&self.stream, &self.memory, at, &mut self.output).map_err(wrong)?;
        stats.readbacks += 1;
        stats.host_ms = (started.elapsed() - flight.waited).as_secs_f64() * 1e3;
        stats.encode_ms = stats.host_ms;
        flight.finish(self.program.rows.len(), observer)
    }
}

impl Session for CudaSession {
    fn run(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<RunStats> {
        inputs.check(&self.program)?;
        self.program.check_output(out)?;
        observer.check()?;
        let wrong = |e| failed("cuda", "cannot be used here", e);
        self.stream.context().bind_to_thread().map_err(wrong)?;
        self.fill(inputs)?;
        let mut stats = RunStats::default();
        let ran = self.enqueue(observer, &mut stats);
        // Whatever happened: what was enqueued uses the session's memory until it is done.
        let done = self.stream.synchronize();
        ran?;
        done.map_err(|e| failed(&self.device, "the run failed", e))?;
        out.copy_from_slice(bytemuck::cast_slice(self.output.bytes()));
        stats.dispatches = stats.launches;
        Ok(stats)
    }

    fn tuned(&self) -> Option<&Tuned> {
        Some(&self.tuned)
    }
}

impl Drop for CudaSession {
    fn drop(&mut self) {
        // Nothing of it may be freed while the device uses it.
        let done = self.stream.synchronize();
        self.stream.context().record_err(done);
    }
}

/// The launches as one graph; `None` if there are none.
fn capture(
    stream: &Arc<CudaStream>,
    launches: &[Recorded],
    kernels: &[Arc<Kernel>],
) -> Result<Option<CudaGraph>, DriverError> {
    if launches.is_empty() {
        return Ok(None);
    }
    let only_this_thread = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(only_this_thread)?;
    let enqueued =
        launches.iter().try_for_each(|launch| enqueue(stream, launch, &kernels[launch.kernel]));
    let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0));
    enqueued?;
    let graph = graph?;
    if let Some(graph) = &graph {
        graph.upload()?;
    }
    Ok(graph)
}

fn enqueue(stream: &CudaStream, launch: &Recorded, kernel: &Kernel) -> Result<(), DriverError> {
    let pointer = |bytes: *const u8| bytes.cast_mut().cast::<c_void>();
    let mut params = [
        pointer(launch.params.as_ptr()),
        pointer(launch.args.as_ptr().cast()),
        pointer(launch.control.as_ptr().cast()),
    ];
    let (grid, block) = ((launch.blocks, 1, 1), (kernel.threads(), 1, 1));
    // SAFETY: the kernel takes `Params`, `Args` and `Control` by value: as many bytes as these
    // three hold, which the loader's assertions compare; the driver copies them now. The addresses
    // lie in the session's memory, whose sizes `Program::validate` has checked against every op's
    // reach.
    unsafe {
        result::launch_kernel(
            kernel.function,
            grid,
            block,
            launch.shared,
            stream.cu_stream(),
            &mut params,
        )
    }
}

/// Chunks of rows on their way.
struct Flight {
    stream: Arc<CudaStream>,
    device: String,
    /// An event behind each chunk, with the rows finished when it is done.
    chunks: VecDeque<(CudaEvent, usize)>,
    /// Rows of a chunk, learnt from how long they took.
    rows: usize,
    since: usize,
    last_done: Instant,
    waited: Duration,
}

impl Flight {
    fn new(stream: Arc<CudaStream>, device: String) -> Flight {
        Flight {
            stream,
            device,
            chunks: VecDeque::new(),
            rows: 1,
            since: 0,
            last_done: Instant::now(),
            waited: Duration::ZERO,
        }
    }

    /// A row was enqueued, the `done`-th.
    fn row(&mut self, done: usize, observer: &mut Observer) -> Result<()> {
        self.since += 1;
        if self.since < self.rows {
            return Ok(());
        }
        let event = self.stream.record_event(None);
        let event = event.map_err(|e| failed(&self.device, "cannot mark a run", e))?;
        self.chunks.push_back((event, done));
        self.since = 0;
        while self.chunks.len() > AHEAD {
            self.next(observer)?;
        }
        observer.check()
    }

    /// Waits for the oldest chunk.
    fn next(&mut self, observer: &mut Observer) -> Result<()> {
        let Some((event, rows)) = self.chunks.pop_front() else { return Ok(()) };
        let start = Instant::now();
        while !event.try_is_complete().map_err(|e| failed(&self.device, "the run failed", e))? {
            observer.check()?;
            std::thread::sleep(GLANCE);
        }
        self.waited += start.elapsed();
        let took = self.last_done.elapsed().as_secs_f64() / self.rows as f64;
        self.last_done = Instant::now();
        let fitting = CHUNK.as_secs_f64() / took.max(1e-6);
        self.rows = (fitting as usize).clamp(1, 4 * self.rows);
        (observer.rows_done)(rows);
        Ok(())
    }

    fn finish(mut self, rows: usize, observer: &mut Observer) -> Result<()> {
        while !self.chunks.is_empty() {
            self.next(observer)?;
        }
        let done = self.stream.synchronize();
        done.map_err(|e: DriverError| -> Error { failed(&self.device, "the run failed", e) })?;
        (observer.rows_done)(rows);
        Ok(())
    }
}
