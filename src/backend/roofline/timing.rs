//! How long a launch takes on a device, and whether it did its work.

use super::Peak;
use crate::backend::alone::{self, NoWeights};
use crate::backend::{Backend, Observer};
use crate::error::{Error, Result};
use crate::ops::Method;
use crate::program::{Launch, Program, Slot, SlotId};
use std::time::{Duration, Instant};

/// Elements that are brought back and compared.
pub(super) const SEEN: usize = 4096;

/// How long a measured run is at least, in seconds, if a launch is not longer; how long runs are
/// repeated, and how long at most because the fastest was not reached twice.
const RUN: f64 = 0.05;
const BUDGET: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_millis(1600);

/// How often a launch is timed that is lost in noise.
const ATTEMPTS: usize = 3;

/// A launch to time, with what has to be there.
pub(super) struct Work {
    /// For messages.
    pub what: &'static str,
    pub slots: Vec<Slot>,
    pub prologue: Vec<Launch>,
    pub launch: Launch,
    /// Once, after the launch.
    pub after: Vec<Launch>,
    pub output: SlotId,
    /// The first elements of the output.
    pub expected: Vec<f32>,
}

impl Work {
    /// The program with the launch `times` over.
    fn program(&self, times: usize) -> Program {
        let repeated = std::iter::repeat_n(self.launch.clone(), times);
        let launches = repeated.chain(self.after.clone()).collect();
        let measured =
            alone::one_row("measured", self.slots.clone(), launches, (self.output, SEEN));
        Program { prologue: self.prologue.clone(), ..measured }
    }
}

/// Seconds of the fastest run, and of the next.
#[derive(Clone, Copy)]
struct Fastest {
    first: f64,
    second: f64,
}

impl Fastest {
    const NONE: Fastest = Fastest { first: f64::INFINITY, second: f64::INFINITY };

    fn with(self, seconds: f64) -> Fastest {
        match seconds < self.first {
            true => Fastest { first: seconds, second: self.first },
            false => Fastest { second: self.second.min(seconds), ..self },
        }
    }

    fn is_settled(self) -> bool {
        self.second - self.first <= Peak::SETTLED * self.first
    }
}

/// Times work on a device.
pub(super) struct Bench<'a, 'b> {
    pub backend: &'a dyn Backend,
    pub observer: &'a mut Observer<'b>,
    /// As in [`Peak`].
    pub spread: f64,
}

impl Bench<'_, '_> {
    /// Whether the launch is one of matrix units.
    pub fn takes_matrices(&self, work: &Work) -> Result<bool> {
        let session = self.backend.prepare(&work.program(1), &NoWeights)?;
        let classes = session.tuned().map(|tuned| tuned.classes.as_slice()).unwrap_or_default();
        let by_matrices = |method| matches!(method, Method::Matrix | Method::Mma);
        Ok(classes.iter().any(|class| by_matrices(class.chosen.method)))
    }

    /// Seconds of a run with the launch once, roughly.
    pub fn once(&mut self, work: &Work) -> Result<f64> {
        Ok(self.fastest(work, 1, Duration::ZERO)?.first)
    }

    /// Seconds of the launch.
    pub fn seconds(&mut self, work: &Work) -> Result<f64> {
        let once = self.once(work)?;
        for _ in 0..ATTEMPTS {
            let without = self.fastest(work, 0, BUDGET)?;
            let times = (RUN / (once - without.first).max(1e-7)).ceil().clamp(1.0, 4096.0);
            let run = self.fastest(work, times as usize, BUDGET)?;
            let seconds = run.first - without.first;
            if seconds > 0.0 {
                let apart = (run.second - run.first).max(without.second - without.first);
                self.spread = self.spread.max(apart / seconds);
                return Ok(seconds / times);
            }
        }
        Err(Error::device(
            self.backend.device(),
            format!("{} took no longer than a run without it", work.what),
            "close what else works on it, and measure again",
        ))
    }

    /// The fastest runs of the work with its launch `times` over, repeated for `budget`, and for
    /// longer where the fastest was not reached twice; one run where there is no budget.
    fn fastest(&mut self, work: &Work, times: usize, budget: Duration) -> Result<Fastest> {
        let mut session = self.backend.prepare(&work.program(times), &NoWeights)?;
        let mut found = vec![0.0; SEEN];
        let mut run = || {
            let took = alone::run_until(&mut *session, &mut found, self.observer.stop)?;
            if times > 0 {
                check(self.backend, work, &found)?;
            }
            Ok::<f64, Error>(took.as_secs_f64())
        };
        // The first allocates and warms up.
        run()?;
        let (start, mut fastest) = (Instant::now(), Fastest::NONE.with(run()?));
        if budget.is_zero() {
            return Ok(fastest);
        }
        fastest = fastest.with(run()?);
        while start.elapsed() < if fastest.is_settled() { budget } else { PATIENCE } {
            fastest = fastest.with(run()?);
        }
        Ok(fastest)
    }
}

fn check(backend: &dyn Backend, work: &Work, found: &[f32]) -> Result<()> {
    let pairs = work.expected.iter().zip(found).enumerate();
    let wrong = pairs.into_iter().find(|(_, (expected, found))| expected != found);
    let Some((i, (expected, found))) = wrong else { return Ok(()) };
    Err(Error::device(
        backend.device(),
        format!("{} gave {found} at element {i}, expected {expected}", work.what),
        "update the driver, or use --device cpu",
    ))
}
