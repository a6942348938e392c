//! Every case of every op, one launch a program: `cargo bench --bench ops [-- FILTER]`.
//!
//! `UNNOISE_DEVICE` chooses the device as `--device` does (default `auto`). Cases are small: on a
//! GPU the figure is mostly that of a submission, and compares a kernel with itself over time.

use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Observer, select};
use unnoise::ops;
use unnoise::tensor::DType;

#[allow(dead_code)] // the tests use the rest
#[path = "../tests/it/case_program.rs"]
mod case_program;

fn all(c: &mut Criterion) {
    let device = std::env::var("UNNOISE_DEVICE").unwrap_or_else(|_| "auto".into());
    let backend = select::open(&device.parse().expect("device")).expect("device").backend;
    for case in ops::all_cases() {
        let programs = case_program::case_programs(&case, DType::F32);
        let Some(compared) = programs.into_iter().next() else { continue };
        let weights = &case_program::NoWeights;
        let mut session = backend.prepare(&compared.program, weights).expect("prepare");
        let mut out = vec![0.0; compared.program.output_len];
        let stop = AtomicBool::new(false);
        c.bench_function(&case.name, |b| {
            b.iter(|| {
                let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
                session.run(&compared.inputs, &mut observer, &mut out).expect("run")
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = all
}
criterion_main!(benches);
