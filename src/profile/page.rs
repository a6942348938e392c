//! A profile as a page: one HTML file that asks the network for nothing.
//!
//! The page is the template beside this file, its style, its script, and the numbers as JSON. Names
//! stand once in tables and launches point at them; a row of the trajectory points at the list of
//! its launches, which is the same for every replay of a body. The script adds up and draws.

use super::{HostSpan, Launch, Profile, TRUSTED};
use crate::backend::roofline::{Bound, Peak};
use crate::backend::timeline::{Clock, Phase};
use crate::beside;
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;
use std::path::Path;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const CHARTS: &str = include_str!("charts.js");

/// What was profiled, for the heading of a page and of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// A word and what it is here, in the order to show them: `("model", "digits")`.
    pub words: Vec<(&'static str, String)>,
    /// What compiling took before the runs, in microseconds. It is in no other number.
    pub compile_us: f64,
}

/// The page of a profile: HTML, complete in itself.
pub fn page(profile: &Profile, about: &About) -> String {
    let data = serde_json::to_string(&Data::of(profile, about)).expect("numbers and words");
    // The parser of HTML looks for tags inside of scripts too. What has names in it comes last, as
    // a name may be one of these marks.
    let data = data.replace('<', "\\u003c");
    let marks =
        [("/*style*/", STYLE), ("/*script*/", SCRIPT), ("/*charts*/", CHARTS), ("/*data*/", &data)];
    marks.iter().fold(TEMPLATE.to_string(), |page, (mark, text)| page.replacen(mark, text, 1))
}

/// Writes `text`, a page or a trace, to `path`, whole or not at all.
///
/// # Errors
/// `Error::Write`.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let written = beside::write(path, |file| file.write_all(text.as_bytes()));
    written.map(|_| ()).map_err(|e| Error::write(path, e, "free the disk or name another path"))
}

/// A number with four significant digits, the shortest way; null for one that is not finite.
fn short(value: f64) -> Value {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    // 3 and not 3.0: a gap is 0 in most places.
    match rounded.fract() == 0.0 && rounded.abs() < 1e15 {
        true => Value::from(rounded as i64),
        false => Value::from(rounded),
    }
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    about: &'a [(&'static str, String)],
    compile_us: Value,
    clock: Clock,
    total_us: Value,
    gaps_us: Value,
    wall_us: Value,
    runs: usize,
    profiled_us: Value,
    unprofiled_us: Value,
    overhead: Value,
    trusted: bool,
    limit: f64,
    offset_us: [f64; 2],
    roofs: Option<Roofs>,
    /// Phase, beginning, microseconds.
    host: Vec<(Phase, f64, Value)>,
    kernels: Vec<&'a str>,
    layers: Vec<&'a str>,
    tiles: Vec<&'a str>,
    parts: Vec<Part>,
    /// The parts that rows launch, in order.
    bodies: Vec<Vec<usize>>,
    rows: Vec<Row>,
}

/// What launches have in common that do one thing in many rows: places in the tables of names, and
/// their work.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
struct Part {
    kernel: usize,
    layer: usize,
    tile: Option<usize>,
    flops: u64,
    bytes: u64,
    floor_us: Option<Value>,
    bound: Option<Bound>,
}

/// The launches of a row of the trajectory, or of what runs once.
#[derive(Serialize)]
struct Row {
    step: Option<usize>,
    body: usize,
    start_us: f64,
    /// From the end of the launch before; 0 for the first.
    gaps: Vec<Value>,
    us: Vec<Value>,
}

/// The measured rates of the device, by name where there are several.
#[derive(Serialize)]
struct Roofs {
    gbps: f64,
    gflops: Vec<(String, f64)>,
    launch_us: f64,
}

impl Roofs {
    /// Every rate of operations that a peak has, `gflops_NAME`.
    fn of(peak: &Peak) -> Roofs {
        let fields = serde_json::to_value(peak).expect("numbers");
        let rate = |(key, value): (&String, &Value)| {
            let name = key.strip_prefix("gflops_")?.replace('_', " ");
            Some((name, value.as_f64()?))
        };
        let gflops = fields.as_object().into_iter().flatten().filter_map(rate).collect();
        Roofs { gbps: peak.gbps, gflops, launch_us: peak.launch_us }
    }
}

impl<'a> Data<'a> {
    fn of(profile: &'a Profile, about: &'a About) -> Data<'a> {
        let mut tables = Tables::default();
        let rows = rows(&profile.launches, &mut tables);
        let host = |span: &HostSpan| (span.phase, nanoseconds(span.start_us), short(span.us));
        Data {
            about: &about.words,
            compile_us: short(about.compile_us),
            clock: profile.clock,
            total_us: short(profile.total_us),
            gaps_us: short(profile.gaps_us),
            wall_us: short(profile.wall_us),
            runs: profile.runs,
            profiled_us: short(profile.profiled_us),
            unprofiled_us: short(profile.unprofiled_us),
            overhead: short(profile.overhead()),
            trusted: profile.trusted(),
            limit: TRUSTED,
            offset_us: profile.offset_us,
            roofs: profile.peak.as_ref().map(Roofs::of),
            host: profile.host.iter().map(host).collect(),
            kernels: tables.kernels.keys,
            layers: tables.layers.keys,
            tiles: tables.tiles.keys,
            parts: tables.parts.keys,
            bodies: tables.bodies.keys,
            rows,
        }
    }
}

/// A time in a run to the nanosecond.
fn nanoseconds(us: f64) -> f64 {
    (us * 1e3).round() / 1e3
}

/// Keys in the order in which they were met, each once.
struct Table<K> {
    keys: Vec<K>,
    places: HashMap<K, usize>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Table { keys: Vec::new(), places: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Table<K> {
    fn place(&mut self, key: K) -> usize {
        let keys = &mut self.keys;
        *self.places.entry(key).or_insert_with_key(|key| {
            keys.push(key.clone());
            keys.len() - 1
        })
    }
}

#[derive(Default)]
struct Tables<'a> {
    kernels: Table<&'a str>,
    layers: Table<&'a str>,
    tiles: Table<&'a str>,
    parts: Table<Part>,
    bodies: Table<Vec<usize>>,
}

impl<'a> Tables<'a> {
    fn part(&mut self, launch: &'a Launch) -> usize {
        let part = Part {
            kernel: self.kernels.place(launch.kernel),
            layer: self.layers.place(&launch.layer),
            tile: launch.tile.as_deref().map(|tile| self.tiles.place(tile)),
            flops: launch.flops,
            bytes: launch.bytes,
            floor_us: launch.floor.map(|floor| short(floor.us)),
            bound: launch.floor.map(|floor| floor.bound),
        };
        self.parts.place(part)
    }
}

/// Launches by row, in their order.
fn rows<'a>(launches: &'a [Launch], tables: &mut Tables<'a>) -> Vec<Row> {
    let row = |launches: &'a [Launch]| {
        let parts = launches.iter().map(|launch| tables.part(launch)).collect();
        let gap = |pair: &[Launch]| short(pair[1].start_us - (pair[0].start_us + pair[0].us));
        let gaps = launches.windows(2).map(gap);
        Row {
            step: launches[0].step,
            body: tables.bodies.place(parts),
            start_us: nanoseconds(launches[0].start_us),
            gaps: std::iter::once(short(0.0)).chain(gaps).collect(),
            us: launches.iter().map(|launch| short(launch.us)).collect(),
        }
    };
    launches.chunk_by(|a, b| a.step == b.step).map(row).collect()
}
