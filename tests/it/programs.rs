//! Programs as values, and what must not change the samples: fusing, hoisting, batches, shards,
//! backends.

use super::device;
use super::evaluate::relative_l2;
use std::sync::atomic::{AtomicBool, Ordering};
use unnoise::backend::null::{Counts, Null};
use unnoise::backend::{Backend, Observer, RunInputs};
use unnoise::error::Error;
use unnoise::model::Model;
use unnoise::noise::TorchCuda;
use unnoise::ops::row;
use unnoise::ops::solver_step::run_words;
use unnoise::program::{NoiseMode, Options, Program, Source, TABLE_BYTES};
use unnoise::sampler::{Classes, Precision, Request, Sampler, Shard, inspect};
use unnoise::solver::{self, Draw, Expr, Network, Row, Term, Trajectory};
use unnoise::tensor::DType;

fn digits() -> Model {
    Model::open("digits").unwrap()
}

fn sampler(request: &Request, backend: &dyn Backend) -> Sampler {
    Sampler::compile(&digits(), request, backend).unwrap()
}

/// All samples of the shard, batch after batch.
pub fn samples(request: &Request, backend: &dyn Backend) -> Vec<f32> {
    let mut sampler = sampler(request, backend);
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let indices: Vec<usize> = sampler.indices().collect();
    let batches = indices.chunks(sampler.batch());
    let draw = |batch| sampler.sample(batch, &mut observer).unwrap().data;
    batches.collect::<Vec<_>>().into_iter().flat_map(draw).collect()
}

/// Five samples of three classes with noise in every step and guidance.
pub fn request() -> Request {
    Request {
        solver: Some("ddim".into()),
        steps: Some(3),
        eta: Some(0.5),
        classes: Classes::List(vec![7, 0, 4]),
        count: 5,
        seed: 0x1_0000_0007,
        precision: Precision::F32,
        ..Request::default()
    }
}

/// A guided program of digits with this much room for tables.
fn program(request: &Request, table_bytes: usize) -> Program {
    of_solver("ddim", true, request, table_bytes)
}

fn of_solver(solver: &str, guided: bool, request: &Request, table_bytes: usize) -> Program {
    let model = digits();
    let options = solver::Options {
        clipped_eps: true,
        ..solver::Options::new(solver, request.steps.unwrap())
    };
    let trajectory =
        solver::record(&model.scheduler().unwrap(), &options, Network::default()).unwrap();
    let options = Options {
        storage: DType::F32,
        batch: request.count,
        state: model.state,
        guided,
        labels: vec![0, 4, 7, 10],
        texts: Vec::new(),
        noise: NoiseMode::Philox,
        hoist: request.hoist,
        fuse: request.fuse,
        table_bytes,
        projection: Default::default(),
        trace: false,
    };
    Program::build(&model.graph, &trajectory, &options)
}

#[test]
fn fused_and_hoisted_samples_are_the_plain_ones() {
    for backend in device::backends() {
        let plain = Request { fuse: false, hoist: false, ..request() };
        let truth = samples(&plain, device::backends()[0]);
        for (fuse, hoist) in [(false, false), (false, true), (true, false), (true, true)] {
            let found = samples(&Request { fuse, hoist, ..request() }, backend);
            let error = relative_l2(&found, &truth);
            let name = backend.name();
            assert!(error < 1e-5, "{name} fuse {fuse} hoist {hoist}: relative L2 {error:e}");
        }
    }
}

#[test]
fn a_table_too_large_stays_in_the_loop() {
    let hoisted = program(&request(), TABLE_BYTES);
    // 3 times x 4 conditions x 96 channels x 4 bytes is the largest table.
    let partly = program(&request(), 3 * 4 * 32 * 4);
    let plain = program(&Request { hoist: false, ..request() }, TABLE_BYTES);
    let prologues = [&hoisted, &partly, &plain].map(|p| p.prologue.len());
    assert!(prologues[0] > prologues[1] && prologues[1] > prologues[2], "{prologues:?}");
    assert_eq!(prologues[2], 0);
    let launches = |p: &Program| p.prologue.len() + p.launches_per_step();
    assert_eq!(launches(&hoisted), launches(&partly), "a kernel moves, it does not vanish");
    partly.validate().unwrap();
}

