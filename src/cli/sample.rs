//! `unnoise sample`: draws and writes.

use super::args::SampleArgs;
use super::progress::Progress;
use super::session::{self, Keys, StepsTaken};
use super::sink::{Place, Sink};
use super::{print, print_json, say};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use unnoise::backend::Observer;
use unnoise::error::{Error, Result};
use unnoise::model::Model;
use unnoise::output::{Identity, Run};
use unnoise::program;
use unnoise::sampler::{Classes, Request, Sampler};

/// Samples of a run of which nothing was said: a grid of 8 by 8.
const COUNT: usize = 64;
/// The same of a mixture: enough to see its shape.
const POINTS: usize = 4096;

/// `sample --json`.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    keys: Keys,
    /// Submissions and blocking downloads of a batch.
    submits: u64,
    readbacks: u64,
    launches_per_step: usize,
    launches_hoisted: usize,
    /// Launches of a step whose sum is split, each two dispatches.
    launches_split_k: usize,
    compile_ms: f64,
    /// Whether the driver had what it compiled at an earlier start.
    compile_cached: bool,
    /// Sampling, all batches; compiling and writing apart.
    wall_ms: f64,
    /// The host's time to record the commands of a batch.
    encode_ms: f64,
    /// Wall time of a step of a batch.
    step_ms: f64,
    out: String,
    /// Of adaptive steps only.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_taken: Option<StepsTaken>,
}

/// What drawing took.
#[derive(Default)]
struct Drawn {
    samples: usize,
    batches: usize,
    submits: u64,
    readbacks: u64,
    wall_ms: f64,
    encode_ms: f64,
    reports: Vec<program::Report>,
}

pub fn run(args: &SampleArgs) -> Result<()> {
    // What is wrong with any model, before one is opened.
    args.run.plan.request(POINTS.max(COUNT))?;
    args.run.device()?;
    let model = args.run.plan.open_model()?;
    let count = if model.mixture.is_some() { POINTS } else { COUNT };
    let task = args.edit.task(&model)?;
    let request = Request { trace: args.trace, task, ..args.run.plan.request(count)? };
    if request.task.is_none() && request.inverts(&model)? {
        return Err(Error::invalid(
            "--solver",
            "--init beside it: an inversion goes from pictures to noise",
            "no pictures",
            "give --init FILE",
        ));
    }
    request.check(&model)?;
    let out = args.out.clone().map_or_else(|| own_name(&model, &request), Ok)?;
    // Before any work: nobody waits for samples that cannot be written.
    let place = Place::open(out.clone(), args, &model, &request)?;

    let stop = session::stop_on_ctrl_c(place.keeps())?;
    let mut sampler = session::compile(&args.run, &model, &request, &stop)?;
    let mut sink = place.begin(run_of(&sampler, &model, &request)?)?;
    let drawn = match draw(&mut sampler, &mut sink, &stop) {
        Ok(drawn) => drawn,
        Err(error) => {
            sink.abandon()?;
            return Err(error);
        }
    };
    sink.finish(&model, sampler.report())?;

    let report = sampler.report();
    let steps = (drawn.batches * report.steps).max(1) as f64;
    let summary = Summary {
        keys: Keys::of(report),
        submits: drawn.submits,
        readbacks: drawn.readbacks,
        launches_per_step: report.launches_per_step,
        launches_hoisted: report.launches_hoisted,
        launches_split_k: sampler.tuned().map_or(0, |tuned| tuned.split_per_step),
        compile_ms: report.compile_ms,
        compile_cached: sampler.tuned().is_some_and(|tuned| tuned.compile_cached),
        wall_ms: drawn.wall_ms,
        encode_ms: drawn.encode_ms,
        step_ms: drawn.wall_ms / steps,
        out: out.display().to_string(),
        steps_taken: StepsTaken::of(&sampler, &drawn.reports),
    };
    let words = format!(
        "{}: {} {} of {}, {} in {} {}, {} on {}, {:.2} s ({:.2} ms a step)",
        summary.out,
        drawn.samples,
        super::plural(drawn.samples, "sample", "samples"),
        report.model,
        report.solver,
        report.steps,
        super::plural(report.steps, "step", "steps"),
        report.precision,
        report.device,
        summary.wall_ms / 1e3,
        summary.step_ms,
    );
    summary.steps_taken.iter().for_each(StepsTaken::tell);
    if args.run.plan.json {
        say(&words);
        print_json(&summary)
    } else {
        print(&words)
    }
}

/// Where samples go unless it is said: to a picture, if they make one.
fn own_name(model: &Model, request: &Request) -> Result<PathBuf> {
    let [c, ..] = request.shape(model)?;
    let pictured = model.mixture.is_some() || (matches!(c, 1 | 3) && !request.trace);
    let kind = if pictured { "png" } else { "npy" };
    Ok(PathBuf::from(format!("{}.{kind}", model.name)))
}

/// What the writer has to know: the run as it is with every default filled in.
fn run_of(sampler: &Sampler, model: &Model, request: &Request) -> Result<Run> {
    let report = sampler.report();
    let mut options = request.solver_options();
    if let Some([low, high]) = model.settings.range {
        options.insert("range".into(), format!("{low},{high}"));
    }
    let classes = match &request.classes {
        _ if model.classes.is_none() => None,
        Classes::Default | Classes::All => Some("all".to_string()),
        Classes::List(list) => Some(list.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
    };
    Ok(Run {
        identity: Identity {
            model: report.model.clone(),
            fingerprint: model.fingerprint()?,
            solver: report.solver.clone(),
            steps: report.steps,
            guidance: report.guidance,
            eta: report.eta,
            clipped_eps: report.clipped_eps,
            options,
            seed: report.seed,
            noise: request.noise.to_string(),
            precision: report.precision.clone(),
            classes,
            count: report.count,
        },
        shape: sampler.shape(),
        indices: sampler.indices(),
        shard: (request.shard.index, request.shard.of),
        class_names: model.settings.class_names.clone(),
        range: model.range(),
    })
}

/// Draws every pending sample, batch after batch, each handed on as it comes.
fn draw(sampler: &mut Sampler, sink: &mut Sink, stop: &AtomicBool) -> Result<Drawn> {
    let pending = sink.pending();
    let skipped = sampler.indices().len() - pending.len();
    if skipped > 0 {
        say(&format!("{skipped} of {} samples are there already", sampler.indices().len()));
    }
    let (rows, batch) = (sampler.rows(), sampler.batch());
    let mut progress = Progress::new(rows * pending.len().div_ceil(batch));
    let mut drawn = Drawn::default();
    for indices in pending.chunks(batch) {
        let mut rows_done = |done| progress.at(done);
        let mut observer = Observer { stop, rows_done: &mut rows_done };
        observer.check()?;
        let samples = sampler.sample(indices, &mut observer)?;
        observer.check()?;
        let classes: Option<Vec<u32>> = indices.iter().map(|&i| sampler.label(i)).collect();
        sink.write(indices, classes.as_deref(), &samples)?;
        progress.batch_done(rows);
        drawn.samples += indices.len();
        drawn.batches += 1;
        drawn.submits = drawn.submits.max(samples.stats.submits);
        drawn.readbacks = drawn.readbacks.max(samples.stats.readbacks);
        drawn.wall_ms += samples.wall_ms;
        drawn.encode_ms = drawn.encode_ms.max(samples.stats.encode_ms);
        drawn.reports.extend(samples.reports);
    }
    Ok(drawn)
}
