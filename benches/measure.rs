//! What the benches share: the device, the time of launches without what surrounds them, and
//! results as JSON lines.
//!
//! One measurement feeds criterion and the lines: criterion asks for its samples through
//! `iter_custom`, and each is kept here too. Its own `estimates.json` would not do as a source: it
//! knows no device, no work and no commit, and those of earlier runs lie beside the new ones.
//!
//! `UNNOISE_DEVICE` chooses the device as `--device` does (default `auto`). Where
//! `UNNOISE_BENCH_JSON` names a file, a line is added to it for each bench; `cargo xtask compare`
//! reads two such files. `UNNOISE_GIT` says what was built where git does not.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId};
use serde::Serialize;
use std::cell::OnceCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use unnoise::backend::roofline::Peak;
use unnoise::backend::{
    Backend, Observer, RunInputs, Session, Settings, WeightSource, null, select,
};
use unnoise::error::Result;
use unnoise::program::{Body, Input, Launch, Program, Source};
use unnoise::tensor::DType;

/// A run should take so long that starting it does not matter.
const LONG: f64 = 0.02;

/// An open device with the place where results go.
pub struct Device {
    pub backend: Box<dyn Backend>,
    lines: Option<String>,
    git: String,
    peak: OnceCell<Peak>,
}

impl Device {
    /// The device that the environment asks for; it remembers and measures nothing.
    pub fn open() -> Device {
        Device::open_with(&Settings::default())
    }

    /// The same with settings.
    pub fn open_with(settings: &Settings) -> Device {
        let spec = std::env::var("UNNOISE_DEVICE").unwrap_or_else(|_| "auto".into());
        let spec = spec.parse().unwrap_or_else(|e| panic!("UNNOISE_DEVICE: {e}"));
        let selected = select::open_with(&spec, settings).unwrap_or_else(|e| panic!("{e}"));
        eprintln!("{}", selected.reason);
        let git = Command::new("git").args(["describe", "--always", "--dirty"]).output();
        let git = git.ok().filter(|out| out.status.success());
        let git = git.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_string());
        Device {
            backend: selected.backend,
            lines: std::env::var("UNNOISE_BENCH_JSON").ok().filter(|path| !path.is_empty()),
            peak: OnceCell::new(),
            git: git.or(std::env::var("UNNOISE_GIT").ok()).unwrap_or("unknown".into()),
        }
    }

    /// The storage types that the device has.
    pub fn precisions(&self) -> impl Iterator<Item = DType> + '_ {
        [DType::F32, DType::F16].into_iter().filter(|dtype| self.backend.supports(*dtype))
    }

    /// What the device does at most, measured when it is first asked for.
    pub fn peak(&self) -> &Peak {
        self.peak.get_or_init(|| {
            let peak = measured(&*self.backend).unwrap_or_else(|e| panic!("{e}"));
            eprintln!("peak: {:.1} GFLOP/s in f32, {:.2} GB/s", peak.gflops_f32, peak.gbps);
            peak
        })
    }

    /// Adds the line of a result to the file of results.
    pub fn write(&self, result: &impl Serialize) {
        let Some(path) = &self.lines else { return };
        let line = Line { device: self.backend.device(), git: &self.git, result };
        let line = serde_json::to_string(&line).expect("a result is plain data") + "\n";
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.unwrap_or_else(|e| panic!("UNNOISE_BENCH_JSON: {path}: {e}"));
    }
}

/// Nobody watches.
fn measured(backend: &dyn Backend) -> Result<Peak> {
    let stop = AtomicBool::new(false);
    Peak::measure(backend, &mut Observer { stop: &stop, rows_done: &mut |_| {} })
}

#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    #[serde(flatten)]
    result: &'a T,
    device: String,
    git: &'a str,
}

