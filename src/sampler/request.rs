//! What a person asks for, and what it comes to for a model.

use super::edit::{Editing, Task};
use super::precision::Precision;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::noise::NoiseKind;
use crate::solver::{self, GuidanceOptions, SchedulerConfig, Sigmas, SolverInfo, Trajectory};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// Which classes to draw; sample i takes class i modulo the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Classes {
    /// All of a class-conditional model, none of another.
    #[default]
    Default,
    /// All but the null class.
    All,
    List(Vec<u32>),
}

/// Part `index` (from 1) of `of` disjoint parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: usize,
    pub of: usize,
}

/// A whole request. `None` takes the model's own setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub solver: Option<String>,
    /// Network evaluations of one sample, for the solvers there are.
    pub steps: Option<usize>,
    /// Weight of classifier-free guidance; 1 is none.
    pub guidance: Option<f64>,
    /// Noise of DDIM, 0 (none) to 1 (as DDPM).
    pub eta: Option<f64>,
    /// Derive eps again from the clipped x0.
    pub clipped_eps: Option<bool>,
    /// Noise levels of another spacing than the model's configuration has.
    pub sigmas: Option<Sigmas>,
    /// Keys of the scheduler's configuration, set for this run.
    pub set: Map<String, Value>,
    /// Rescaling, interval and form of guidance.
    pub guidance_options: GuidanceOptions,
    pub classes: Classes,
    /// Samples of the whole run.
    pub count: usize,
    /// Samples computed at once; min(count, 64) if `None`.
    pub batch: Option<usize>,
    pub seed: u64,
    pub noise: NoiseKind,
    pub precision: Precision,
    pub fuse: bool,
    pub hoist: bool,
    /// Bring back the state after each row.
    pub trace: bool,
    pub shard: Shard,
    /// What becomes of known data.
    pub task: Option<Task>,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            solver: None,
            steps: None,
            guidance: None,
            eta: None,
            clipped_eps: None,
            sigmas: None,
            set: Map::new(),
            guidance_options: GuidanceOptions::default(),
            classes: Classes::Default,
            count: 1,
            batch: None,
            seed: 0,
            noise: NoiseKind::Native,
            precision: Precision::Auto,
            fuse: true,
            hoist: true,
            trace: false,
            shard: Shard { index: 1, of: 1 },
            task: None,
        }
    }
}

impl Request {
    /// What was said about solver and guidance beyond the common choices, by flag.
    pub fn solver_options(&self) -> BTreeMap<String, String> {
        let (guidance, default) = (self.guidance_options, GuidanceOptions::default());
        let mut said = BTreeMap::new();
        let mut say = |flag: &str, value: String| said.insert(flag.to_string(), value);
        if let Some(sigmas) = self.sigmas {
            say("sigmas", sigmas.name().into());
        }
        if !self.set.is_empty() {
            say("set", Value::Object(self.set.clone()).to_string());
        }
        if guidance.rescale != default.rescale {
            say("guidance-rescale", guidance.rescale.to_string());
        }
        if guidance.interval != default.interval {
            say("guidance-interval", format!("{},{}", guidance.interval.0, guidance.interval.1));
        }
        if guidance.plus_plus {
            say("cfg-plus-plus", "true".into());
        }
        if let Some(task) = &self.task {
            task.say(&mut said);
        }
        said
    }

    /// Finds everything that is wrong with the request for this model, without a device.
    ///
    /// # Errors
    /// A missing scheduler's configuration, an unknown solver, steps, classes, guidance or shards
    /// that the model does not have.
    pub fn check(&self, model: &Model) -> Result<()> {
        let scheduler = model.scheduler()?;
        let resolved = Resolved::new(model, &scheduler, self)?;
        resolved.record(model, &scheduler, self).map(|_| ())
    }
}

/// A request with every choice made and checked against the model.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub solver: String,
    pub steps: usize,
    pub guidance: f64,
    pub eta: Option<f64>,
    pub clipped_eps: bool,
    /// The classes that samples take in turn; empty for an unconditional model.
    pub classes: Vec<u32>,
    /// The null class, under guidance.
    pub null_class: Option<u32>,
    pub batch: usize,
    /// Global sample indices of the shard.
    pub indices: Range<usize>,
    /// What of the configuration the solver does not follow.
    pub notes: Vec<String>,
    pub editing: Option<Editing>,
}

