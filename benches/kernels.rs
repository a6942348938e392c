//! Kernels and blocks at the sizes of real networks: `cargo bench --bench kernels [-- FILTER]`.
//!
//! See `measure.rs` for the device and the file of results.

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use measure::{Device, Timed};
use std::time::Duration;

#[allow(dead_code)] // each bench uses a part
#[path = "../tests/it/hash_weights.rs"]
mod hash_weights;
#[allow(dead_code)]
mod measure;
mod networks;

fn all(c: &mut Criterion) {
    let device = Device::open();
    device.peak();
    for kernel in networks::kernels() {
        let mut group = c.benchmark_group(kernel.bench);
        // A sample is several runs of equal length, not ever more of them.
        group.sampling_mode(SamplingMode::Flat);
        for precision in device.precisions() {
            let names = [kernel.bench, &kernel.case];
            let measured = measure::bench(&mut group, &device, names, precision, || {
                let program = kernel.program(precision);
                let weights = &hash_weights::HashWeights;
                Timed::launches(&device, &program, weights, |launch| kernel.has(launch))
            });
            if let Some(m) = measured {
                println!("{:>70}", m.to_string());
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
        .measurement_time(Duration::from_secs(1));
    targets = all
}
criterion_main!(benches);
