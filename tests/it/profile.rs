//! Times of launches: whether they are those of the right launch, add up to the run, and agree with
//! another clock.

use super::binary::Place;
use super::case_program::NoWeights;
use super::cli::interrupt;
use super::cuda::Machine;
use super::{device, golden};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use unnoise::backend::cpu::Cpu;
use unnoise::backend::roofline::{Kept, Peak};
use unnoise::backend::source::{Language, fingerprint};
use unnoise::backend::timeline::{Clock, Phase, Timeline};
use unnoise::backend::tune::Identity;
use unnoise::backend::wgpu::{Adapters, Wgpu};
use unnoise::backend::{Backend, Observer, RunInputs, Session, Settings, Stamping};
use unnoise::ops::{Span, multiply_add};
use unnoise::profile::{By, Profile};
use unnoise::program::{Body, Launch, Program, RowRef, Slot, SlotId, Source};
use unnoise::tensor::DType;

/// Rows of elements that a launch works on.
const WIDE: usize = 1 << 12;
/// Rounds of a launch that takes long.
const HEAVY: u32 = 256;

/// A program of `rows` rows whose launches do so many rounds of multiply-adds each, one launch
/// after the other: each writes what the next one reads.
fn chain(rounds: &[u32], rows: usize) -> Program {
    let len = WIDE * multiply_add::WIDTH;
    let slot = |name: &str, source| Slot { name: name.into(), dtype: DType::F32, len, source };
    let launch = |(i, rounds): (usize, &u32)| Launch {
        call: multiply_add::Params { n: WIDE as u32, rounds: *rounds, a: 1.0, b: 1.0 }.into(),
        args: vec![Some(SlotId(i % 2)), Some(SlotId((i + 1) % 2))],
        layer: format!("launch {i} of {rounds} rounds"),
        covers: Default::default(),
    };
    assert!(rounds.len().is_multiple_of(2), "the state ends where it began");
    Program {
        slots: vec![slot("x", Source::State), slot("y", Source::Scratch)],
        arenas: Vec::new(),
        prologue: Vec::new(),
        bodies: vec![Body {
            name: "row",
            launches: rounds.iter().enumerate().map(launch).collect(),
        }],
        rows: vec![RowRef { body: 0, time: 0 }; rows],
        output: SlotId(0),
        output_len: len,
        span: Span { times: 1, conditions: 1, rows, draws: 0 },
        memory: Default::default(),
    }
}

/// Runs a prepared program; its times if they are wanted, and how long it took.
fn run(session: &mut dyn Session, program: &Program, timed: bool) -> (Option<Timeline>, Duration) {
    let stop = AtomicBool::new(false);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let mut out = vec![f32::NAN; program.output_len];
    let inputs = RunInputs::default();
    let begin = Instant::now();
    let timeline = match timed {
        true => Some(session.profile(&inputs, &mut observer, &mut out).unwrap().1),
        false => session.run(&inputs, &mut observer, &mut out).map(|_| None).unwrap(),
    };
    let took = begin.elapsed();
    assert!(out.iter().all(|v| v.is_finite()), "the run did its work");
    (timeline, took)
}

/// Times of a second run of `program`, and what an own clock says of it.
fn timed(device: &dyn Backend, program: &Program) -> (Timeline, Duration) {
    let mut session = device.prepare(program, &NoWeights).unwrap();
    run(&mut *session, program, true);
    let (timeline, took) = run(&mut *session, program, true);
    (timeline.unwrap(), took)
}