/// A list of all classes is not longer than this.
const MOST_CLASSES: usize = 1 << 16;
/// The most samples of one run by default.
const DEFAULT_BATCH: usize = 64;
/// The same of a mixture, whose samples are a few numbers.
const MIXTURE_BATCH: usize = 1 << 14;
/// Evaluations of a solver that may skip times, where neither user nor model says.
const DEFAULT_STEPS: usize = 50;

impl Resolved {
    pub fn new(model: &Model, scheduler: &SchedulerConfig, request: &Request) -> Result<Resolved> {
        let settings = &model.settings;
        let solver = request.solver.clone().or(settings.solver.clone());
        let solver = match solver {
            Some(name) => name,
            None => SolverInfo::of(scheduler)?.name.into(),
        };
        if request.count > u32::MAX as usize {
            return Err(Error::invalid(
                "--count",
                format!("at most {}: the noise generator counts samples in 32 bits", u32::MAX),
                request.count.to_string(),
                "draw the rest with another --seed",
            ));
        }
        let editing = editing(model, request, &solver)?;
        let guidance = guidance(model, request)?;
        guidance_options(request, guidance)?;
        let indices = shard_indices(request.count, request.shard)?;
        let most = if model.mixture.is_some() { MIXTURE_BATCH } else { DEFAULT_BATCH };
        let batch = request.batch.unwrap_or(most.min(request.count));
        if batch == 0 {
            return Err(at_least_one("--batch"));
        }
        Ok(Resolved {
            notes: super::notes(scheduler, &solver),
            steps: request.steps.or(settings.steps).unwrap_or(match solver.as_str() {
                // Ancestral sampling as published visits every time it was trained on.
                "ddpm" => scheduler.keys.num_train_timesteps,
                _ => DEFAULT_STEPS,
            }),
            solver,
            guidance,
            eta: request.eta,
            clipped_eps: request.clipped_eps.or(settings.clipped_eps).unwrap_or(true),
            classes: classes(model, &request.classes)?,
            null_class: settings.null_class.filter(|_| guidance != 1.0).map(|c| c as u32),
            batch: batch.min(indices.len().max(1)),
            indices,
            editing,
        })
    }

    /// The trajectory. What the solver finds wrong is put down to where it was said.
    pub fn record(
        &self,
        model: &Model,
        scheduler: &SchedulerConfig,
        request: &Request,
    ) -> Result<Trajectory> {
        let options = solver::Options {
            solver: self.solver.clone(),
            steps: self.steps,
            eta: self.eta,
            clipped_eps: self.clipped_eps,
            sigmas: request.sigmas,
            guidance: request.guidance_options,
            set: request.set.clone(),
            edit: self.editing.as_ref().map(|editing| editing.edit).unwrap_or_default(),
        };
        let network = solver::Network {
            learned_variance: model.learned_variance,
            denoiser: model.mixture.is_some(),
            form: model.form,
            time: model.time,
            discrete_time: model.graph.whole_times(),
            ..solver::Network::default()
        };
        let recorded = solver::record(scheduler, &options, network);
        let trajectory = recorded.map_err(|error| match error {
            Error::Invalid { what, expected, found, action } => {
                let typed = match what.as_str() {
                    "--steps" => request.steps.is_some() || model.settings.steps.is_none(),
                    "--solver" => request.solver.is_some(),
                    _ => true,
                };
                let what = if typed { what } else { from_settings(model, &what) };
                Error::Invalid { what, expected, found, action }
            }
            other => other,
        })?;
        model.graph.check_told(&trajectory.times, &self.labels())?;
        Ok(trajectory)
    }

    /// The class of sample `index`.
    pub fn label(&self, index: usize) -> Option<u32> {
        (!self.classes.is_empty()).then(|| self.classes[index % self.classes.len()])
    }

    /// The labels that condition indices stand for: those in use, then the null class.
    pub fn labels(&self) -> Vec<u32> {
        let mut labels = self.classes.clone();
        labels.sort_unstable();
        labels.dedup();
        if let Some(null) = self.null_class
            && !labels.contains(&null)
        {
            labels.push(null);
        }
        labels
    }
}

