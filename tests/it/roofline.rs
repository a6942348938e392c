//! What a device does at most: figures that a machine can have, and no figure without its work.

use super::device;
use std::fs;
use std::sync::atomic::AtomicBool;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::null::Null;
use unnoise::backend::roofline::{Kept, Peak};
use unnoise::backend::tune::Identity;
use unnoise::backend::{Backend, Observer, Session, WeightSource};
use unnoise::error::{Error, Result};
use unnoise::program::Program;
use unnoise::tensor::DType;

fn measure(device: &dyn Backend, stop: &AtomicBool) -> Result<(Peak, Vec<usize>)> {
    let mut told = Vec::new();
    let mut observer = Observer { stop, rows_done: &mut |done| told.push(done) };
    let peak = Peak::measure(device, &mut observer)?;
    Ok((peak, told))
}

fn check(device: &dyn Backend) {
    let (peak, told) = measure(device, &AtomicBool::new(false)).unwrap();
    // From a slow processor of one core to ten times the fastest GPU.
    assert!((0.1..1e5).contains(&peak.gbps), "{peak:?}");
    let matrix = [peak.gflops_matrix_f16, peak.gflops_matrix_bf16];
    let rates = [Some(peak.gflops_f32), peak.gflops_f16].into_iter().chain(matrix);
    assert!(rates.flatten().all(|rate| (0.1..1e7).contains(&rate)), "{peak:?}");
    assert_eq!(peak.gflops_f16.is_some(), device.supports(DType::F16), "{peak:?}");
    // From a call of a function to a driver that does the work itself.
    assert!((1e-3..1e4).contains(&peak.launch_us), "{peak:?}");
    assert!((0.0..f64::INFINITY).contains(&peak.spread), "{peak:?}");
    assert_eq!(told, Vec::from_iter(0..Peak::figures(device)));
}

#[test]
fn the_processor_has_a_roofline() {
    alone(|| check(&Cpu));
}

/// Runs what is measured on the processor on threads that no other test's work waits on.
fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().build().unwrap().install(work)
}

#[test]
fn a_gpu_has_a_roofline() {
    device::gpus().into_iter().for_each(check);
}

/// Kernels and roofline take them or leave them together.
#[test]
fn matrix_units_have_a_peak_where_kernels_use_them() {
    let Some(device) = device::wgpu() else { return };
    let (peak, _) = measure(device, &AtomicBool::new(false)).unwrap();
    let used = device.adapter().matrix.is_some();
    assert!(used || !device::required("matrix"), "UNNOISE_REQUIRE asks for cooperative matrices");
    assert_eq!(peak.gflops_matrix_f16.is_some(), used, "{peak:?}");
    assert_eq!(peak.gflops_matrix_bf16, None, "WGSL has no bf16");
}

/// The null backend is as fast as can be, and computes nothing.
#[test]
fn work_that_is_not_done_has_no_rate() {
    let message = measure(&Null, &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(message.contains("a launch gave 0 at element 0, expected 1"), "{message}");
}

#[test]
fn a_measurement_is_stopped() {
    for device in device::backends() {
        let stopped = measure(device, &AtomicBool::new(true));
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    }
}

/// The processor with another driver, which counts how often something was prepared on it.
struct Other {
    driver: &'static str,
    prepared: std::cell::Cell<usize>,
}

impl Other {
    fn new(driver: &'static str) -> Other {
        Other { driver, prepared: Default::default() }
    }
}

impl Backend for Other {
    fn name(&self) -> &'static str {
        Cpu.name()
    }
    fn device(&self) -> String {
        Cpu.device()
    }
    fn identity(&self) -> Identity {
        Identity { driver: self.driver.into(), ..Cpu.identity() }
    }
    fn supports(&self, dtype: DType) -> bool {
        Cpu.supports(dtype)
    }
    fn preferred(&self) -> DType {
        Cpu.preferred()
    }
    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>> {
        self.prepared.set(self.prepared.get() + 1);
        Cpu.prepare(program, weights)
    }
}

#[test]
fn a_roofline_is_measured_once_for_each_device() {
    alone(measured_once);
}

fn measured_once() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let of = |device: &Other| {
        let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
        let (kept, mut notes) = Peak::of(device, Some(folder.path()), &mut observer).unwrap();
        // On a machine that has other things to do.
        notes.retain(|note| !note.contains("did not settle"));
        (kept, notes, device.prepared.take() > 0)
    };
    let (one, two) = (Other::new("1"), Other::new("2"));
    let (first, notes, measured) = of(&one);
    assert!(measured && notes.is_empty(), "{notes:?}");
    assert_eq!(of(&one), (first.clone(), vec![], false), "it is read");
    assert!(of(&two).2, "another driver is another device");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    // A file that was cut off in the middle is measured anew, and replaced.
    let path = Kept::path(folder.path(), &one.identity());
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    let (second, notes, measured) = of(&one);
    assert!(measured && notes.len() == 1 && notes[0].contains("is ignored"), "{notes:?}");
    assert_eq!(of(&one), (second, vec![], false));
}
