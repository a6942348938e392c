//! What storing maps and weights in fewer bits does to the samples.

use super::device;
use super::emulated::{Build, Emulated};
use super::evaluate::relative_l2;
use super::programs::{request, samples};
use unnoise::sampler::{Classes, Precision, Request};
use unnoise::tensor::DType;

/// Relative L2 that each may have.
const PRECISIONS: [(DType, Precision, f64); 3] = [
    (DType::F32, Precision::F32, 1e-5),
    (DType::F16, Precision::F16, 2e-2),
    (DType::BF16, Precision::Bf16, 8e-2),
];

#[test]
fn half_precision_draws_the_same_picture() {
    for gpu in device::gpus() {
        let full = samples(&request(), gpu);
        for (_, precision, most) in PRECISIONS.into_iter().filter(|p| gpu.supports(p.0)) {
            let found = samples(&Request { precision, ..request() }, gpu);
            let error = relative_l2(&found, &full);
            assert!(error < most, "{} in {precision:?}: relative L2 {error:e}", gpu.name());
        }
    }
}

/// The same program in CUDA, its cursor stepped by the kernels themselves.
#[test]
fn samples_on_the_emulator_are_those_of_the_cpu() {
    if !device::emulator() {
        return;
    }
    let emulator = Emulated::new(Build::Plain);
    let one = || Request { classes: Classes::List(vec![7]), count: 1, ..request() };
    let truth = samples(&one(), device::backends()[0]);
    for (_, precision, most) in PRECISIONS {
        let found = samples(&Request { precision, ..one() }, &emulator);
        let error = relative_l2(&found, &truth);
        assert!(error < most, "{precision:?}: relative L2 {error:e}");
    }
}
