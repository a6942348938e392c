//! Every CUDA kernel compiles, for every architecture, and keeps to its registers.

use super::device::{note_ignored, required};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use unnoise::backend::cuda::compile::{Compiler, Target};
use unnoise::backend::source::{self, Variant};
use unnoise::ops::{self, Call, Facts};
use unnoise::tensor::DType;

/// NVRTC. Without it: `None`, said on stderr; a failure if `UNNOISE_REQUIRE` names nvrtc.
fn compiler() -> Option<Compiler> {
    let found = Compiler::find();
    if found.is_none() {
        assert!(!required("nvrtc"), "UNNOISE_REQUIRE asks for nvrtc, but there is none");
        note_ignored("no NVRTC");
    }
    found
}

/// What a device of this compute capability says of itself.
fn facts(capability: u32) -> Facts {
    let kibibytes = match capability {
        75 => 64,
        80 => 163,
        90 | 100 => 227,
        _ => 99,
    };
    Facts {
        workgroup_bytes: kibibytes << 10,
        threads: 1024,
        mma: if capability < 80 { 75 } else { 80 },
        processors: 132,
        last_reduces: true,
        ..Facts::LEAST
    }
}

/// The variants of all cases on a device of this compute capability: each tile once for each op,
/// and what the cases take unmeasured.
fn variants(capability: u32) -> Vec<(Variant, Call)> {
    let facts = facts(capability);
    let mut all: HashMap<Variant, Call> = HashMap::new();
    for case in ops::all_cases() {
        for storage in [DType::F32, DType::F16, DType::BF16] {
            let dtypes: Vec<_> = case.args.iter().map(|arg| arg.dtype(storage)).collect();
            let tile = case.call.tiles(&dtypes, &facts).first().copied();
            for variant in Variant::of(&case.call, &dtypes, tile, &facts) {
                all.insert(variant, case.call);
            }
        }
    }
    all.into_iter().collect()
}

#[test]
fn every_variant_compiles_without_spills() {
    let Some(compiler) = compiler() else { return };
    let only = std::env::var("UNNOISE_KERNELS").unwrap_or_default();
    let chosen: Vec<_> = variants(90).into_iter().filter(|(v, _)| v.op.contains(&only)).collect();
    let wrong = chosen.par_iter().filter_map(|(variant, call)| {
        let source = match source::cuda(variant, call) {
            Ok(source) => source,
            Err(e) => return Some((variant.op, format!("{variant:?}: {e}"))),
        };
        match compiler.compile(variant.op, &source, Target::Machine(90)) {
            Ok(compiled) if compiled.log.contains(" 0 bytes spill stores") => None,
            Ok(compiled) => Some((variant.op, format!("{variant:?}: {}", compiled.log))),
            Err(e) => Some((variant.op, format!("{variant:?}: {e}"))),
        }
    });
    let wrong: BTreeMap<_, _> = wrong.collect::<Vec<_>>().into_iter().collect();
    let shown: Vec<_> =
        wrong.values().map(|text| text.chars().take(1500).collect::<String>()).collect();
    assert!(wrong.is_empty(), "{} ops of {}:\n{}", wrong.len(), chosen.len(), shown.join("\n\n"));
}
