//! The gate of tests that need a device.

use super::emulated;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::cuda::Cuda;
use unnoise::backend::tune::{self, Tuning};
use unnoise::backend::wgpu::{Adapters, Wgpu};
use unnoise::backend::{Backend, Settings};
use unnoise::error::Result;

/// Whether `UNNOISE_REQUIRE`, a list with commas, names `device`.
pub fn required(device: &str) -> bool {
    let list = std::env::var("UNNOISE_REQUIRE").unwrap_or_default();
    list.split(',').any(|name| name.trim() == device)
}

/// Says once for each test that it does not run on the device. libtest cannot ignore a test that
/// has begun, and hides what `eprintln!` writes in one that passes, so this goes past it.
pub fn note_ignored(reason: &str) {
    static NOTED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test").to_string();
    let line = format!("ignored: {test}: {reason}\n");
    let mut noted = NOTED.lock().expect("no test fails while it notes");
    if noted.get_or_insert_default().insert(test) {
        std::io::stderr().write_all(line.as_bytes()).expect("stderr takes a line");
    }
}

/// A device of the tests, and how many of them are at work on it.
#[derive(Default)]
struct Shared {
    device: OnceLock<Wgpu>,
    tests: AtomicUsize,
}

/// A test's part in a device, given back when its thread ends.
struct Part(&'static Shared);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.tests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The device that fewest tests are at work on. There are as many as cores, up to four: a software
/// driver compiles the kernels of a device one after another, for minutes in all.
fn part() -> Part {
    static DEVICES: OnceLock<Vec<Shared>> = OnceLock::new();
    static TAKING: Mutex<()> = Mutex::new(());
    let devices = DEVICES.get_or_init(|| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        (0..cores.min(4)).map(|_| Shared::default()).collect()
    });
    let _taking = TAKING.lock().expect("no test fails while it takes a device");
    let tests = |shared: &&Shared| shared.tests.load(Ordering::Relaxed);
    let idlest = devices.iter().min_by_key(tests).expect("a machine has a core");
    idlest.tests.fetch_add(1, Ordering::Relaxed);
    Part(idlest)
}

/// The wgpu device of this test: the same one whenever its thread asks. Without an adapter: `None`,
/// said on stderr, so that the test that asked can return; a failure if `UNNOISE_REQUIRE` names
/// wgpu. OpenGL does not count: tests share devices between threads, which its context does not
/// allow.
pub fn wgpu() -> Option<&'static Wgpu> {
    thread_local!(static PART: OnceCell<Part> = const { OnceCell::new() });
    static ADAPTERS: OnceLock<Option<Adapters>> = OnceLock::new();
    let adapters = ADAPTERS.get_or_init(|| {
        let adapters = Adapters::find();
        let usable = adapters.infos.iter().any(|a| a.immediates && a.backend != "gl");
        usable.then_some(adapters)
    });
    let Some(adapters) = adapters else {
        assert!(!required("wgpu"), "UNNOISE_REQUIRE asks for wgpu, but there is no adapter");
        note_ignored("no wgpu adapter");
        return None;
    };
    let shared = PART.with(|part| part.get_or_init(self::part).0);
    Some(shared.device.get_or_init(|| Wgpu::open(adapters, None).expect("the adapter opens")))
}

/// A CUDA device of this machine, its launches cut as `tuning` says. What it compiles is kept where
/// the environment says, so that each of many devices need not compile it again.
pub fn open_cuda(tuning: Tuning) -> Result<Cuda> {
    let settings = Settings { tuning, cache: tune::folder(), ..Settings::default() };
    Cuda::open_with(None, &settings)
}

/// The CUDA devices that no test is at work on.
static IDLE: Mutex<Vec<&'static Cuda>> = Mutex::new(Vec::new());

/// A test's device, given back when its thread ends.
struct Taken(&'static Cuda);

impl Drop for Taken {
    fn drop(&mut self) {
        IDLE.lock().expect("no test fails while it gives a device back").push(self.0);
    }
}

/// The CUDA device of this test, or why there is none: the same one whenever its thread asks, and
/// no other test's at that time, as what one thread launches while another captures a graph would
/// be part of the graph. A failure if `UNNOISE_REQUIRE` names cuda and there is no GPU.
fn cuda_or_why() -> std::result::Result<&'static Cuda, String> {
    type Found = std::result::Result<Taken, String>;
    thread_local!(static TAKEN: OnceCell<Found> = const { OnceCell::new() });
    let open = || open_cuda(Tuning::Off).map(|cuda| &*Box::leak(cuda.into()));
    let take = || {
        let idle = IDLE.lock().expect("no test fails while it takes a device").pop();
        let found = idle.map_or_else(open, Ok).map(Taken);
        found.map_err(|why| {
            assert!(!required("cuda"), "UNNOISE_REQUIRE asks for cuda: {why}");
            why.to_string()
        })
    };
    let of = |found: &Found| found.as_ref().map(|taken| taken.0).map_err(String::clone);
    TAKEN.with(|taken| of(taken.get_or_init(take)))
}

/// The CUDA device of a test that is about CUDA alone. Without a GPU: `None`, said on stderr.
pub fn cuda() -> Option<&'static Cuda> {
    cuda_or_why().map_err(|why| note_ignored(&why)).ok()
}

/// Whether CUDA kernels can be run on the processor: that needs g++ on Linux. If not, that is said,
/// or a failure if `UNNOISE_REQUIRE` names the emulator.
pub fn emulator() -> bool {
    if emulated::compiler() {
        return true;
    }
    assert!(!required("emulator"), "UNNOISE_REQUIRE asks for the emulator, but there is no g++");
    note_ignored("no g++ for the emulator");
    false
}

/// The GPUs that this machine has, or what stands for one, unless the gate said otherwise.
pub fn gpus() -> Vec<&'static dyn Backend> {
    let wgpu = wgpu().map(|w| w as &dyn Backend);
    wgpu.into_iter().chain(cuda_or_why().ok().map(|c| c as &dyn Backend)).collect()
}

/// The backends that this machine has: the processor first.
pub fn backends() -> Vec<&'static dyn Backend> {
    std::iter::once(&Cpu as &dyn Backend).chain(gpus()).collect()
}
