//! The program walked by the references of its ops, in f32, on every core.

use super::{Backend, Observer, RunInputs, RunStats, Session, WeightSource, packed};
use crate::error::{Error, Result};
use crate::ops::{Access, Buffers, Cursor, MAX_ARGS};
use crate::program::{Launch, Program, Slot, Source};
use crate::tensor::DType;
use std::collections::TryReserveError;

/// The processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self) -> String {
        format!("CPU, {} threads", rayon::current_num_threads())
    }

    fn supports(&self, dtype: DType) -> bool {
        dtype != DType::F16
    }

    fn preferred(&self) -> DType {
        DType::F32
    }

    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>> {
        program.validate()?;
        // All at once first: many small promises may be given that cannot be kept together.
        let bytes: u64 = program.slots.iter().map(Slot::bytes).sum();
        Vec::<u8>::new().try_reserve_exact(bytes as usize).map_err(|e| no_memory(bytes, &e))?;
        let slots = program.slots.iter().map(|slot| content(slot, weights));
        let slots = slots.collect::<Result<Vec<_>>>()?;
        Ok(Box::new(CpuSession { program: program.clone(), slots }))
    }
}

/// The content of a slot before any run.
fn content(slot: &Slot, weights: &dyn WeightSource) -> Result<Vec<f32>> {
    if slot.dtype == DType::F16 {
        return Err(Error::invalid(
            format!("device cpu: buffer '{}'", slot.name),
            "f32 storage",
            slot.dtype.name(),
            "use --precision f32",
        ));
    }
    match &slot.source {
        Source::Scratch | Source::State | Source::Input(_) => zeros(slot),
        Source::Table(words) => Ok(words.iter().map(|w| f32::from_bits(*w)).collect()),
        Source::Weight { pieces, width } => {
            let bytes = packed(weights, pieces, *width, slot.len, slot.dtype)?;
            Ok(bytemuck::pod_collect_to_vec(&bytes))
        }
    }
}

/// Memory that may not be there is asked for, not taken for granted.
fn zeros(slot: &Slot) -> Result<Vec<f32>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(slot.len).map_err(|e| no_memory(slot.bytes(), &e))?;
    buffer.resize(slot.len, 0.0);
    Ok(buffer)
}

fn no_memory(bytes: u64, error: &TryReserveError) -> Error {
    Error::invalid(
        "--batch on device cpu",
        format!("{bytes} bytes of memory"),
        error.to_string(),
        "use a smaller --batch",
    )
}

struct CpuSession {
    program: Program,
    /// The buffers; those of u32 elements hold their words.
    slots: Vec<Vec<f32>>,
}

impl Session for CpuSession {
    fn run(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<RunStats> {
        let CpuSession { program, slots } = self;
        inputs.check(program)?;
        program.check_output(out)?;
        for (slot, buffer) in program.slots.iter().zip(&mut *slots) {
            match slot.source {
                Source::State => buffer.fill(0.0),
                Source::Input(input) => {
                    buffer.copy_from_slice(bytemuck::cast_slice(inputs.words(input)));
                }
                _ => {}
            }
        }
        observer.check()?;
        let mut launches = walk(&program.prologue, Cursor::default(), slots);
        for (i, row) in program.rows.iter().enumerate() {
            observer.check()?;
            let cursor = Cursor { row: i as u32, time: row.time };
            launches += walk(&program.bodies[row.body].launches, cursor, slots);
            (observer.rows_done)(i + 1);
        }
        out.copy_from_slice(&slots[program.output.0][..out.len()]);
        Ok(RunStats { readbacks: 1, launches, ..RunStats::default() })
    }
}

/// Runs launches one after another; returns how many.
fn walk(launches: &[Launch], cursor: Cursor, slots: &mut [Vec<f32>]) -> u64 {
    // Inside the thread pool once, not at each launch.
    rayon::scope(|_| launches.iter().for_each(|launch| run(launch, cursor, slots)));
    launches.len() as u64
}

fn run(launch: &Launch, cursor: Cursor, slots: &mut [Vec<f32>]) {
    let written = |i: usize| launch.call.args()[i].access != Access::Read;
    // A written buffer leaves its slot for the time of the launch; no launch binds it twice.
    let mut taken: [Vec<f32>; MAX_ARGS] = Default::default();
    for (i, slot) in launch.args.iter().enumerate() {
        if let (Some(slot), true) = (slot, written(i)) {
            taken[i] = std::mem::take(&mut slots[slot.0]);
        }
    }
    let mut buffers = Buffers { read: [&[]; MAX_ARGS], write: Default::default() };
    for (i, buffer) in taken.iter_mut().enumerate() {
        match launch.args.get(i).copied().flatten() {
            Some(_) if written(i) => buffers.write[i] = buffer,
            Some(slot) => buffers.read[i] = &slots[slot.0],
            None => {}
        }
    }
    launch.call.reference(cursor, &mut buffers);
    for (i, buffer) in taken.into_iter().enumerate() {
        if let (Some(slot), true) = (launch.args.get(i).copied().flatten(), !buffer.is_empty()) {
            slots[slot.0] = buffer;
        }
    }
}
