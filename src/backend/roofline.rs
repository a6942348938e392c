//! What a device can do at most, measured with kernels of the catalogue: a copy that no cache
//! holds, and long chains of multiply-adds in registers.
//!
//! Both are timed as programs like any other, less the time of the same program without them. The
//! copied bytes and the sums are read back and compared, so that a device that did not do the work
//! has no figure.

use super::Backend;
use super::alone::{self, NoWeights, slot};
use crate::error::{Error, Result};
use crate::ops::multiply_add::{self, CHAIN, WIDTH};
use crate::ops::{Act, Call, Method, Op, RowMap, activation};
use crate::program::{Launch, Program, Slot, SlotId, Source};
use crate::tensor::DType;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Bytes read by the copy, and as many written: the largest binding that every adapter has, and
/// more than the caches of most.
const COPIED: usize = 128 << 20;

/// Rows of the chain: threads enough for the largest GPUs.
const ROWS: usize = 1 << 19;

/// Rounds of the chain: as many operations as f16 counts in steps of [`STEP`].
const ROUNDS: usize = 1024 / CHAIN;
const STEP: f32 = 1.0 / 1024.0;

/// Elements that are brought back and compared.
const SEEN: usize = 4096;

/// How long a measured run is at least, if a launch is not longer, and how long runs are repeated.
const RUN: f64 = 0.05;
const BUDGET: Duration = Duration::from_millis(500);

/// The rates of a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// 1e9 bytes a second, read and written, of a copy.
    pub gbps: f64,
    /// 1e9 operations a second in f32, two for a multiply-add.
    pub gflops_f32: f64,
    /// The same in f16; none where it cannot be stored. Matrix units do more.
    pub gflops_f16: Option<f64>,
    /// Microseconds of a launch that has next to nothing to do and waits for the one before it.
    pub launch_us: f64,
}

/// What a launch cannot be faster for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Its operations.
    Compute,
    /// The bytes that it moves.
    Memory,
    /// That it is one.
    Launch,
}

impl Bound {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Bound::Compute => "compute",
            Bound::Memory => "memory",
            Bound::Launch => "launch",
        }
    }
}

/// The least time that a launch can take on a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Floor {
    pub us: f64,
    pub bound: Bound,
}

impl Peak {
    /// The least time of a launch of `flops` operations, done in units of `method`, that moves
    /// `bytes`: the roofline model (Williams, Waterman & Patterson 2009), and the time of a launch
    /// with nothing to do.
    pub fn floor(&self, flops: u64, bytes: u64, _method: Option<Method>) -> Floor {
        let compute = flops as f64 / self.gflops_f32 / 1e3;
        let memory = bytes as f64 / self.gbps / 1e3;
        let all =
            [(self.launch_us, Bound::Launch), (memory, Bound::Memory), (compute, Bound::Compute)];
        let longest = |a: (f64, Bound), b: (f64, Bound)| if b.0 > a.0 { b } else { a };
        let (us, bound) = all.into_iter().reduce(longest).unwrap_or(all[0]);
        Floor { us, bound }
    }

    /// Measures the device of `backend`; takes seconds on a software driver, less on a GPU.
    ///
    /// # Errors
    /// Those of the backend, and `Error::Device` if a result is wrong.
    pub fn measure(backend: &dyn Backend) -> Result<Peak> {
        let rate = |dtype| chain(backend, dtype);
        Ok(Peak {
            gbps: copy(backend)?,
            gflops_f32: rate(DType::F32)?,
            gflops_f16: backend.supports(DType::F16).then(|| rate(DType::F16)).transpose()?,
            launch_us: 1e6 * empty(backend)?,
        })
    }
}

/// 1e9 bytes a second of a copy.
fn copy(backend: &dyn Backend) -> Result<f64> {
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
        prologue: vec![copied(rows, len, [0, 1])],
        launch: copied(RowMap::IDENTITY, len, [1, 2]),
        after: Vec::new(),
        output: SlotId(2),
        slots,
    };
    let (seconds, found) = work.measure(backend)?;
    check(backend, "a copy", &found, |i| table[i])?;
    Ok(2.0 * COPIED as f64 / seconds / 1e9)
}