#[test]
fn a_sample_depends_on_its_index_alone() {
    for backend in device::backends() {
        let whole = samples(&request(), backend);
        for batch in [1, 2, 3] {
            let parts = samples(&Request { batch: Some(batch), ..request() }, backend);
            // A device may cut the sums of another batch otherwise: the same up to rounding.
            let error = relative_l2(&parts, &whole);
            assert!(error < 1e-5, "{} batch {batch}: {error:e}", backend.name());
        }
        let shards = (1..=3).flat_map(|index| {
            samples(&Request { shard: Shard { index, of: 3 }, ..request() }, backend)
        });
        let error = relative_l2(&shards.collect::<Vec<_>>(), &whole);
        assert!(error < 1e-5, "{} shards: {error:e}", backend.name());
    }
}

#[test]
fn seeds_differ_and_repeat() {
    let backend = device::backends()[0];
    let first = samples(&request(), backend);
    assert_eq!(first, samples(&request(), backend));
    for seed in [7, 8, 0x1_0000_0006] {
        assert_ne!(first, samples(&Request { seed, ..request() }, backend), "{seed}");
    }
}

#[test]
fn a_run_is_one_program_and_one_download() {
    let (first, second) = (program(&request(), TABLE_BYTES), program(&request(), TABLE_BYTES));
    assert_eq!(first, second, "building is a function");
    first.validate().unwrap();
    assert_eq!(first.rows.len(), 4, "initial noise and three steps");
    let counts = Counts::of(&first);
    let expected = first.prologue.len() + 1 + 3 * first.launches_per_step();
    assert_eq!(counts.launches, expected as u64);
    assert_eq!(counts.downloaded, 5 * 32 * 32 * 4);
    let inputs = first.slots.iter().filter(|s| matches!(s.source, Source::Input(_)));
    assert_eq!(counts.uploaded, inputs.map(|s| s.bytes()).sum::<u64>());
    for backend in [&Null as &dyn Backend].into_iter().chain(device::backends()) {
        let mut sampler = sampler(&request(), backend);
        let (stop, mut seen) = (AtomicBool::new(false), 0);
        let mut rows_done = |rows| seen = rows;
        let mut observer = Observer { stop: &stop, rows_done: &mut rows_done };
        let stats = sampler.sample(&[0, 1, 2, 3, 4], &mut observer).unwrap().stats;
        assert_eq!(stats.readbacks, 1, "{}", backend.name());
        assert_eq!(stats.launches, counts.launches, "{}", backend.name());
        assert_eq!(seen, 4, "{}", backend.name());
    }
}

#[test]
fn a_stop_ends_the_run() {
    for backend in device::backends() {
        let mut sampler = sampler(&Request { steps: Some(50), ..request() }, backend);
        let stop = AtomicBool::new(false);
        let mut seen = 0;
        let mut rows_done = |rows| {
            seen = rows;
            stop.store(true, Ordering::Relaxed);
        };
        let mut observer = Observer { stop: &stop, rows_done: &mut rows_done };
        let result = sampler.sample(&[0, 1, 2, 3, 4], &mut observer);
        assert!(matches!(result, Err(Error::Interrupted)), "{}", backend.name());
        assert!(seen < 51, "{}: {seen} rows", backend.name());
        // The next run is not the worse for it.
        stop.store(false, Ordering::Relaxed);
        let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
        sampler.sample(&[0], &mut observer).unwrap();
    }
}

/// Without guidance the step is one launch with the convolution before it, unless it binds more
/// buffers than a launch may.
#[test]
fn the_last_convolution_takes_the_step() {
    let end = |solver: &str, guided, fuse| -> Vec<(&str, String)> {
        let request = Request { fuse, ..request() };
        let program = of_solver(solver, guided, &request, TABLE_BYTES);
        program.validate().unwrap();
        let step = program.bodies.iter().find(|body| body.name == "step").unwrap();
        let end = &step.launches[step.launches.len() - 2..];
        let joined = end[1].call.name() == "conv_step";
        assert_eq!(program.slots.iter().any(|slot| slot.name == "conv_out"), !joined);
        end.iter().map(|launch| (launch.call.name(), launch.layer.clone())).collect()
    };
    let apart = [("conv2d", "conv_out".to_string()), ("solver_step", "solver".into())];
    for solver in ["ddim", "dpmpp-2m", "heun"] {
        assert_eq!(end(solver, false, true)[1], ("conv_step", "conv_out+solver".into()));
        assert_eq!(end(solver, true, true), apart);
        assert_eq!(end(solver, false, false)[1].0, "combine");
    }
    assert_eq!(end("plms", false, true), apart, "nine buffers");
}

