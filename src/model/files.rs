//! What was found of a model: its class and its files.

use super::Model;
use super::layout::{self, SchedulerAt, WeightsAt};
use crate::weights;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The files of a model. A part of the program is named by words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// `_class_name` of the network.
    pub class: String,
    pub config: String,
    /// None where there is none.
    pub scheduler: Option<String>,
    /// `unnoise.json`.
    pub settings: Option<String>,
    /// One file, or the shards; empty where there are no weights.
    pub weights: Vec<WeightFile>,
}

/// A file of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeightFile {
    pub name: String,
    /// None of a shard that is not there.
    pub bytes: Option<u64>,
}

impl Model {
    /// What was found; no weights are read.
    pub fn files(&self) -> Files {
        let scheduler = match &self.scheduler {
            SchedulerAt::Found(text) => Some(text.origin.clone()),
            SchedulerAt::Missing { .. } => None,
        };
        Files {
            class: self.class.clone(),
            config: self.config.origin.clone(),
            scheduler,
            settings: self.settings_at.clone(),
            weights: self.weight_files(),
        }
    }

    fn weight_files(&self) -> Vec<WeightFile> {
        let file = |path: &Path| WeightFile {
            name: path.display().to_string(),
            bytes: path.metadata().ok().filter(|file| file.is_file()).map(|file| file.len()),
        };
        let all = |path: PathBuf| match weights::shards(&path) {
            Ok(Some(shards)) => shards.iter().map(|shard| file(shard)).collect(),
            _ => vec![file(&path)],
        };
        match &self.weights {
            WeightsAt::BuiltIn(model) => {
                let bytes = model.weights.map(|bytes| bytes.len() as u64);
                let name = "in the program".to_string();
                bytes.map(|bytes| WeightFile { name, bytes: Some(bytes) }).into_iter().collect()
            }
            WeightsAt::File(path) => vec![file(path)],
            WeightsAt::Folder(dir) => layout::weights_in(dir).map(all).unwrap_or_default(),
        }
    }
}
