//! Every adversarial case of every op against the oracle, one test an op and backend, in every
//! storage type that the backend has.

use super::emulated::{Build, Emulated};
use super::{case_program, device, oracle};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use unnoise::backend::Backend;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::tune::{Choose, Tuning};
use unnoise::ops::{self, Call, Case, CaseArg, Facts, Method, Tile};
use unnoise::tensor::DType;

/// The cpu stores f32 only and says what to do about it.
#[test]
fn cpu_refuses_f16() {
    let case = &ops::all_cases()[0];
    let compared = &case_program::case_programs(case, DType::F16)[0];
    let message = case_program::run(&Cpu, compared).unwrap_err().to_string();
    assert!(message.contains("use --precision f32"), "{message}");
}

/// Every define that makes a buffer wide is one that the op has in some case, and lacks in another;
/// but for the pixels of `conv_step`, which come in fours.
#[test]
fn a_wide_buffer_is_wide_in_some_cases_and_not_in_others() {
    let cases = ops::all_cases();
    for call in cases.iter().map(|case| case.call) {
        let of_op = || cases.iter().filter(|case| case.call.name() == call.name());
        for define in call.args().iter().filter_map(|arg| arg.wide) {
            let has = |case: &Case| case.call.defines().iter().any(|(name, _)| *name == define);
            let always = (call.name(), define) == ("conv_step", "STATE4");
            assert!(of_op().any(has), "{define} of {}", call.name());
            assert_eq!(of_op().all(has), always, "{define} of {}", call.name());
        }
    }
}

