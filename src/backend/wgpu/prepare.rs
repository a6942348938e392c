//! From a program to a session: buffers, weights, pipelines, bind groups.

use super::flight::Pace;
use super::gpu::Gpu;
use super::matrix;
use super::measure::Measure;
use super::record::Recorder;
use super::run::{Dispatch, Uploads, WgpuSession};
use crate::backend::tune::Tuning;
use crate::backend::work::Work;
use crate::backend::{WeightSource, packed};
use crate::error::{Error, Result};
use crate::ops::Facts;
use crate::program::{Body, Place, Program, Slot, Source};
use std::time::Duration;
use wgpu::{BindingResource, Buffer, BufferBinding, BufferSize, BufferUsages};

/// Uploads are handed to the device after this many bytes, so that staging memory stays small.
const UPLOAD_BYTES: u64 = 256 << 20;

/// Makes everything that a run of `program` needs, its launches cut as `tuning` says.
pub(super) fn prepare(
    gpu: &Gpu,
    tuning: &Tuning,
    program: &Program,
    weights: &dyn WeightSource,
) -> Result<WgpuSession> {
    let (facts, note) = matrix::facts(gpu, program)?;
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
) -> Result<WgpuSession> {
    program.validate()?;
    program.slots.iter().try_for_each(|slot| check_size(gpu, slot))?;
    program.arenas.iter().try_for_each(|bytes| check_arena(gpu, *bytes))?;
    let work = Work::of(program, facts, gpu.info.max_binding_bytes.min(gpu.info.max_buffer_bytes));
    let slots = gpu.guarded(|| slots(gpu, program, weights))?;
    let mut tuned = work.classes();
    gpu.tuner.choose(tuning, &mut tuned, &mut Measure::new(gpu, program, &slots, &work))?;
    gpu.pipelines.all(gpu, &work.variants(&tuned))?;
    tuned.notes.extend(gpu.keep_compiled());
    tuned.compile_cached = gpu.compiled.as_ref().is_some_and(|compiled| compiled.warm);
    gpu.guarded(|| {
        let recorder = Recorder::new(gpu, program, &slots, &work, Some(&tuned));
        let cuts = work.launches.iter().enumerate();
        let mut dispatches = cuts.map(|(i, cut)| recorder.launch(i, tuned.tile(&cut.class)));
        let mut take = |launches: usize| -> Result<Vec<_>> {
            let taken = dispatches.by_ref().take(launches);
            Ok(taken.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        let prologue = take(program.prologue.len())?;
        let bodies = program.bodies.iter().map(|body| take(body.launches.len()));
        let bodies = bodies.collect::<Result<Vec<_>>>()?;
        let more = |(body, made): (&Body, &Vec<Dispatch>)| {
            (body.launches.len(), made.len() - body.launches.len())
        };
        let largest = program.bodies.iter().zip(&bodies).map(more).max();
        tuned.split_per_step = largest.map_or(0, |(_, split)| split);
        let inputs = program.slots.iter().zip(&slots).filter_map(|(slot, storage)| {
            let Source::Input(input) = slot.source else { return None };
            Some((input, storage.buffer.clone()))
        });
        let states = program.slots.iter().zip(&slots);
        let states = states.filter(|(slot, _)| slot.source == Source::State);
        Ok(WgpuSession {
            inputs: Uploads::new(gpu, inputs),
            states: states.map(|(_, storage)| storage.buffer.clone()).collect(),
            output: slots[program.output.0].buffer.clone(),
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
            tuned,
            stamps: None,
            gpu: gpu.clone(),
        })
    })
}

/// Buffers are whole 16-byte words, the widest access of a kernel.
pub(super) fn padded(bytes: u64) -> u64 {
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
        Source::Scratch | Source::Arena(_) | Source::State | Source::Input(_) => SMALLER,
    };
    Err(too_large(gpu, &format!("slot {}", slot.name), most, slot.bytes(), action))
}

/// An arena is one allocation, of which a launch binds parts.
fn check_arena(gpu: &Gpu, bytes: u64) -> Result<()> {
    let most = gpu.info.max_buffer_bytes;
    if bytes <= most {
        return Ok(());
    }
    Err(too_large(gpu, "a buffer of activations", most, bytes, SMALLER))
}

const SMALLER: &str = "use a smaller --batch, another --device, or --device cpu";

fn too_large(gpu: &Gpu, what: &str, most: u64, bytes: u64, action: &str) -> Error {
    Error::invalid(
        what,
        format!("at most {most} bytes on this adapter, {}", gpu.info.words()),
        format!("{bytes} bytes"),
        action,
    )
}

/// What a slot is on the device: a buffer, or a part of one.
pub(super) struct Storage {
    buffer: Buffer,
    offset: u64,
    bytes: u64,
}

impl Storage {
    pub fn binding(&self) -> BindingResource<'_> {
        BindingResource::Buffer(BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: BufferSize::new(self.bytes),
        })
    }
}

fn buffer(gpu: &Gpu, label: &str, bytes: u64) -> Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: padded(bytes),
        usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// The arenas, and a buffer for each slot beside them, with the content of weights and tables.
fn slots(gpu: &Gpu, program: &Program, weights: &dyn WeightSource) -> Result<Vec<Storage>> {
    let arenas = program.arenas.iter().enumerate();
    let arenas: Vec<_> = arenas.map(|(i, b)| buffer(gpu, &format!("arena {i}"), *b)).collect();
    let mut staged = 0;
    let mut made = Vec::with_capacity(program.slots.len());
    for slot in &program.slots {
        let bytes = padded(slot.bytes());
        if let Some(Place { arena, offset }) = slot.place() {
            made.push(Storage { buffer: arenas[arena].clone(), offset, bytes });
            continue;
        }
        let buffer = buffer(gpu, &slot.name, bytes);
        let content = match &slot.source {
            Source::Weight { pieces, width } => {
                packed(weights, pieces, *width, slot.len, slot.dtype)?
            }
            Source::Table(words) => bytemuck::cast_slice(words).to_vec(),
            _ => Vec::new(),
        };
        upload(gpu, slot, &buffer, content)?;
        staged += slot.bytes();
        if staged > UPLOAD_BYTES {
            let index = gpu.submit(None);
            while !gpu.poll(Some((&index, Duration::from_millis(100))))? {}
            staged = 0;
        }
        made.push(Storage { buffer, offset: 0, bytes });
    }
    Ok(made)
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
