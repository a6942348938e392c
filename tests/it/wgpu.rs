//! How a program runs on a GPU, and what is wgpu's own: chunks, stops, limits. Its ops are in
//! ops.rs.

use super::case_program::NoWeights;
use super::hash_weights::HashWeights;
use super::{device, golden};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use unnoise::backend::wgpu::{Adapters, Wgpu};
use unnoise::backend::{Backend, Observer, RunInputs, RunStats};
use unnoise::error::Error;
use unnoise::model::Model;
use unnoise::noise::NoiseKind;
use unnoise::ops::solver_step::run_words;
use unnoise::ops::{RowMap, Span, add};
use unnoise::program::{
    Body, Input, Launch, NoiseMode, Options, Pack, Param, Piece, Program, RowRef, Slot, SlotId,
    Source, TABLE_BYTES,
};
use unnoise::sampler::{Request, Sampler};
use unnoise::solver::{self, Network};
use unnoise::tensor::DType;

/// A program that adds one to a state of `len` elements in each of `rows` rows. The two slots of
/// the state take turns; an even number of rows ends in the output.
fn counter(len: usize, rows: usize) -> Program {
    let slot = |name: &str, source| Slot { name: name.into(), dtype: DType::F32, len, source };
    let ones = vec![1.0_f32.to_bits(); len];
    let params = add::Params {
        a_map: RowMap::IDENTITY,
        b_map: RowMap::IDENTITY,
        n: 1,
        hw: 1,
        c: len as u32,
        broadcast: 0,
        scale: 1.0,
    };
    let body = |name, from, to| Body {
        name,
        launches: vec![Launch {
            call: params.into(),
            args: vec![Some(SlotId(from)), Some(SlotId(2)), None, Some(SlotId(to))],
            layer: name.to_string(),
            covers: Default::default(),
        }],
    };
    Program {
        slots: vec![
            slot("even", Source::State),
            slot("odd", Source::Scratch),
            slot("ones", Source::Table(ones.into())),
        ],
        arenas: Vec::new(),
        prologue: Vec::new(),
        bodies: vec![body("to odd", 0, 1), body("to even", 1, 0)],
        rows: (0..rows).map(|row| RowRef { body: row % 2, time: 0 }).collect(),
        output: SlotId(0),
        output_len: len,
        span: Span { times: 1, conditions: 1, rows, draws: 0 },
        memory: Default::default(),
    }
}

/// Runs a program; gives its samples, what it did and the rows it reported.
fn run(
    device: &dyn Backend,
    program: &Program,
    times: usize,
) -> Vec<(Vec<f32>, RunStats, Vec<usize>)> {
    let mut session = device.prepare(program, &NoWeights).unwrap();
    let run = |_| {
        let stop = AtomicBool::new(false);
        let mut rows = Vec::new();
        let mut observer = Observer { stop: &stop, rows_done: &mut |n| rows.push(n) };
        let mut out = vec![f32::NAN; program.output_len];
        let stats = session.run(&RunInputs::default(), &mut observer, &mut out).unwrap();
        (out, stats, rows)
    };
    (0..times).map(run).collect()
}

#[test]
fn a_trajectory_is_many_launches_and_one_readback() {
    let runs = |device: &dyn Backend| run(device, &counter(1000, 50), 3);
    for (out, stats, rows) in device::gpus().into_iter().flat_map(runs) {
        assert_eq!(out, vec![50.0; 1000], "state starts at zero in each run");
        assert_eq!((stats.launches, stats.readbacks), (50, 1));
        assert!(rows.is_sorted() && rows.last() == Some(&50), "{rows:?}");
    }
}

/// On a device of its own: other tests prepare programs on theirs at the same time.
#[test]
fn a_run_makes_nothing_on_the_device() {
    if device::wgpu().is_none() {
        return;
    }
    let own = Wgpu::open(&Adapters::find(), None).unwrap();
    let noise = NoiseKind::TorchCpu;
    let request = Request { steps: Some(3), count: 4, batch: Some(2), noise, ..Request::default() };
    let compiled = || Sampler::compile(&Model::open("digits").unwrap(), &request, &own).unwrap();
    let mut sampler = compiled();
    let stop = AtomicBool::new(false);
    let mut held_by_run = |samples: [usize; 2]| {
        let mut seen = Vec::new();
        let mut rows_done = |_| seen.push(own.objects());
        let mut observer = Observer { stop: &stop, rows_done: &mut rows_done };
        sampler.sample(&samples, &mut observer).unwrap();
        seen.push(own.objects());
        seen
    };
    // In the first run the device lets go of what the weights were uploaded through.
    let first = held_by_run([0, 1]).pop().unwrap();
    assert!(first.iter().all(|(_, held)| *held > 0), "{first:?}");
    for samples in [[0, 1], [2, 3], [3, 2]] {
        let seen = held_by_run(samples);
        assert!(seen.iter().all(|held| *held == first), "{first:?} became {seen:?}");
    }
    let _second = compiled();
    assert!(own.objects()[0].1 > first[0].1, "what is made is counted");
}