/// What differs in one case.
pub fn differences(device: &dyn Backend, case: &Case, storage: DType) -> Vec<String> {
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

/// The cases of one op, in every storage type that it is tried in.
fn cases_of(op: &str, storages: &[DType]) -> Vec<(Case, DType)> {
    let cases = ops::all_cases().into_iter().filter(|case| case.call.name() == op);
    let all = cases.flat_map(|case| storages.iter().map(move |s| (case.clone(), *s)));
    let all: Vec<_> = all.collect();
    assert!(!all.is_empty(), "{op} has no cases");
    all
}

/// What differs in one case, held to the tile that a device of these facts takes unmeasured.
fn untuned(device: &dyn Backend, facts: &Facts, case: &Case, storage: DType) -> Vec<String> {
    let dtypes: Vec<_> = case.args.iter().map(|arg| arg.dtype(storage)).collect();
    match case.call.tiles(&dtypes, facts).first() {
        Some(tile) => differences(device, &held(case, *tile, storage), storage),
        None => differences(device, case, storage),
    }
}

/// The storage types of products that a device has.
fn storages(device: &dyn Backend) -> Vec<DType> {
    let all = [DType::F32, DType::F16, DType::BF16];
    all.into_iter().filter(|storage| device.supports(*storage)).collect()
}

/// Runs the cases of one op; fails with everything that differs.
fn check(op: &str, device: &dyn Backend, facts: &Facts) {
    let cases = cases_of(op, &storages(device));
    let failures = cases.iter().flat_map(|(case, s)| untuned(device, facts, case, *s));
    let failures: Vec<String> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The case as `tile` is held to it where buffers are stored as `storage`. Matrices take their
/// operands as halves: what loading has normalised or activated, or what a softmax gives, is
/// rounded once more, by up to 2^-11 or 2^-8 of each term of the sum.
pub fn held(case: &Case, tile: Tile, storage: DType) -> Case {
    let changed = match case.call {
        Call::Linear(p) => p.norm != 0 || p.act_in != 0,
        Call::Conv2d(p) => p.groups > 0 || p.act_in != 0,
        Call::ConvStep(p) => p.conv.groups > 0 || p.conv.act_in != 0,
        Call::Attention(_) => tile.method == Method::Mma,
        _ => false,
    };
    let rounded = if storage == DType::BF16 { 1.6e-2 } else { 2e-3 };
    let halves = matches!(tile.method, Method::Matrix | Method::Mma);
    let atol = if changed && halves { rounded } else { case.atol };
    Case { atol, ..case.clone() }
}

/// Takes this tile wherever it may be taken.
pub fn always(tile: Tile) -> Choose {
    Arc::new(move |_: &Call, tiles: &[Tile]| tiles.iter().position(|t| *t == tile).unwrap_or(0))
}

/// A tile, and the cases that could take it.
type Taken = (Tile, Vec<(Case, DType)>);

/// Every tile that a device could take, not only those it takes unmeasured: each on the case that
/// binds most and on one other. All cases of all tiles would be thousands of kernels to compile.
fn every_tile(facts: &Facts, storages: &[DType]) -> Vec<(Tile, Case, DType)> {
    let mut taken: BTreeMap<(&str, String), Taken> = BTreeMap::new();
    for case in ops::all_cases() {
        for storage in storages {
            let dtypes: Vec<_> = case.args.iter().map(|arg| arg.dtype(*storage)).collect();
            for tile in case.call.tiles(&dtypes, facts) {
                let name = (case.call.name(), tile.to_string());
                let (_, cases) = taken.entry(name).or_insert((tile, Vec::new()));
                cases.push((case.clone(), *storage));
            }
        }
    }
    assert!(taken.len() > 20, "only {} tiles", taken.len());
    let bound = |case: &Case| case.args.iter().filter(|a| !matches!(a, CaseArg::Absent)).count();
    let mut chosen = Vec::new();
    for (i, (tile, cases)) in taken.values().enumerate() {
        let most = cases.iter().max_by_key(|(case, _)| bound(case)).into_iter();
        let both = most.chain(cases.get(i % cases.len()));
        chosen.extend(both.map(|(case, storage)| (*tile, case.clone(), *storage)));
    }
    for op in ["conv2d", "linear"] {
        let mut split = chosen.iter().filter(|(tile, case, _)| {
            let named = case.call.args().iter().zip(&case.args);
            let mut moments = named.filter(|(arg, _)| arg.name == "moments");
            let bound = moments.any(|(_, content)| !matches!(content, CaseArg::Absent));
            case.call.name() == op && tile.splits > 1 && bound
        });
        assert!(split.next().is_some(), "no sum of {op} with moments is split");
    }
    chosen
}

/// Every tile that a device of these facts could take, on the device that takes it wherever it may.
fn check_tiles(facts: &Facts, storages: &[DType], taking: impl Fn(Tile) -> Box<dyn Backend>) {
    let mut failures = Vec::new();
    for (tile, case, storage) in every_tile(facts, storages) {
        let device = taking(tile);
        let program = &case_program::case_programs(&case, storage)[0].program;
        let session = device.prepare(program, &case_program::NoWeights);
        let session = session.unwrap_or_else(|e| panic!("{tile}: {e}"));
        let tuned = session.tuned().expect("the device has a choice");
        assert!(tuned.classes.iter().any(|class| class.chosen == tile), "{tile} was not taken");
        let wrong = differences(&*device, &held(&case, tile, storage), storage);
        failures.extend(wrong.into_iter().map(|wrong| format!("{tile}: {wrong}")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_tile_gives_the_same_on_wgpu() {
    let Some(device) = device::wgpu() else { return };
    let taking =
        |tile| -> Box<dyn Backend> { Box::new(device.with_tuning(Tuning::Fixed(always(tile)))) };
    check_tiles(&device.adapter().facts(), &storages(device), taking);
}

#[test]
fn every_tile_gives_the_same_on_cuda() {
    let Some(device) = device::cuda() else { return };
    let taking = |tile| -> Box<dyn Backend> {
        Box::new(device::open_cuda(Tuning::Fixed(always(tile))).expect("the device opens again"))
    };
    check_tiles(&device.info().facts(), &storages(device), taking);
}

#[test]
fn every_tile_gives_the_same_on_emulator() {
    if !device::emulator() {
        return;
    }
    let chosen = every_tile(&Emulated::FACTS, &[DType::F32, DType::F16, DType::BF16]);
    let of = |(tile, case, storage): &(Tile, Case, DType)| {
        let device = Emulated::choosing(Build::Plain, always(*tile));
        let wrong = differences(&device, &held(case, *tile, *storage), *storage);
        wrong.into_iter().map(|wrong| format!("{tile}: {wrong}")).collect::<Vec<_>>()
    };
    let failures: Vec<String> = chosen.par_iter().flat_map_iter(of).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs the cases of one op on the emulator.
fn check_emulated(op: &str) {
    if !device::emulator() {
        return;
    }
    let cases = cases_of(op, &[DType::F32, DType::F16, DType::BF16]);
    let device = Emulated::new(Build::Plain);
    let programs = cases.iter().flat_map(|(case, s)| case_program::case_programs(case, *s));
    let programs: Vec<_> = programs.map(|compared| compared.program).collect();
    device.compile(programs.iter());
    let of = |(case, s): &(Case, DType)| untuned(&device, &Emulated::FACTS, case, *s);
    let failures: Vec<String> = cases.par_iter().flat_map_iter(of).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Every case that cooperative matrices could compute, where the device has them.
#[test]
fn cooperative_matrices_compute_what_scalars_do() {
    let Some(device) = device::wgpu() else { return };
    let facts = device.adapter().facts();
    if facts.matrix == 0 || !device.supports(DType::F16) {
        assert!(!device::required("matrix"), "UNNOISE_REQUIRE asks for cooperative matrices");
        return device::note_ignored("no cooperative matrices");
    }
    let mut failures = Vec::new();
    let mut taken = HashSet::new();
    for (i, case) in ops::all_cases().into_iter().enumerate() {
        let dtypes: Vec<_> = case.args.iter().map(|arg| arg.dtype(DType::F16)).collect();
        let mut tiles = case.call.tiles(&dtypes, &facts);
        tiles.retain(|tile| tile.method == Method::Matrix);
        let Some(tile) = tiles.get(i % tiles.len().max(1)).copied() else { continue };
        taken.insert((case.call.name(), tile));
        let chosen = device.with_tuning(Tuning::Fixed(always(tile)));
        let wrong = differences(&chosen, &held(&case, tile, DType::F16), DType::F16);
        failures.extend(wrong.into_iter().map(|wrong| format!("{tile}: {wrong}")));
    }
    assert!(taken.len() > 6, "only {taken:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

macro_rules! ops {
    ($($op:ident)+) => {
        mod on_cpu {
            $(#[test] fn $op() {
                super::check(stringify!($op), &super::Cpu, &super::Facts::LEAST);
            })+
        }
        mod on_cuda {
            $(#[test] fn $op() {
                if let Some(device) = super::device::cuda() {
                    super::check(stringify!($op), device, &device.info().facts());
                }
            })+
        }
        mod on_emulator {
            $(#[test] fn $op() { super::check_emulated(stringify!($op)); })+
        }
        mod on_wgpu {
            $(#[test] fn $op() {
                if let Some(device) = super::device::wgpu() {
                    super::check(stringify!($op), device, &device.adapter().facts());
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
    activation add attention combine concat control conv2d conv_step divide embedding fir_resample
    geglu group_norm guidance interpolate linear matrix_multiply_add mixture model_input multiply
    multiply_add noise pool predict replace resample scale_shift solver_step time_embedding trace
    unpatchify
}
