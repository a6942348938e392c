//! Whole trajectories of the bundled model: `cargo bench --bench trajectory`.
//!
//! `UNNOISE_DEVICE` chooses the device as `--device` does (default `auto`).

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Observer, select};
use unnoise::model::Model;
use unnoise::sampler::{Request, Sampler};

fn trajectory(c: &mut Criterion) {
    let device = std::env::var("UNNOISE_DEVICE").unwrap_or_else(|_| "auto".into());
    let selected = select::open(&device.parse().expect("device")).expect("device");
    let model = Model::open("digits").expect("digits is embedded");
    let mut group = c.benchmark_group(format!("digits on {}", selected.backend.device()));
    group.sample_size(10);
    for batch in [1, 8] {
        let request = Request { count: batch, steps: Some(10), ..Request::default() };
        let mut sampler = Sampler::compile(&model, &request, &*selected.backend).expect("compile");
        let indices: Vec<usize> = sampler.indices().collect();
        let stop = AtomicBool::new(false);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("ddim 10 steps", batch), |b| {
            b.iter(|| {
                let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
                sampler.sample(&indices, &mut observer).expect("sample")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, trajectory);
criterion_main!(benches);