/// What one bench found.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub bench: String,
    pub case: String,
    pub precision: &'static str,
    pub ms_median: f64,
    pub ms_min: f64,
    /// Operations and moved bytes of what was timed, and their rates at `ms_min`.
    pub flops: u64,
    pub bytes: u64,
    pub gflops: f64,
    pub gbps: f64,
    /// Set where the device's peak was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}

/// The time that the work would take at the peak of f32 arithmetic or of memory, whichever is
/// longer, as a part of the time that it took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Share {
    /// `compute` or `memory`.
    pub bound: &'static str,
    pub of_peak: f64,
}

impl Measured {
    /// Sets its share of the device's peak.
    pub fn share_of(&mut self, peak: &Peak) {
        self.share = Some(Share::of(self, peak));
    }
}

impl Share {
    fn of(measured: &Measured, peak: &Peak) -> Share {
        let compute = measured.gflops / peak.gflops_f32;
        let memory = measured.gbps / peak.gbps;
        let bound = if compute >= memory { "compute" } else { "memory" };
        Share { bound, of_peak: compute.max(memory) }
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} GFLOP/s, {:.2} GB/s", self.gflops, self.gbps)?;
        match self.share {
            Some(share) => write!(f, ", {:.0}% of {}", 100.0 * share.of_peak, share.bound),
            None => Ok(()),
        }
    }
}

/// Something to time: `units` launches, blocks or steps in one run.
pub struct Timed {
    session: Box<dyn Session>,
    inputs: RunInputs,
    out: Vec<f32>,
    /// Seconds of a run that are not of the units.
    around: f64,
    units: usize,
    /// Of one unit.
    flops: u64,
    bytes: u64,
    /// Seconds of a unit, one for each run.
    samples: Vec<f64>,
}

