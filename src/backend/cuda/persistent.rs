//! The loop as one cooperative kernel: what its launch takes, and how the host follows it.

use super::device::failed;
use super::flight::Wait;
use super::gpu::Gpu;
use super::graph::parameters;
use super::jobs::{Jobs, THREADS, Told, unsuited};
use super::kernels::Kernel;
use super::launch::{Addresses, Compiled, Recorded, Recording};
use super::memory::{DeviceMemory, Pinned};
use crate::backend::Observer;
use crate::error::{Error, Result};
use crate::program::Program;
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{CudaStream, result};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The persistent kernel of a program.
pub(super) struct Persistent {
    kernel: Arc<Kernel>,
    launch: Recorded,
    /// Words that the device shares with the host: rows that are done, and whether to end early.
    words: Pinned,
    /// The lists that the kernel walks.
    _jobs: DeviceMemory,
}

const PROGRESS: usize = 0;
const STOP: usize = 1;

impl Persistent {
    /// Compiles it for the bodies of `recording`, whose kernels are `kernels`, and hands their jobs
    /// to the device. `grid` is the address of what its workgroups meet at.
    ///
    /// # Errors
    /// `Error::Invalid` that says why it is not for this program or this device.
    pub fn new(
        gpu: &Gpu,
        program: &Program,
        recording: &Recording,
        kernels: &[Arc<Kernel>],
        (at, grid): (&Addresses, u64),
    ) -> Result<Persistent> {
        let wrong = |e| failed(&gpu.name, "cannot ask for what a persistent kernel needs", e);
        if let Some(why) = unsuited(recording, |kernel| kernels[kernel].threads()) {
            return Err(not_here(why));
        }
        let ask = |attribute| gpu.context.attribute(attribute).map_err(wrong);
        if ask(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? == 0 {
            return Err(not_here("a device without cooperative launches"));
        }
        if ask(Attribute::CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT)? != 0 {
            return Err(not_here("a device that ends long kernels, for the sake of its display"));
        }
        let jobs = Jobs::of(program, recording);
        let memory = DeviceMemory::new(&gpu.context, &gpu.name, jobs.bytes.len() as u64)?;
        let kernel = gpu.kernels.persistent(&jobs.variants)?;
        let shared = kernel.shared_bytes();
        // SAFETY: the kernel is loaded.
        let each = unsafe {
            let (threads, shared) = (THREADS as i32, shared as usize);
            result::occupancy::max_active_block_per_multiprocessor(kernel.function, threads, shared)
        };
        let blocks = each.map_err(wrong)? as u32 * gpu.info.processors;
        if blocks == 0 {
            return Err(not_here(format!("a kernel with {shared} bytes of workgroup memory")));
        }
        memory.write(&gpu.name, 0, &jobs.bytes)?;
        gpu.context.synchronize().map_err(wrong)?;
        let words = Pinned::new(&gpu.context, &gpu.name, 8)?;
        let rows = program.rows.len() as u32;
        let told = Told { rows, blocks, shared, grid, stop: words.address(STOP) };
        let launch = jobs.launch(memory.base, at, &told);
        Ok(Persistent { kernel, launch, words, _jobs: memory })
    }

    /// The address of the word in which the device counts rows.
    pub fn progress(&self) -> u64 {
        self.words.address(PROGRESS)
    }

    /// Enqueues the walk over all rows.
    pub fn enqueue(&self, device: &str, stream: &CudaStream) -> Result<()> {
        self.words.word(PROGRESS).store(0, Ordering::Relaxed);
        self.words.word(STOP).store(0, Ordering::Relaxed);
        let (grid, block) = ((self.launch.blocks, 1, 1), (THREADS, 1, 1));
        // SAFETY: the kernel takes `Walk`, `Lists` and `Control` by value, as many bytes as these
        // three hold; the driver copies them now. The addresses lie in the session's memory and in
        // `words`, which the session keeps until it has waited for the stream; each job's are those
        // of the launch that it was made of.
        let launched = unsafe {
            result::launch_cooperative_kernel(
                self.kernel.function,
                grid,
                block,
                self.launch.shared,
                stream.cu_stream(),
                &mut parameters(&self.launch),
            )
        };
        launched.map_err(|e| failed(device, "cannot launch the persistent kernel", e))
    }

    /// Waits for what is enqueued, says how far it is, and has it end early if that is asked for.
    pub fn follow(&self, device: &str, stream: &CudaStream, observer: &mut Observer) -> Result<()> {
        let wrong = |e| failed(device, "the run failed", e);
        let event = stream.record_event(None).map_err(wrong)?;
        let (mut seen, wait) = (0, Wait::begin());
        while !event.try_is_complete().map_err(wrong)? {
            if let Err(stopped) = observer.check() {
                self.words.word(STOP).store(1, Ordering::Relaxed);
                return Err(stopped);
            }
            let rows = self.words.word(PROGRESS).load(Ordering::Relaxed);
            if rows != seen {
                seen = rows;
                (observer.rows_done)(rows as usize);
            }
            wait.pause();
        }
        Ok(())
    }
}

fn not_here(found: impl Into<String>) -> Error {
    let expected = "a program and a device for one persistent kernel";
    Error::invalid("the way to replay", expected, found, "set UNNOISE_CUDA_REPLAY to another")
}
