//! What `benches/gpu/run` measures of this engine on one device, as a table and as JSON lines:
//! `cargo bench --bench gpu -- WHAT`, or the program itself where there is no cargo.
//!
//! Criterion is not used: each figure is the median of a few runs of many steps, and a network of
//! 860 million parameters is prepared once for it. See `measure.rs` for the device and the file of
//! results.

use clap::{Parser, Subcommand};
use measure::{Device, Measured, Timed};
use models::Subject;
use random_weights::RandomWeights;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use unnoise::backend::Settings;
use unnoise::backend::tune::{self, Tuning};
use unnoise::program::{Launch, Program};
use unnoise::tensor::DType;

#[allow(dead_code)] // each bench uses a part
mod measure;
mod models;
mod networks;
mod random_weights;

/// Runs of a figure: at least so many, and more while they take no longer than this in all.
const RUNS: usize = 5;
const MOST_RUNS: usize = 25;
const SECONDS: f64 = 3.0;

/// Operations of a run: a GPU takes long enough for them that starting it does not matter. The
/// steps of a run are as many as come near it.
const FLOPS: u64 = 10_000_000_000_000;
const STEPS: [u64; 2] = [10, 200];

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Seconds in which the tiles of each program may be measured.
    #[arg(long, default_value_t = 20, global = true)]
    tune: u64,
    /// cargo says so of a bench.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// The device's rates, measured.
    Peak,
    /// Milliseconds of an evaluation with its update.
    Networks(Chosen),
    /// How the time of an evaluation divides among ops.
    Profile(Chosen),
    /// Kernels and blocks at the sizes of networks, and the update of a large state.
    Kernels,
}

#[derive(Parser)]
struct Chosen {
    /// All of them where none is named.
    #[arg(long = "network", value_name = "NAME")]
    networks: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    batches: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "f16,bf16")]
    precisions: Vec<String>,
    /// The same layers with hardly any channels: to try the program itself.
    #[arg(long)]
    tiny: bool,
    /// Steps of a run, instead of as many as are thought fit.
    #[arg(long)]
    steps: Option<usize>,
}

/// The line of a network.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    measured: Measured,
    network: &'static str,
    batch: usize,
    parameters: usize,
    launches: usize,
    steps: usize,
    /// How a session of CUDA was told to replay its launches; nothing where it was not.
    replay: Option<String>,
    prepare_seconds: f64,
    differs: &'static str,
}

/// Fails if the device refused a case.
fn main() -> ExitCode {
    let args = Args::parse();
    let step = Arc::new(|_, _| Ok(()));
    let tuning = Tuning::Measure { budget: Duration::from_secs(args.tune), step };
    let device =
        Device::open_with(&Settings { tuning, cache: tune::folder(), ..Settings::default() });
    let good = match &args.what {
        What::Peak => peak(&device),
        What::Networks(chosen) => each(&device, chosen, network),
        What::Profile(chosen) => each(&device, chosen, profile),
        What::Kernels => kernels(&device),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn peak(device: &Device) -> bool {
    let peak = device.peak();
    println!(
        "copy {:.1} GB/s, f32 {:.1} GFLOP/s, f16 {:.1}, by matrix units f16 {:.1}, bf16 {:.1}; a \
         launch {:.1} us",
        peak.gbps,
        peak.gflops_f32,
        peak.gflops_f16.unwrap_or(0.0),
        peak.gflops_matrix_f16.unwrap_or(0.0),
        peak.gflops_matrix_bf16.unwrap_or(0.0),
        peak.launch_us
    );
    #[derive(Serialize)]
    struct Peak<'a> {
        bench: &'static str,
        #[serde(flatten)]
        peak: &'a unnoise::backend::roofline::Peak,
    }
    device.write(&Peak { bench: "peak", peak });
    true
}

/// A network, how it is stored, and its batch.
struct Case<'a> {
    subject: &'a Subject,
    storage: DType,
    batch: usize,
    steps: Option<usize>,
}

/// Every case that was chosen and that the device can store; one that fails is said, and the next
/// is tried.
fn each(device: &Device, chosen: &Chosen, measure: fn(&Device, &Case) -> bool) -> bool {
    let mut good = true;
    let mut names: Vec<&str> = chosen.networks.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.extend(models::NAMES);
    }
    for subject in names.into_iter().map(|name| Subject::open(name, chosen.tiny)) {
        for precision in &chosen.precisions {
            let all = [DType::F32, DType::F16, DType::BF16];
            let storage = all.into_iter().find(|dtype| dtype.name() == precision);
            let storage = storage.unwrap_or_else(|| panic!("no precision {precision}"));
            if !device.backend.supports(storage) {
                println!("{}: the device does not store {precision}", subject.name);
                continue;
            }
            for &batch in &chosen.batches {
                let steps = chosen.steps;
                good &= measure(device, &Case { subject: &subject, storage, batch, steps });
            }
        }
    }
    good
}

