//! What sampling verbs share: Ctrl-C, the device, the compiled sampler and its identity.

use super::args::RunArgs;
use super::progress::Progress;
use super::say;
use serde::Serialize;
use std::fmt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use unnoise::backend::select::{self, DeviceSpec};
use unnoise::backend::tune::{self, Step, Tuning};
use unnoise::backend::{Backend, Settings};
use unnoise::error::{Error, Result};
use unnoise::model::Model;
use unnoise::output;
use unnoise::program;
use unnoise::sampler::{Report, Request, Sampler};

/// A run that does not look at the stop flag for so long is ended by force.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether what is finished when Ctrl-C comes is kept: the handler is the process's own.
static KEEPS: AtomicBool = AtomicBool::new(false);

/// What Ctrl-C left.
pub fn interrupted() -> &'static str {
    if KEEPS.load(Ordering::Relaxed) {
        "interrupted; the finished samples are kept, run the same command again to go on"
    } else {
        "interrupted; nothing was written"
    }
}

/// The keys by which scripts recognise a run.
#[derive(Clone, Debug, Serialize)]
pub struct Keys {
    model: String,
    backend: String,
    device: String,
    precision: String,
    solver: String,
    steps: usize,
    nfe: usize,
    count: usize,
    batch: usize,
    seed: u64,
    /// What of the model's configuration the solver does not follow.
    notes: Vec<String>,
}

impl Keys {
    pub fn of(report: &Report) -> Keys {
        Keys {
            model: report.model.clone(),
            backend: report.backend.clone(),
            device: report.device.clone(),
            precision: report.precision.clone(),
            solver: report.solver.clone(),
            steps: report.steps,
            nfe: report.nfe,
            count: report.count,
            batch: report.batch,
            seed: report.seed,
            notes: report.notes.clone(),
        }
    }
}

impl Keys {
    /// The same in words, for the heading of a page.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        vec![
            ("model", self.model.clone()),
            ("backend", self.backend.clone()),
            ("device", self.device.clone()),
            ("precision", self.precision.clone()),
            ("solver", self.solver.clone()),
            ("steps", self.steps.to_string()),
            ("nfe", self.nfe.to_string()),
            ("count", self.count.to_string()),
            ("batch", self.batch.to_string()),
            ("seed", self.seed.to_string()),
        ]
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keys { model, device, precision, solver, steps, count, batch, .. } = self;
        write!(f, "{model}, {solver} in {steps} steps, {count} samples by {batch}, ")?;
        write!(f, "{precision} on {device}")
    }
}

/// How long a run may first measure tiles that it has no times of.
const TUNING: Duration = Duration::from_secs(2);

/// Chooses the device, says why on stderr, and compiles.
pub fn compile(
    args: &RunArgs,
    model: &Model,
    request: &Request,
    stop: &Arc<AtomicBool>,
) -> Result<Sampler> {
    compile_with(args.device()?, tuning(args.tune, stop), model, request)
}

/// How tiles are chosen: measured now where they were not before, unless `tune` is off.
pub fn tuning(tune: bool, stop: &Arc<AtomicBool>) -> Tuning {
    match tune {
        true => Tuning::Measure { budget: TUNING, step: step(stop) },
        false => Tuning::Off,
    }
}

/// Between two measurements: shows how many are done, and ends them after Ctrl-C.
pub fn step(stop: &Arc<AtomicBool>) -> Step {
    let (stop, progress) = (stop.clone(), Progress::new(0));
    Arc::new(move |done, total| {
        progress.of(done, total);
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })
}

/// Compiles on a device whose tiles are chosen as `tuning` says.
pub fn compile_with(
    device: DeviceSpec,
    tuning: Tuning,
    model: &Model,
    request: &Request,
) -> Result<Sampler> {
    let settings = Settings { tuning, cache: tune::folder(), ..Settings::default() };
    compile_on(open(device, &settings)?.as_ref(), model, request)
}