/// ddpm-cifar10 under DDIM in `steps` steps, its maps so small that hardly anything but launching
/// them takes time.
fn tiny_cifar10(steps: usize) -> Program {
    let folder = tempfile::tempdir().unwrap();
    let own = golden::root().join("models/ddpm-cifar10");
    let config = fs::read_to_string(own.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["sample_size"] = 8.into();
    config["block_out_channels"] = vec![32, 32, 32, 32].into();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let model = Model::open(folder.path().to_str().unwrap()).unwrap();
    let scheduler = Model::open("ddpm-cifar10").unwrap().scheduler().unwrap();
    let options = solver::Options::new("ddim", steps);
    let trajectory = solver::record(&scheduler, &options, Network::default()).unwrap();
    let options = Options {
        storage: DType::F32,
        batch: 1,
        state: model.state,
        guided: false,
        labels: vec![],
        texts: Vec::new(),
        noise: NoiseMode::Philox,
        hoist: true,
        fuse: true,
        table_bytes: TABLE_BYTES,
        projection: Default::default(),
        trace: false,
    };
    Program::build(&model.graph, &trajectory, &options)
}

/// The best of some runs: other work on the machine only makes it longer.
#[test]
fn recording_a_launch_takes_microseconds() {
    let Some(device) = device::wgpu() else { return };
    let program = tiny_cifar10(50);
    let mut session = device.prepare(&program, &HashWeights).unwrap();
    let inputs = RunInputs { run: vec![0; run_words(1)], condition: vec![0], ..Default::default() };
    let stop = AtomicBool::new(false);
    let mut out = vec![0.0; program.output_len];
    let runs: Vec<RunStats> = (0..4)
        .map(|_| {
            let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
            session.run(&inputs, &mut observer, &mut out).unwrap()
        })
        .collect();
    assert!(runs.iter().all(|s| 0.0 < s.encode_ms && s.encode_ms <= s.host_ms), "{runs:?}");
    let best = runs.iter().min_by(|a, b| a.encode_ms.total_cmp(&b.encode_ms)).unwrap();
    println!("{best:?}");
    assert!(best.encode_ms < 0.020 * best.dispatches as f64, "{best:?}");
}

#[test]
fn long_work_is_submitted_in_chunks_and_the_first_is_small() {
    let Some(device) = device::wgpu() else { return };
    let mut runs = run(device, &counter(1 << 20, 400), 1);
    let (out, stats, rows) = runs.remove(0);
    assert!(out.iter().all(|v| *v == 400.0));
    assert!(stats.submits > 2, "{stats:?}");
    assert_eq!(rows.first(), Some(&1), "the first row goes out at once");
    assert_eq!(rows.last(), Some(&400));
}

#[test]
fn a_stop_ends_a_run_between_chunks_and_the_session_stays_usable() {
    device::gpus().into_iter().for_each(check_stop);
}

fn check_stop(device: &dyn Backend) {
    let program = counter(1 << 20, 400);
    let mut session = device.prepare(&program, &NoWeights).unwrap();
    let stop = AtomicBool::new(false);
    let mut out = vec![0.0; program.output_len];
    let mut seen = 0;
    let mut note = |rows| {
        seen = rows;
        stop.store(true, Ordering::Relaxed);
    };
    let mut observer = Observer { stop: &stop, rows_done: &mut note };
    let stopped = session.run(&RunInputs::default(), &mut observer, &mut out);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert!(seen < 400, "stopped after {seen} rows");
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    session.run(&RunInputs::default(), &mut observer, &mut out).unwrap();
    assert!(out.iter().all(|v| *v == 400.0));
}

#[test]
fn a_slot_or_an_arena_larger_than_the_adapter_allows_is_refused_before_anything_is_allocated() {
    let Some(device) = device::wgpu() else { return };
    let most = device.adapter().max_binding_bytes.min(device.adapter().max_buffer_bytes);
    let (len, shape) = (most as usize / 4 + 4, vec![most as usize / 4 + 4]);
    let param = Param::new("conv_in.weight", &shape);
    let piece = Piece { param, left: None, pack: Pack::Flat, at: 0 };
    let weight = Source::Weight { pieces: vec![piece], width: 1 };
    for (source, batch) in [(Source::Scratch, true), (weight, false)] {
        let mut program = counter(16, 2);
        let name = "conv_in".to_string();
        program.slots.push(Slot { name, dtype: DType::F32, len, source });
        let error = device.prepare(&program, &NoWeights).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        for part in ["conv_in", &most.to_string(), "another --device"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(message.contains("--batch"), batch, "{message}");
        assert_eq!(message.matches(&(4 * len).to_string()).count(), 1, "{message}");
    }
    let most = device.adapter().max_buffer_bytes;
    let mut program = counter(16, 2);
    program.arenas.push(most + 256);
    let message = device.prepare(&program, &NoWeights).err().unwrap().to_string();
    for part in [&most.to_string(), &(most + 256).to_string(), "--batch"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn inputs_of_the_wrong_size_are_refused() {
    let Some(device) = device::wgpu() else { return };
    let mut program = counter(16, 2);
    program.slots.push(Slot {
        name: "run".to_string(),
        dtype: DType::U32,
        len: 6,
        source: Source::Input(Input::Run),
    });
    let mut session = device.prepare(&program, &NoWeights).unwrap();
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let inputs = RunInputs { run: vec![0; 4], ..Default::default() };
    let error = session.run(&inputs, &mut observer, &mut [0.0; 16]).unwrap_err();
    assert!(error.to_string().contains("6 words"), "{error}");
}

#[test]
fn an_adapter_that_is_not_there_is_an_error_that_lists_those_that_are() {
    let Some(device) = device::wgpu() else { return };
    let error = Wgpu::open(&Adapters::find(), Some(99)).err().unwrap();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains(&device.adapter().words()), "{error}");
}
