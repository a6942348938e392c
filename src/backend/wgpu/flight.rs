//! Submissions on their way: bounded chunks, never far ahead of the device.

use super::adapters::AdapterInfo;
use super::gpu::Gpu;
use super::run::Dispatch;
use crate::backend::Observer;
use crate::backend::timeline::{Flown, HostLog, Phase};
use crate::error::Result;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use wgpu::{CommandEncoder, SubmissionIndex};

/// Device time of one submission: drivers of desktops stop one that takes seconds.
const CHUNK: Duration = Duration::from_millis(20);
/// Submissions ahead of the device. More would only make Ctrl-C slower.
const AHEAD: usize = 4;
/// How often a wait looks at the observer.
const GLANCE: Duration = Duration::from_millis(20);

/// How fast the device works, learnt from finished chunks.
#[derive(Clone, Copy)]
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

    /// Whether `work` is enough for a submission.
    pub fn full(&self, work: f64) -> bool {
        work / self.rate >= CHUNK.as_secs_f64()
    }

    /// How many of `dispatches` still fit into the chunk that holds `work`: at least one.
    pub fn take(&self, dispatches: &[Dispatch], work: &mut f64) -> usize {
        let mut taken = 0;
        for dispatch in dispatches {
            *work += Pace::work(dispatch);
            taken += 1;
            if self.full(*work) {
                break;
            }
        }
        taken
    }

    fn learn(&mut self, work: f64, took: Duration) {
        let rate = work / took.as_secs_f64().max(1e-6);
        self.rate = 0.5 * (self.rate + rate.clamp(0.25 * self.rate, 4.0 * self.rate));
    }
}

/// What a submission holds.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub work: f64,
    /// Rows finished when it is.
    pub rows: usize,
    /// Launches of the run up to its last.
    pub launches: usize,
}

/// A submission on its way.
struct Chunk {
    index: SubmissionIndex,
    load: Load,
    /// Before and after it was handed over.
    submitted: [Instant; 2],
    done: Arc<OnceLock<Instant>>,
}

/// The submissions of one run.
pub(super) struct Flight<'a, 'b, 'c> {
    gpu: &'a Gpu,
    pub pace: Pace,
    pub observer: &'b mut Observer<'c>,
    pub log: HostLog,
    chunks: VecDeque<Chunk>,
    last_done: Instant,
    pub submits: u64,
    /// The finished ones.
    pub flown: Vec<Flown>,
}

impl<'a, 'b, 'c> Flight<'a, 'b, 'c> {
    pub fn new(gpu: &'a Gpu, pace: Pace, observer: &'b mut Observer<'c>, log: HostLog) -> Self {
        Flight {
            gpu,
            pace,
            observer,
            log,
            chunks: VecDeque::new(),
            last_done: Instant::now(),
            submits: 0,
            flown: Vec::new(),
        }
    }

    /// Submits what was recorded, then waits while too much is on its way.
    pub fn submit(&mut self, encoder: CommandEncoder, load: Load) -> Result<()> {
        // wgpu notes commands as they come and records them here.
        let recorded = encoder.finish();
        self.log.mark(Phase::Encode);
        let before = Instant::now();
        let index = self.gpu.submit(Some(recorded));
        let done = Arc::new(OnceLock::new());
        let mark = done.clone();
        self.gpu.queue.on_submitted_work_done(move || {
            mark.get_or_init(Instant::now);
        });
        self.chunks.push_back(Chunk { index, load, submitted: [before, Instant::now()], done });
        self.submits += 1;
        self.gpu.poll(None)?;
        self.collect();
        self.log.mark(Phase::Submit);
        self.drain(AHEAD)
    }

    /// Waits until at most `most` submissions are on their way.
    fn drain(&mut self, most: usize) -> Result<()> {
        self.observer.check()?;
        if self.chunks.len() <= most {
            return Ok(());
        }
        while self.chunks.len() > most {
            let oldest = self.chunks[0].index.clone();
            self.gpu.poll(Some((&oldest, GLANCE)))?;
            self.collect();
            self.observer.check()?;
        }
        self.log.mark(Phase::Wait);
        Ok(())
    }

    /// Waits for all of them.
    pub fn land(&mut self) -> Result<()> {
        self.drain(0)
    }

    /// Learns from finished submissions and reports their rows.
    fn collect(&mut self) {
        while let Some(done) = self.chunks.front().and_then(|chunk| chunk.done.get().copied()) {
            let Some(Chunk { load, submitted, .. }) = self.chunks.pop_front() else { break };
            let began = submitted[1].max(self.last_done);
            self.pace.learn(load.work, done.saturating_duration_since(began));
            self.last_done = done;
            let (submitted, done) = (self.log.at(submitted[0]), self.log.at(done));
            self.flown.push(Flown { launches: load.launches, submitted, done });
            (self.observer.rows_done)(load.rows);
        }
    }
}
