//! A profile in the trace event format that Perfetto and chrome://tracing open.
//!
//! The device and the host are a process each, on the host's clock. Times of the device are moved
//! there by the middle of [`Profile::offset_us`], whose width the trace states.

use super::page::About;
use super::{Launch, Profile};
use crate::backend::timeline::Clock;
use serde_json::{Map, Value, json};

/// Processes and the threads in them, by number: a trace shows them in this order.
const DEVICE: u32 = 1;
const HOST: u32 = 2;
const STEPS: u32 = 1;
/// And on, where launches overlap.
const LAUNCHES: u32 = 2;
const RUN: u32 = 1;

/// What [`Clock::InsidePasses`] cannot tell apart.
const BEGINS_WHERE_ANOTHER_ENDS: &str =
    "where the launch before it in its pass ends: gaps inside a pass are part of launches";

/// The trace of a profile: one JSON object, times in microseconds to the nanosecond.
pub fn trace(profile: &Profile, about: &About) -> String {
    let offset = offset(profile);
    let starts = profile.launches.iter().map(|launch| launch.start_us + offset);
    let host_starts = profile.host.iter().map(|span| span.start_us);
    // Viewers take no time before 0. One is there only if the clocks are badly related.
    let begin = starts.chain(host_starts).fold(0.0, f64::min);
    let mut events = named(profile);
    events.extend(steps(profile, offset - begin));
    events.extend(launches(profile, offset - begin));
    for span in &profile.host {
        let name = json!(span.phase);
        let at = [span.start_us - begin, span.us];
        events.push(complete([HOST, RUN], &name, "host", at, Map::new()));
    }
    let trace = json!({
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": other(profile, about, offset),
    });
    trace.to_string()
}

/// One value of the interval of offsets: neither end is likelier than the other.
fn offset(profile: &Profile) -> f64 {
    let [least, most] = profile.offset_us;
    least + (most - least) / 2.0
}

/// What is true of the whole trace.
fn other(profile: &Profile, about: &About, offset: f64) -> Value {
    let [least, most] = profile.offset_us;
    let mut other: Map<String, Value> =
        about.words.iter().map(|(word, value)| (word.to_string(), json!(value))).collect();
    let facts = json!({
        "compile_us": about.compile_us,
        "clock": profile.clock,
        "launch_begins": match profile.clock {
            Clock::InsidePasses => BEGINS_WHERE_ANOTHER_ENDS,
            Clock::Host | Clock::Passes | Clock::Events => "when it begins",
        },
        "offset_us": offset,
        "offset_width_us": most - least,
        "clocks": "times of the device are on the host's clock, to half of offset_width_us",
        "total_us": profile.total_us,
        "gaps_us": profile.gaps_us,
        "encode_us": profile.encode_us,
        "submit_us": profile.submit_us,
        "wall_us": profile.wall_us,
        "profiled_us": profile.profiled_us,
        "unprofiled_us": profile.unprofiled_us,
        "overhead": profile.overhead(),
        "trusted": profile.trusted(),
        "peak": profile.peak,
    });
    if let Value::Object(facts) = facts {
        other.extend(facts);
    }
    Value::Object(other)
}

/// Names and order of processes and threads.
fn named(profile: &Profile) -> Vec<Value> {
    let device = profile.launches.iter().map(|launch| [launch.start_us, launch.us]);
    let lanes = lanes(device).into_iter().max().unwrap_or(0);
    let more = (1..=lanes).map(|i| ([DEVICE, LAUNCHES + i], format!("launches {}", i + 1)));
    let mut threads = vec![
        ([DEVICE, STEPS], "steps".to_string()),
        ([DEVICE, LAUNCHES], "launches".to_string()),
        ([HOST, RUN], "run".to_string()),
    ];
    threads.extend(more);
    let mut events = Vec::new();
    for (pid, name) in [(DEVICE, "device"), (HOST, "host")] {
        events.push(meta("process_name", [pid, 0], json!({"name": name})));
        events.push(meta("process_sort_index", [pid, 0], json!({"sort_index": pid})));
    }
    for (at, name) in threads {
        events.push(meta("thread_name", at, json!({"name": name})));
        events.push(meta("thread_sort_index", at, json!({"sort_index": at[1]})));
    }
    events
}

