//! The networks of benches/gpu.rs: as large as those that were published, with as much work, and
//! the same on a device as plain layers on the processor.

use super::bench_models::{NAMES, Subject};
use super::bench_weights::RandomWeights;
use super::device;
use super::evaluate::{Evaluation, relative_l2};
use super::hash_weights;
use unnoise::backend::Backend;
use unnoise::backend::cpu::Cpu;
use unnoise::tensor::DType;

/// Millions of parameters, and 1e9 multiply-adds of matrix products in an evaluation of one sample:
/// of the papers where they say, else as PyTorch counts them of `benches/gpu/torch_networks.py`.
const PUBLISHED: [(&str, f64, f64); 4] = [
    ("ddpm-cifar10", 35.746, 6.22),
    ("edm-cifar10", 55.733, 21.19),
    ("dit-xl-2", 674.8, 118.6),
    ("sd15-unet", 859.521, 401.6),
];

#[test]
fn networks_are_as_large_as_published() {
    assert_eq!(PUBLISHED.map(|(name, ..)| name), NAMES);
    for (name, millions, gigas) in PUBLISHED {
        let subject = Subject::open(name, false);
        let parameters = subject.graph.parameters() as f64 / 1e6;
        let program = subject.program(DType::F16, 1, 1);
        let launches = program.bodies.iter().flat_map(|body| &body.launches);
        let flops: u64 = launches.map(|launch| launch.call.flops()).sum();
        println!("{name}: {parameters:.4}M parameters, {:.3} G", flops as f64 / 2e9);
        assert!((parameters / millions - 1.0).abs() < 2e-3, "{name}: {parameters} millions");
        let work = flops as f64 / 2e9;
        assert!((work / gigas - 1.0).abs() < 2e-2, "{name}: {work:.2}e9 multiply-adds");
    }
}

/// Relative L2 that each storage may have.
const STORAGES: [(DType, f64); 3] = [(DType::F32, 2e-5), (DType::F16, 1e-2), (DType::BF16, 8e-2)];

/// One evaluation of two samples on a device against that of the processor in plain layers.
fn check(subject: &Subject, truth: &[f32], device: &dyn Backend, (storage, most): (DType, f64)) {
    let found = evaluation(subject, storage, true, &x(subject)).run(device);
    let (error, name) = (relative_l2(&found, truth), device.name());
    println!("{} on {name} in {storage}: relative L2 {error:.2e}", subject.name);
    assert!(error <= most, "{} on {name} in {storage}: relative L2 {error:e}", subject.name);
}

fn evaluation<'a>(
    subject: &'a Subject,
    storage: DType,
    planned: bool,
    x: &'a [f32],
) -> Evaluation<'a> {
    Evaluation {
        weights: &RandomWeights,
        labels: if subject.labels.is_empty() { &[] } else { &[207, 207] },
        storage,
        fuse: planned,
        hoist: planned,
        ..Evaluation::hashed(&subject.graph, subject.state, 500.0, x)
    }
}

fn x(subject: &Subject) -> Vec<f32> {
    hash_weights::values("x", &[2 * subject.state.iter().product::<usize>()])
}

fn check_all(tiny: bool, storages: &[(DType, f64)], devices: &[&dyn Backend]) {
    for name in NAMES.into_iter().filter(|name| !tiny || *name != "ddpm-cifar10") {
        let subject = Subject::open(name, tiny);
        let truth = evaluation(&subject, DType::F32, false, &x(&subject)).run(&Cpu);
        for device in devices {
            for storage in storages.iter().filter(|(storage, _)| device.supports(*storage)) {
                check(&subject, &truth, *device, *storage);
            }
        }
    }
}

#[test]
fn tiny_networks_are_the_same_as_they_are_planned() {
    check_all(true, &STORAGES[..1], &[&Cpu]);
}

/// Of the size that is timed, as it is stored then. It takes the processor minutes.
#[test]
#[ignore = "benches/gpu/run"]
fn large_networks_are_the_same_on_cuda() {
    if let Some(device) = device::cuda() {
        check_all(false, &STORAGES[1..], &[device]);
    }
}
