//! From a program to a session: buffers, weights, pipelines, bind groups.

use super::gpu::Gpu;
use super::grid::grid;
use super::pipeline::Pipeline;
use super::run::{Pace, Recorded, WgpuSession};
use crate::backend::WeightSource;
use crate::backend::source::Variant;
use crate::error::{Error, Result};
use crate::ops::Arg;
use crate::program::{Launch, Program, Slot, Source};
use std::sync::Arc;
use std::time::Duration;
use wgpu::{Buffer, BufferUsages};

/// Uploads are handed to the device after this many bytes, so that staging memory stays small.
const UPLOAD_BYTES: u64 = 256 << 20;

/// Makes everything that a run of `program` needs.
pub(super) fn prepare(
    gpu: &Gpu,
    program: &Program,
    weights: &dyn WeightSource,
) -> Result<WgpuSession> {
    program.validate()?;
    program.slots.iter().try_for_each(|slot| check_size(gpu, slot))?;
    let pipelines = gpu.pipelines.all(gpu, &variants(program))?;
    gpu.guarded(|| {
        let slots = slots(gpu, program, weights)?;
        let mut recorder = Recorder::new(gpu, program, &slots, &pipelines);
        let prologue = recorder.launches(&program.prologue)?;
        let bodies = program.bodies.iter().map(|body| recorder.launches(&body.launches));
        let bodies = bodies.collect::<Result<Vec<_>>>()?;
        let inputs = program.slots.iter().zip(&slots).filter_map(|(slot, buffer)| {
            let Source::Input(input) = slot.source else { return None };
            Some((input, buffer.clone()))
        });
        let states = program.slots.iter().zip(&slots);
        let states = states.filter(|(slot, _)| slot.source == Source::State);
        Ok(WgpuSession {
            inputs: inputs.collect(),
            states: states.map(|(_, buffer)| buffer.clone()).collect(),
            output: slots[program.output.0].clone(),
            download: gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("download"),
                size: padded(4 * program.output_len as u64),
                usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            prologue,
            bodies,
            program: program.clone(),
            pace: Pace::new(&gpu.info),
            gpu: gpu.clone(),
        })
    })
}

/// Buffers are whole 16-byte words, the widest access of a kernel.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(16).max(16)
}

/// A slot must fit into one binding and one allocation.
fn check_size(gpu: &Gpu, slot: &Slot) -> Result<()> {
    let most = gpu.info.max_binding_bytes.min(gpu.info.max_buffer_bytes);
    if padded(slot.bytes()) <= most {
        return Ok(());
    }
    // Weights and tables are as large for one sample as for many.
    let action = match slot.source {
        Source::Weight { .. } | Source::Table(_) => "use another --device, or --device cpu",
        Source::Scratch | Source::State | Source::Input(_) => {
            "use a smaller --batch, another --device, or --device cpu"
        }
    };
    Err(Error::invalid(
        format!("slot {}", slot.name),
        format!("at most {most} bytes on this adapter, {}", gpu.info.words()),
        format!("{} bytes", slot.bytes()),
        action,
    ))
}

/// One buffer a slot, with the content of weights and tables.
fn slots(gpu: &Gpu, program: &Program, weights: &dyn WeightSource) -> Result<Vec<Buffer>> {
    let mut staged = 0;
    let mut buffers = Vec::with_capacity(program.slots.len());
    for slot in &program.slots {
        let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(&slot.name),
            size: padded(slot.bytes()),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let content = match &slot.source {
            Source::Weight { name, shape, pack } => {
                weights.packed(name, shape, *pack, slot.dtype)?
            }
            Source::Table(words) => bytemuck::cast_slice(words).to_vec(),
            Source::Scratch | Source::State | Source::Input(_) => Vec::new(),
        };
        upload(gpu, slot, &buffer, content)?;
        staged += slot.bytes();
        if staged > UPLOAD_BYTES {
            let index = gpu.submit(None);
            while !gpu.poll(Some((&index, Duration::from_millis(100))))? {}
            staged = 0;
        }
        buffers.push(buffer);
    }
    Ok(buffers)
}

