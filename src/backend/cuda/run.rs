//! One run: an upload, one graph for the prologue, graphs or one kernel for the rows, a download.
//! The launches step the cursor themselves; the host enqueues ahead and looks at what is done.

use super::device::{bind, failed};
use super::flight::Flight;
use super::graph::Graphs;
use super::kernels::Kernel;
use super::launch::{Recording, advance};
use super::layout::Layout;
use super::memory::{DeviceMemory, Pinned, Sums, clear, download, upload};
use super::persistent::Persistent;
use super::replay::{Replay, Way, cut};
use super::stamps::Stamps;
use crate::backend::timeline::{self, Clock, HostLog, Phase, Timeline};
use crate::backend::tune::Tuned;
use crate::backend::{Observer, RunInputs, RunStats, Session};
use crate::error::{Error, Result};
use crate::program::{Program, RowRef, Source};
use cudarc::driver::CudaStream;
use std::sync::Arc;
use std::time::Duration;

/// A program on a device. The graphs come first: they are dropped before what they use.
pub(super) struct CudaSession {
    /// Made by the first run that is profiled.
    stamps: Option<Stamps>,
    graphs: Graphs,
    persistent: Option<Persistent>,
    replay: Replay,
    stream: Arc<CudaStream>,
    device: String,
    layout: Layout,
    program: Program,
    /// The first row that launches anything, and launches of each row.
    first_row: usize,
    launches: Vec<usize>,
    /// The device time of a row, once a run has told.
    pace: Option<Duration>,
    pub tuned: Tuned,
    inputs: Pinned,
    output: Pinned,
    memory: DeviceMemory,
    _sums: Sums,
}

/// What a session is made of.
pub(super) struct Parts {
    pub stream: Arc<CudaStream>,
    pub device: String,
    pub layout: Layout,
    pub program: Program,
    pub tuned: Tuned,
    pub memory: DeviceMemory,
    pub sums: Sums,
    pub kernels: Vec<Arc<Kernel>>,
    pub way: Way,
    pub persistent: Option<Persistent>,
}

impl CudaSession {
    /// Captures the launches of the prologue, and of each body unless one kernel runs them all.
    pub fn new(parts: Parts, recording: Recording) -> Result<CudaSession> {
        let Parts { stream, device, layout, program, tuned, memory, .. } = parts;
        let Parts { sums, kernels, way, persistent, .. } = parts;
        let context = stream.context();
        let sent = (layout.upload.end - layout.upload.start) as usize;
        let mut inputs = Pinned::new(context, &device, sent)?;
        // Every run begins with the same cursor; what else it uploads lies behind it.
        let progress = persistent.as_ref().map_or(0, Persistent::progress);
        let cursor = advance(&program, memory.base + layout.times, progress)?;
        inputs.bytes_mut()[..cursor.len()].copy_from_slice(&cursor);
        let output = Pinned::new(context, &device, 4 * program.output_len)?;
        let of_body = |row: &RowRef| recording.bodies[row.body].len();
        let launches: Vec<usize> = program.rows.iter().map(of_body).collect();
        let first_row = launches.iter().take_while(|launches| **launches == 0).count();
        let (on, name) = (stream.clone(), device.clone());
        let mut graphs = Graphs::new(on, name, recording, kernels, way.overlap)?;
        if persistent.is_none() {
            for body in 0..program.bodies.len() {
                graphs.of(&[body])?;
            }
        }
        Ok(CudaSession {
            stamps: None,
            graphs,
            persistent,
            replay: way.replay,
            stream,
            device,
            layout,
            program,
            first_row,
            launches,
            pace: None,
            tuned,
            inputs,
            output,
            memory,
            _sums: sums,
        })
    }

    /// Fills what a run uploads.
    fn fill(&mut self, inputs: &RunInputs) {
        let start = self.layout.upload.start;
        let bytes = self.inputs.bytes_mut();
        for (slot, at) in self.program.slots.iter().zip(&self.layout.slots) {
            if let Source::Input(input) = slot.source {
                let words: &[u8] = bytemuck::cast_slice(inputs.words(input));
                bytes[(at - start) as usize..][..words.len()].copy_from_slice(words);
            }
        }
    }

    /// Enqueues everything and waits for it; the launches of `stamps`, if there are some, else the
    /// session's own way.
    fn enqueue(
        &mut self,
        flight: &mut Flight,
        observer: &mut Observer,
        stats: &mut RunStats,
        stamps: Option<&Stamps>,
    ) -> Result<()> {
        let device = self.device.clone();
        let wrong = |e| failed(&device, "cannot enqueue a run", e);
        upload(&self.stream, &self.inputs, &self.memory, self.layout.upload.start)
            .and_then(|()| clear(&self.stream, &self.memory, &self.layout.zeroed))
            .map_err(wrong)?;
        let prologue = stamps.map_or(self.graphs.prologue.as_ref(), Stamps::prologue);
        if let Some(prologue) = prologue {
            prologue.launch().map_err(wrong)?;
            stats.submits += 1;
        }
        let of_rows: usize = self.launches.iter().sum();
        match (&self.persistent, stamps) {
            (_, Some(stamps)) => self.timed_rows(stamps, flight, observer, stats)?,
            (Some(persistent), None) => {
                persistent.enqueue(&device, &self.stream)?;
                stats.submits += 1;
            }
            (None, None) => self.rows(flight, observer, stats)?,
        }
        stats.launches += (self.program.prologue.len() + of_rows) as u64;
        let at = self.layout.slots[self.program.output.0];
        download(&self.stream, &self.memory, at, &mut self.output).map_err(wrong)?;
        stats.readbacks += 1;
        flight.log.mark(Phase::Submit);
        stats.host_ms = flight.log.ms(&[Phase::Upload, Phase::Submit]);
        stats.encode_ms = stats.host_ms;
        if let (Some(persistent), None) = (&self.persistent, stamps) {
            persistent.follow(&device, &self.stream, observer)?;
        }
        let pace = flight.finish(self.program.rows.len(), observer)?;
        self.pace = self.pace.or(pace);
        Ok(())
    }

