//! Compiles configurations, warms them up and takes their times.

use super::cold;
use super::plan::{Asked, Candidate, Plan};
use crate::cli::progress::Progress;
use crate::cli::say;
use crate::cli::session::{self, Keys, StepsTaken};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use unnoise::backend::select::DeviceSpec;
use unnoise::backend::{Backend, Observer, Settings, tune};
use unnoise::bench::{
    Clocks, Configuration, Environment, Interval, Meter, Ratio, Reading, Series, Spent, Stability,
    Warmup, interleave,
};
use unnoise::error::{Error, Result};
use unnoise::model::Model;
use unnoise::program;
use unnoise::sampler::Sampler;

/// A counter of energy moves some ten times a second: over less it is not worth much.
const ENERGY_SECONDS: f64 = 1.0;

/// The times of a cold start.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cold {
    pub compile_ms: f64,
    pub compile_cached: bool,
    pub cold_ms: f64,
}

impl Cold {
    /// Of a sampler that has just drawn for the first time, in a process that began at `begin`.
    pub fn of(sampler: &Sampler, begin: Instant) -> Cold {
        Cold {
            compile_ms: sampler.report().compile_ms,
            compile_cached: sampler.tuned().is_some_and(|tuned| tuned.compile_cached),
            cold_ms: begin.elapsed().as_secs_f64() * 1e3,
        }
    }
}

/// `bench --json` of one configuration; times are of a whole run of `count` samples.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub keys: Keys,
    pub guidance: f64,
    /// `none`, or what is switched off: `no-fuse no-hoist`.
    pub ablation: String,
    /// Reading, planning, compiling and uploading.
    pub compile_ms: f64,
    /// Whether the driver had what it compiled at an earlier start.
    pub compile_cached: bool,
    /// From the start of a process to its first samples.
    pub cold_ms: Option<f64>,
    pub p50_ms: f64,
    /// The 95% interval of the median; none for fewer than six runs.
    pub p50_interval_ms: Option<Interval>,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub mean_ms: f64,
    pub min_ms: f64,
    pub sd_ms: Option<f64>,
    /// Median time of a step of a batch.
    pub step_ms: f64,
    pub images_per_s: f64,
    /// Median time in which the host made work for the device, of a run.
    pub host_ms: f64,
    /// Median time of it in which commands were recorded.
    pub encode_ms: f64,
    pub runs: usize,
    pub warmup_runs: usize,
    /// None where too few warm-up runs were made to judge.
    pub stable: Option<bool>,
    /// To the first of those that were measured in turn.
    pub ratio: Option<Ratio>,
    pub joules_per_sample: Option<f64>,
    pub mean_watts: Option<f64>,
    pub clocks_before: Option<Clocks>,
    pub clocks_after: Option<Clocks>,
    /// Every run, in order.
    pub samples_ms: Vec<f64>,
    #[serde(skip)]
    pub configuration: Configuration,
    #[serde(skip)]
    pub asked: Asked,
    #[serde(skip)]
    pub series: Series,
    #[serde(skip)]
    pub device: String,
}

/// A configuration that was not measured.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    #[serde(flatten)]
    pub asked: Asked,
    pub reason: String,
}

/// What came of a plan.
pub struct Outcome {
    pub environment: Environment,
    pub results: Vec<Measured>,
    pub refused: Vec<Refused>,
}

/// What one run took, in all and of the host's own work.
#[derive(Default)]
pub struct Drawn {
    wall_ms: f64,
    host_ms: f64,
    encode_ms: f64,
    pub reports: Vec<program::Report>,
}

/// One run: all samples of the shard.
pub fn draw(sampler: &mut Sampler, stop: &AtomicBool) -> Result<Drawn> {
    let indices: Vec<usize> = sampler.indices().collect();
    let mut ignore = |_| {};
    let mut observer = Observer { stop, rows_done: &mut ignore };
    let mut drawn = Drawn::default();
    for batch in indices.chunks(sampler.batch()) {
        let samples = sampler.sample(batch, &mut observer)?;
        drawn.wall_ms += samples.wall_ms;
        drawn.host_ms += samples.stats.host_ms;
        drawn.encode_ms += samples.stats.encode_ms;
        drawn.reports.extend(samples.reports);
    }
    observer.check()?;
    Ok(drawn)
}

/// A configuration that is compiled and warm.
struct Ready {
    sampler: Sampler,
    asked: Asked,
    cold: Option<Cold>,
    warm: Stability,
    runs: Vec<Drawn>,
}

/// The device of all configurations; it is opened when it is first asked for.
pub struct Bench<'a> {
    plan: &'a Plan,
    model: &'a Model,
    stop: Arc<AtomicBool>,
    /// With tiles that are measured, and without.
    backends: [Option<Box<dyn Backend>>; 2],
    /// When the process began.
    begin: Instant,
    progress: Progress,
}

