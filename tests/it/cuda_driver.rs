//! The stand-in for CUDA's driver refuses what a driver refuses. A process finds its driver when it
//! starts, so each test starts this binary again, for the one below that is ignored otherwise.

use super::{device, emulated};
use cudarc::driver::sys::{self, CUfunction_attribute as Attribute, cudaError_enum as Code};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};
use std::ffi::{CString, c_void};
use std::process::Command;
use std::sync::Arc;
use unnoise::backend::cuda::compile::{Compiler, Target};
use unnoise::backend::source::cuda_unit;

/// y[i] += v for i < n; the launch has workgroup memory if its `shared` says so.
const KERNEL: &str = "
    extern \"C\" __global__ void __launch_bounds__(256, 1)
    increase(float* y, unsigned n, float v) {
        const unsigned i = blockIdx.x * 256u + threadIdx.x;
        if (i < n) {
            y[i] = y[i] + v;
        }
    }";

const N: u32 = 1000;

/// A device with the kernel and a buffer of N zeros.
struct Bench {
    stream: Arc<CudaStream>,
    module: sys::CUmodule,
    increase: sys::CUfunction,
    y: u64,
}

impl Bench {
    fn new() -> Bench {
        let text = cuda_unit(&[], None).unwrap() + KERNEL;
        let compiler = Compiler::find().expect("the stand-in for NVRTC");
        let image = compiler.compile("increase", &text, Target::Machine(86)).unwrap().image;
        let context = CudaContext::new(0).unwrap();
        // SAFETY: nothing is shared between streams.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().unwrap();
        // SAFETY: a whole image; the buffer has as many bytes as are cleared.
        unsafe {
            let module = result::module::load_data(image.as_ptr().cast()).unwrap();
            let name = CString::new("increase").unwrap();
            let increase = result::module::get_function(module, name).unwrap();
            let y = result::malloc_sync(4 * N as usize).unwrap();
            result::memset_d8_async(y, 0, 4 * N as usize, stream.cu_stream()).unwrap();
            stream.synchronize().unwrap();
            Bench { stream, module, increase, y }
        }
    }

    /// Enqueues `y[i] += 1` for i < n.
    fn launch(&self, n: u32, blocks: u32, threads: u32, shared: u32) -> Result<(), DriverError> {
        let (mut y, mut n, mut v) = (self.y, n, 1.0_f32);
        let mut params: [*mut c_void; 3] =
            [(&raw mut y).cast(), (&raw mut n).cast(), (&raw mut v).cast()];
        let (grid, block) = ((blocks, 1, 1), (threads, 1, 1));
        let stream = self.stream.cu_stream();
        // SAFETY: the kernel takes these three; where `n` is too large the stand-in says so.
        unsafe { result::launch_kernel(self.increase, grid, block, shared, stream, &mut params) }
    }

    fn good(&self) -> Result<(), DriverError> {
        self.launch(N, N.div_ceil(256), 256, 0)
    }

    fn allow(&self, shared: i32) -> Result<(), DriverError> {
        let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is loaded.
        unsafe { result::function::set_function_attribute(self.increase, most, shared) }
    }

    fn content(&self) -> Vec<f32> {
        self.stream.synchronize().unwrap();
        let mut found = vec![0.0_f32; N as usize];
        // SAFETY: the buffer has as many elements.
        unsafe { result::memcpy_dtoh_sync(&mut found, self.y) }.unwrap();
        found
    }

    fn begin(&self) {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).unwrap();
    }

    fn end(&self) -> Result<Option<cudarc::driver::CudaGraph>, DriverError> {
        self.stream.end_capture(sys::CUgraphInstantiate_flags(0))
    }
}

fn refused<T>(result: Result<T, DriverError>, code: Code) {
    assert_eq!(result.err(), Some(DriverError(code)));
}