/// 1e9 operations a second of chains of multiply-adds in `dtype`, which count from 0 to 1.
fn chain(backend: &dyn Backend, dtype: DType) -> Result<f64> {
    let params = multiply_add::Params { n: ROWS as u32, rounds: ROUNDS as u32, a: 1.0, b: STEP };
    let len = ROWS * WIDTH;
    let work = Work {
        slots: vec![
            slot("x", dtype, len, Source::State),
            slot("y", dtype, len, Source::Scratch),
            slot("result", DType::F32, SEEN, Source::Scratch),
        ],
        prologue: Vec::new(),
        launch: launch(params.into(), vec![Some(SlotId(0)), Some(SlotId(1))]),
        after: vec![copied(RowMap::IDENTITY, SEEN, [1, 2])],
        output: SlotId(2),
    };
    let (seconds, found) = work.measure(backend)?;
    check(backend, "multiply-adds", &found, |_| 1.0)?;
    Ok(params.flops() as f64 / seconds / 1e9)
}

/// Seconds of a launch of one thread that waits for the one before it.
fn empty(backend: &dyn Backend) -> Result<f64> {
    let params = multiply_add::Params { n: 1, rounds: 0, a: 1.0, b: 0.0 };
    let table = (0..WIDTH).map(|i| (i as f32).to_bits()).collect();
    let work = Work {
        slots: vec![
            slot("x", DType::F32, WIDTH, Source::Table(table)),
            slot("y", DType::F32, SEEN, Source::Scratch),
        ],
        prologue: Vec::new(),
        // Every launch writes y, so none begins before the one before it has ended.
        launch: launch(params.into(), vec![Some(SlotId(0)), Some(SlotId(1))]),
        after: Vec::new(),
        output: SlotId(1),
    };
    let (seconds, found) = work.measure(backend)?;
    check(backend, "a launch", &found[..WIDTH], |i| i as f32)?;
    Ok(seconds)
}

/// A launch to time, with what has to be there.
struct Work {
    slots: Vec<Slot>,
    prologue: Vec<Launch>,
    launch: Launch,
    /// Once, after the launch.
    after: Vec<Launch>,
    output: SlotId,
}

impl Work {
    /// Seconds of the launch, and the first elements of the output.
    fn measure(&self, backend: &dyn Backend) -> Result<(f64, Vec<f32>)> {
        let (once, _) = self.fastest(backend, 1)?;
        let (without, _) = self.fastest(backend, 0)?;
        let times = (RUN / (once - without).max(1e-7)).ceil().clamp(1.0, 4096.0) as usize;
        let (run, found) = self.fastest(backend, times)?;
        Ok(((run - without).max(1e-9) / times as f64, found))
    }

    /// Seconds of the fastest run with the launch `times` over.
    fn fastest(&self, backend: &dyn Backend, times: usize) -> Result<(f64, Vec<f32>)> {
        let mut session = backend.prepare(&self.program(times), &NoWeights)?;
        let mut found = vec![0.0; SEEN];
        let mut fastest = f64::INFINITY;
        alone::run(&mut *session, &mut found)?;
        let start = Instant::now();
        while fastest.is_infinite() || start.elapsed() < BUDGET {
            fastest = fastest.min(alone::run(&mut *session, &mut found)?.as_secs_f64());
        }
        Ok((fastest, found))
    }

    fn program(&self, times: usize) -> Program {
        let repeated = std::iter::repeat_n(self.launch.clone(), times);
        let launches = repeated.chain(self.after.clone()).collect();
        let measured =
            alone::one_row("measured", self.slots.clone(), launches, (self.output, SEEN));
        Program { prologue: self.prologue.clone(), ..measured }
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

fn check(
    backend: &dyn Backend,
    what: &str,
    found: &[f32],
    expected: impl Fn(usize) -> f32,
) -> Result<()> {
    let Some((i, found)) = found.iter().enumerate().find(|(i, v)| **v != expected(*i)) else {
        return Ok(());
    };
    Err(Error::device(
        backend.device(),
        format!("{what} gave {found} at element {i}, expected {}", expected(i)),
        "update the driver, or use --device cpu",
    ))
}
