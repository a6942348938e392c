//! From a program to a session: one allocation, weights, tiles, kernels, graphs.

use super::device::failed;
use super::gpu::Gpu;
use super::launch::record;
use super::layout::Layout;
use super::measure::Measure;
use super::memory::{DeviceMemory, Sums};
use super::persistent::Persistent;
use super::replay::Replay;
use super::run::{CudaSession, Parts};
use crate::backend::tune::Tuning;
use crate::backend::work::Work;
use crate::backend::{WeightSource, packed};
use crate::error::Result;
use crate::ops::Facts;
use crate::program::{Program, Source};

/// Of the device's memory the sums of a split launch may take this part.
const PARTIAL: u64 = 8;

/// Makes everything that a run of `program` needs, its launches cut as `tuning` says.
pub(super) fn prepare(
    gpu: &Gpu,
    tuning: &Tuning,
    program: &Program,
    weights: &dyn WeightSource,
) -> Result<CudaSession> {
    let (facts, note) = gpu.facts(program)?;
    let mut session = prepare_on(gpu, facts, tuning, program, weights)?;
    session.tuned.notes.extend(note);
    Ok(session)
}

/// The same on a device of these `facts`.
pub(super) fn prepare_on(
    gpu: &Gpu,
    facts: Facts,
    tuning: &Tuning,
    program: &Program,
    weights: &dyn WeightSource,
) -> Result<CudaSession> {
    program.validate()?;
    let work = Work::of(program, facts, gpu.info.memory_bytes / PARTIAL);
    let layout = Layout::of(program);
    let memory = DeviceMemory::new(&gpu.context, &gpu.name, layout.bytes)?;
    fill(gpu, program, &layout, &memory, weights)?;
    let mut tuned = work.classes();
    let mut timer = Measure::new(gpu, program, &work, layout.addresses(memory.base));
    gpu.tuner.choose(tuning, &mut tuned, &mut timer)?;
    drop(timer);
    let kernels = gpu.kernels.all(&work.variants(&tuned))?;
    tuned.compile_cached = kernels.iter().all(|kernel| kernel.kept);
    tuned.notes.extend(gpu.kernels.note());
    let of = |variant: &_, call: &_| gpu.kernels.one(variant, call);
    let mut at = layout.addresses(memory.base);
    // What the launches share is known once they are cut, and then where it lies.
    let needs = record(program, &work, &tuned, &at, &of)?;
    let sums = Sums::new(&gpu.context, &gpu.name, needs.counters, needs.partial_bytes)?;
    (at.counters, at.partial) = (sums.counters(), sums.partial());
    let recording = record(program, &work, &tuned, &at, &of)?;
    let kernels = gpu.kernels.all(&recording.kernels)?;
    let persistent = match gpu.way.replay {
        Replay::Step | Replay::Trajectory => None,
        Replay::Persistent => {
            let grid = memory.base + layout.grid;
            Some(Persistent::new(gpu, program, &recording, &kernels, (&at, grid))?)
        }
    };
    let parts = Parts {
        stream: gpu.stream.clone(),
        device: gpu.name.to_string(),
        layout,
        program: program.clone(),
        tuned,
        memory,
        sums,
        kernels,
        way: gpu.way,
        persistent,
    };
    CudaSession::new(parts, recording)
}

/// Uploads what stays from run to run.
fn fill(
    gpu: &Gpu,
    program: &Program,
    layout: &Layout,
    memory: &DeviceMemory,
    weights: &dyn WeightSource,
) -> Result<()> {
    let times: Vec<u32> = program.rows.iter().map(|row| row.time).collect();
    memory.write(&gpu.name, layout.times, bytemuck::cast_slice(&times))?;
    for (slot, at) in program.slots.iter().zip(&layout.slots) {
        match &slot.source {
            Source::Table(words) => memory.write(&gpu.name, *at, bytemuck::cast_slice(words))?,
            Source::Weight { pieces, width } => {
                let bytes = packed(weights, pieces, *width, slot.len, slot.dtype)?;
                memory.write(&gpu.name, *at, &bytes)?;
            }
            Source::Scratch | Source::State | Source::Input(_) | Source::Arena(_) => {}
        }
    }
    // A copy may end after its call, and the stream that runs the program waits for no other.
    gpu.context.synchronize().map_err(|e| failed(&gpu.name, "cannot upload", e))
}