impl Case<'_> {
    fn program(&self) -> (Program, usize) {
        let steps = self.steps.unwrap_or_else(|| {
            let one = self.subject.program(self.storage, self.batch, 1);
            let launches = one.bodies.iter().flat_map(|body| &body.launches);
            let flops: u64 = launches.map(|launch| launch.call.flops()).sum();
            (FLOPS / flops.max(1)).clamp(STEPS[0], STEPS[1]) as usize
        });
        (self.subject.program(self.storage, self.batch, steps), steps)
    }

    fn name(&self) -> String {
        format!("{}, batch {}", self.subject.name, self.batch)
    }
}

fn network(device: &Device, case: &Case) -> bool {
    let (program, steps) = case.program();
    let started = Instant::now();
    let timed = Timed::try_steps(device, &program, &RandomWeights, steps);
    let prepare_seconds = started.elapsed().as_secs_f64();
    let Some(mut timed) = said(&case.name(), timed) else { return false };
    let replay = replay();
    let name = match &replay {
        None => case.name(),
        Some(way) => format!("{}, {way}", case.name()),
    };
    let measured = timed.settled(&name, case.storage);
    let launches = program.launches_per_step();
    println!(
        "{name:<50}{:>6}{:>10.4} ms  {launches} launches  {measured}",
        case.storage.name(),
        measured.ms_median
    );
    device.write(&Line {
        measured,
        network: case.subject.name,
        batch: case.batch,
        parameters: case.subject.graph.parameters(),
        launches,
        steps,
        replay,
        prepare_seconds,
        differs: case.subject.differs,
    });
    true
}

/// The launches of each op by themselves, one after another as the step has them.
fn profile(device: &Device, case: &Case) -> bool {
    let program = case.subject.program(case.storage, case.batch, 2);
    let body = program.bodies.iter().max_by_key(|body| body.launches.len());
    let launches = &body.expect("a program has a body").launches;
    let mut ops: Vec<&str> = launches.iter().map(|launch| launch.call.name()).collect();
    ops.sort_unstable();
    ops.dedup();
    for op in ops {
        let chosen = |launch: &Launch| launch.call.name() == op;
        let of_op = launches.iter().filter(|launch| chosen(launch)).count();
        let name = format!("{}: {of_op} {op}", case.name());
        let timed = Timed::try_launches(device, &program, &RandomWeights, chosen);
        let Some(mut timed) = said(&name, timed) else { return false };
        let measured = Measured { bench: "profile".into(), ..timed.settled(&name, case.storage) };
        println!("{name:<50}{:>6}{:>10.4} ms  {measured}", measured.precision, measured.ms_median);
        device.write(&measured);
    }
    true
}

fn kernels(device: &Device) -> bool {
    let mut good = true;
    let peak = device.peak();
    for kernel in networks::kernels() {
        for precision in device.precisions() {
            let program = kernel.program(precision);
            let has = |launch: &Launch| kernel.has(launch);
            let timed = Timed::try_launches(device, &program, &RandomWeights, has);
            let Some(mut timed) = said(&kernel.case, timed) else {
                good = false;
                continue;
            };
            let mut measured = timed.settled(&kernel.case, precision);
            measured.bench = kernel.bench.into();
            measured.share_of(peak);
            let Measured { ms_median, precision, .. } = measured;
            println!(
                "{:<14}{:<50}{precision:>6}{ms_median:>10.4} ms  {measured}",
                kernel.bench, kernel.case
            );
            device.write(&measured);
        }
    }
    good
}

/// What could be prepared; an error is said.
fn said<T>(name: &str, result: unnoise::error::Result<T>) -> Option<T> {
    result.map_err(|error| println!("{name}: {error}")).ok()
}

impl Timed {
    /// The median of as many runs as are thought fit, after one that is not counted.
    fn settled(&mut self, case: &str, storage: DType) -> Measured {
        self.warm();
        let started = Instant::now();
        for run in 0..MOST_RUNS {
            if run >= RUNS && started.elapsed().as_secs_f64() > SECONDS {
                break;
            }
            self.sample();
        }
        self.measured("network", case, storage)
    }
}

/// The environment's words for how launches are replayed.
fn replay() -> Option<String> {
    let said = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let overlap = said("UNNOISE_CUDA_OVERLAP").map(|value| format!("overlap {value}"));
    let words: Vec<String> = said("UNNOISE_CUDA_REPLAY").into_iter().chain(overlap).collect();
    (!words.is_empty()).then(|| words.join(", "))
}
