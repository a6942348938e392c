//! The loop as one cooperative kernel: the same samples as launch by launch, bit for bit, and what
//! would go wrong if its workgroups did not meet.

use super::emulated::{Build, Emulated, Persistent};
use super::kernels::{compiler, facts};
use super::{device, golden};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use unnoise::backend::cuda::compile::{Compiler, Target};
use unnoise::backend::source::{Variant, cuda_persistent};
use unnoise::backend::work::Work;
use unnoise::backend::{Backend, Observer};
use unnoise::error::Result;
use unnoise::model::Model;
use unnoise::ops::{Call, Facts};
use unnoise::program::{NoiseMode, Options, Program, TABLE_BYTES};
use unnoise::sampler::{Precision, Request, Sampler};
use unnoise::solver::{self, Network};
use unnoise::tensor::DType;

const ALL: Persistent = Persistent { blocks: 3, rows: 100, stop: false, bug: None };

/// Samples by three steps with noise in each, and how they came to be.
fn samples(
    model: &str,
    count: usize,
    precision: Precision,
    backend: &dyn Backend,
) -> Result<Vec<f32>> {
    let model = Model::open(model)?;
    let request = Request {
        solver: Some("ddim".into()),
        steps: Some(3),
        eta: Some(0.5),
        count,
        seed: 11,
        precision,
        // A launch that reads what several workgroups of another have written.
        trace: true,
        ..Request::default()
    };
    let mut sampler = Sampler::compile(&model, &request, backend)?;
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let all: Vec<usize> = (0..count).collect();
    let found = sampler.sample(&all, &mut observer)?;
    Ok([found.data, found.trace].concat())
}

fn same(model: &str, count: usize, precision: Precision, build: Build) {
    let truth = samples(model, count, precision, &Emulated::new(Build::Plain)).unwrap();
    for how in [ALL, Persistent { rows: 1, blocks: 2, ..ALL }] {
        let found = samples(model, count, precision, &Emulated::persistent(build, how)).unwrap();
        assert!(found == truth, "{model} in {} workgroups, {} rows", how.blocks, how.rows);
    }
}

#[test]
fn a_solver_as_one_kernel_gives_the_same_bits() {
    if device::emulator() {
        // As many samples as several workgroups have a part in.
        same("mixture", 700, Precision::F32, Build::Plain);
        same("mixture", 700, Precision::F32, Build::Thread);
    }
}

#[test]
fn a_network_as_one_kernel_gives_the_same_bits() {
    if device::emulator() {
        let model = golden::spec("network/attn-resnet-both");
        same(&model, 2, Precision::F16, Build::Plain);
    }
}

/// What the host asks for ends the run behind the row that is being walked.
#[test]
fn a_stop_ends_the_kernel_after_a_row() {
    if device::emulator() {
        let how = Persistent { stop: true, ..ALL };
        let device = Emulated::persistent(Build::Plain, how);
        let message = samples("mixture", 2, Precision::F32, &device).unwrap_err().to_string();
        assert!(message.contains("the cursor is at row 1 of 4"), "{message}");
    }
}

#[test]
fn workgroups_that_do_not_meet_are_caught() {
    if !device::emulator() {
        return;
    }
    const ARRIVE: &str = "const unsigned before = ptx::arrive(&grid.arrived);";
    const ALL_HERE: &str = "(before / gridDim.x + 1u) * gridDim.x";
    let meet = "meet(*a.grid, [&] {";
    // Each workgroup goes on when its own threads are done.
    let alone = "const auto alone = [](Grid&, const auto& go) {\n\
                 __syncthreads(); go(); __syncthreads(); };\nalone(*a.grid, [&] {";
    let differs = "gives another result than forward";
    for (bug, build, says) in [
        ((meet, alone), Build::Plain, differs),
        ((meet, alone), Build::Thread, "data race"),
        // Only the first meeting is one.
        ((ALL_HERE, "gridDim.x"), Build::Plain, differs),
        ((ALL_HERE, "(before / gridDim.x + 2u) * gridDim.x"), Build::Plain, "wait in a look"),
        ((ARRIVE, "const unsigned before = ptx::peek(&grid.arrived);"), Build::Plain, "deadlock"),
        // Nothing says that what others wrote is seen.
        (("ptx::acquire(&grid.arrived);", ""), Build::Thread, "data race"),
    ] {
        let how = Persistent { bug: Some(bug), ..ALL };
        let found = samples("mixture", 700, Precision::F32, &Emulated::persistent(build, how));
        let message = found.map(|_| "the samples".to_string()).unwrap_or_else(|e| e.to_string());
        assert!(message.contains(says), "{bug:?} under {build:?}: {message}");
    }
}

