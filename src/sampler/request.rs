//! What a person asks for.

use super::Tiles;
use super::edit::Task;
use super::precision::Precision;
use super::resolved::Resolved;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::noise::NoiseKind;
use crate::solver::{GuidanceOptions, Sigmas};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

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
    /// Texts; sample i takes text i modulo the list.
    pub prompts: Vec<String>,
    /// What guidance leads away from, in words; empty for no words.
    pub negative_prompt: Option<String>,
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
    /// Leave the states of a model with a decoder as they are.
    pub latents: bool,
    /// How a decoder's work is cut.
    pub tiles: Tiles,
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
            prompts: Vec::new(),
            negative_prompt: None,
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
            latents: false,
            tiles: Tiles::Auto,
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
        if !self.prompts.is_empty() {
            said.insert("prompt".into(), Value::from(self.prompts.clone()).to_string());
        }
        if let Some(words) = &self.negative_prompt {
            said.insert("negative-prompt".into(), words.clone());
        }
        if self.latents {
            said.insert("latents".into(), "true".into());
        }
        match self.tiles {
            Tiles::Auto => {}
            Tiles::Whole => drop(said.insert("vae-tiles".into(), "off".into())),
            Tiles::Side(side) => drop(said.insert("vae-tiles".into(), side.to_string())),
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
    /// that the model does not have, no prompt for one that takes a text.
    pub fn check(&self, model: &Model) -> Result<()> {
        if model.text.is_some() && self.prompts.is_empty() {
            let action = "give --prompt \"a red heart\", say";
            return Err(Error::invalid("--prompt", "a text", "none", action));
        }
        let scheduler = model.scheduler()?;
        let resolved = Resolved::new(model, &scheduler, self)?;
        resolved.record(model, &scheduler, self).map(|_| ())
    }
}
