//! Compiles configurations, warms them up and takes their times.

use super::cold;
use super::plan::{Asked, Candidate, Plan};
use super::result::{Cold, Measured, Outcome, Refused, configuration};
use crate::cli::progress::Progress;
use crate::cli::say;
use crate::cli::session::{self, StepsTaken};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use unnoise::backend::select::DeviceSpec;
use unnoise::backend::{Backend, Observer, Settings, tune};
use unnoise::bench::{Environment, Meter, Spent, Stability, Warmup, interleave};
use unnoise::error::{Error, Result};
use unnoise::model::Model;
use unnoise::program;
use unnoise::sampler::Sampler;

/// A counter of energy moves some ten times a second: over less it is not worth much.
const ENERGY_SECONDS: f64 = 1.0;

/// What one run took, in all and of the host's own work.
#[derive(Default)]
pub struct Drawn {
    pub wall_ms: f64,
    pub host_ms: f64,
    pub encode_ms: f64,
    reports: Vec<program::Report>,
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
pub struct Ready {
    pub sampler: Sampler,
    pub asked: Asked,
    pub cold: Option<Cold>,
    pub warm: Stability,
    pub runs: Vec<Drawn>,
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
            if ready.is_empty() {
                continue;
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
        if plan.warmup.is_none() {
            unstable(warm).iter().for_each(|words| say(words));
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
        let environment = Environment::new(&hardware, &meter);
        if let Some(load) = environment.load.filter(|_| environment.busy()) {
            let cores = environment.cores;
            say(&format!(
                "warning: {load:.1} threads want {cores} cores; times are those of a busy machine"
            ));
        }
        (environment, meter)
    }

    /// Takes the times of what is ready: one alone, or several in turn.
    fn measure(&self, mut ready: Vec<Ready>, meter: Option<&Meter>) -> Result<Vec<Measured>> {
        let before = meter.map(Meter::read);
        let mut ratios = vec![None; ready.len()];
        match &mut ready[..] {
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
        let readings = before.zip(meter.map(Meter::read));
        // Of several that ran in turn nobody knows who spent what.
        let alone = readings.filter(|_| ready.len() == 1);
        let spent = alone.and_then(|(before, after)| Spent::between(&before, &after));
        if spent.is_some_and(|spent| spent.seconds < ENERGY_SECONDS) {
            say("note: energy over less than a second is rough; raise --runs");
        }
        let clocks = readings.map(|(before, after)| [before.clocks, after.clocks]);
        let all = ready.into_iter().zip(ratios);
        all.map(|(ready, ratio)| Measured::new(ready, ratio, spent, clocks)).collect()
    }
}

/// What there is to say of a warm-up that did not become stable.
fn unstable(warm: Stability) -> Option<String> {
    let runs = warm.runs;
    match warm.stable {
        Some(true) => None,
        Some(false) => Some(format!(
            "warning: runs were not stable after {runs} of them; close what else runs here, or \
             give --warmup N"
        )),
        None => Some(format!(
            "note: {runs} runs of warm-up are too few to tell whether they are stable; \
             --warmup 8 makes as many as that takes"
        )),
    }
}
