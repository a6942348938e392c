//! The rates of a device, measured with kernels of the catalogue: a copy that no cache holds, and
//! long chains of multiply-adds in registers.
//!
//! Both are timed as programs like any other, less the time of the same program without them. Runs
//! are repeated until the fastest time was reached twice. The copied bytes and the sums are read
//! back and compared, so that a device that did not do the work has no figure.

use super::Peak;
use crate::backend::alone::{self, NoWeights, slot};
use crate::backend::{Backend, Observer};
use crate::error::{Error, Result};
use crate::ops::multiply_add::{self, CHAIN, WIDTH};
use crate::ops::{Act, Call, Op, RowMap, activation};
use crate::program::{Launch, Program, Slot, SlotId, Source};
use crate::tensor::DType;
use std::time::{Duration, Instant};

/// Bytes read by the copy, and as many written: the largest binding that every adapter has, and
/// more than the caches of most.
const COPIED: usize = 128 << 20;

/// Rows of the chain, more and more of them until one launch takes [`ENOUGH`]: the last are threads
/// enough for the largest GPUs, the first are work enough for a processor.
const ROWS: [usize; 3] = [1 << 13, 1 << 16, 1 << 19];
const ENOUGH: f64 = 0.02;

/// Rounds of the chain: as many operations as f16 counts in steps of [`STEP`].
const ROUNDS: usize = 1024 / CHAIN;
const STEP: f32 = 1.0 / 1024.0;

/// Elements that are brought back and compared.
const SEEN: usize = 4096;

/// How long a measured run is at least, in seconds, if a launch is not longer; how long runs are
/// repeated, and how long at most because the fastest was not reached twice.
const RUN: f64 = 0.05;
const BUDGET: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_millis(1600);

/// One rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    Copy,
    Chain(DType),
    Launch,
}

/// Those of a device.
pub(super) fn figures(backend: &dyn Backend) -> Vec<Figure> {
    let mut figures = vec![Figure::Launch, Figure::Copy, Figure::Chain(DType::F32)];
    figures.extend(backend.supports(DType::F16).then_some(Figure::Chain(DType::F16)));
    figures
}

pub(super) fn measure(backend: &dyn Backend, observer: &mut Observer) -> Result<Peak> {
    let mut peak =
        Peak { gbps: 0.0, gflops_f32: 0.0, gflops_f16: None, launch_us: 0.0, spread: 0.0 };
    for (done, figure) in figures(backend).into_iter().enumerate() {
        observer.check()?;
        (observer.rows_done)(done);
        let mut bench = Bench { backend, observer, spread: 0.0 };
        match figure {
            Figure::Copy => peak.gbps = copy(&mut bench)?,
            Figure::Chain(DType::F16) => peak.gflops_f16 = Some(chain(&mut bench, DType::F16)?),
            Figure::Chain(dtype) => peak.gflops_f32 = chain(&mut bench, dtype)?,
            Figure::Launch => peak.launch_us = 1e6 * empty(&mut bench)?,
        }
        peak.spread = peak.spread.max(bench.spread);
    }
    Ok(peak)
}

/// 1e9 bytes a second of a copy.
fn copy(bench: &mut Bench) -> Result<f64> {
    let len = COPIED / 4;
    // 1, 2, 3, ...: a device may store zeros in fewer bytes.
    let table: Vec<f32> = (1..=1 << 18).map(|i| i as f32).collect();
    let words = table.iter().map(|v| v.to_bits()).collect();
    let slots = vec![
        slot("table", DType::F32, table.len(), Source::Table(words)),
        slot("x", DType::F32, len, Source::Scratch),
        slot("y", DType::F32, len, Source::Scratch),
    ];
    let rows = RowMap { modulo: (table.len() / SEEN) as u32, ..RowMap::IDENTITY };
    let work = Work {
        what: "a copy",
        prologue: vec![copied(rows, len, [0, 1])],
        launch: copied(RowMap::IDENTITY, len, [1, 2]),
        after: Vec::new(),
        output: SlotId(2),
        slots,
        expected: table[..SEEN].to_vec(),
    };
    let seconds = bench.seconds(&work)?;
    Ok(2.0 * COPIED as f64 / seconds / 1e9)
}

