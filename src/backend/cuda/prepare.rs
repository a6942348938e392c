//! From a program to a session: kernels, one allocation, weights, graphs.

use super::kernels::Kernels;
use super::launch::{Addresses, record};
use super::layout::Layout;
use super::memory::DeviceMemory;
use super::run::{CudaSession, Parts};
use crate::backend::tune::Tuned;
use crate::backend::work::Work;
use crate::backend::{WeightSource, packed};
use crate::error::Result;
use crate::ops::Facts;
use crate::program::{Program, Source};
use cudarc::driver::{CudaContext, CudaStream};
use std::sync::Arc;

/// A device as preparing sees it.
pub(super) struct Gpu<'a> {
    pub context: &'a Arc<CudaContext>,
    pub stream: &'a Arc<CudaStream>,
    pub name: &'a str,
    pub kernels: &'a Kernels,
    pub facts: Facts,
}

/// Makes everything that a run of `program` needs, its launches cut as `choose` says.
pub(super) fn prepare(
    gpu: &Gpu,
    program: &Program,
    weights: &dyn WeightSource,
    choose: impl Fn(&Work) -> Result<Tuned>,
) -> Result<CudaSession> {
    program.validate()?;
    let work = Work::of(program, gpu.facts, gpu_memory(gpu));
    let tuned = choose(&work)?;
    gpu.kernels.all(&work.variants(&tuned))?;
    let one = |variant: &_, call: &_| {
        let kernels = gpu.kernels.all(&[(Clone::clone(variant), *call)])?;
        Ok(kernels[0].clone())
    };
    // What the launches need is known before where it lies.
    let nowhere = Addresses {
        slots: vec![0; program.slots.len()],
        partial: 0,
        counters: 0,
        start: 0,
        advance: 0,
    };
    let layout = Layout::of(program, &record(program, &work, &tuned, &nowhere, &one)?);
    let memory = DeviceMemory::new(gpu.context, gpu.name, layout.bytes)?;
    let at = layout.addresses(memory.base);
    let recording = record(program, &work, &tuned, &at, &one)?;
    fill(gpu, program, &layout, &memory, weights)?;
    let kernels = gpu.kernels.all(&recording.kernels)?;
    let parts = Parts {
        stream: gpu.stream.clone(),
        device: gpu.name.to_string(),
        layout,
        program: program.clone(),
        tuned,
        memory,
        kernels,
    };
    CudaSession::new(parts, &recording)
}

/// Bytes that the sums of a split launch may take: an eighth of the memory.
fn gpu_memory(gpu: &Gpu) -> u64 {
    gpu.context.total_mem().map_or(u64::MAX, |bytes| bytes as u64 / 8)
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
    memory.write(gpu.name, layout.times, bytemuck::cast_slice(&times))?;
    for (slot, at) in program.slots.iter().zip(&layout.slots) {
        match &slot.source {
            Source::Table(words) => memory.write(gpu.name, *at, bytemuck::cast_slice(words))?,
            Source::Weight { pieces, width } => {
                let bytes = packed(weights, pieces, *width, slot.len, slot.dtype)?;
                memory.write(gpu.name, *at, &bytes)?;
            }
            Source::Scratch | Source::State | Source::Input(_) | Source::Arena(_) => {}
        }
    }
    Ok(())
}