fn upload(gpu: &Gpu, slot: &Slot, buffer: &Buffer, mut content: Vec<u8>) -> Result<()> {
    if content.is_empty() {
        return Ok(());
    }
    // A table is whole words: one of an odd number of f16 holds two bytes more.
    if (content.len() as u64).next_multiple_of(4) != slot.bytes().next_multiple_of(4) {
        return Err(Error::invalid(
            format!("content of slot {}", slot.name),
            format!("{} bytes", slot.bytes()),
            content.len().to_string(),
            "give the parameter in the shape that the model declares",
        ));
    }
    content.resize(content.len().next_multiple_of(4), 0);
    gpu.queue.write_buffer(buffer, 0, &content);
    Ok(())
}

/// The variant of each launch, prologue first, with the op's arguments.
fn variants(program: &Program) -> Vec<(Variant, &'static [Arg])> {
    let bodies = program.bodies.iter().flat_map(|body| &body.launches);
    let variant = |launch: &Launch| {
        let dtypes = launch.args.iter().map(|slot| slot.map(|id| program.slots[id.0].dtype));
        (Variant::new(&launch.call, dtypes.collect()), launch.call.args())
    };
    program.prologue.iter().chain(bodies).map(variant).collect()
}

/// Makes the bind groups of launches; their parameters lie in one uniform buffer.
struct Recorder<'a> {
    gpu: &'a Gpu,
    program: &'a Program,
    slots: &'a [Buffer],
    /// One for each launch, prologue first.
    pipelines: &'a [Arc<Pipeline>],
    params: Buffer,
    next: usize,
}

impl<'a> Recorder<'a> {
    fn new(
        gpu: &'a Gpu,
        program: &'a Program,
        slots: &'a [Buffer],
        pipelines: &'a [Arc<Pipeline>],
    ) -> Self {
        let launches = pipelines.len().max(1) as u64;
        let params = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: launches * Self::stride(gpu),
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Recorder { gpu, program, slots, pipelines, params, next: 0 }
    }

    /// Bytes from one launch's parameters to the next.
    fn stride(gpu: &Gpu) -> u64 {
        256_u64.next_multiple_of(gpu.device.limits().min_uniform_buffer_offset_alignment as u64)
    }

    fn launches(&mut self, launches: &[Launch]) -> Result<Vec<Recorded>> {
        launches.iter().map(|launch| self.launch(launch)).collect()
    }

    fn launch(&mut self, launch: &Launch) -> Result<Recorded> {
        let mut params = launch.call.params().to_vec();
        params.resize(params.len().next_multiple_of(16), 0);
        let (offset, size) = (self.next as u64 * Self::stride(self.gpu), params.len() as u64);
        self.gpu.queue.write_buffer(&self.params, offset, &params);
        let pipeline = &self.pipelines[self.next];
        self.next += 1;

        let buffer = |arg: usize| launch.args[arg].map(|id| &self.slots[id.0]);
        let entries: Vec<_> = pipeline
            .kernel
            .bindings
            .iter()
            .map(|binding| wgpu::BindGroupEntry {
                binding: binding.number,
                resource: match binding.arg.and_then(buffer) {
                    Some(buffer) => buffer.as_entire_binding(),
                    None => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &self.params,
                        offset,
                        size: wgpu::BufferSize::new(size),
                    }),
                },
            })
            .collect();
        let bind_group = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&launch.layer),
            layout: &pipeline.layout,
            entries: &entries,
        });
        let most = self.gpu.device.limits().max_compute_workgroups_per_dimension;
        let bytes = launch.args.iter().enumerate().filter_map(|(i, slot)| {
            Some(launch.call.elements(i) * self.program.slots[(*slot)?.0].dtype.size())
        });
        Ok(Recorded {
            pipeline: pipeline.pipeline.clone(),
            bind_group,
            grid: grid(&launch.call, &pipeline.kernel, most)?,
            flops: launch.call.flops() as f64,
            bytes: bytes.sum::<usize>() as f64,
        })
    }
}
