//! Times of launches by events between the kernels of graphs.

use super::device::{failed, older_than};
use super::graph::Graphs;
use crate::backend::timeline::{self, Span};
use crate::error::{Error, Result};
use crate::program::Program;
use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, result, sys};
use std::sync::Arc;

/// The first driver with the call that is used to read events: 12.8.
const OLDEST_DRIVER: i32 = 12080;

/// A graph of the prologue and one of each row, every one with events of its own, so that no row
/// writes over the times of another. The graphs are dropped before their events.
pub(super) struct Stamps {
    graphs: Vec<Option<CudaGraph>>,
    /// Of each graph one before its first launch and one behind each.
    events: Vec<Vec<CudaEvent>>,
}

impl Stamps {
    /// Captures the graphs of a run.
    ///
    /// # Errors
    /// `Error::Invalid` if the driver is too old to tell the times.
    pub fn new(
        stream: &Arc<CudaStream>,
        device: &str,
        graphs: &Graphs,
        program: &Program,
    ) -> Result<Stamps> {
        if let (_, Some(found)) = older_than(OLDEST_DRIVER) {
            let action = "update the NVIDIA driver";
            return Err(Error::invalid(
                "unnoise profile",
                "a driver of CUDA 12.8 or later",
                found,
                action,
            ));
        }
        let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let event = |_| {
            let made = stream.context().new_event(timed);
            made.map_err(|e| failed(device, "cannot make an event", e))
        };
        let bodies = program.rows.iter().map(|row| Some(row.body));
        let mut stamps = Stamps { graphs: Vec::new(), events: Vec::new() };
        for body in std::iter::once(None).chain(bodies) {
            let launches = graphs.launches(body);
            let count = if launches.is_empty() { 0 } else { launches.len() + 1 };
            let events = (0..count).map(event).collect::<Result<Vec<_>>>()?;
            stamps.graphs.push(graphs.timed(launches, &events)?);
            stamps.events.push(events);
        }
        Ok(stamps)
    }

    /// The graph of the prologue, if it has launches.
    pub fn prologue(&self) -> Option<&CudaGraph> {
        self.graphs[0].as_ref()
    }

    /// Those of the rows.
    pub fn rows(&self) -> impl Iterator<Item = Option<&CudaGraph>> {
        self.graphs[1..].iter().map(Option::as_ref)
    }

    /// The times of all launches of a run that is done. Events are read one from the next: in a
    /// float of milliseconds a long way from the first would lose microseconds.
    pub fn read(&self, device: &str) -> Result<Vec<Span>> {
        // A tick of zero would be one that was not taken.
        let (mut ticks, mut pairs, mut now) = (Vec::new(), Vec::new(), 1.0_f64);
        let mut before: Option<&CudaEvent> = None;
        for events in &self.events {
            for (i, event) in events.iter().enumerate() {
                if let Some(before) = before {
                    // SAFETY: both are alive and were made to be timed.
                    let ms = unsafe { result::event::elapsed(before.cu_event(), event.cu_event()) };
                    let ms = ms.map_err(|e| failed(device, "cannot read an event", e))?;
                    now += 1e6 * f64::from(ms);
                }
                ticks.push(now.round() as u64);
                if i > 0 {
                    let last = ticks.len() as u32 - 1;
                    pairs.push([last - 1, last]);
                }
                before = Some(event);
            }
        }
        timeline::launches(&ticks, &pairs, 1.0).map_err(|event| {
            let what = format!("event {event} of a profile has no time");
            Error::device(device, what, "update the NVIDIA driver")
        })
    }
}
