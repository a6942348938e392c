//! When each launch of a run began and ended, and what the host did meanwhile: what a profiled run
//! brings back ([`super::Session::profile`]).

use serde::Serialize;
use std::time::{Duration, Instant};

/// A stretch of time in nanoseconds, on one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    /// How long it is.
    pub fn ns(self) -> u64 {
        self.end - self.start
    }
}

/// How the launches of a run were timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// The host's clock around each launch, which it runs itself.
    Host,
    /// A timestamp of the device after each dispatch. It is taken when everything before it is
    /// complete, so the time of a launch begins where the one before it ends.
    InsidePasses,
    /// Timestamps at the beginning and the end of a pass, one pass for each dispatch.
    Passes,
    /// CUDA events between the kernels of a graph.
    Events,
}

/// What the host does in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Hands over the inputs of the run.
    Upload,
    /// Records commands.
    Encode,
    /// Gives what it recorded to the driver.
    Submit,
    /// Waits for the device.
    Wait,
    /// Copies the samples out of what it has mapped.
    Download,
}

/// The times of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    pub clock: Clock,
    /// Of every launch in order: those of the prologue, then those of each row. None begins before
    /// the one before it has ended. On the clock of the device, from the first launch.
    pub launches: Vec<Span>,
    /// On the host's clock, in order, from the beginning of the run.
    pub host: Vec<(Phase, Span)>,
    /// The whole run on the host's clock.
    pub wall_ns: u64,
    /// What must be added to a time of the device to be one of the host, at least and at most: no
    /// launch began before it was submitted, or ended after the host knew that it had.
    pub offset_ns: [i64; 2],
}

/// Notes what the host does in a run, one thing after another.
pub struct HostLog {
    begin: Instant,
    /// From the beginning to the last mark.
    noted: Duration,
    spans: Vec<(Phase, Span)>,
}

impl HostLog {
    /// A run begins now.
    pub fn begin() -> HostLog {
        HostLog { begin: Instant::now(), noted: Duration::ZERO, spans: Vec::new() }
    }

    /// What was done since the last mark was `phase`.
    pub fn mark(&mut self, phase: Phase) {
        let now = self.begin.elapsed();
        let span = Span { start: ns(self.noted), end: ns(now) };
        self.noted = now;
        match self.spans.last_mut() {
            Some((last, known)) if *last == phase => known.end = span.end,
            _ => self.spans.push((phase, span)),
        }
    }

    /// Milliseconds spent in some phases.
    pub fn ms(&self, phases: &[Phase]) -> f64 {
        let of = self.spans.iter().filter(|(phase, _)| phases.contains(phase));
        of.map(|(_, span)| span.ns() as f64 / 1e6).sum()
    }

    /// Nanoseconds from the beginning to a later instant.
    pub fn at(&self, instant: Instant) -> u64 {
        ns(instant.saturating_duration_since(self.begin))
    }

    /// The run ends now; what it did.
    pub fn end(self) -> (Vec<(Phase, Span)>, u64) {
        let wall = ns(self.begin.elapsed());
        (self.spans, wall)
    }
}

fn ns(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// Launches that the host knows something about: none of them began before `submitted`, and all
/// had ended at `done`, on the host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flown {
    /// Launches of the run up to the last of these.
    pub launches: usize,
    pub submitted: u64,
    pub done: u64,
}

/// The least and the most that may be added to the device's clock; their mean twice where rounding
/// leaves nothing between them.
pub fn offset(launches: &[Span], flown: &[Flown]) -> [i64; 2] {
    let (mut least, mut most) = (i64::MIN, i64::MAX);
    let mut first = 0;
    for chunk in flown {
        let Some(own) = launches.get(first..chunk.launches).filter(|own| !own.is_empty()) else {
            continue;
        };
        least = least.max(chunk.submitted as i64 - own[0].start as i64);
        most = most.min(chunk.done as i64 - own[own.len() - 1].end as i64);
        first = chunk.launches;
    }
    if least > most {
        let middle = least / 2 + most / 2;
        return [middle; 2];
    }
    [least, most].map(|offset| if offset == i64::MIN || offset == i64::MAX { 0 } else { offset })
}