/// The request's task, made ready.
fn editing(model: &Model, request: &Request, solver: &str) -> Result<Option<Editing>> {
    let solver = solver::find(solver)?;
    let Some(task) = &request.task else { return Ok(None) };
    Editing::new(task, model, solver, request.count).map(Some)
}

fn at_least_one(flag: &str) -> Error {
    Error::invalid(flag, "at least 1", "0", "ask for one or more")
}

/// A value that nobody typed: `--steps` as the key of the model's own settings.
fn from_settings(model: &Model, flag: &str) -> String {
    format!("unnoise.json of model '{}': {}", model.name, flag.trim_start_matches('-'))
}

fn guidance(model: &Model, request: &Request) -> Result<f64> {
    let conditional = model.classes.is_some() && model.settings.null_class.is_some();
    let guidance = match (request.guidance, model.settings.guidance) {
        (Some(g), _) => g,
        (None, Some(g)) if conditional => g,
        _ => 1.0,
    };
    let flag = "--guidance".to_string();
    let what = if request.guidance.is_some() { flag } else { from_settings(model, &flag) };
    if !(guidance as f32).is_finite() || guidance < 0.0 {
        return Err(Error::invalid(
            what,
            "a number from 0 to 3e38",
            guidance.to_string(),
            "use 1 for no guidance",
        ));
    }
    if guidance != 1.0 && !conditional {
        return Err(Error::invalid(
            what,
            format!("1: model '{}' has no null class to guide away from", model.name),
            guidance.to_string(),
            "leave the flag out, or name null_class in the model's unnoise.json",
        ));
    }
    Ok(guidance)
}

/// What changes guidance needs guidance.
fn guidance_options(request: &Request, weight: f64) -> Result<()> {
    let (options, default) = (request.guidance_options, GuidanceOptions::default());
    let flags = [
        ("--guidance-rescale", options.rescale != default.rescale),
        ("--guidance-interval", options.interval != default.interval),
        ("--cfg-plus-plus", options.plus_plus),
    ];
    if let Some((flag, _)) = flags.iter().find(|(_, given)| *given && weight == 1.0) {
        return Err(Error::invalid(
            *flag,
            "a guided run",
            "a guidance of 1, which is none",
            "leave the flag out, or give --guidance",
        ));
    }
    if options.plus_plus && weight > 1.0 {
        return Err(Error::invalid(
            "--cfg-plus-plus",
            "a guidance from 0 to 1, the scale of CFG++",
            weight.to_string(),
            "give --guidance 0.6, say",
        ));
    }
    Ok(())
}

fn classes(model: &Model, classes: &Classes) -> Result<Vec<u32>> {
    let Some(all) = model.classes else {
        return match classes {
            Classes::Default => Ok(Vec::new()),
            _ => Err(Error::invalid(
                "--class",
                format!("no classes: model '{}' is unconditional", model.name),
                "a class",
                "leave the flag out",
            )),
        };
    };
    match classes {
        // A network that embeds the number itself knows no last class.
        Classes::Default | Classes::All if all > MOST_CLASSES => Err(Error::invalid(
            "--class",
            format!("labels of model '{}', which has no table of classes", model.name),
            "all",
            "name the labels",
        )),
        Classes::Default | Classes::All => {
            let null = model.settings.null_class;
            Ok((0..all as u32).filter(|c| null != Some(*c as usize)).collect())
        }
        Classes::List(list) => match list.iter().find(|c| **c as usize >= all) {
            Some(bad) => Err(Error::invalid(
                "--class",
                format!("labels from 0 to {} of model '{}'", all - 1, model.name),
                bad.to_string(),
                "choose a label in that range",
            )),
            None if list.is_empty() => Err(at_least_one("--class")),
            None => Ok(list.clone()),
        },
    }
}

/// The samples of one shard: as equal as can be, in order.
fn shard_indices(count: usize, shard: Shard) -> Result<Range<usize>> {
    if count == 0 {
        return Err(at_least_one("--count"));
    }
    if shard.of == 0 || shard.index == 0 || shard.index > shard.of {
        return Err(Error::invalid(
            "--shard",
            "I/N with I from 1 to N",
            format!("{}/{}", shard.index, shard.of),
            "number the shards from 1",
        ));
    }
    let bound = |i: usize| (count as u128 * i as u128 / shard.of as u128) as usize;
    Ok(bound(shard.index - 1)..bound(shard.index))
}
