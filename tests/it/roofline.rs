//! What a device does at most: figures that a machine can have, and no figure without its work.

use super::device;
use unnoise::backend::Backend;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::null::Null;
use unnoise::backend::roofline::Peak;
use unnoise::tensor::DType;

fn check(device: &dyn Backend) {
    let peak = Peak::measure(device).unwrap();
    // From a slow processor of one core to ten times the fastest GPU.
    assert!((0.1..1e5).contains(&peak.gbps), "{peak:?}");
    let rates = [Some(peak.gflops_f32), peak.gflops_f16];
    assert!(rates.iter().flatten().all(|rate| (0.1..1e6).contains(rate)), "{peak:?}");
    assert_eq!(peak.gflops_f16.is_some(), device.supports(DType::F16), "{peak:?}");
}

#[test]
fn the_processor_has_a_roofline() {
    check(&Cpu);
}

#[test]
fn a_gpu_has_a_roofline() {
    device::gpus().into_iter().for_each(check);
}

/// The null backend is as fast as can be, and computes nothing.
#[test]
fn work_that_is_not_done_has_no_rate() {
    let message = Peak::measure(&Null).unwrap_err().to_string();
    assert!(message.contains("a copy gave 0 at element 0, expected 1"), "{message}");
}