/// Every device, wgpu in each of its ways to take the time.
fn each_device(check: impl Fn(&dyn Backend, Clock)) {
    check(&Cpu, Clock::Host);
    if let Some(cuda) = device::cuda() {
        check(cuda, Clock::Events);
    }
    if device::wgpu().is_none() {
        return;
    }
    for (stamping, clock) in
        [(Stamping::InsidePasses, Clock::InsidePasses), (Stamping::Passes, Clock::Passes)]
    {
        let settings = Settings { stamping, ..Settings::default() };
        let own = Wgpu::open_with(&Adapters::find(), None, &settings).unwrap();
        check(&own, clock);
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A launch's time is its own, not that of the one before or behind it: a stamp on the wrong side
/// of a barrier would give the long launches' times to the short ones.
#[test]
fn times_are_of_the_launch_that_took_them() {
    let rounds = [0, HEAVY, 0, 0, HEAVY, 0];
    let program = chain(&rounds, 6);
    each_device(|device, clock| {
        let (timeline, _) = timed(device, &program);
        assert_eq!(timeline.clock, clock);
        let of = |heavy: bool| -> Vec<u64> {
            let launches = timeline.launches.iter().zip(rounds.iter().cycle());
            let mut times: Vec<u64> =
                launches.filter(|(_, r)| (**r > 0) == heavy).map(|(span, _)| span.ns()).collect();
            times.sort();
            times
        };
        // A busy machine may stop any launch for a while: of the long ones the shortest counts, of
        // the short ones the middle one.
        let (long, short) = (of(true)[0], of(false)[12]);
        assert!(long > 4 * short, "{}: {long} and {short} ns", device.device());
    });
}

/// Launches and the gaps between them are the run, as the host's clock sees it.
#[test]
fn what_is_timed_adds_up_to_the_run() {
    let program = chain(&[HEAVY, HEAVY], 40);
    each_device(|device, clock| {
        let (timeline, took) = timed(device, &program);
        let wall = seconds(timeline.wall_ns);
        assert_eq!(timeline.launches.len(), 80);
        assert!(timeline.launches.windows(2).all(|pair| pair[0].end <= pair[1].start));
        let profile =
            Profile::new(&program, None, std::slice::from_ref(&timeline), &[1e6 * wall], None);
        let rows: f64 = profile.rows().iter().map(|row| row.cost.us).sum();
        let total = profile.total_us;
        assert!((rows + profile.gaps_us - total).abs() < 1e-6 * total, "{rows} of {total}");
        // An own clock, around everything.
        assert!(wall <= took.as_secs_f64(), "{wall} s of {took:?}");
        let part = total / 1e6 / wall;
        assert!((0.5..=1.001).contains(&part), "{clock:?} saw {part:.3} of {wall} s");
        // The host's phases leave nothing out, and bracket the device's work.
        let host: u64 = timeline.host.iter().map(|(_, span)| span.ns()).sum();
        assert!(seconds(host) > 0.98 * wall, "{host} ns of {wall} s");
        assert!(timeline.host.iter().any(|(phase, _)| *phase == Phase::Wait));
        let [least, most] = timeline.offset_ns;
        assert!(least <= most && most - least < timeline.wall_ns as i64, "{least} to {most}");
        let end = timeline.launches[79].end as i64;
        assert!(least >= 0 && most + end <= timeline.wall_ns as i64, "{least} {most} {end}");
    });
}

/// The first step of a run is as long as the others: it is neither still being compiled nor merely
/// enqueued.
#[test]
fn the_first_step_takes_as_long_as_the_others() {
    let program = chain(&[HEAVY, HEAVY], 20);
    each_device(|device, clock| {
        let mut session = device.prepare(&program, &NoWeights).unwrap();
        run(&mut *session, &program, false);
        let firsts = (0..5).map(|_| {
            let (timeline, _) = run(&mut *session, &program, true);
            let launches = timeline.unwrap().launches;
            let mut rest: Vec<u64> =
                launches[2..].chunks(2).map(|r| r[1].end - r[0].start).collect();
            rest.sort();
            (launches[1].end - launches[0].start) as f64 / rest[rest.len() / 2] as f64
        });
        let mut firsts: Vec<f64> = firsts.collect();
        firsts.sort_by(f64::total_cmp);
        assert!((0.4..2.5).contains(&firsts[2]), "{clock:?}: {firsts:?} of the others");
    });
}

/// A layer of the models here.
const CONV: &str = "down_blocks.0.resnets.0.conv1";

/// A profile by name, of the program as a process.
fn profile(place: &Place, flags: &str) -> serde_json::Value {
    place.run(&format!("profile --json --no-tune --steps 3 --runs 2 {flags}")).json()
}

/// What holds of every profile of three steps; `layer` is one of a conv2d.
fn check_json(found: &serde_json::Value, launches_per_step: u64, layer: &str) {
    let number = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key}: {found:#}"));
    let rows = found["rows"].as_array().unwrap();
    let sum: f64 = rows.iter().map(|row| row["us"].as_f64().unwrap()).sum();
    let total = number("total_us");
    assert!((sum + number("gaps_us") - total).abs() < 1e-6 * total, "{sum} of {total}");
    assert!(total <= number("wall_us"));
    for key in ["encode_us", "submit_us", "profiled_us", "unprofiled_us", "compile_ms"] {
        assert!(number(key) >= 0.0, "{key}");
    }
    let overhead = number("profiled_us") / number("unprofiled_us") - 1.0;
    assert!((number("overhead") - overhead).abs() < 1e-9);
    assert_eq!(found["trusted"], overhead.abs() <= 0.1);
    for step in 1..=3 {
        let of_step = rows.iter().filter(|row| row["step"] == step);
        let calls: u64 = of_step.map(|row| row["calls"].as_u64().unwrap()).sum();
        assert_eq!(calls, launches_per_step, "step {step}");
    }
    let conv = rows.iter().find(|row| row["layer"] == layer).unwrap();
    assert_eq!(conv["kernel"], "conv2d");
    let us = conv["us"].as_f64().unwrap();
    for (rate, work) in [("gflops", "flops"), ("gbps", "bytes")] {
        let expected = conv[work].as_f64().unwrap() / us / 1e3;
        let rate = conv[rate].as_f64().unwrap();
        assert!((rate / expected - 1.0).abs() < 1e-6, "{rate} of {expected}");
    }
    assert!(["compute", "memory", "launch"].contains(&conv["bound"].as_str().unwrap()));
    assert!(conv["least_us"].as_f64().unwrap() <= us);
}

#[test]
fn a_profile_is_a_table_of_steps_kernels_and_layers() {
    let place = Place::new();
    let found = profile(&place, "--device cpu");
    check_json(&found, 49, CONV);
    assert_eq!((&found["clock"], &found["runs"]), (&"host".into(), &2.into()));
    if device::wgpu().is_some() {
        for stamps in ["inside-passes", "passes"] {
            let found = profile(&place, &format!("--device wgpu --timestamps {stamps}"));
            check_json(&found, 49, CONV);
            assert_eq!(found["clock"], stamps);
        }
    }
}

#[test]
fn a_profile_is_shown_by_kernel_layer_and_step() {
    let place = Place::new();
    let ran = place.run("profile --device cpu --steps 3 --runs 1 --by kernel,layer,step --top 2");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for (by, _) in By::NAMES {
        assert!(ran.stdout.contains(&format!("\nby {by} ")), "{}", ran.stdout);
    }
    let names = ["conv2d", " more, ", "once", "of roofline", "without"];
    assert!(names.iter().all(|name| ran.stdout.contains(name)), "{}", ran.stdout);
}

/// The files hold the run of the table, and nothing else is left beside them.
#[test]
fn a_profile_leaves_a_page_and_a_trace() {
    let place = Place::new();
    let found = profile(&place, "--device cpu --trace trace.json --html page.html");
    assert_eq!(place.names("."), ["page.html", "trace.json"]);
    let trace = place.value("trace.json");
    let total = &trace["otherData"]["total_us"];
    assert_eq!(total, &found["total_us"]);
    let events = trace["traceEvents"].as_array().unwrap();
    let launches = events.iter().filter(|event| event["cat"] == "conv2d").count();
    let rows = found["rows"].as_array().unwrap().iter().filter(|row| row["kernel"] == "conv2d");
    let calls: u64 = rows.map(|row| row["calls"].as_u64().unwrap()).sum();
    assert_eq!(launches as u64, calls);
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains(CONV) && page.contains("default-src 'none'"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_profile() {
    let place = Place::new();
    // Its roofline is measured after compiling, then hundreds of runs are timed.
    let line = "profile --device cpu --steps 200 --runs 500 --html page.html";
    let mut child = place.command(line).stderr(Stdio::piped()).spawn().unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = |_: &mut _| words.next().is_some_and(|l| l.unwrap().starts_with("compiled"));
    let (code, took) = interrupt(child, ready);
    assert_eq!(code, 130);
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    assert_eq!(place.names("."), [""; 0]);
}

/// Keeps a roofline of the device that the stand-ins are, which would take them minutes to measure.
fn keep_roofline(machine: &Machine) {
    let devices = machine.run("devices --json", &[]).json();
    let cuda = devices.as_array().unwrap().iter().find(|device| device["backend"] == "cuda");
    let word = |key: &str| cuda.unwrap()[key].as_str().unwrap().to_string();
    let identity = Identity {
        adapter: word("name"),
        driver: format!("CUDA {}", word("driver")),
        sources: fingerprint(Language::Cuda),
    };
    let peak = Peak {
        gbps: 1.0,
        gflops_f32: 10.0,
        gflops_f16: None,
        gflops_matrix_f16: None,
        gflops_matrix_bf16: None,
        launch_us: 5.0,
        spread: 0.0,
    };
    let note = Kept::today(peak).save(&machine.place.path("cache"), &identity);
    assert_eq!(note, None);
}

/// Events between the kernels of CUDA's graphs, on the stand-in for the driver.
#[test]
fn cuda_launches_are_timed_by_events() {
    let Some(machine) = Machine::new() else { return };
    keep_roofline(&machine);
    let model = golden::path("network").join("one-block");
    let flags = "--json --no-tune --steps 3 --runs 1 --device cuda --precision f32";
    let line = &format!("profile {} {flags}", model.display());
    let ran = machine.run(line, &[("EMULATED_REPORT", "1")]);
    let found = ran.json();
    check_json(&found, 21, CONV);
    assert_eq!((&found["clock"], &found["peak"]["launch_us"]), (&"events".into(), &5.0.into()));
    let nothing = "streams 0, events 0, graphs 0, executables 0, modules 0, allocations 0";
    assert!(ran.stderr.contains(nothing), "{}", ran.stderr);
    for (name, value, says) in [
        ("UNNOISE_CUDA_REPLAY", "persistent", "launches that can be timed one by one"),
        ("EMULATED_DRIVER", "12070", "a driver of CUDA 12.8 or later, found a driver of CUDA 12.7"),
    ] {
        let ran = machine.run(line, &[(name, value)]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    for call in ["cuEventRecordWithFlags", "cuEventElapsedTime_v2"] {
        let ran = machine.run(line, &[("EMULATED_FAILS", &format!("{call}:2"))]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("event"), "{}", ran.stderr);
    }
}
