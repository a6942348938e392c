//! What a request comes to for a model.

use super::edit::Editing;
use super::request::{Classes, Request, Shard};
use crate::error::{Error, Result};
use crate::model::{Model, Settings};
use crate::solver::{self, GuidanceOptions, SchedulerConfig, SolverInfo, Trajectory};
use std::ops::Range;

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
    /// What classes stand for in a model that takes a text.
    pub texts: Vec<String>,
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
/// Levels of annealed Langevin dynamics (Song & Ermon 2019, section 5).
const NOISE_LEVELS: usize = 10;

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
        let Told { texts, classes, null } = told(model, request)?;
        Ok(Resolved {
            notes: super::notes(scheduler, &solver),
            steps: request.steps.unwrap_or_else(|| steps(settings, scheduler, &solver)),
            solver,
            guidance,
            eta: request.eta,
            clipped_eps: request.clipped_eps.or(settings.clipped_eps).unwrap_or(true),
            classes,
            null_class: null.filter(|_| guidance != 1.0),
            texts,
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

    /// For each tokenizer the tokens of the texts that [`Resolved::labels`] stand for.
    pub fn tokens(&self, model: &Model) -> Result<Vec<Vec<u32>>> {
        let Some(encoder) = &model.text else { return Ok(Vec::new()) };
        let tokenizer = encoder.tokenizer()?;
        let of = |label: u32| tokenizer.tokens(&self.texts[label as usize], encoder.length);
        let tokens: Result<Vec<_>> = self.labels().into_iter().map(of).collect();
        Ok(vec![tokens?.concat()])
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

/// Steps where nobody asked for a number: those of the model, if they are worth the same.
fn steps(settings: &Settings, scheduler: &SchedulerConfig, solver: &str) -> usize {
    match solver {
        // A level is a hundred evaluations.
        "langevin" if settings.solver.as_deref() != Some(solver) => NOISE_LEVELS,
        // Ancestral sampling as published visits every time it was trained on.
        "ddpm" => settings.steps.unwrap_or(scheduler.keys.num_train_timesteps),
        _ => settings.steps.unwrap_or(DEFAULT_STEPS),
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
    let conditional =
        model.text.is_some() || (model.classes.is_some() && model.settings.null_class.is_some());
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

/// What samples are told.
struct Told {
    /// The different texts, the one that guidance leads away from last.
    texts: Vec<String>,
    /// The classes, or the texts, that samples take in turn.
    classes: Vec<u32>,
    /// The one that guidance leads away from.
    null: Option<u32>,
}

fn told(model: &Model, request: &Request) -> Result<Told> {
    if model.text.is_none() {
        if !request.prompts.is_empty() || request.negative_prompt.is_some() {
            let flag = if request.prompts.is_empty() { "--negative-prompt" } else { "--prompt" };
            return Err(Error::invalid(
                flag,
                "a text-conditional model",
                format!("{}, which takes no text", model.name),
                format!("leave {flag} out"),
            ));
        }
        let null = model.settings.null_class.map(|c| c as u32);
        let classes = classes(model, &request.classes)?;
        return Ok(Told { texts: Vec::new(), classes, null });
    }
    if request.classes != Classes::Default {
        let (expected, found) = ("a class-conditional model", &model.name);
        let found = format!("{found}, which takes a text");
        return Err(Error::invalid("--class", expected, found, "give --prompt"));
    }
    let mut texts: Vec<String> = Vec::new();
    let mut number = |text: &String| {
        let known = texts.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            texts.push(text.clone());
            texts.len() - 1
        }) as u32
    };
    // What a plan costs, it costs for any text.
    let none = [String::new()];
    let prompts = if request.prompts.is_empty() { &none[..] } else { &request.prompts };
    let classes = prompts.iter().map(&mut number).collect();
    let null = Some(number(&request.negative_prompt.clone().unwrap_or_default()));
    Ok(Told { texts, classes, null })
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
        Classes::Default | Classes::All if all > MOST_CLASSES => Err(Error::invalid(
            "--class",
            format!("labels of model '{}', which has more than {MOST_CLASSES}", model.name),
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