    /// Enqueues the graphs of all rows that have events, never far ahead of the device.
    fn timed_rows(
        &self,
        stamps: &Stamps,
        flight: &mut Flight,
        observer: &mut Observer,
        stats: &mut RunStats,
    ) -> Result<()> {
        let mut launches = self.program.prologue.len();
        for (row, graph) in stamps.rows().enumerate() {
            if let Some(graph) = graph {
                let launched = graph.launch();
                launched.map_err(|e| failed(&self.device, "cannot enqueue a run", e))?;
                stats.submits += 1;
            }
            launches += self.launches[row];
            flight.enqueued(1, (row + 1, launches), observer)?;
        }
        Ok(())
    }

    /// Enqueues the graphs of all rows, never far ahead of the device. How many rows go into a
    /// graph depends on how long they take: the first run goes row by row and tells.
    fn rows(
        &mut self,
        flight: &mut Flight,
        observer: &mut Observer,
        stats: &mut RunStats,
    ) -> Result<()> {
        let rows = self.first_row..self.launches.len();
        let graphs = match (self.replay, self.pace) {
            (Replay::Trajectory, Some(pace)) => cut(&self.launches, self.first_row, pace),
            _ => rows.map(|row| row..row + 1).collect(),
        };
        let mut launches = self.program.prologue.len();
        for rows in graphs {
            launches += self.launches[rows.clone()].iter().sum::<usize>();
            let bodies = self.program.rows[rows.clone()].iter().map(|row| row.body);
            if let Some(graph) = self.graphs.of(&bodies.collect::<Vec<_>>())? {
                let launched = graph.launch();
                launched.map_err(|e| failed(&self.device, "cannot enqueue a run", e))?;
                stats.submits += 1;
            }
            flight.enqueued(rows.len(), (rows.end, launches), observer)?;
        }
        Ok(())
    }
}

impl CudaSession {
    /// Runs once, with the events of `stamps` if there are some.
    fn execute(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
        stamps: Option<&Stamps>,
    ) -> Result<(RunStats, Flight)> {
        let mut log = HostLog::begin();
        inputs.check(&self.program)?;
        self.program.check_output(out)?;
        observer.check()?;
        bind(self.stream.context(), &self.device)?;
        self.fill(inputs);
        log.mark(Phase::Upload);
        let mut flight = Flight::new(self.stream.clone(), self.device.clone(), self.pace, log);
        let mut stats = RunStats::default();
        let ran = self.enqueue(&mut flight, observer, &mut stats, stamps);
        // Whatever happened: what was enqueued uses the session's memory until it is done.
        let done = self.stream.synchronize();
        ran?;
        done.map_err(|e| failed(&self.device, "the run failed", e))?;
        out.copy_from_slice(bytemuck::cast_slice(self.output.bytes()));
        flight.log.mark(Phase::Download);
        stats.dispatches = stats.launches;
        Ok((stats, flight))
    }
}

impl Session for CudaSession {
    fn run(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<RunStats> {
        Ok(self.execute(inputs, observer, out, None)?.0)
    }

    fn profile(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<(RunStats, Timeline)> {
        let stamps = match self.stamps.take() {
            Some(stamps) => stamps,
            None if self.persistent.is_some() => return Err(one_kernel()),
            None => Stamps::new(&self.stream, &self.device, &self.graphs, &self.program)?,
        };
        let (stats, flight) = self.execute(inputs, observer, out, Some(&stamps))?;
        let (log, flown) = flight.end();
        let (host, wall_ns) = log.end();
        let launches = stamps.read(&self.device)?;
        let offset_ns = timeline::offset(&launches, &flown);
        self.stamps = Some(stamps);
        Ok((stats, Timeline { clock: Clock::Events, launches, host, wall_ns, offset_ns }))
    }

    fn tuned(&self) -> Option<&Tuned> {
        Some(&self.tuned)
    }
}

/// One kernel that runs everything has nothing to part by events.
fn one_kernel() -> Error {
    Error::invalid(
        "unnoise profile",
        "launches that can be timed one by one",
        "UNNOISE_CUDA_REPLAY=persistent, a single one",
        "unset it",
    )
}

impl Drop for CudaSession {
    fn drop(&mut self) {
        // Nothing of it may be freed while the device uses it.
        let done = self.stream.synchronize();
        self.stream.context().record_err(done);
    }
}