impl<'a> Bench<'a> {
    pub fn new(plan: &'a Plan, model: &'a Model, begin: Instant) -> Result<Bench<'a>> {
        let stop = session::stop_on_ctrl_c(false)?;
        let progress = Progress::new(plan.candidates.len() * plan.runs);
        Ok(Bench { plan, model, stop, backends: [None, None], begin, progress })
    }

    /// Measures everything. What cannot be measured does not end the others of a sweep.
    pub fn run(mut self) -> Result<Outcome> {
        let (mut results, mut refused) = (Vec::new(), Vec::new());
        let mut known = None;
        let plan = self.plan;
        for first in (0..plan.candidates.len()).step_by(plan.group) {
            let mut ready = Vec::new();
            for index in first..first + plan.group {
                match self.ready(index) {
                    Ok(one) => ready.push(one),
                    Err(error) => self.refuse(index, error, &mut refused)?,
                }
            }
            let (_, meter) = known.get_or_insert_with(|| self.known());
            results.extend(self.measure(ready, meter.as_ref().ok())?);
        }
        let (environment, _) = known.unwrap_or_else(|| self.known());
        Ok(Outcome { environment, results, refused })
    }

    /// Notes why a configuration is left out of a sweep.
    fn refuse(&self, index: usize, error: Error, refused: &mut Vec<Refused>) -> Result<()> {
        if matches!(error, Error::Interrupted) || !self.plan.sweeps() {
            return Err(error);
        }
        let asked = self.plan.candidates[index].asked.clone();
        say(&format!("left out: {}: {error}", self.plan.label(&asked)));
        refused.push(Refused { asked, reason: error.to_string() });
        if refused.len() < self.plan.candidates.len() {
            return Ok(());
        }
        let found = format!("{} that were all refused, the last with: {error}", refused.len());
        let expected = "a combination that the device and the solver take";
        Err(Error::invalid("the combinations of bench", expected, found, "change the lists"))
    }

    /// Compiles a configuration and warms it up. A sweep starts it cold beforehand.
    fn ready(&mut self, index: usize) -> Result<Ready> {
        let (plan, model, stop) = (self.plan, self.model, self.stop.clone());
        let Candidate { run, request, asked } = &plan.candidates[index];
        request.check(model)?;
        let sweeps = plan.sweeps();
        if sweeps {
            say(&format!("{} of {}: {}", index + 1, plan.candidates.len(), plan.label(asked)));
        }
        let other = (plan.cold && sweeps).then(|| cold::start(index, &stop));
        if let Some(Err(Error::Interrupted)) = other {
            return Err(Error::Interrupted);
        }
        let backend = self.backend(run.tune, run.device()?)?;
        let mut sampler = session::compile_on(backend, model, request)?;
        self.known_before(&sampler)?;
        let first = draw(&mut sampler, &stop)?;
        let cold = match other {
            Some(Ok(cold)) => Some(cold),
            // Here it runs; one that cannot be compiled is refused above.
            Some(Err(error)) => {
                say(&format!("warning: {error}"));
                None
            }
            None => plan.cold.then(|| Cold::of(&sampler, self.begin)),
        };
        StepsTaken::of(&sampler, &first.reports).iter().for_each(StepsTaken::tell);
        let mut warmup = Warmup::new(plan.warmup);
        while !warmup.done() {
            warmup.add(draw(&mut sampler, &stop)?.wall_ms);
        }
        let warm = warmup.stability();
        if plan.warmup.is_none() && warm.stable != Some(true) {
            say(&format!(
                "warning: runs were not stable after {} of them; close what else runs here, or \
                 give --warmup N",
                warm.runs
            ));
        }
        Ok(Ready { sampler, asked: asked.clone(), cold, warm, runs: Vec::new() })
    }

    /// A configuration alone that its baseline does not have need not be measured.
    fn known_before(&self, sampler: &Sampler) -> Result<()> {
        let Some(baseline) = self.plan.baseline.as_ref().filter(|_| !self.plan.sweeps()) else {
            return Ok(());
        };
        let found = configuration(sampler, &self.plan.candidates[0].asked);
        match baseline.find(&found) {
            Some(_) => Ok(()),
            None => Err(super::against::no_match()),
        }
    }

    /// The device, opened when it is first asked for.
    fn backend(&mut self, tune: bool, device: DeviceSpec) -> Result<&dyn Backend> {
        let slot = &mut self.backends[usize::from(!tune)];
        let backend = match slot.take() {
            Some(backend) => backend,
            None => {
                let tuning = session::tuning(tune, &self.stop);
                let cache = tune::folder();
                session::open(device, &Settings { tuning, cache, ..Settings::default() })?
            }
        };
        Ok(&**slot.insert(backend))
    }

    /// The device that was opened, with its meter.
    fn known(&self) -> (Environment, Result<Meter, String>) {
        let backend = self.backends.iter().flatten().next();
        let hardware = backend.map(|backend| backend.hardware()).unwrap_or_default();
        let meter = Meter::open(&hardware);
        (Environment::new(&hardware, &meter), meter)
    }

    /// Takes the times of what is ready: one alone, or several in turn.
    fn measure(&self, mut ready: Vec<Ready>, meter: Option<&Meter>) -> Result<Vec<Measured>> {
        let before = meter.map(Meter::read);
        let mut ratios = vec![None; ready.len()];
        match &mut ready[..] {
            [] => return Ok(Vec::new()),
            [one] => {
                for _ in 0..self.plan.runs {
                    let drawn = draw(&mut one.sampler, &self.stop)?;
                    one.runs.push(drawn);
                    self.progress.advance();
                }
            }
            several => {
                let rounds = self.plan.runs.div_ceil(2);
                let rounds = interleave(several.len(), rounds, &mut |i| {
                    let drawn = draw(&mut several[i].sampler, &self.stop)?;
                    let ms = drawn.wall_ms;
                    several[i].runs.push(drawn);
                    self.progress.advance();
                    Ok(ms)
                })?;
                for (i, ratio) in ratios.iter_mut().enumerate() {
                    *ratio = Some(rounds.ratio(i, 0)?);
                }
            }
        }
        let after = meter.map(Meter::read);
        let alone = ready.len() == 1;
        let readings = before.zip(after);
        let all = ready.into_iter().zip(ratios);
        all.map(|(ready, ratio)| measured(ready, ratio, readings, alone)).collect()
    }
}

