//! A test case of one op: a call with its buffers.

use super::moments::Region;
use super::random::Random;
use super::row::{self, HISTORY, Mix, Row, WORDS};
use super::{Call, Cursor, RowMap};
use crate::tensor::DType;

/// One buffer of a case.
#[derive(Clone, Debug)]
pub enum CaseArg {
    /// Not bound.
    Absent,
    /// Activations or weights: rounded to f16 where a backend runs the case in f16.
    Data(Vec<f32>),
    /// Always f32: state, tables, biases, statistics.
    F32(Vec<f32>),
    /// Always u32.
    U32(Vec<u32>),
    /// Written by the op and stored like activations; starts as NaN.
    Output,
    /// Written by the op and always f32; starts as NaN.
    OutputF32,
}

/// A call of one op with everything it needs, and the tolerance its result is held to.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub call: Call,
    /// One for each of the call's `ARGS`.
    pub args: Vec<CaseArg>,
    pub cursor: Cursor,
    /// f32 tolerance: |found - expected| <= atol + rtol * |expected|.
    pub atol: f32,
    pub rtol: f32,
}

impl CaseArg {
    /// Elements of the content; `None` where it has none.
    pub fn elements(&self) -> Option<usize> {
        match self {
            CaseArg::Data(values) | CaseArg::F32(values) => Some(values.len()),
            CaseArg::U32(values) => Some(values.len()),
            CaseArg::Absent | CaseArg::Output | CaseArg::OutputF32 => None,
        }
    }

    /// The element type of the buffer when activations are stored as `storage`.
    pub fn dtype(&self, storage: DType) -> Option<DType> {
        match self {
            CaseArg::Absent => None,
            CaseArg::Data(_) | CaseArg::Output => Some(storage),
            CaseArg::F32(_) | CaseArg::OutputF32 => Some(DType::F32),
            CaseArg::U32(_) => Some(DType::U32),
        }
    }
}

impl Case {
    /// A case at row 0, time 0, held to f32's usual tolerance.
    pub(super) fn new(name: impl Into<String>, call: impl Into<Call>, args: Vec<CaseArg>) -> Case {
        let (name, call) = (name.into(), call.into());
        Case { name, call, args, cursor: Cursor::default(), atol: 1e-5, rtol: 1e-5 }
    }

    pub(super) fn at(self, cursor: Cursor) -> Case {
        Case { cursor, ..self }
    }

    pub(super) fn tolerance(self, atol: f32, rtol: f32) -> Case {
        Case { atol, rtol, ..self }
    }
}

/// The case with an argument as a network that diverged gives it: NaN and both infinities among the
/// numbers.
pub(super) fn diverged(mut case: Case, arg: usize) -> Case {
    case.name.push_str(", diverged");
    if let CaseArg::F32(values) = &mut case.args[arg] {
        for (i, value) in values.iter_mut().enumerate() {
            *value = [f32::NAN, *value, f32::INFINITY, f32::NEG_INFINITY, *value][i % 5];
        }
    }
    case
}

/// A buffer of `len` elements with the moments of these maps, or none if `len` is 0. Elsewhere it
/// is as a run finds it, zero.
pub(super) fn moments_of(maps: &[(Region, &[f32])], len: usize) -> CaseArg {
    let mut buffer = vec![0.0; len];
    for (region, map) in maps {
        if region.tiles > 0 {
            region.measure(map, &mut buffer);
        }
    }
    if len == 0 { CaseArg::Absent } else { CaseArg::F32(buffer) }
}

/// A row map of one kind with the table and the buffer it reads.
pub(super) struct MapCase {
    pub kind: &'static str,
    pub map: RowMap,
    pub cursor: Cursor,
    /// The argument `cond`.
    pub cond: CaseArg,
    /// Rows of the table.
    pub rows: usize,
}

/// Every kind of row map for `n` samples (at least 4).
pub(super) fn row_maps(random: &mut Random, n: usize) -> Vec<MapCase> {
    let cursor = Cursor { row: 2, time: 3 };
    let mut cond = |end: u32| CaseArg::U32(random.below(n, end));
    let map = |time, cond, div, modulo| RowMap { time, cond, div, modulo };
    let case = |kind, map, cond, rows| MapCase { kind, map, cursor, cond, rows };
    vec![
        case("identity", RowMap::IDENTITY, CaseArg::Absent, n),
        case("time", map(1, 0, 1, 1), CaseArg::Absent, 5),
        case("condition", map(0, 1, 1, 1), cond(3), 3),
        case("time x condition", map(4, 1, 1, 1), cond(4), 16),
        case("time and sample", map(2, 0, 1, 2), CaseArg::Absent, 8),
        case("hoisted over times", map(0, 0, 3, u32::MAX), CaseArg::Absent, n.div_ceil(3)),
        case("hoisted over conditions", map(0, 0, 1, 3), CaseArg::Absent, 3),
        case("hoisted over both", map(0, 0, 2, 2), CaseArg::Absent, 2),
    ]
}