/// The variants of the bodies of a model's program in f16, cut as a device takes them unmeasured.
fn variants(model: &str, facts: Facts) -> Vec<(Variant, Call)> {
    let model = Model::open(model).unwrap();
    let scheduler = model.scheduler().unwrap();
    let options = solver::Options::new("ddim", 3);
    let trajectory = solver::record(&scheduler, &options, Network::default()).unwrap();
    let options = Options {
        storage: DType::F16,
        batch: 1,
        state: model.state,
        guided: false,
        labels: vec![0],
        texts: Vec::new(),
        noise: NoiseMode::Philox,
        hoist: true,
        fuse: true,
        table_bytes: TABLE_BYTES,
        projection: Default::default(),
        trace: false,
    };
    let program = Program::build(&model.graph, &trajectory, &options);
    let mut work = Work::of(&program, facts, u64::MAX);
    let tuned = work.classes();
    work.launches.drain(..program.prologue.len());
    let mut variants: Vec<(Variant, Call)> = Vec::new();
    for (variant, call) in work.variants(&tuned) {
        if variants.iter().all(|(known, _)| *known != variant) {
            variants.push((variant, call));
        }
    }
    variants
}

/// What the compiler says of the kernel of these variants.
fn compile(compiler: Compiler, variants: &[(Variant, Call)], capability: u32) -> String {
    let text = cuda_persistent(variants, None).unwrap();
    let compiled = compiler.compile("trajectory", &text, Target::Machine(capability)).unwrap();
    // One job reads what another wrote: no load may be one of the non-coherent cache.
    let ptx = compiler.compile("trajectory", &text, Target::Virtual(capability)).unwrap();
    let ptx = String::from_utf8_lossy(&ptx.image).into_owned();
    assert!(ptx.contains("ld.global.v4") && !ptx.contains("ld.global.nc"), "sm_{capability}");
    compiled.log
}

/// The bytes that the function with most of them spills.
fn spilled(log: &str) -> u32 {
    let lines = log.lines().filter_map(|line| line.split_once(" bytes spill stores"));
    let bytes = lines.map(|(before, _)| before.rsplit(' ').next().unwrap().parse().unwrap());
    bytes.max().expect("a line of spills")
}

/// Some launches of a network, of which one has its sum split.
#[test]
fn the_kernel_compiles_without_spills() {
    let Some(compiler) = compiler() else { return };
    for capability in [75, 80, 90, 120] {
        let all = variants("digits", facts(capability));
        let network = all.iter().find(|(v, _)| v.tile.is_some_and(|tile| tile.splits > 1));
        let update = all.iter().find(|(v, _)| v.op == "conv_step");
        let some = [network.expect("a split"), update.expect("an update")].map(Clone::clone);
        let log = compile(compiler, &some, capability);
        assert_eq!(spilled(&log), 0, "sm_{capability}: {log}");
    }
}

/// With all its variants the kernel takes every register that there is, and some have to spill.
#[test]
#[ignore = "the compiler takes minutes"]
fn the_kernel_of_a_whole_network_compiles() {
    let Some(compiler) = compiler() else { return };
    for capability in [90, 80, 120] {
        for model in ["ddpm-cifar10", "digits"] {
            let variants = variants(model, facts(capability));
            let started = Instant::now();
            let log = compile(compiler, &variants, capability);
            let (count, seconds) = (variants.len(), started.elapsed().as_secs_f64());
            let (used, spilled) = (log.lines().find(|l| l.contains("registers")), spilled(&log));
            println!(
                "{model} sm_{capability}: {count} variants, {seconds:.0} s, {used:?}, {spilled}"
            );
            assert!(spilled <= 512, "{model} sm_{capability}: {log}");
        }
    }
}