fn configuration(sampler: &Sampler, asked: &Asked) -> Configuration {
    let report = sampler.report();
    Configuration {
        model: report.model.clone(),
        backend: report.backend.clone(),
        precision: report.precision.clone(),
        solver: report.solver.clone(),
        steps: report.steps,
        count: report.count,
        batch: report.batch,
        guidance: report.guidance,
        ablation: asked.ablation.clone(),
    }
}

/// The numbers of one configuration. Of several that ran in turn nobody knows who spent what.
fn measured(
    ready: Ready,
    ratio: Option<Ratio>,
    readings: Option<(Reading, Reading)>,
    alone: bool,
) -> Result<Measured> {
    let Ready { sampler, asked, cold, warm, runs } = ready;
    let report = sampler.report();
    let samples = sampler.indices().len();
    let steps = samples.div_ceil(sampler.batch()) * report.steps;
    let series = Series::new(runs.iter().map(|drawn| drawn.wall_ms).collect())?;
    let spent = readings.filter(|_| alone).and_then(|(a, b)| Spent::between(&a, &b));
    if spent.is_some_and(|spent| spent.seconds < ENERGY_SECONDS) {
        say("note: energy over less than a second is rough; raise --runs");
    }
    let own = Cold::of(&sampler, Instant::now());
    let start = cold.unwrap_or(own);
    let p50_ms = series.median();
    // The host may have had nothing to do, so this is no series of times.
    let median = |of: fn(&Drawn) -> f64| {
        let mut times: Vec<f64> = runs.iter().map(of).collect();
        times.sort_by(f64::total_cmp);
        0.5 * (times[(times.len() - 1) / 2] + times[times.len() / 2])
    };
    Ok(Measured {
        keys: Keys::of(report),
        guidance: report.guidance,
        ablation: asked.ablation.clone(),
        compile_ms: start.compile_ms,
        compile_cached: start.compile_cached,
        cold_ms: cold.map(|cold| cold.cold_ms),
        p50_ms,
        p50_interval_ms: series.median_interval(),
        p90_ms: series.quantile(0.9),
        p99_ms: series.quantile(0.99),
        mean_ms: series.mean(),
        min_ms: series.least(),
        sd_ms: series.deviation(),
        step_ms: p50_ms / steps as f64,
        images_per_s: samples as f64 / (p50_ms / 1e3),
        host_ms: median(|drawn| drawn.host_ms),
        encode_ms: median(|drawn| drawn.encode_ms),
        runs: runs.len(),
        warmup_runs: warm.runs,
        stable: warm.stable,
        ratio,
        joules_per_sample: spent.map(|spent| spent.joules / (samples * runs.len()) as f64),
        mean_watts: spent.map(|spent| spent.watts()),
        clocks_before: readings.map(|(before, _)| before.clocks),
        clocks_after: readings.map(|(_, after)| after.clocks),
        samples_ms: series.times().to_vec(),
        configuration: configuration(&sampler, &asked),
        device: report.device.clone(),
        asked,
        series,
    })
}