fn meta(name: &str, [pid, tid]: [u32; 2], args: Value) -> Value {
    json!({"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args})
}

/// A slice for each row of the trajectory, and for what runs once before it. They are cut where the
/// next begins, as slices of a thread may not overlap.
fn steps(profile: &Profile, offset: f64) -> Vec<Value> {
    let rows: Vec<&[Launch]> = profile.launches.chunk_by(|a, b| a.step == b.step).collect();
    let first = |row: &[Launch]| row.iter().map(|l| l.start_us).fold(f64::INFINITY, f64::min);
    let last = |row: &[Launch]| row.iter().map(|l| l.start_us + l.us).fold(0.0, f64::max);
    let slice = |(i, row): (usize, &&[Launch])| {
        let start = first(row);
        let next = rows.get(i + 1).map_or(f64::INFINITY, |next| first(next));
        let name = row[0].step.map_or("once".to_string(), |step| format!("step {step}"));
        let at = [start + offset, last(row).min(next).max(start) - start];
        let args = Map::from_iter([("launches".to_string(), json!(row.len()))]);
        complete([DEVICE, STEPS], &json!(name), "step", at, args)
    };
    rows.iter().enumerate().map(slice).collect()
}

/// A slice for each launch.
fn launches(profile: &Profile, offset: f64) -> Vec<Value> {
    let lanes = lanes(profile.launches.iter().map(|launch| [launch.start_us, launch.us]));
    let slice = |(launch, lane): (&Launch, u32)| {
        let at = [launch.start_us + offset, launch.us];
        let thread = [DEVICE, LAUNCHES + lane];
        complete(thread, &json!(launch.layer), launch.kernel, at, args(launch))
    };
    profile.launches.iter().zip(lanes).map(slice).collect()
}

/// What a viewer shows of a launch; what is not known is not there.
fn args(launch: &Launch) -> Map<String, Value> {
    // In 1e9 a second, as many in a microsecond as thousands of them.
    let rate = |work: u64| (launch.us > 0.0).then(|| work as f64 / launch.us / 1e3);
    let share = launch.floor.filter(|_| launch.us > 0.0).map(|floor| floor.us / launch.us);
    let all = [
        ("step", json!(launch.step)),
        ("layer", json!(launch.layer)),
        ("kernel", json!(launch.kernel)),
        ("tile", json!(launch.tile)),
        ("flops", json!(launch.flops)),
        ("bytes", json!(launch.bytes)),
        ("gflops", json!(rate(launch.flops))),
        ("gbps", json!(rate(launch.bytes))),
        ("bound", json!(launch.floor.map(|floor| floor.bound))),
        ("floor_us", json!(launch.floor.map(|floor| floor.us))),
        ("roofline", json!(share)),
        ("least_us", json!(launch.least_us)),
    ];
    all.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.to_string(), v)).collect()
}

/// A complete event of a `[process, thread]` at `[start, length]`.
fn complete(
    [pid, tid]: [u32; 2],
    name: &Value,
    category: &str,
    [start, length]: [f64; 2],
    args: Map<String, Value>,
) -> Value {
    // To the nanosecond at both ends, so that what touches still touches.
    let nanoseconds = |us: f64| (us * 1e3).round();
    let (ts, end) = (nanoseconds(start), nanoseconds(start + length));
    json!({
        "ph": "X", "pid": pid, "tid": tid, "name": name, "cat": category,
        "ts": ts / 1e3, "dur": (end - ts).max(0.0) / 1e3, "args": args,
    })
}

/// The lane of each `[start, length]`: the first in which everything before has ended. Kernels may
/// run at the same time, and slices of a thread may not overlap.
fn lanes(spans: impl Iterator<Item = [f64; 2]>) -> Vec<u32> {
    /// Less than a clock tells apart, more than adding rounds.
    const ROUNDING: f64 = 1e-3;
    let mut ends: Vec<f64> = Vec::new();
    let lane = |[start, length]: [f64; 2]| {
        let free = ends.iter().position(|end| *end <= start + ROUNDING).unwrap_or(ends.len());
        ends.resize(ends.len().max(free + 1), 0.0);
        ends[free] = start + length;
        free as u32
    };
    spans.map(lane).collect()
}
