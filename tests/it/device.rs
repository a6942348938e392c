//! The gate of tests that need a device.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Mutex, OnceLock};
use unnoise::backend::Backend;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::wgpu::{Adapters, Wgpu};

/// Whether `UNNOISE_REQUIRE`, a list with commas, names `device`.
pub fn required(device: &str) -> bool {
    let list = std::env::var("UNNOISE_REQUIRE").unwrap_or_default();
    list.split(',').any(|name| name.trim() == device)
}

/// Says once for each test that it does not run on the device. libtest cannot ignore a test that
/// has begun, and hides what `eprintln!` writes in one that passes, so this goes past it.
pub fn note_ignored(reason: &str) {
    static NOTED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_string();
    let line = format!("ignored: {test}: {reason}\n");
    let mut noted = NOTED.lock().expect("no test fails while it notes");
    if noted.get_or_insert_default().insert(test) {
        std::io::stderr().write_all(line.as_bytes()).expect("stderr takes a line");
    }
}

/// The wgpu device of the tests. Without an adapter: `None`, said on stderr, so that the test that
/// asked can return; a failure if `UNNOISE_REQUIRE` names wgpu. OpenGL does not count: tests share
/// the device between threads, which its context does not allow.
pub fn wgpu() -> Option<&'static Wgpu> {
    static DEVICE: OnceLock<Option<Wgpu>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        let adapters = Adapters::find();
        let usable = adapters.infos.iter().any(|a| a.immediates && a.backend != "gl");
        usable.then(|| Wgpu::open(&adapters, None).expect("the adapter opens"))
    });
    if device.is_none() {
        assert!(!required("wgpu"), "UNNOISE_REQUIRE asks for wgpu, but there is no adapter");
        note_ignored("no wgpu adapter");
    }
    device.as_ref()
}

/// The backends that this machine has: the processor, and wgpu unless the gate said otherwise.
pub fn backends() -> Vec<&'static dyn Backend> {
    let wgpu = wgpu().map(|w| w as &dyn Backend);
    std::iter::once(&Cpu as &dyn Backend).chain(wgpu).collect()
}