impl Timed {
    /// The launches of the longest body that `chosen` picks, which are one unit, as often in a run
    /// as makes it long. What the body does before them is done once, before the rows; what a run
    /// takes without them (uploads, submissions, that beginning, the samples' way back) is measured
    /// and taken off.
    pub fn launches(
        device: &Device,
        program: &Program,
        weights: &dyn WeightSource,
        chosen: impl Fn(&Launch) -> bool,
    ) -> Timed {
        Timed::try_launches(device, program, weights, chosen).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The same, unless the device refuses.
    pub fn try_launches(
        device: &Device,
        program: &Program,
        weights: &dyn WeightSource,
        chosen: impl Fn(&Launch) -> bool,
    ) -> Result<Timed> {
        let prepare = |times| {
            let repeated = repeat(program, &chosen, times);
            Timed::prepare(device, &repeated, weights, times.max(1))
        };
        let mut around = prepare(0)?;
        let around = (0..5).map(|_| around.seconds()).fold(f64::INFINITY, f64::min);
        let mut once = prepare(1)?;
        once.seconds();
        let one = (once.seconds() - around).max(1e-6);
        let times = ((LONG / one).ceil() as usize).clamp(1, 256);
        let mut timed = if times == 1 { once } else { prepare(times)? };
        let unit = repeat(program, &chosen, 1);
        let unit = unit.bodies.iter().flat_map(|body| &body.launches);
        timed.flops = unit.clone().map(|l| l.call.flops()).sum();
        timed.bytes = unit.map(|l| null::bytes(program, l)).sum();
        timed.around = around;
        Ok(timed)
    }

    /// A whole program, whose rows are `steps` units.
    pub fn steps(
        device: &Device,
        program: &Program,
        weights: &dyn WeightSource,
        steps: usize,
    ) -> Timed {
        Timed::try_steps(device, program, weights, steps).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The same, unless the device refuses.
    pub fn try_steps(
        device: &Device,
        program: &Program,
        weights: &dyn WeightSource,
        steps: usize,
    ) -> Result<Timed> {
        let counts = null::Counts::of(program);
        let mut timed = Timed::prepare(device, program, weights, steps)?;
        timed.flops = counts.flops / steps as u64;
        timed.bytes = counts.bytes / steps as u64;
        Ok(timed)
    }

    fn prepare(
        device: &Device,
        program: &Program,
        weights: &dyn WeightSource,
        units: usize,
    ) -> Result<Timed> {
        let session = device.backend.prepare(program, weights)?;
        let out = vec![0.0; program.output_len];
        let (inputs, samples) = (inputs(program), Vec::new());
        Ok(Timed { session, inputs, out, around: 0.0, units, flops: 0, bytes: 0, samples })
    }

    /// Runs once, uncounted.
    pub fn warm(&mut self) {
        self.seconds();
    }

    /// Runs once; seconds of the whole run.
    fn seconds(&mut self) -> f64 {
        let stop = AtomicBool::new(false);
        let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
        let start = Instant::now();
        let run = self.session.run(&self.inputs, &mut observer, &mut self.out);
        run.unwrap_or_else(|e| panic!("{e}"));
        start.elapsed().as_secs_f64()
    }

    /// Runs once and keeps the time of a unit, in seconds: never none, as a rate is made of it.
    pub fn sample(&mut self) -> f64 {
        let seconds = ((self.seconds() - self.around) / self.units as f64).max(1e-9);
        self.samples.push(seconds);
        seconds
    }

    /// What all samples came to.
    pub fn measured(&self, bench: &str, case: &str, precision: DType) -> Measured {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, median) = (sorted[0], sorted[sorted.len() / 2]);
        Measured {
            bench: bench.into(),
            case: case.into(),
            precision: precision.name(),
            ms_median: median * 1e3,
            ms_min: min * 1e3,
            flops: self.flops,
            bytes: self.bytes,
            gflops: self.flops as f64 / min / 1e9,
            gbps: self.bytes as f64 / min / 1e9,
            share: None,
        }
    }
}

/// Times a case as criterion asks for it, unless its filter leaves it out, and writes its line.
pub fn bench(
    group: &mut BenchmarkGroup<WallTime>,
    device: &Device,
    names: [&str; 2],
    precision: DType,
    make: impl Fn() -> Timed,
) -> Option<Measured> {
    let [bench, case] = names;
    let mut timed = None;
    group.bench_function(BenchmarkId::new(case, precision), |b| {
        let timed = timed.get_or_insert_with(&make);
        b.iter_custom(|runs| Duration::from_secs_f64((0..runs).map(|_| timed.sample()).sum()));
    });
    let mut measured = timed?.measured(bench, case, precision);
    if let Some(peak) = device.peak.get() {
        measured.share_of(peak);
    }
    device.write(&measured);
    Some(measured)
}

/// `program` with nothing in its rows but the launches of its longest body that `chosen` picks,
/// `times` over. Launches of that body that come before the last of them run once, in the prologue.
fn repeat(program: &Program, chosen: impl Fn(&Launch) -> bool, times: usize) -> Program {
    let longest = program.bodies.iter().max_by_key(|body| body.launches.len());
    let name = longest.expect("a program has a body").name;
    let body = |body: &Body| -> (Vec<Launch>, Vec<Launch>) {
        let last = body.launches.iter().rposition(&chosen).expect("a chosen launch");
        body.launches[..=last].iter().cloned().partition(&chosen)
    };
    let (mut bodies, mut prologue) = (program.bodies.clone(), program.prologue.clone());
    for part in &mut bodies {
        let (unit, before) = if part.name == name { body(part) } else { Default::default() };
        prologue.extend(before);
        part.launches = (0..times).flat_map(|_| unit.clone()).collect();
    }
    Program { bodies, prologue, ..program.clone() }
}

/// Zeros for everything that a run hands in.
fn inputs(program: &Program) -> RunInputs {
    let mut inputs = RunInputs::default();
    for slot in &program.slots {
        match slot.source {
            Source::Input(Input::Run) => inputs.run = vec![0; slot.len],
            Source::Input(Input::Condition) => inputs.condition = vec![0; slot.len],
            Source::Input(Input::Draws) => inputs.draws = vec![0.0; slot.len],
            _ => {}
        }
    }
    inputs
}
