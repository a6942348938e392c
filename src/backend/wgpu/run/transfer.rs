//! What a run sends to the device and brings back, through buffers that were made before it.

use crate::backend::RunInputs;
use crate::backend::wgpu::gpu::Gpu;
use crate::error::Result;
use crate::program::Input;
use std::sync::{Arc, OnceLock};
use wgpu::{Buffer, BufferAsyncError, BufferUsages, CommandEncoder, MapMode};

/// A mapping of a whole buffer, until it is dropped.
pub struct Mapping<'a> {
    buffer: &'a Buffer,
    done: Arc<OnceLock<std::result::Result<(), BufferAsyncError>>>,
}

impl<'a> Mapping<'a> {
    /// Asks for it: the device first finishes what it does with the buffer.
    pub fn start(buffer: &'a Buffer, mode: MapMode) -> Mapping<'a> {
        let done = Arc::new(OnceLock::new());
        let mark = done.clone();
        buffer.map_async(mode, .., move |result| {
            mark.get_or_init(|| result);
        });
        Mapping { buffer, done }
    }

    /// Waits for it, as long as `check` agrees.
    pub fn wait(&self, gpu: &Gpu, mut check: impl FnMut() -> Result<()>) -> Result<()> {
        loop {
            match self.done.get() {
                Some(Ok(())) => return Ok(()),
                Some(Err(e)) => return Err(gpu.failed(&format!("a buffer is not mapped: {e}"))),
                None => {}
            }
            gpu.poll(None)?;
            check()?;
            std::thread::yield_now();
        }
    }
}

impl Drop for Mapping<'_> {
    /// Also ends a mapping that an error left waiting.
    fn drop(&mut self) {
        self.buffer.unmap();
    }
}

/// A slot that each run fills, and the buffer that carries its content there.
struct Carried {
    input: Input,
    slot: Buffer,
    staging: Buffer,
}

/// The inputs of a run on their way.
pub struct Uploads(Vec<Carried>);

impl Uploads {
    pub fn new(gpu: &Gpu, slots: impl Iterator<Item = (Input, Buffer)>) -> Uploads {
        let carried = slots.map(|(input, slot)| {
            let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("upload"),
                size: slot.size(),
                usage: BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            Carried { input, slot, staging }
        });
        Uploads(carried.collect())
    }

    /// Takes the content over, as long as `check` agrees.
    pub fn fill(
        &self,
        gpu: &Gpu,
        inputs: &RunInputs,
        mut check: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        for Carried { input, staging, .. } in &self.0 {
            let mapping = Mapping::start(staging, MapMode::Write);
            mapping.wait(gpu, &mut check)?;
            let content = bytemuck::cast_slice(inputs.words(*input));
            let view = staging.get_mapped_range_mut(..content.len() as u64);
            let mut view = view.map_err(|e| gpu.failed(&e.to_string()))?;
            view.copy_from_slice(content);
        }
        Ok(())
    }

    /// Records the copies to the slots.
    pub fn record(&self, inputs: &RunInputs, encoder: &mut CommandEncoder) {
        for Carried { input, slot, staging } in &self.0 {
            let bytes = size_of_val(inputs.words(*input)) as u64;
            encoder.copy_buffer_to_buffer(staging, 0, slot, 0, bytes);
        }
    }
}
