//! The trace of a profile, parsed.

use super::profile_example::{HOSTILE, about, example, hostile};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use unnoise::backend::timeline::Clock;
use unnoise::profile::{self, Profile};

fn traced(profile: &Profile) -> Value {
    serde_json::from_str(&profile::trace(profile, &about())).expect("a trace is JSON")
}

/// The slices of each thread, `[start, end]` in microseconds, in the order of the file.
fn threads(trace: &Value) -> BTreeMap<(u64, u64), Vec<[f64; 2]>> {
    let mut threads: BTreeMap<_, Vec<[f64; 2]>> = BTreeMap::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        if event["ph"] == "X" {
            let (ts, dur) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
            assert!(ts.is_finite() && ts >= 0.0 && dur.is_finite() && dur >= 0.0, "{event}");
            let thread = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
            threads.entry(thread).or_default().push([ts, ts + dur]);
        }
    }
    threads
}

/// Slices of one thread follow one another. A nanosecond is what rounding makes.
fn assert_apart(trace: &Value) {
    for (thread, slices) in threads(trace) {
        for pair in slices.windows(2) {
            assert!(pair[0][1] <= pair[1][0] + 2.1e-3, "{thread:?}: {pair:?}");
        }
    }
}

/// The slices of launches, in their order.
fn slices(trace: &Value) -> Vec<&Value> {
    let events = trace["traceEvents"].as_array().unwrap().iter();
    let launches = |event: &&Value| event["ph"] == "X" && event["pid"] == 1;
    events.filter(|event| launches(event) && event["tid"].as_u64().unwrap() >= 2).collect()
}

fn of_category<'a>(trace: &'a Value, wanted: &str) -> Vec<&'a Value> {
    let events = trace["traceEvents"].as_array().unwrap().iter();
    events.filter(|event| event["cat"] == wanted).collect()
}

#[test]
fn a_trace_holds_every_launch_in_order_on_the_clock_of_the_host() {
    let profile = example(2, 11);
    let trace = traced(&profile);
    assert_eq!(trace["displayTimeUnit"], "ms");
    assert_apart(&trace);
    let slices = &threads(&trace)[&(1, 2)];
    assert_eq!(slices.len(), profile.launches.len());
    let sum: f64 = slices.iter().map(|[start, end]| end - start).sum();
    let expected: f64 = profile.launches.iter().map(|launch| launch.us).sum();
    assert!((sum - expected).abs() < 1e-3 * slices.len() as f64, "{sum} of {expected}");
    for (slice, launch) in slices.iter().zip(&profile.launches) {
        assert!((slice[0] - launch.start_us - 180.0).abs() < 1e-3, "{slice:?}");
    }
    assert_eq!(trace["otherData"]["offset_us"], 180.0);
    assert_eq!(trace["otherData"]["offset_width_us"], 2.0);
    assert_eq!(trace["otherData"]["model"], "google/ddpm-cifar10-32");
    assert_eq!(trace["otherData"]["trusted"], true);

    let steps = of_category(&trace, "step");
    let names: Vec<&str> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["once", "step 0", "step 1"]);
    // A step encloses its launches.
    let rows = &threads(&trace)[&(1, 1)];
    assert!((rows[1][0] - slices[3][0]).abs() < 1e-6 && (rows[1][1] - slices[13][1]).abs() < 2e-3);

    let host = of_category(&trace, "host");
    let phases: Vec<&str> = host.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(phases, ["upload", "encode", "submit", "encode", "submit", "wait", "download"]);
}

#[test]
fn a_trace_says_what_a_launch_did() {
    let profile = example(1, 11);
    let trace = traced(&profile);
    let convolution = slices(&trace)[3];
    let launch = &profile.launches[3];
    assert_eq!(
        (&convolution["name"], &convolution["cat"]),
        (&json!(launch.layer), &json!("conv2d"))
    );
    let args = &convolution["args"];
    assert_eq!(args["step"], 0);
    assert_eq!(args["tile"], "tiled 64x64");
    assert_eq!(args["flops"], 604_000_000);
    assert_eq!(args["bytes"], 9_400_000);
    assert_eq!(args["bound"], "compute");
    let close = |key: &str, expected: f64| {
        let found = args[key].as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-9, "{key}: {found}, expected {expected}");
    };
    close("gflops", 604.0 / launch.us * 1e3);
    close("gbps", 9.4 / launch.us * 1e3);
    close("floor_us", 604.0 / 12.0);
    close("roofline", 604.0 / 12.0 / launch.us);
    // Before the loop there is no step.
    assert!(slices(&trace)[0]["args"].get("step").is_none());

    let named = |name: &str| {
        let events = trace["traceEvents"].as_array().unwrap().iter();
        let found = events.filter(|event| event["name"] == name);
        found.map(|event| event["args"]["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(named("process_name"), ["device", "host"]);
    assert_eq!(named("thread_name"), ["steps", "launches", "run"]);
}

#[test]
fn a_trace_tells_what_its_clock_cannot() {
    let mut profile = example(1, 11);
    profile.clock = Clock::InsidePasses;
    profile.peak = None;
    profile.launches.iter_mut().for_each(|launch| launch.floor = None);
    profile.launches[5].us = 0.0;
    let trace = traced(&profile);
    assert_eq!(trace["otherData"]["clock"], "inside-passes");
    let begins = trace["otherData"]["launch_begins"].as_str().unwrap();
    assert!(begins.starts_with("where the launch before it in its pass ends"), "{begins}");
    let empty = slices(&trace)[5];
    assert_eq!(empty["dur"], 0.0);
    for unknown in ["gflops", "bound", "floor_us", "roofline"] {
        assert!(empty["args"].get(unknown).is_none(), "{empty}");
    }
}

#[test]
fn launches_that_overlap_are_on_threads_of_their_own() {
    let mut profile = example(2, 11);
    // The sixth begins in the fifth, and the first of the last step in the one before.
    for i in [5, 14] {
        profile.launches[i].start_us = profile.launches[i - 1].start_us + 0.5;
    }
    // Badly related clocks would have the device begin before the host.
    profile.offset_us = [-30.0, -10.0];
    let trace = traced(&profile);
    assert_apart(&trace);
    let threads = threads(&trace);
    let count = |tid: u64| threads.get(&(1, tid)).map_or(0, Vec::len);
    assert_eq!(count(2) + count(3), profile.launches.len());
    assert!(count(3) >= 2, "{threads:?}");
}

#[test]
fn a_trace_brings_any_name_through_and_is_not_large() {
    let profile = hostile();
    let trace = traced(&profile);
    let slices = of_category(&trace, HOSTILE[1]);
    assert_eq!(slices[0]["name"], HOSTILE[1]);
    let large = profile::trace(&example(50, 64), &about());
    assert!(large.len() < 3203 * 500, "{} bytes", large.len());
}
