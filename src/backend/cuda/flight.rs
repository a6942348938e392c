//! What is on its way to the device: never far ahead of it, so that a run can be stopped.

use super::device::failed;
use crate::backend::Observer;
use crate::backend::timeline::{Flown, HostLog, Phase};
use crate::error::Result;
use cudarc::driver::{CudaEvent, CudaStream};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Device time between two marks, and of what is on its way at most: more would only make Ctrl-C
/// slower.
const CHUNK: Duration = Duration::from_millis(20);
const AHEAD: Duration = Duration::from_millis(80);
/// Rows on their way while nobody knows how long one takes: the device has one to go on with.
const BLIND: usize = 2;

/// A wait for the device, which looks often while it is short: sleeping is not that exact.
pub(super) struct Wait(Instant);

impl Wait {
    const SHORT: Duration = Duration::from_millis(2);
    const GLANCE: Duration = Duration::from_micros(50);

    pub fn begin() -> Wait {
        Wait(Instant::now())
    }

    /// Between two looks.
    pub fn pause(&self) {
        if self.0.elapsed() < Wait::SHORT {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Wait::GLANCE);
        }
    }
}

/// Rows that were enqueued together, with an event behind them.
struct Chunk {
    event: CudaEvent,
    rows: usize,
    /// Rows finished when it is, and launches.
    done: usize,
    launches: usize,
    /// Before any of it was enqueued.
    submitted: Instant,
}

/// Chunks of rows on their way.
pub(super) struct Flight {
    stream: Arc<CudaStream>,
    device: String,
    chunks: VecDeque<Chunk>,
    /// Rows since the last mark, and when that was.
    since: usize,
    marked: Instant,
    last_done: Instant,
    /// The device time of a row, once it is known.
    pace: Option<Duration>,
    pub log: HostLog,
    /// The finished chunks.
    flown: Vec<Flown>,
}

/// Rows in so much device time, at least `least`.
fn rows_in(time: Duration, pace: Option<Duration>, least: usize) -> usize {
    let fitting = pace.map(|pace| time.as_secs_f64() / pace.as_secs_f64().max(1e-9));
    fitting.map_or(least, |rows| (rows as usize).max(least))
}

impl Flight {
    /// `pace` as an earlier run learnt it; the run is noted in `log`.
    pub fn new(
        stream: Arc<CudaStream>,
        device: String,
        pace: Option<Duration>,
        log: HostLog,
    ) -> Flight {
        let (chunks, flown, now) = (VecDeque::new(), Vec::new(), Instant::now());
        Flight { stream, device, chunks, since: 0, marked: now, last_done: now, pace, log, flown }
    }

    /// So many rows were enqueued; those before `done`, of so many launches, are all.
    pub fn enqueued(
        &mut self,
        rows: usize,
        (done, launches): (usize, usize),
        observer: &mut Observer,
    ) -> Result<()> {
        self.since += rows;
        if self.since < rows_in(CHUNK, self.pace, 1) {
            return Ok(());
        }
        let event = self.stream.record_event(None);
        let event = event.map_err(|e| failed(&self.device, "cannot mark a run", e))?;
        let (rows, submitted) = (self.since, self.marked);
        self.chunks.push_back(Chunk { event, rows, done, launches, submitted });
        (self.since, self.marked) = (0, Instant::now());
        self.log.mark(Phase::Submit);
        let on_their_way = |chunks: &VecDeque<Chunk>| chunks.iter().map(|c| c.rows).sum::<usize>();
        while on_their_way(&self.chunks) >= rows_in(AHEAD, self.pace, BLIND) {
            self.next(observer)?;
        }
        observer.check()
    }

    /// Waits for the oldest chunk.
    fn next(&mut self, observer: &mut Observer) -> Result<()> {
        let Some(chunk) = self.chunks.pop_front() else { return Ok(()) };
        let wait = Wait::begin();
        let wrong = |e| failed(&self.device, "the run failed", e);
        while !chunk.event.try_is_complete().map_err(wrong)? {
            observer.check()?;
            wait.pause();
        }
        self.log.mark(Phase::Wait);
        self.pace = Some(self.last_done.elapsed() / chunk.rows as u32);
        self.last_done = Instant::now();
        self.landed(&chunk);
        (observer.rows_done)(chunk.done);
        Ok(())
    }

    /// A chunk is known to be finished.
    fn landed(&mut self, chunk: &Chunk) {
        let (submitted, done) = (self.log.at(chunk.submitted), self.log.at(Instant::now()));
        self.flown.push(Flown { launches: chunk.launches, submitted, done });
    }

    /// Waits for all of a run of `rows` rows; gives the device time of one, if it is known.
    pub fn finish(&mut self, rows: usize, observer: &mut Observer) -> Result<Option<Duration>> {
        // The last is waited for with what follows it: the driver's own wait is the most exact.
        while self.chunks.len() > 1 {
            self.next(observer)?;
        }
        let done = self.stream.synchronize();
        done.map_err(|e| failed(&self.device, "the run failed", e))?;
        self.log.mark(Phase::Wait);
        if let Some(chunk) = self.chunks.pop_front() {
            self.landed(&chunk);
        }
        (observer.rows_done)(rows);
        Ok(self.pace)
    }

    /// What the host did, and what it knew of the device's work.
    pub fn end(self) -> (HostLog, Vec<Flown>) {
        (self.log, self.flown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_counted_in_time() {
        let ms = |ms| Some(Duration::from_micros((1000.0 * ms) as u64));
        assert_eq!((rows_in(CHUNK, None, 1), rows_in(AHEAD, None, BLIND)), (1, 2));
        assert_eq!((rows_in(CHUNK, ms(0.25), 1), rows_in(AHEAD, ms(0.25), BLIND)), (80, 320));
        assert_eq!((rows_in(CHUNK, ms(30.0), 1), rows_in(AHEAD, ms(30.0), BLIND)), (1, 2));
        assert_eq!((rows_in(CHUNK, ms(2000.0), 1), rows_in(AHEAD, ms(2000.0), BLIND)), (1, 2));
    }
}