/// The times of launches from the ticks of a device's counter, `pairs` naming the first and last
/// tick of each, `period` being nanoseconds a tick.
///
/// A counter may be narrower than 64 bits and start over within a run. Ticks come in order, so one
/// that falls by more than half of the counter's range did so; one that falls by less was taken
/// while launches overlapped, and counts for the earlier one.
///
/// # Errors
/// The position of a tick that was never written, which reads zero.
pub fn launches(ticks: &[u64], pairs: &[[u32; 2]], period: f64) -> Result<Vec<Span>, usize> {
    if let Some(empty) = ticks.iter().position(|tick| *tick == 0) {
        return Err(empty);
    }
    let most = ticks.iter().copied().max().unwrap_or(0);
    // The widths of counters that drivers report.
    let width = [32, 36, 40, 48, 56].into_iter().find(|width| most >> width == 0).unwrap_or(64);
    let range = 1_u128 << width;
    let (mut turns, mut before) = (0, ticks.first().copied().unwrap_or(0));
    let unrolled = ticks.iter().map(|tick| {
        if before > *tick && u128::from(before - tick) > range / 2 {
            turns += 1;
        }
        before = *tick;
        turns * range + u128::from(*tick)
    });
    let unrolled: Vec<u128> = unrolled.collect();
    let first = pairs.first().map_or(0, |pair| unrolled[pair[0] as usize]);
    let at = |i: u32| (unrolled[i as usize].saturating_sub(first) as f64 * period).round() as u64;
    let mut end = 0;
    let spans = pairs.iter().map(|[first, last]| {
        let start = at(*first).max(end);
        end = at(*last).max(start);
        Span { start, end }
    });
    Ok(spans.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(times: &[[u64; 2]]) -> Vec<Span> {
        times.iter().map(|[start, end]| Span { start: *start, end: *end }).collect()
    }

    #[test]
    fn ticks_become_nanoseconds_from_the_first_launch() {
        let found = launches(&[100, 140, 160, 200], &[[0, 1], [1, 2], [2, 3]], 2.5);
        assert_eq!(found, Ok(spans(&[[0, 100], [100, 150], [150, 250]])));
        // A counter that has run for days, whose product with the period fills a double.
        let late = (1 << 60) + 1;
        let found = launches(&[late, late + 3], &[[0, 1]], 1.0 / 3.0);
        assert_eq!(found, Ok(spans(&[[0, 1]])));
    }

    #[test]
    fn a_counter_may_start_over() {
        for width in [32, 36, 40, 48, 56] {
            let top = (1_u64 << width) - 10;
            let found = launches(&[top, top + 5, 7, 20], &[[0, 1], [1, 2], [2, 3]], 1.0);
            assert_eq!(found, Ok(spans(&[[0, 5], [5, 17], [17, 30]])), "{width} bits");
        }
        let found = launches(&[u64::MAX - 4, 5], &[[0, 1]], 1.0);
        assert_eq!(found, Ok(spans(&[[0, 10]])));
    }

    #[test]
    fn launches_that_overlap_are_laid_end_to_end() {
        let found = launches(&[100, 150, 140, 190, 160, 170], &[[0, 1], [2, 3], [4, 5]], 1.0);
        assert_eq!(found, Ok(spans(&[[0, 50], [50, 90], [90, 90]])));
    }

    #[test]
    fn a_timestamp_that_was_not_written_is_no_time() {
        assert_eq!(launches(&[5, 9, 0, 12], &[[0, 1], [2, 3]], 1.0), Err(2));
    }

    #[test]
    fn the_clocks_differ_by_what_submissions_allow() {
        let launches = spans(&[[0, 10], [10, 20], [30, 50]]);
        let flown = [
            Flown { launches: 2, submitted: 1000, done: 1100 },
            Flown { launches: 3, submitted: 1020, done: 1060 },
        ];
        // 1000 - 0 and 1020 - 30; 1100 - 20 and 1060 - 50.
        assert_eq!(offset(&launches, &flown), [1000, 1010]);
        let late = [Flown { launches: 3, submitted: 1000, done: 1040 }];
        assert_eq!(offset(&launches, &late), [995, 995]);
        assert_eq!(offset(&[], &[]), [0, 0]);
    }

    #[test]
    fn a_log_leaves_nothing_out() {
        let mut log = HostLog::begin();
        for phase in [Phase::Upload, Phase::Encode, Phase::Encode, Phase::Wait] {
            log.mark(phase);
        }
        let (spans, wall) = log.end();
        let phases: Vec<Phase> = spans.iter().map(|(phase, _)| *phase).collect();
        assert_eq!(phases, [Phase::Upload, Phase::Encode, Phase::Wait]);
        assert!(spans.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
        assert!(spans[0].1.start == 0 && spans[2].1.end <= wall);
    }
}
