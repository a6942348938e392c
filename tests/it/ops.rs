//! Every adversarial case of every op on the cpu backend, against the oracle.

use super::case_program::{self, Compared};
use super::oracle;
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

/// Runs the cases of one op; fails with everything that differs.
fn check(op: &str) {
    let cases: Vec<Case> =
        ops::all_cases().into_iter().filter(|case| case.call.name() == op).collect();
    assert!(!cases.is_empty(), "{op} has no cases");
    let mut failures = Vec::new();
    for case in &cases {
        let expected = oracle::run(case, DType::F32);
        for compared in case_program::case_programs(case, DType::F32) {
            let Compared { arg, .. } = compared;
            let found = case_program::run(&Cpu, &compared).unwrap_or_else(|e| panic!("{e}"));
            let result = case_program::compare(case, arg, DType::F32, &found, &expected[arg]);
            failures.extend(result.err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

macro_rules! ops {
    ($($op:ident)+) => {
        $(#[test] fn $op() { check(stringify!($op)); })+

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
    activation add attention combine concat conv2d embedding group_norm guidance linear
    model_input noise predict resample scale_shift solver_step time_embedding
}
