//! What every kernel of every step costs: the times of a run beside the work that it had to do.
//!
//! [`crate::sampler::Sampler::profile`] makes a [`Profile`]: one [`Launch`] for each launch of the
//! run, in order, with its row of the trajectory, kernel and layer. [`Profile::rows`] and
//! [`Profile::by`] add them up; what is neither a launch nor a gap between launches is the host's.

mod page;
mod trace;
mod view;

pub use page::{About, page, write};
pub use trace::trace;
pub use view::{By, Cost, Group, Row};

use crate::backend::null;
use crate::backend::roofline::{Floor, Peak};
use crate::backend::timeline::{Clock, Phase, Span, Timeline};
use crate::backend::tune::{Tuned, class};
use crate::program::{self, Program};
use crate::tensor::DType;
use serde::Serialize;

/// One launch of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Launch {
    /// The row of the trajectory, from 0; none for what runs once before the loop. A step of two
    /// evaluations is two rows; initial noise is a row too.
    pub step: Option<usize>,
    pub kernel: &'static str,
    /// `down_blocks.1.resnets.0.conv1`.
    pub layer: String,
    /// How it is cut, where there is a choice: `tiled 64x64`.
    pub tile: Option<String>,
    /// From the beginning of the run's first launch, on the clock of the device.
    pub start_us: f64,
    pub us: f64,
    /// The least that it took in any profiled run.
    pub least_us: f64,
    pub flops: u64,
    /// Bytes that it moves at least: each buffer once.
    pub bytes: u64,
    /// What the measured device could do it in.
    pub floor: Option<Floor>,
}

/// A part of a run on the host's clock, from the beginning of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HostSpan {
    pub phase: Phase,
    pub start_us: f64,
    pub us: f64,
}

/// Where the time of a run went. Of the profiled runs it is the one with the median total; the sum
/// of the launches and `gaps_us` is `total_us`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// How launches were timed.
    pub clock: Clock,
    pub launches: Vec<Launch>,
    pub host: Vec<HostSpan>,
    /// What to add to a time of the device to have it on the host's clock, at least and at most.
    pub offset_us: [f64; 2],
    /// From the beginning of the first launch to the end of the last.
    pub total_us: f64,
    /// Of it between launches.
    pub gaps_us: f64,
    /// In which the host recorded commands, and in which it gave them to the driver.
    pub encode_us: f64,
    pub submit_us: f64,
    /// From the upload of the inputs to the samples on the host.
    pub wall_us: f64,
    /// Profiled runs, and as many others that were not, one after the other.
    pub runs: usize,
    /// Median time of a profiled run, and of one that is not, on the host's clock.
    pub profiled_us: f64,
    pub unprofiled_us: f64,
    /// What the device does at most, where that was measured.
    pub peak: Option<Peak>,
}

/// A profile whose timestamps make a run longer by more than this part is not to be trusted.
pub const TRUSTED: f64 = 0.1;

impl Profile {
    /// Puts together what `timelines`, of runs of `program` launched as `tuned` says, hold.
    /// `unprofiled` are the times of as many runs without timestamps, in microseconds.
    ///
    /// # Panics
    /// Without a timeline, or if one is not of `program`.
    pub fn new(
        program: &Program,
        tuned: Option<&Tuned>,
        timelines: &[Timeline],
        unprofiled: &[f64],
        peak: Option<Peak>,
    ) -> Profile {
        let mut order: Vec<&Timeline> = timelines.iter().collect();
        order.sort_by_key(|timeline| total(&timeline.launches));
        let chosen = order[(order.len() - 1) / 2];
        let launches = launches(program, tuned, peak.as_ref(), chosen, timelines);
        let host = chosen.host.iter().map(|(phase, span)| HostSpan {
            phase: *phase,
            start_us: us(span.start),
            us: us(span.ns()),
        });
        let host: Vec<HostSpan> = host.collect();
        // A sum of no floats is -0.
        let of = |phase| host.iter().filter(|s| s.phase == phase).fold(0.0, |sum, s| sum + s.us);
        let total_us = us(total(&chosen.launches));
        Profile {
            clock: chosen.clock,
            offset_us: chosen.offset_ns.map(|ns| ns as f64 / 1e3),
            total_us,
            gaps_us: us(gaps(&chosen.launches)),
            encode_us: of(Phase::Encode),
            submit_us: of(Phase::Submit),
            wall_us: us(chosen.wall_ns),
            runs: timelines.len(),
            profiled_us: median(timelines.iter().map(|t| us(t.wall_ns)).collect()),
            unprofiled_us: median(unprofiled.to_vec()),
            peak,
            launches,
            host,
        }
    }

    /// What the timestamps cost: the part by which a profiled run is longer than another. Below 0
    /// it is noise.
    pub fn overhead(&self) -> f64 {
        self.profiled_us / self.unprofiled_us - 1.0
    }

    /// Whether the timestamps cost so little that the times are those of a run without them.
    pub fn trusted(&self) -> bool {
        self.overhead().abs() <= TRUSTED
    }
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// From the beginning of the first to the end of the last, in nanoseconds.
fn total(launches: &[Span]) -> u64 {
    let (first, last) = (launches.first(), launches.iter().map(|span| span.end).max());
    first.zip(last).map_or(0, |(first, last)| last - first.start)
}

/// Nanoseconds in which nothing ran.
fn gaps(launches: &[Span]) -> u64 {
    let mut end = launches.first().map_or(0, |span| span.start);
    let mut gaps = 0;
    for span in launches {
        gaps += span.start.saturating_sub(end);
        end = end.max(span.end);
    }
    gaps
}

/// The middle one of some values; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// Every launch with its work, in the order of the run.
fn launches(
    program: &Program,
    tuned: Option<&Tuned>,
    peak: Option<&Peak>,
    chosen: &Timeline,
    all: &[Timeline],
) -> Vec<Launch> {
    let parts = in_order(program);
    assert_eq!(parts.len(), chosen.launches.len(), "a timeline of another program");
    let first = chosen.launches.first().map_or(0, |span| span.start);
    let launch = |(i, (step, launch)): (usize, (Option<usize>, &program::Launch))| {
        let class = class(&launch.call, &program.dtypes(launch));
        let tile = tuned.and_then(|tuned| tuned.tile(&class));
        let (flops, bytes) = (launch.call.flops(), null::bytes(program, launch));
        let half = program.dtypes(launch).into_iter().flatten().find(|dtype| dtype.is_half());
        let units = tile.map(|tile| (tile.method, half.unwrap_or(DType::F32)));
        Launch {
            step,
            kernel: launch.call.name(),
            layer: launch.layer.clone(),
            tile: tile.map(|tile| tile.to_string()),
            start_us: us(chosen.launches[i].start - first),
            us: us(chosen.launches[i].ns()),
            least_us: us(all.iter().map(|t| t.launches[i].ns()).min().unwrap_or(0)),
            flops,
            bytes,
            floor: peak.map(|peak| peak.floor(flops, bytes, units)),
        }
    };
    parts.into_iter().enumerate().map(launch).collect()
}

/// Every launch of a run in order, with its row.
fn in_order(program: &Program) -> Vec<(Option<usize>, &program::Launch)> {
    let prologue = program.prologue.iter().map(|launch| (None, launch));
    let rows = program.rows.iter().enumerate();
    let rows = rows.flat_map(|(i, row)| {
        program.bodies[row.body].launches.iter().map(move |launch| (Some(i), launch))
    });
    prologue.chain(rows).collect()
}

#[cfg(test)]
mod tests;
