//! Every case of every op: `cargo bench --bench ops [-- FILTER]`.
//!
//! Cases are small and odd: a figure here compares a kernel with itself over time. `kernels.rs` has
//! the sizes of networks. See `measure.rs` for the device and the file of results.

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use measure::{Device, Timed};
use std::time::Duration;
use unnoise::ops;

#[allow(dead_code)] // the tests use the rest
#[path = "../tests/it/case_program.rs"]
mod case_program;
#[allow(dead_code)]
mod measure;

fn all(c: &mut Criterion) {
    let device = Device::open();
    for case in ops::all_cases() {
        let op = case.call.name();
        let mut group = c.benchmark_group(op);
        group.sampling_mode(SamplingMode::Flat);
        for precision in device.precisions() {
            // What an op writes beside its first result takes no second launch.
            let programs = case_program::case_programs(&case, precision);
            let Some(compared) = programs.into_iter().next() else { continue };
            measure::bench(&mut group, &device, [op, &case.name], precision, || {
                let weights = &case_program::NoWeights;
                Timed::launches(&device, &compared.program, weights, |l| l.layer == case.name)
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .nresamples(2000)
        .warm_up_time(Duration::from_millis(20))
        .measurement_time(Duration::from_millis(200));
    targets = all
}
criterion_main!(benches);
