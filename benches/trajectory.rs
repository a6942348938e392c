//! A step of whole networks, with and without what the planner does:
//! `cargo bench --bench trajectory [-- FILTER]`.
//!
//! See `measure.rs` for the device and the file of results; `cargo xtask compare` sets two of them
//! side by side.

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use measure::Device;
use std::time::Duration;
use trajectories::{ABLATIONS, Subject};
use unnoise::tensor::DType;

#[allow(dead_code)] // each bench uses a part
#[path = "../tests/it/hash_weights.rs"]
mod hash_weights;
#[allow(dead_code)]
mod measure;
#[allow(dead_code)]
mod trajectories;

fn all(c: &mut Criterion) {
    let device = Device::open();
    for (name, batch) in [("digits", 1), ("digits", 8), ("ddpm-cifar10", 1)] {
        let subject = Subject::new(&device, name, batch);
        let mut group = c.benchmark_group(subject.name());
        group.sampling_mode(SamplingMode::Flat);
        for precision in device.precisions() {
            // What the planner does is the same in f16.
            let ablations = if precision == DType::F32 { &ABLATIONS[..] } else { &ABLATIONS[..1] };
            for ablation in ablations {
                let case = format!("{} {}", subject.name(), ablation.flags);
                let names = ["step", case.trim_end()];
                measure::bench(&mut group, &device, names, precision, || {
                    subject.timed(&device, precision, *ablation)
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(3));
    targets = all
}
criterion_main!(benches);
