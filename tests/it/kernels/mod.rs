//! Every CUDA kernel compiles, for every architecture, and keeps to its budget.

mod budget;
mod cubin;
mod variants;

pub use variants::facts;

use super::device::{note_ignored, required};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use unnoise::backend::cuda::compile::Compiler;

/// NVRTC. Without it: `None`, said on stderr; a failure if `UNNOISE_REQUIRE` names nvrtc.
pub fn compiler() -> Option<Compiler> {
    let found = Compiler::find();
    if found.is_none() {
        assert!(!required("nvrtc"), "UNNOISE_REQUIRE asks for nvrtc, but there is none");
        note_ignored("no NVRTC");
    }
    found
}

#[test]
fn every_case_compiles_without_spills() {
    let Some(compiler) = compiler() else { return };
    let cases = variants::of_cases(90);
    let wrong = cases.par_iter().filter_map(|(variant, call)| {
        let wrong = match cubin::needs(&compiler, variant, call, 90) {
            Ok(needs) if needs.spilled == 0 => return None,
            Ok(needs) => format!("{variant:?}: {needs:?}"),
            Err(e) => format!("{variant:?}: {e}"),
        };
        Some((variant.op, wrong.chars().take(1500).collect()))
    });
    let wrong: BTreeMap<&str, String> = wrong.collect::<Vec<_>>().into_iter().collect();
    let shown: Vec<_> = wrong.values().map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} ops of {}:\n{}", wrong.len(), cases.len(), shown.join("\n\n"));
}

/// `cargo xtask budget`; with `UNNOISE_BUDGET=write` the file is written first.
#[test]
fn every_kernel_keeps_to_its_budget() {
    let Some(compiler) = compiler() else { return };
    let (found, wrong) = budget::measure(&compiler);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if std::env::var("UNNOISE_BUDGET").is_ok_and(|word| word == "write") {
        let text = budget::written(&found, compiler.version);
        fs::write(budget::path(), text).expect("kernels/budget.txt can be written");
    }
    let text = fs::read_to_string(budget::path()).expect("kernels/budget.txt");
    let of_version = budget::version(&text) == Some(compiler.version);
    if !of_version {
        let (major, minor) = compiler.version;
        note_ignored(&format!("registers are not those of NVRTC {major}.{minor}"));
    }
    let allowed = budget::parsed(&text).unwrap_or_else(|e| panic!("kernels/budget.txt: {e}"));
    let wrong = budget::compared(&allowed, &found, of_version);
    assert!(wrong.is_empty(), "kernels/budget.txt:\n{}", wrong.join("\n"));
}
