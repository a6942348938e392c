//! The rates of a device, measured with kernels of the catalogue: a copy that no cache holds, and
//! long chains of multiply-adds in registers, of numbers and of matrices.
//!
//! All are timed as programs like any other, less the time of the same program without them
//! ([`super::timing`]). The copied bytes and the sums are read back and compared, so that a device
//! that did not do the work has no figure.

use super::Peak;
use super::timing::{Bench, SEEN, Work};
use crate::backend::alone::{self, slot};
use crate::backend::pack::halves;
use crate::backend::{Backend, Observer};
use crate::error::Result;
use crate::ops::matrix_multiply_add::{self, DEPTH, SIDE, SUMS};
use crate::ops::multiply_add::{self, CHAIN, WIDTH};
use crate::ops::{Act, Call, Op, RowMap, activation};
use crate::program::{Launch, SlotId, Source};
use crate::tensor::DType;

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

/// Blocks of sums of matrix units and rounds of each: first what is little even where a processor
/// stands in for them.
const PRODUCTS: [[usize; 2]; 4] = [[8, 4], [64, 64], [1024, 64], [1 << 14, 64]];

/// One rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    Copy,
    Chain(DType),
    /// Of matrix units, where kernels use them.
    Products(DType),
    Launch,
}

/// Those of a device.
pub(super) fn figures(backend: &dyn Backend) -> Vec<Figure> {
    let mut figures = vec![Figure::Launch, Figure::Copy, Figure::Chain(DType::F32)];
    if backend.supports(DType::F16) {
        figures.extend([Figure::Chain(DType::F16), Figure::Products(DType::F16)]);
    }
    figures.extend(backend.supports(DType::BF16).then_some(Figure::Products(DType::BF16)));
    figures
}

pub(super) fn measure(backend: &dyn Backend, observer: &mut Observer) -> Result<Peak> {
    let mut peak = Peak {
        gbps: 0.0,
        gflops_f32: 0.0,
        gflops_f16: None,
        gflops_matrix_f16: None,
        gflops_matrix_bf16: None,
        launch_us: 0.0,
        spread: 0.0,
    };
    for (done, figure) in figures(backend).into_iter().enumerate() {
        observer.check()?;
        (observer.rows_done)(done);
        let mut bench = Bench { backend, observer, spread: 0.0 };
        match figure {
            Figure::Copy => peak.gbps = copy(&mut bench)?,
            Figure::Chain(DType::F16) => peak.gflops_f16 = Some(chain(&mut bench, DType::F16)?),
            Figure::Chain(dtype) => peak.gflops_f32 = chain(&mut bench, dtype)?,
            Figure::Products(DType::F16) => {
                peak.gflops_matrix_f16 = products(&mut bench, DType::F16)?;
            }
            Figure::Products(dtype) => peak.gflops_matrix_bf16 = products(&mut bench, dtype)?,
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

/// 1e9 operations a second of products of matrices in `dtype`, the same over and over; none where
/// the device has no matrix units, or they are not used because they failed their trial.
fn products(bench: &mut Bench, dtype: DType) -> Result<Option<f64>> {
    let sized = |[n, rounds]: [usize; 2]| {
        let params = matrix_multiply_add::Params { n: n as u32, rounds: rounds as u32 };
        (params, repeated_product(params, dtype))
    };
    if !bench.takes_matrices(&sized(PRODUCTS[0]).1)? {
        return Ok(None);
    }
    let mut size = PRODUCTS[0];
    for larger in &PRODUCTS[1..] {
        if bench.once(&sized(size).1)? >= ENOUGH {
            break;
        }
        size = *larger;
    }
    let (params, work) = sized(size);
    let seconds = bench.seconds(&work)?;
    Ok(Some(params.flops() as f64 / seconds / 1e9))
}

/// Products of whole numbers, whose sums f32 holds exactly.
fn repeated_product(params: matrix_multiply_add::Params, dtype: DType) -> Work {
    let x: Vec<f32> = (0..SIDE * DEPTH).map(|i| (7 * i % 5) as f32 - 2.0).collect();
    let weight: Vec<f32> = (0..SIDE * DEPTH).map(|i| (3 * i % 7) as f32 - 3.0).collect();
    let term = |i: usize, k: usize| x[i / SIDE * DEPTH + k] * weight[k * SIDE + i % SIDE];
    let product = |i: usize| (0..DEPTH).map(|k| term(i, k)).sum::<f32>();
    let times = (params.rounds as usize * matrix_multiply_add::CHAIN) as f32;
    let table = |values: &[f32]| {
        let bytes = halves(values, dtype).expect("small numbers");
        Source::Table(bytemuck::pod_collect_to_vec::<u8, u32>(&bytes).into())
    };
    Work {
        what: "products of matrices",
        slots: vec![
            slot("x", dtype, SIDE * DEPTH, table(&x)),
            slot("weight", dtype, SIDE * DEPTH, table(&weight)),
            slot("sums", DType::F32, params.elements(2), Source::Scratch),
        ],
        prologue: Vec::new(),
        launch: launch(params.into(), (0..3).map(|i| Some(SlotId(i))).collect()),
        after: Vec::new(),
        output: SlotId(2),
        expected: (0..SEEN).map(|i| times * product(i % SUMS)).collect(),
    }
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

fn launch(call: Call, args: Vec<Option<SlotId>>) -> Launch {
    alone::launch("roofline", call, args)
}

/// Copies vectors of [`SEEN`] elements, `len` elements in all, from a slot to another.
fn copied(map: RowMap, len: usize, [from, to]: [usize; 2]) -> Launch {
    let n = (len / SEEN) as u32;
    let params = activation::Params { map, n, c: SEEN as u32, act: Act::None as u32 };
    launch(params.into(), vec![Some(SlotId(from)), None, Some(SlotId(to))])
}
