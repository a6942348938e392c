//! Programs made by hand, for what a device is asked about itself: some launches in one row without
//! parameters, run with nobody watching.

use super::{Observer, RunInputs, Session, WeightSource};
use crate::error::{Error, Result};
use crate::ops::{Call, Span};
use crate::program::{Body, Covers, Launch, Memory, Program, RowRef, Slot, SlotId, Source};
use crate::tensor::DType;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub(super) fn slot(name: &str, dtype: DType, len: usize, source: Source) -> Slot {
    Slot { name: name.into(), dtype, len, source }
}

/// A launch of `call`, one of the layer `layer` in messages.
pub(super) fn launch(layer: &str, call: Call, args: Vec<Option<SlotId>>) -> Launch {
    Launch { call, args, layer: layer.into(), covers: Covers::default() }
}

/// The program whose only row runs `launches` once, and whose output is the first `len` elements of
/// the slot `output`.
pub(super) fn one_row(
    name: &'static str,
    slots: Vec<Slot>,
    launches: Vec<Launch>,
    (output, len): (SlotId, usize),
) -> Program {
    Program {
        slots,
        arenas: Vec::new(),
        prologue: Vec::new(),
        bodies: vec![Body { name, launches }],
        rows: vec![RowRef { body: 0, time: 0 }],
        output,
        output_len: len,
        span: Span { times: 1, conditions: 1, rows: 1, draws: 0 },
        memory: Memory::default(),
    }
}

/// Runs a program without inputs, to its end; how long that took.
pub(super) fn run(session: &mut dyn Session, out: &mut [f32]) -> Result<Duration> {
    run_until(session, out, &AtomicBool::new(false))
}

/// The same, ended once `stop` is set.
pub(super) fn run_until(
    session: &mut dyn Session,
    out: &mut [f32],
    stop: &AtomicBool,
) -> Result<Duration> {
    let mut observer = Observer { stop, rows_done: &mut |_| {} };
    let start = Instant::now();
    session.run(&RunInputs::default(), &mut observer, out)?;
    Ok(start.elapsed())
}

/// A program made by hand brings its data along in tables.
pub(super) struct NoWeights;

impl WeightSource for NoWeights {
    fn values(&self, name: &str, _: &[usize]) -> Result<Vec<f32>> {
        Err(Error::invalid(name, "no parameter", "one", "this is an error in the program"))
    }
}