fn launches(bench: &Bench) {
    refused(bench.launch(N, 0, 256, 0), Code::CUDA_ERROR_INVALID_VALUE);
    refused(bench.launch(N, 4, 257, 0), Code::CUDA_ERROR_INVALID_VALUE);
    refused(bench.launch(N, 4, 0, 0), Code::CUDA_ERROR_INVALID_VALUE);
    bench.launch(N, 4, 256, 48 << 10).unwrap();
    refused(bench.launch(N, 4, 256, (48 << 10) + 1), Code::CUDA_ERROR_INVALID_VALUE);
    bench.allow(99 << 10).unwrap();
    bench.launch(N, 4, 256, 99 << 10).unwrap();
    refused(bench.allow((99 << 10) + 1), Code::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(bench.content(), [2.0; N as usize]);
}

fn captures(bench: &Bench) {
    bench.begin();
    bench.good().unwrap();
    bench.good().unwrap();
    let graph = bench.end().unwrap().expect("two launches");
    assert_eq!(bench.content(), [0.0; N as usize], "they were not launched");
    graph.launch().unwrap();
    graph.launch().unwrap();
    assert_eq!(bench.content(), [4.0; N as usize]);

    // What may wait for the device ends a capture, and so does waiting for its stream.
    bench.begin();
    bench.good().unwrap();
    // SAFETY: nothing is allocated.
    refused(unsafe { result::malloc_sync(16) }, Code::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    refused(bench.good(), Code::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    refused(bench.end().map(drop), Code::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    bench.begin();
    refused(bench.stream.synchronize(), Code::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    refused(bench.end().map(drop), Code::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    // Another thread captures nothing, and may; but it cannot end this capture.
    bench.begin();
    let stream = bench.stream.clone();
    std::thread::spawn(move || {
        stream.context().bind_to_thread().unwrap();
        // SAFETY: allocated and freed once.
        unsafe { result::free_sync(result::malloc_sync(16).unwrap()) }.unwrap();
        let ended = stream.end_capture(sys::CUgraphInstantiate_flags(0)).map(drop);
        refused(ended, Code::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    })
    .join()
    .unwrap();
    bench.end().unwrap();
    assert_eq!(bench.content(), [4.0; N as usize]);
}

fn memory(bench: &Bench) {
    let stream = bench.stream.cu_stream();
    // SAFETY: whatever is wrong with these calls is what the stand-in finds; nothing is touched.
    unsafe {
        let fresh = result::malloc_sync(4).unwrap();
        let mut found = [0.0_f32];
        result::memcpy_dtoh_sync(&mut found, fresh).unwrap();
        assert!(found[0].is_nan(), "memory begins as NaN");
        refused(result::memcpy_dtoh_sync(&mut [0.0_f32; 2], fresh), Code::CUDA_ERROR_INVALID_VALUE);
        let pageable = [1.0_f32];
        let copied = result::memcpy_htod_async(fresh, &pageable, stream);
        refused(copied, Code::CUDA_ERROR_INVALID_VALUE);
        let cleared = result::memset_d8_async(fresh + 4, 0, 1, stream);
        refused(cleared, Code::CUDA_ERROR_INVALID_VALUE);
        result::free_sync(fresh).unwrap();
        refused(result::free_sync(fresh), Code::CUDA_ERROR_INVALID_VALUE);
        refused(result::malloc_sync(1 << 40), Code::CUDA_ERROR_OUT_OF_MEMORY);
    }
}

/// A copy from pageable memory may end after its call; streams that do not block are ahead of it.
fn copies(bench: &Bench) {
    let ones = [1.0_f32; N as usize];
    // SAFETY: the buffer has as many elements.
    let copy = || unsafe { result::memcpy_htod_sync(bench.y, &ones) }.unwrap();
    copy();
    bench.good().unwrap();
    assert_eq!(bench.content(), ones, "the launch was ahead of the copy");
    copy();
    bench.stream.context().synchronize().unwrap();
    bench.good().unwrap();
    assert_eq!(bench.content(), [2.0; N as usize]);
}

/// Not the launch is refused: what is asked for afterwards is.
fn faults(bench: &Bench) {
    bench.launch(2 * N, 8, 256, 0).unwrap();
    refused(bench.stream.synchronize(), Code::CUDA_ERROR_ILLEGAL_ADDRESS);
    refused(bench.good(), Code::CUDA_ERROR_ILLEGAL_ADDRESS);
    refused(bench.stream.record_event(None), Code::CUDA_ERROR_ILLEGAL_ADDRESS);
    // SAFETY: nothing is allocated.
    refused(unsafe { result::malloc_sync(16) }, Code::CUDA_ERROR_ILLEGAL_ADDRESS);
}

fn unloaded(bench: &Bench) {
    bench.begin();
    bench.good().unwrap();
    let graph = bench.end().unwrap().expect("a launch");
    graph.launch().unwrap();
    bench.stream.synchronize().unwrap();
    // SAFETY: it is loaded; the graph that is launched behind it is the mistake to be found.
    unsafe { result::module::unload(bench.module) }.unwrap();
    refused(bench.good(), Code::CUDA_ERROR_INVALID_HANDLE);
    graph.launch().unwrap();
    refused(bench.stream.synchronize(), Code::CUDA_ERROR_ILLEGAL_ADDRESS);
}

/// A part of the tests, with a device of its own.
type Part = (&'static str, fn(&Bench));
const PARTS: [Part; 6] = [
    ("launches", launches),
    ("captures", captures),
    ("memory", memory),
    ("copies", copies),
    ("faults", faults),
    ("unloaded", unloaded),
];
const PART: &str = "EMULATED_PART";

#[test]
#[ignore = "in a process that has the stand-ins, see below"]
fn part() {
    let wanted = std::env::var(PART).expect("started by the test below");
    let (_, part) = PARTS.iter().find(|(name, _)| *name == wanted).expect("a part");
    part(&Bench::new());
}

#[test]
fn what_a_driver_refuses_is_refused() {
    if !device::emulator() {
        return;
    }
    let libraries = emulated::stand_ins().unwrap_or_else(|e| panic!("{e}"));
    for (name, _) in PARTS {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "cuda_driver::part", "--ignored"]);
        again.env("LD_LIBRARY_PATH", &libraries).env(PART, name);
        let ran = again.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("1 passed"), "{name}: {said}");
    }
}