/// A table of rows with `row` at the cursor; what is before it must not be read.
pub(super) fn row_table(row: Row, cursor: Cursor) -> CaseArg {
    let mut table = vec![f32::NAN; WORDS * cursor.row as usize];
    table.extend_from_slice(bytemuck::cast_slice(bytemuck::bytes_of(&row)));
    CaseArg::F32(table)
}

/// The table of an op whose samples read rows of their own if `rows` are several: those in turn,
/// for a batch of `b`. One row is read by all.
pub(super) fn row_tables(rows: &[Row], b: u32, cursor: Cursor) -> CaseArg {
    match rows {
        [row] => row_table(*row, cursor),
        _ => {
            let rows: Vec<Row> = rows.iter().cycle().take(b as usize).copied().collect();
            CaseArg::F32(bytemuck::cast_slice(&rows).to_vec())
        }
    }
}

/// The run's words for samples of scattered indices, with different guidance.
pub(super) fn run_words(samples: usize) -> CaseArg {
    let mut words = vec![0x9ABC_DEF1, 0x0000_0042, 0, 0];
    for n in 0..samples as u32 {
        let guidance = [2.0_f32, -0.5, 1.0, 0.0, 7.5][n as usize % 5];
        words.extend([5 + 1_000_003 * n, guidance.to_bits()]);
    }
    CaseArg::U32(words)
}

/// A row with every coefficient of the prediction and the state set, clipped so that some elements
/// are; no history, no saved copy, no noise.
pub(super) fn plain_row() -> Row {
    Row {
        x0_x: 1.25,
        x0_f: -0.75,
        clip: 1.0,
        eps_x: 0.5,
        eps_f: 0.25,
        eps_x0: -0.625,
        x: Mix { x: 0.375, x0: 0.5, eps: 0.125, ..Mix::default() },
        log_var_min: -3.0,
        log_var_max: -0.5,
        flags: row::EVAL | row::GUIDE,
        ..Row::default()
    }
}

/// `row` with both draws used, named differently.
pub(super) fn noisy(row: Row) -> Row {
    let (z0_step, z0_stream, z0_index) = (7, 0, 1);
    let (z1_step, z1_stream, z1_index) = (7, 3, 2);
    let x = Mix { z0: 0.3, z1: -0.2, ..row.x };
    Row { x, z0_step, z0_stream, z0_index, z1_step, z1_stream, z1_index, ..row }
}

/// Rows over a ring of `depth` (at least 1): every prediction of the past read, then pushed or not,
/// at both ends of the ring.
pub(super) fn history_rows(depth: u32) -> Vec<(String, Row)> {
    let mut h = [0.5, -0.25, 0.125, -0.0625, 0.75, -0.375, 1.5, -0.1875, 0.3125];
    h[depth as usize..].fill(0.0);
    let mut mixed = [0.25; HISTORY];
    mixed[depth as usize..].fill(0.0);
    let push = Mix { x: 0.5, x0: -1.0, eps: 0.75, h: mixed, ..Mix::default() };
    let mut rows = Vec::new();
    for ring in (0..depth).step_by((depth - 1).max(1) as usize) {
        let row = Row { ring, ..plain_row() };
        let row = Row { x: Mix { h, ..row.x }, ..row };
        rows.push((format!("read at {ring} of {depth}"), row));
        let flags = row.flags | row::PUSH;
        rows.push((format!("push at {ring} of {depth}"), Row { push, flags, ..row }));
    }
    rows
}

/// `row` with the saved copy read and written.
pub(super) fn saving(row: Row) -> Row {
    let saved = Mix { x: 0.25, x0: -0.5, eps: 1.5, saved: 0.75, h: row.x.h, ..Mix::default() };
    let push = match row.has(row::PUSH) {
        true => Mix { saved: -0.25, ..row.push },
        false => row.push,
    };
    let flags = row.flags | row::WRITE_SAVED;
    Row { x: Mix { saved: -0.5, ..row.x }, saved, push, flags, ..row }
}