/// 1e9 operations a second of chains of multiply-adds in `dtype`, which count from 0 to 1.
fn chain(bench: &mut Bench, dtype: DType) -> Result<f64> {
    let params = |rows: usize| multiply_add::Params {
        n: rows as u32,
        rounds: ROUNDS as u32,
        a: 1.0,
        b: STEP,
    };
    let work = |rows: usize| Work {
        what: "multiply-adds",
        slots: vec![
            slot("x", dtype, rows * WIDTH, Source::State),
            slot("y", dtype, rows * WIDTH, Source::Scratch),
            slot("result", DType::F32, SEEN, Source::Scratch),
        ],
        prologue: Vec::new(),
        launch: launch(params(rows).into(), vec![Some(SlotId(0)), Some(SlotId(1))]),
        after: vec![copied(RowMap::IDENTITY, SEEN, [1, 2])],
        output: SlotId(2),
        expected: vec![1.0; SEEN],
    };
    let mut rows = ROWS[0];
    for larger in &ROWS[1..] {
        if bench.once(&work(rows))? >= ENOUGH {
            break;
        }
        rows = *larger;
    }
    let seconds = bench.seconds(&work(rows))?;
    Ok(params(rows).flops() as f64 / seconds / 1e9)
}

/// Seconds of a launch of one thread that waits for the one before it.
fn empty(bench: &mut Bench) -> Result<f64> {
    let params = multiply_add::Params { n: 1, rounds: 0, a: 1.0, b: 0.0 };
    let table: Vec<f32> = (1..=WIDTH).map(|i| i as f32).collect();
    let words = table.iter().map(|v| v.to_bits()).collect();
    bench.seconds(&Work {
        what: "a launch",
        slots: vec![
            slot("x", DType::F32, WIDTH, Source::Table(words)),
            slot("y", DType::F32, SEEN, Source::Scratch),
        ],
        prologue: Vec::new(),
        // Every launch writes y, so none begins before the one before it has ended.
        launch: launch(params.into(), vec![Some(SlotId(0)), Some(SlotId(1))]),
        after: Vec::new(),
        output: SlotId(1),
        expected: table,
    })
}

/// A launch to time, with what has to be there.
struct Work {
    /// For messages.
    what: &'static str,
    slots: Vec<Slot>,
    prologue: Vec<Launch>,
    launch: Launch,
    /// Once, after the launch.
    after: Vec<Launch>,
    output: SlotId,
    /// The first elements of the output.
    expected: Vec<f32>,
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
struct Bench<'a, 'b> {
    backend: &'a dyn Backend,
    observer: &'a mut Observer<'b>,
    /// As in [`Peak`].
    spread: f64,
}

impl Bench<'_, '_> {
    /// Seconds of a run with the launch once, roughly.
    fn once(&mut self, work: &Work) -> Result<f64> {
        Ok(self.fastest(work, 1, Duration::ZERO)?.first)
    }

    /// Seconds of the launch.
    fn seconds(&mut self, work: &Work) -> Result<f64> {
        let once = self.once(work)?;
        let without = self.fastest(work, 0, BUDGET)?;
        let times = (RUN / (once - without.first).max(1e-7)).ceil().clamp(1.0, 4096.0);
        let run = self.fastest(work, times as usize, BUDGET)?;
        let seconds = run.first - without.first;
        if seconds <= 0.0 {
            return Err(Error::device(
                self.backend.device(),
                format!("{} took no longer than a run without it", work.what),
                "close what else works on it, and measure again",
            ));
        }
        let apart = (run.second - run.first).max(without.second - without.first);
        self.spread = self.spread.max(apart / seconds);
        Ok(seconds / times)
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

fn launch(call: Call, args: Vec<Option<SlotId>>) -> Launch {
    alone::launch("roofline", call, args)
}

/// Copies vectors of [`SEEN`] elements, `len` elements in all, from a slot to another.
fn copied(map: RowMap, len: usize, [from, to]: [usize; 2]) -> Launch {
    let n = (len / SEEN) as u32;
    let params = activation::Params { map, n, c: SEEN as u32, act: Act::None as u32 };
    launch(params.into(), vec![Some(SlotId(from)), None, Some(SlotId(to))])
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
