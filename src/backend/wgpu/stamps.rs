//! Timestamps of launches: after each dispatch inside a pass, or around passes of one launch each.

use super::gpu::Gpu;
use super::run::{Dispatch, transfer::Mapping};
use crate::backend::Stamping;
use crate::backend::timeline::{self, Clock, Span};
use crate::error::{Error, Result};
use crate::ops::Cursor;
use wgpu::{
    Buffer, BufferUsages, CommandEncoder, ComputePassDescriptor, ComputePassTimestampWrites,
    Features, MapMode, QUERY_SET_MAX_QUERIES, QuerySet, QueryType,
};

/// Where the timestamps of a run go.
pub(super) struct Stamps {
    pub clock: Clock,
    sets: Vec<QuerySet>,
    /// What is resolved, and where the host reads it.
    resolved: Buffer,
    readable: Buffer,
    /// Timestamps of the run so far.
    next: u32,
    /// The first and the last timestamp of each launch so far.
    launches: Vec<[u32; 2]>,
    /// The first one of a launch of which a dispatch is still to come.
    open: Option<u32>,
}

/// Bytes of a timestamp.
const TICK: u64 = size_of::<u64>() as u64;

impl Stamps {
    /// For runs of so many dispatches.
    ///
    /// # Errors
    /// `Error::Invalid` if the adapter takes no timestamps, or not where it is asked to.
    pub fn new(gpu: &Gpu, dispatches: usize) -> Result<Stamps> {
        let clock = clock(gpu)?;
        // A pass begins with one and has one for each dispatch, of which there is at least one.
        let most = 2 * dispatches.max(1) as u64;
        let sets = (0..most.div_ceil(QUERY_SET_MAX_QUERIES as u64)).map(|_| {
            gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: QueryType::Timestamp,
                count: QUERY_SET_MAX_QUERIES,
            })
        });
        let buffer = |label, usage| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: most * TICK,
                usage,
                mapped_at_creation: false,
            })
        };
        Ok(Stamps {
            clock,
            sets: sets.collect(),
            resolved: buffer("resolved", BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC),
            readable: buffer("timestamps", BufferUsages::MAP_READ | BufferUsages::COPY_DST),
            next: 0,
            launches: Vec::new(),
            open: None,
        })
    }

    /// A run begins.
    pub fn begin(&mut self) {
        self.next = 0;
        self.launches.clear();
        self.open = None;
    }

    /// The next timestamp, and where it lies.
    fn take(&mut self) -> (u32, QuerySet, u32) {
        let number = self.next;
        self.next += 1;
        let most = QUERY_SET_MAX_QUERIES;
        (number, self.sets[(number / most) as usize].clone(), number % most)
    }

    /// A dispatch ends with timestamp `last`; what began it, if it is the first of its launch, is
    /// `first`.
    fn dispatched(&mut self, dispatch: &Dispatch, first: u32, last: u32) {
        let first = self.open.take().unwrap_or(first);
        match dispatch.last {
            true => self.launches.push([first, last]),
            false => self.open = Some(first),
        }
    }

    /// Records dispatches with their timestamps.
    pub fn record(&mut self, encoder: &mut CommandEncoder, dispatches: &[Dispatch], at: Cursor) {
        if self.clock == Clock::InsidePasses {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            let (mut before, set, index) = self.take();
            pass.write_timestamp(&set, index);
            for dispatch in dispatches {
                dispatch.record(&mut pass, at);
                let (number, set, index) = self.take();
                // It is taken when the dispatch is complete: whatever the dispatch waited for at
                // its beginning lies behind the timestamp before.
                pass.write_timestamp(&set, index);
                self.dispatched(dispatch, before, number);
                before = number;
            }
            return;
        }
        for dispatch in dispatches {
            let (first, set, begin) = self.take();
            // An even number of them fits into a set: both lie in this one.
            let (last, _, end) = self.take();
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(ComputePassTimestampWrites {
                    query_set: &set,
                    beginning_of_pass_write_index: Some(begin),
                    end_of_pass_write_index: Some(end),
                }),
            });
            dispatch.record(&mut pass, at);
            drop(pass);
            self.dispatched(dispatch, first, last);
        }
    }

    /// Brings the timestamps of the run to where they can be read; all of them were written before.
    pub fn resolve(&self, encoder: &mut CommandEncoder) {
        let most = QUERY_SET_MAX_QUERIES;
        for (i, set) in self.sets.iter().enumerate() {
            let used = self.next.saturating_sub(i as u32 * most).min(most);
            if used > 0 {
                let offset = i as u64 * most as u64 * TICK;
                encoder.resolve_query_set(set, 0..used, &self.resolved, offset);
            }
        }
        let bytes = self.next as u64 * TICK;
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, bytes);
    }

    /// The times of all launches of a run that is done.
    pub fn read(&self, gpu: &Gpu, check: impl FnMut() -> Result<()>) -> Result<Vec<Span>> {
        if self.next == 0 {
            return Ok(Vec::new());
        }
        let mapping = Mapping::start(&self.readable, MapMode::Read);
        mapping.wait(gpu, check)?;
        let view = self.readable.get_mapped_range(..self.next as u64 * TICK);
        let view = view.map_err(|e| gpu.failed(&format!("timestamps cannot be read: {e}")))?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        let period = f64::from(gpu.queue.get_timestamp_period());
        timeline::launches(&ticks, &self.launches, period).map_err(|empty| {
            Error::device(
                gpu.info.words(),
                format!("timestamp {empty} of {} reads 0: it was not taken", ticks.len()),
                "try --timestamps passes, update the driver, or use another --device",
            )
        })
    }
}

/// How this adapter is to be timed.
fn clock(gpu: &Gpu) -> Result<Clock> {
    let features = gpu.device.features();
    let passes = features.contains(Features::TIMESTAMP_QUERY);
    let inside = passes && features.contains(Features::TIMESTAMP_QUERY_INSIDE_PASSES);
    match gpu.stamping {
        Stamping::Auto | Stamping::InsidePasses if inside => Ok(Clock::InsidePasses),
        Stamping::Auto | Stamping::Passes if passes => Ok(Clock::Passes),
        Stamping::InsidePasses if passes => Err(Error::invalid(
            "--timestamps inside-passes",
            "an adapter with timestamps inside passes",
            gpu.info.words(),
            "use --timestamps passes",
        )),
        _ => Err(Error::invalid(
            "unnoise profile",
            "an adapter with timestamps",
            gpu.info.words(),
            "see `unnoise devices` for another --device",
        )),
    }
}