#[test]
fn launches_and_memory_stay_within_their_aims() {
    for (name, launches) in [("digits", 49), ("ddpm-cifar10", 64)] {
        let model = Model::open(name).unwrap();
        for batch in [1, 8] {
            let found =
                inspect(&model, &Request { count: batch, ..Request::default() }, None).unwrap();
            assert!(found.launches_per_step <= launches, "{name}: {}", found.launches_per_step);
            let (used, bound) = (found.activation_bytes, found.activation_lower_bound_bytes);
            assert!(used >= bound);
            let ratio = used as f64 / bound as f64;
            assert!(ratio <= 1.15, "{name} batch {batch}: {ratio:.3} x the lower bound");
        }
    }
    let model = Model::open("ddpm-cifar10").unwrap();
    let found = inspect(&model, &Request::default(), None).unwrap();
    assert_eq!(found.parameters, 35_746_307);
    let gflop = found.flops_per_eval as f64 / 1e9;
    assert!((12.0..13.0).contains(&gflop), "{gflop} GFLOP, known to be 12.4");
}

#[test]
fn small_maps_are_split_where_nothing_was_measured() {
    for name in ["digits", "ddpm-cifar10"] {
        let model = Model::open(name).unwrap();
        let split = |batch| {
            let found =
                inspect(&model, &Request { count: batch, ..Request::default() }, None).unwrap();
            assert!(found.launches_split_k <= found.launches_per_step);
            let said = format!("a step ({} with a split sum)", found.launches_split_k);
            assert!(found.to_string().contains(&said), "{found}");
            found.launches_split_k
        };
        let [one, many] = [1, 64].map(split);
        assert!(one > many, "{name}: {one} of one sample, {many} of 64 that fill a device");
    }
}

#[test]
fn what_a_device_splits_unmeasured_is_known_beforehand() {
    let Some(wgpu) = device::wgpu() else { return };
    let program = program(&request(), TABLE_BYTES);
    let session = wgpu.prepare(&program, &digits().weights().unwrap()).unwrap();
    let split = session.tuned().unwrap().split_per_step;
    assert_eq!(program.split_per_step(&wgpu.adapter().facts()), split);
}

/// Changes word `at` of the table in slot `name`.
fn tamper(program: &mut Program, name: &str, at: usize, value: u32) {
    let slot = program.slots.iter_mut().find(|s| s.name == name).unwrap();
    let Source::Table(words) = &slot.source else { panic!("{name} is no table") };
    let mut words = words.to_vec();
    words[at] = value;
    slot.source = Source::Table(words.into());
}

#[test]
fn indices_that_leave_a_buffer_are_refused() {
    let refused = |change: &dyn Fn(&mut Program), part: &str| {
        let mut program = program(&request(), TABLE_BYTES);
        change(&mut program);
        let message = program.validate().unwrap_err().to_string();
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    };
    refused(&|p| tamper(p, "labels", 1, 11), "a label: expected below 11, found 11");
    let ring = row::Row::FIELDS.iter().find(|(name, _)| *name == "ring").unwrap().1 / 4;
    refused(&|p| tamper(p, "rows", ring, 1), "a ring position: expected below 1, found 1");
    refused(&|p| p.span.conditions = 5, "elements");
    refused(&|p| p.span.times = 4, "elements");
    refused(&|p| p.span.rows = 5, "elements");
    refused(&|p| p.rows[1].time = 3, "a time below 3");

    let program = program(&request(), TABLE_BYTES);
    let inputs = |conditions: &[u32]| RunInputs {
        run: vec![0; run_words(5)],
        condition: conditions.to_vec(),
        ..RunInputs::default()
    };
    inputs(&[0, 1, 2, 3, 0, 0, 0, 0, 0, 0]).check(&program).unwrap();
    let message = inputs(&[4; 10]).check(&program).unwrap_err().to_string();
    assert!(message.contains("below 4, found 4"), "{message}");
    let message = inputs(&[0; 9]).check(&program).unwrap_err().to_string();
    assert!(message.contains("expected 10 words, found 9"), "{message}");
}

