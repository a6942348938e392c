//! Device memory, host memory that the device can reach, and what is copied between them.

use super::device::{bind, failed};
use super::layout::ALIGN;
use crate::backend::Room;
use crate::error::{Error, Result};
use cudarc::driver::{CudaContext, CudaStream, result, sys};
use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// What is free of the device's memory.
pub(super) fn room(context: &Arc<CudaContext>, device: &str) -> Result<Room> {
    let ask = context.mem_get_info();
    let (free, all) = ask.map_err(|e| failed(device, "cannot ask for free memory", e))?;
    Ok(Room { free: free as u64, all: all as u64 })
}

/// One allocation on the device, freed when it is dropped.
pub(super) struct DeviceMemory {
    pub base: u64,
    pub bytes: u64,
    context: Arc<CudaContext>,
}

impl DeviceMemory {
    /// So many bytes, all of them zero.
    ///
    /// # Errors
    /// `Error::Device` that says how much is needed and how much is free.
    pub fn new(context: &Arc<CudaContext>, device: &str, bytes: u64) -> Result<DeviceMemory> {
        let Room { free, all } = room(context, device)?;
        let short = || {
            let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
            let (needs, free, all) = (gib(bytes), gib(free), gib(all));
            let what = format!("needs {needs:.2} GiB, {free:.2} of {all:.2} GiB are free");
            Error::device(device, what, "use a smaller --batch or --precision f16")
        };
        if bytes > free {
            return Err(short());
        }
        bind(context, device)?;
        // SAFETY: all that it needs is a current context, which was bound above.
        let memory = match unsafe { result::malloc_sync(bytes as usize) } {
            Ok(base) => DeviceMemory { base, bytes, context: context.clone() },
            Err(result::DriverError(sys::cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY)) => {
                return Err(short());
            }
            Err(e) => return Err(failed(device, "cannot allocate memory", e)),
        };
        // SAFETY: all of an allocation that nothing uses yet.
        let cleared = unsafe { result::memset_d8_sync(memory.base, 0, bytes as usize) };
        // It was only enqueued, on a stream that ours does not wait for.
        let cleared = cleared.and_then(|()| context.synchronize());
        cleared.map_err(|e| failed(device, "cannot clear memory", e))?;
        Ok(memory)
    }

    /// Copies `data` to byte `at`. It has arrived once the context was waited for.
    pub fn write(&self, device: &str, at: u64, data: &[u8]) -> Result<()> {
        assert!(at + data.len() as u64 <= self.bytes);
        // SAFETY: the range lies in the allocation, which nothing else uses while it is filled.
        let done = unsafe { result::memcpy_htod_sync(self.base + at, data) };
        done.map_err(|e| failed(device, "cannot upload", e))
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        let bound = self.context.bind_to_thread();
        // SAFETY: allocated by `malloc_sync` and freed once; sessions wait for their work first.
        let freed = bound.and_then(|()| unsafe { result::free_sync(self.base) });
        self.context.record_err(freed);
    }
}

/// What the workgroups of a split launch share: counters of tiles, which every launch leaves as
/// zeros, and behind them the sums.
pub(super) struct Sums {
    memory: DeviceMemory,
    partial: u64,
}

impl Sums {
    /// # Errors
    /// As [`DeviceMemory::new`].
    pub fn new(
        context: &Arc<CudaContext>,
        device: &str,
        counters: u32,
        partial_bytes: u64,
    ) -> Result<Sums> {
        let partial = (4 * u64::from(counters)).max(1).next_multiple_of(ALIGN);
        Ok(Sums { memory: DeviceMemory::new(context, device, partial + partial_bytes)?, partial })
    }

    /// Address of the counters.
    pub fn counters(&self) -> u64 {
        self.memory.base
    }

    /// Address of the sums.
    pub fn partial(&self) -> u64 {
        self.memory.base + self.partial
    }
}

/// Host memory that the device copies from and to without the driver's own detour.
pub(super) struct Pinned {
    at: *mut u8,
    bytes: usize,
    context: Arc<CudaContext>,
}

impl Pinned {
    pub fn new(context: &Arc<CudaContext>, device: &str, bytes: usize) -> Result<Pinned> {
        let bytes = bytes.max(1);
        bind(context, device)?;
        // SAFETY: all that it needs is a current context, which was bound above.
        let at = unsafe { result::malloc_host(bytes, 0) };
        let at = at.map_err(|e| failed(device, "cannot allocate host memory", e))?.cast::<u8>();
        // SAFETY: `bytes` were allocated just now.
        unsafe { at.write_bytes(0, bytes) };
        Ok(Pinned { at, bytes, context: context.clone() })
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: allocated and initialised with this length; the device writes it only between
        // `download` and the wait for the stream, which its caller does before reading.
        unsafe { std::slice::from_raw_parts(self.at, self.bytes) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.bytes) }
    }
}

impl Pinned {
    /// The device's address of word `i`: the host's own, as the two share one space of addresses.
    pub fn address(&self, i: usize) -> u64 {
        self.at as u64 + 4 * i as u64
    }

    /// Word `i`, which the device may read or write at any time.
    pub fn word(&self, i: usize) -> &AtomicU32 {
        assert!(4 * (i + 1) <= self.bytes);
        // SAFETY: it lies in the allocation, which begins at a page; the device writes whole words,
        // and the host reaches words that are shared by this function alone.
        unsafe { AtomicU32::from_ptr(self.at.add(4 * i).cast()) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let bound = self.context.bind_to_thread();
        // SAFETY: allocated by `malloc_host` and freed once.
        let freed = bound.and_then(|()| unsafe { result::free_host(self.at.cast::<c_void>()) });
        self.context.record_err(freed);
    }
}

/// Enqueues a copy of all of `from` to byte `at` of `to`.
pub(super) fn upload(
    stream: &CudaStream,
    from: &Pinned,
    to: &DeviceMemory,
    at: u64,
) -> Result<(), result::DriverError> {
    assert!(at + from.bytes as u64 <= to.bytes);
    // SAFETY: both are alive until the session, which owns them, has waited for the stream.
    unsafe { result::memcpy_htod_async(to.base + at, from.bytes(), stream.cu_stream()) }
}

/// Enqueues a copy from byte `at` of `from` to all of `to`.
pub(super) fn download(
    stream: &CudaStream,
    from: &DeviceMemory,
    at: u64,
    to: &mut Pinned,
) -> Result<(), result::DriverError> {
    assert!(at + to.bytes as u64 <= from.bytes);
    // SAFETY: as in `upload`; the host reads only after it has waited.
    unsafe { result::memcpy_dtoh_async(to.bytes_mut(), from.base + at, stream.cu_stream()) }
}

/// Enqueues zeros for a range of bytes.
pub(super) fn clear(
    stream: &CudaStream,
    memory: &DeviceMemory,
    range: &Range<u64>,
) -> Result<(), result::DriverError> {
    assert!(range.end <= memory.bytes);
    let bytes = (range.end - range.start) as usize;
    // SAFETY: the range lies in the allocation, which lives as long as the session.
    unsafe { result::memset_d8_async(memory.base + range.start, 0, bytes, stream.cu_stream()) }
}
