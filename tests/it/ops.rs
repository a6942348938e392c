//! Every adversarial case of every op against the oracle, one test an op and backend, in every
//! storage type that the backend has.

use super::{case_program, device, oracle};
use unnoise::backend::Backend;
use unnoise::backend::cpu::Cpu;
use unnoise::ops::{self, Case};
use unnoise::tensor::DType;

/// The cpu stores f32 only and says what to do about it.
#[test]
fn cpu_refuses_f16() {
    let case = &ops::all_cases()[0];
    let compared = &case_program::case_programs(case, DType::F16)[0];
    let message = case_program::run(&Cpu, compared).unwrap_err().to_string();
    assert!(message.contains("use --precision f32"), "{message}");
}

/// What differs in one case.
fn differences(device: &dyn Backend, case: &Case, storage: DType) -> Vec<String> {
    let expected = oracle::run(case, storage);
    let compared = case_program::case_programs(case, storage);
    let check = compared.into_iter().filter_map(|compared| {
        let arg = compared.arg;
        match case_program::run(device, &compared) {
            Ok(found) => case_program::compare(case, arg, storage, &found, &expected[arg]).err(),
            Err(error) => Some(format!("{} ({storage}): {error}", case.name)),
        }
    });
    check.collect()
}

/// Runs the cases of one op; fails with everything that differs.
fn check(op: &str, device: &dyn Backend) {
    let cases: Vec<Case> =
        ops::all_cases().into_iter().filter(|case| case.call.name() == op).collect();
    assert!(!cases.is_empty(), "{op} has no cases");
    let mut failures = Vec::new();
    for storage in [DType::F32, DType::F16].into_iter().filter(|s| device.supports(*s)) {
        failures.extend(cases.iter().flat_map(|case| differences(device, case, storage)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

macro_rules! ops {
    ($($op:ident)+) => {
        mod on_cpu {
            $(#[test] fn $op() { super::check(stringify!($op), &super::Cpu); })+
        }
        mod on_wgpu {
            $(#[test] fn $op() {
                if let Some(device) = super::device::wgpu() {
                    super::check(stringify!($op), device);
                }
            })+
        }

        #[test]
        fn every_op_is_here() {
            let mut here = [$(stringify!($op)),+];
            let mut all = ops::NAMES.to_vec();
            here.sort_unstable();
            all.sort_unstable();
            assert_eq!(here.as_slice(), all);
        }
    };
}

ops! {
    activation add attention combine concat control conv2d embedding group_norm guidance linear
    mixture model_input noise predict resample scale_shift solver_step time_embedding trace
}