/// The start of `torch.randn(n, device="cuda")` with seed 0, the same on every GPU.
#[test]
fn torch_cuda_noise_starts_as_known() {
    const KNOWN: [f32; 5] =
        [-0.924_662_6, -0.425_344_15, -2.643_845_7, 0.145_183_88, -0.120_866_47];
    let model = digits();
    let draw = Draw { step: 0, stream: 0, index: 0 };
    let x = Expr::from(Term::Noise(0));
    let row = Row { x, draws: vec![draw], ..Row::default() };
    let trajectory =
        Trajectory { times: vec![0.0], rows: vec![row], draws: 1, ..Trajectory::default() };
    let layout = TorchCuda::default().layout(32 * 32);
    for (backend, fuse) in device::backends().into_iter().flat_map(|b| [(b, false), (b, true)]) {
        let options = Options {
            storage: DType::F32,
            batch: 1,
            state: model.state,
            guided: false,
            labels: vec![0],
            texts: Vec::new(),
            noise: NoiseMode::TorchCuda { threads: layout.threads, calls: layout.calls },
            hoist: true,
            fuse,
            table_bytes: TABLE_BYTES,
            projection: Default::default(),
            trace: false,
        };
        let program = Program::build(&model.graph, &trajectory, &options);
        let mut session = backend.prepare(&program, &model.weights().unwrap()).unwrap();
        let (stop, mut out) = (AtomicBool::new(false), vec![0.0; 32 * 32]);
        let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
        let inputs =
            RunInputs { run: vec![0; run_words(1)], condition: vec![0], ..Default::default() };
        session.run(&inputs, &mut observer, &mut out).unwrap();
        for (found, known) in out.iter().zip(KNOWN) {
            assert!((found - known).abs() < 2e-6, "{}: {:?}", backend.name(), &out[..5]);
        }
    }
}

/// What `request` is told for digits.
fn refused(request: Request) -> String {
    request.check(&digits()).unwrap_err().to_string()
}

#[test]
fn impossible_requests_say_why() {
    let count = |count, noise: &str| Request {
        count,
        noise: noise.parse().unwrap(),
        batch: Some(1),
        ..Request::default()
    };
    let class = |list| Request { classes: Classes::List(list), ..Request::default() };
    let guidance = |g| Request { guidance: Some(g), ..Request::default() };
    let shard = |index, of| Request { shard: Shard { index, of }, ..Request::default() };
    let cases = [
        (Request { steps: Some(0), ..Request::default() }, "--steps: expected 1..=1000"),
        (Request { steps: Some(1001), ..Request::default() }, "found 1001"),
        (Request { count: 1 << 32, ..Request::default() }, "--count: expected at most 4294967295"),
        (Request { count: 0, ..Request::default() }, "--count: expected at least 1"),
        (Request { batch: Some(0), ..Request::default() }, "--batch: expected at least 1"),
        (
            Request { solver: Some("foo".into()), ..Request::default() },
            "one of ddpm, analytic-ddpm, ddim",
        ),
        (Request { eta: Some(2.0), ..Request::default() }, "--eta: expected a number from 0 to 1"),
        (guidance(f64::NAN), "--guidance: expected a number from 0"),
        (guidance(1e39), "--guidance: expected a number from 0"),
        (guidance(-1.0), "found -1"),
        (class(vec![3, 11]), "--class: expected labels from 0 to 10 of model 'digits', found 11"),
        (shard(0, 2), "--shard: expected I/N with I from 1 to N, found 0/2"),
        (shard(3, 2), "found 3/2"),
    ];
    for (request, part) in cases {
        let message = refused(request.clone());
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    // These are known only once the program is to be built.
    let compiled = |request: Request| match Sampler::compile(&digits(), &request, &Null) {
        Ok(_) => panic!("{request:?} compiles"),
        Err(error) => error.to_string(),
    };
    let message = compiled(count(1 << 22, "torch-cuda"));
    assert!(message.contains("--noise torch-cuda: expected at most 2147483647"), "{message}");
    let message = compiled(Request { steps: Some(1000), ..count(1 << 22, "torch-cpu") });
    assert!(message.contains("of noise made on the host"), "{message}");
    let message = compiled(Request { batch: Some(1 << 20), ..count(1 << 20, "native") });
    assert!(message.contains("--batch: expected at most 43690 samples"), "{message}");
}
