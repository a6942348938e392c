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
mod tests {
    //! Profiles of times made by hand.

    use super::*;
    use crate::backend::roofline::Bound;
    use crate::ops::{Span as Reach, multiply_add};
    use crate::program::{Body, RowRef, Slot, SlotId, Source};
    use crate::tensor::DType;

    /// A launch once, then two rows of two launches, of 256 and 0 operations on each of 8 elements.
    fn program() -> Program {
        let slot = |name: &str| Slot {
            name: name.into(),
            dtype: DType::F32,
            len: 8,
            source: Source::Scratch,
        };
        let launch = |layer: &str, rounds| program::Launch {
            call: multiply_add::Params { n: 1, rounds, a: 1.0, b: 0.0 }.into(),
            args: vec![Some(SlotId(0)), Some(SlotId(1))],
            layer: layer.into(),
            covers: Default::default(),
        };
        Program {
            slots: vec![slot("x"), slot("y")],
            arenas: Vec::new(),
            prologue: vec![launch("table", 0)],
            bodies: vec![Body {
                name: "row",
                launches: vec![launch("conv", 8), launch("norm", 0)],
            }],
            rows: vec![RowRef { body: 0, time: 0 }; 2],
            output: SlotId(1),
            output_len: 8,
            span: Reach { times: 1, conditions: 1, rows: 2, draws: 0 },
            memory: Default::default(),
        }
    }

    /// A run whose launches begin and end at these microseconds.
    fn timeline(times: [[u64; 2]; 5]) -> Timeline {
        let span = |[start, end]: [u64; 2]| Span { start: 1000 * start, end: 1000 * end };
        let wall = times[4][1] + 30;
        let phases = [(Phase::Encode, [0, 8]), (Phase::Submit, [8, 10]), (Phase::Wait, [10, wall])];
        Timeline {
            clock: Clock::Passes,
            launches: times.map(span).to_vec(),
            host: phases.map(|(phase, times)| (phase, span(times))).to_vec(),
            wall_ns: 1000 * wall,
            offset_ns: [9_000, 12_000],
        }
    }

    fn profile() -> Profile {
        let runs = [
            timeline([[0, 5], [5, 505], [505, 510], [510, 1010], [1010, 1015]]),
            timeline([[100, 110], [110, 210], [220, 230], [230, 300], [310, 330]]),
            timeline([[0, 7], [7, 100], [100, 120], [120, 140], [140, 150]]),
        ];
        // 1e9 operations a second are 1000 in a microsecond.
        let peak = Peak {
            gbps: 0.01,
            gflops_f32: 0.1,
            gflops_f16: None,
            gflops_matrix_f16: None,
            gflops_matrix_bf16: None,
            launch_us: 2.0,
            spread: 0.0,
        };
        Profile::new(&program(), None, &runs, &[400.0, 300.0, 350.0], Some(peak))
    }

    #[test]
    fn the_run_with_the_median_total_is_shown() {
        let profile = profile();
        assert_eq!((profile.total_us, profile.gaps_us), (230.0, 20.0));
        let times = |of: fn(&Launch) -> f64| profile.launches.iter().map(of).collect::<Vec<_>>();
        assert_eq!(times(|l| l.us), [10.0, 100.0, 10.0, 70.0, 20.0]);
        assert_eq!(times(|l| l.start_us), [0.0, 10.0, 120.0, 130.0, 210.0]);
        assert_eq!(times(|l| l.least_us), [5.0, 93.0, 5.0, 20.0, 5.0]);
        assert_eq!((profile.encode_us, profile.submit_us, profile.wall_us), (8.0, 2.0, 360.0));
        assert_eq!((profile.offset_us, profile.runs), ([9.0, 12.0], 3));
        assert_eq!((profile.profiled_us, profile.unprofiled_us), (360.0, 350.0));
        assert!(profile.trusted() && (profile.overhead() - 1.0 / 35.0).abs() < 1e-12);
        assert!(!Profile { profiled_us: 386.0, ..profile.clone() }.trusted());
        assert!(!Profile { profiled_us: 314.0, ..profile }.trusted(), "faster is as suspicious");
    }

    #[test]
    fn rows_and_views_add_up_to_the_launches() {
        let profile = profile();
        let rows = profile.rows();
        let names: Vec<_> = rows.iter().map(|row| (row.step, row.layer.as_str())).collect();
        let expected = [
            (None, "table"),
            (Some(0), "conv"),
            (Some(0), "norm"),
            (Some(1), "conv"),
            (Some(1), "norm"),
        ];
        assert_eq!(names, expected);
        assert!(rows.iter().all(|row| row.cost.calls == 1));
        for (by, expected) in [
            (By::Kernel, vec![("multiply_add", 210.0)]),
            (By::Layer, vec![("conv", 170.0), ("norm", 30.0), ("table", 10.0)]),
            (By::Step, vec![("once", 10.0), ("0", 110.0), ("1", 90.0)]),
        ] {
            let groups = profile.by(by);
            let found: Vec<_> = groups.iter().map(|g| (g.name.as_str(), g.cost.us)).collect();
            assert_eq!(found, expected);
            let shares: f64 = groups.iter().map(|group| group.share).sum();
            assert!((shares - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn rates_and_bounds_follow_from_work_and_time() {
        let profile = profile();
        let layers = profile.by(By::Layer);
        // Two launches of 2 * 8 * 8 * 16 operations, and 2 * 32 bytes each.
        let conv = layers[0].cost;
        assert_eq!((conv.calls, conv.flops, conv.bytes), (2, 2 * 2048, 2 * 64));
        assert!((conv.gflops - 4096.0 / 170e3).abs() < 1e-12);
        assert!((conv.gbps - 128.0 / 170e3).abs() < 1e-12);
        // 2048 operations at 100 in a microsecond; 64 bytes at 10.
        assert_eq!(conv.bound, Some(Bound::Compute));
        assert!((conv.roofline.unwrap() - 2.0 * 20.48 / 170.0).abs() < 1e-12);
        let norm = layers[1].cost;
        assert_eq!(norm.bound, Some(Bound::Memory));
        assert!((norm.roofline.unwrap() - 2.0 * 6.4 / 30.0).abs() < 1e-12);
        let slow = Peak { launch_us: 50.0, ..profile.peak.unwrap() };
        assert_eq!(slow.floor(2048, 64, None).bound, Bound::Launch);

        let unknown = Profile::new(&program(), None, &[timeline([[0, 1]; 5])], &[1.0], None);
        assert_eq!(unknown.by(By::Kernel)[0].cost.roofline, None);
        assert_eq!(unknown.by(By::Kernel)[0].cost.bound, None);
    }

    #[test]
    fn a_profile_of_nothing_is_no_number_but_zero() {
        let runs = [timeline([[0, 0]; 5])];
        let profile = Profile::new(&program(), None, &runs, &[30.0], None);
        assert_eq!((profile.total_us, profile.gaps_us), (0.0, 0.0));
        let groups = profile.by(By::Layer);
        assert!(groups.iter().all(|g| g.share == 0.0 && g.cost.gflops == 0.0));
    }
}