/// Opens a device; says on stderr which, and why.
pub fn open(device: DeviceSpec, settings: &Settings) -> Result<Box<dyn Backend>> {
    let selected = select::open_with(&device, settings)?;
    say(&selected.reason);
    Ok(selected.backend)
}

/// Compiles on an open device, and says on stderr what came of it.
pub fn compile_on(backend: &dyn Backend, model: &Model, request: &Request) -> Result<Sampler> {
    let sampler = Sampler::compile(model, request, backend)?;
    let report = sampler.report();
    let notes = sampler.tuned().map(|tuned| tuned.notes.as_slice()).unwrap_or_default();
    report.notes.iter().chain(notes).for_each(|note| say(&format!("note: {note}")));
    let cached = sampler.tuned().is_some_and(|tuned| tuned.compile_cached);
    say(&format!(
        "compiled in {:.0} ms{}: {} launches a step, {} once a run",
        report.compile_ms,
        if cached { " with kernels of an earlier start" } else { "" },
        report.launches_per_step,
        report.launches_hoisted
    ));
    Ok(sampler)
}

/// How the samples of adaptive steps fared.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepsTaken {
    /// Mean steps of a sample that went through, and that were taken back.
    accepted: f64,
    rejected: f64,
    /// Samples that came to the end within the budget.
    arrived: usize,
    #[serde(skip)]
    samples: usize,
    #[serde(skip)]
    budget: usize,
    /// Fewest and most steps that a sample tried.
    #[serde(skip)]
    tried: (f64, f64),
}

impl StepsTaken {
    /// Counts the `reports` of samples; `None` where steps are fixed.
    pub fn of(sampler: &Sampler, reports: &[program::Report]) -> Option<StepsTaken> {
        let adaptive = sampler.adaptive().filter(|_| !reports.is_empty())?;
        let mean = |steps: fn(&program::Report) -> f32| {
            reports.iter().map(|r| f64::from(steps(r))).sum::<f64>() / reports.len() as f64
        };
        let tried = || reports.iter().map(|r| f64::from(r.accepted + r.rejected));
        Some(StepsTaken {
            accepted: mean(|r| r.accepted),
            rejected: mean(|r| r.rejected),
            arrived: reports.iter().filter(|r| r.arrived(adaptive)).count(),
            samples: reports.len(),
            budget: adaptive.budget,
            tried: (tried().fold(f64::INFINITY, f64::min), tried().fold(0.0, f64::max)),
        })
    }

    /// Tells it, and warns of samples that still hold noise.
    pub fn tell(&self) {
        let StepsTaken { accepted, rejected, arrived, samples, budget, tried: (least, most) } =
            self;
        say(&format!(
            "adaptive steps of a sample: {accepted:.1} accepted, {rejected:.1} rejected, \
             {least:.0} to {most:.0} tried of {budget}"
        ));
        if arrived < samples {
            say(&format!(
                "warning: {} of {samples} samples did not reach the end within {budget} steps and \
                 still hold noise; raise --steps, or the tolerance with --set rtol=0.1",
                samples - arrived
            ));
        }
    }
}

/// A flag that the first Ctrl-C sets. The second, or a run deaf to the first, ends the process.
/// `keeps` says whether finished samples are there after that.
pub fn stop_on_ctrl_c(keeps: bool) -> Result<Arc<AtomicBool>> {
    KEEPS.store(keeps, Ordering::Relaxed);
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let handler = move || {
        let interrupted = || {
            output::discard();
            say(interrupted());
            process::exit(i32::from(Error::Interrupted.exit_code()))
        };
        if flag.swap(true, Ordering::Relaxed) {
            interrupted();
        }
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            interrupted();
        });
    };
    match ctrlc::set_handler(handler) {
        Ok(()) => Ok(stop),
        Err(e) => Err(Error::device("this process", e.to_string(), "Ctrl-C cannot be caught here")),
    }
}
