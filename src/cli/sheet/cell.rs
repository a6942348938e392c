//! One cell: samples of one solver at one budget, and how far they are from the reference.

use super::plan::{Ask, Entry};
use crate::cli::eval::Network;
use crate::cli::progress::Progress;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Backend, Observer};
use unnoise::error::Result;
use unnoise::features::Features;
use unnoise::metrics::{Space, Statistics, frechet_distance};
use unnoise::output::to_byte;
use unnoise::sampler::Sampler;

/// Samples of a cell that are shown.
pub const SHOWN: usize = 4;

/// What decides the figure of a cell, but for the device's rounding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Of the model's files, of the network of the features, and of what is compared with.
    pub model: String,
    /// What the model says of how it is sampled.
    pub guidance: Option<f64>,
    pub clipped_eps: Option<bool>,
    pub range: [f32; 2],
    pub features: String,
    pub reference: String,
    pub solver: String,
    pub steps: usize,
    pub count: usize,
    pub seed: u64,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub model: String,
    pub family: String,
    pub solver: String,
    /// Evaluations that a sample might take, and that it took.
    pub budget: usize,
    pub nfe: usize,
    pub steps: usize,
    pub frechet_distance: f64,
}

impl Figure {
    /// The line of an entry with its distance.
    pub fn of(entry: &Entry, frechet_distance: f64) -> Figure {
        Figure {
            model: entry.model.name.clone(),
            family: entry.solver.family.to_string(),
            solver: entry.solver.name.to_string(),
            budget: entry.budget,
            nfe: entry.nfe,
            steps: entry.request.steps.unwrap_or_default(),
            frechet_distance,
        }
    }
}

/// A finished cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub key: Key,
    pub figure: Figure,
    /// Bytes `[n, C, H, W]` of the first samples, in hexadecimal.
    pub shown: String,
}

impl Cell {
    /// The bytes of the samples that are shown; none if they are not what was written.
    pub fn samples(&self) -> Vec<u8> {
        let digits = self.shown.as_bytes().chunks_exact(2);
        let byte = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        };
        digits.map(byte).collect::<Option<Vec<u8>>>().unwrap_or_default()
    }
}

/// What all cells share: the network of the features, its device and the reference.
pub struct Bench<'a, 'b> {
    network: &'a mut Network<'b>,
    backend: Rc<dyn Backend>,
    reference: &'a Statistics,
    stop: &'a Arc<AtomicBool>,
    progress: &'a Progress,
    /// Of models, by name.
    fingerprints: HashMap<String, String>,
    /// Ready for samples of a shape.
    features: Option<(Features, Space)>,
}

impl<'a, 'b> Bench<'a, 'b> {
    pub fn new(
        network: &'a mut Network<'b>,
        reference: &'a Statistics,
        stop: &'a Arc<AtomicBool>,
        progress: &'a Progress,
    ) -> Result<Bench<'a, 'b>> {
        let backend = network.backend()?;
        let (fingerprints, features) = (HashMap::new(), None);
        Ok(Bench { network, backend, reference, stop, progress, fingerprints, features })
    }

    /// The device in words.
    pub fn device(&self) -> String {
        self.backend.device()
    }

    /// What decides the figure of an entry.
    pub fn key(&mut self, entry: &Entry, ask: &Ask) -> Result<Key> {
        let model = match self.fingerprints.get(&entry.model.name) {
            Some(fingerprint) => fingerprint.clone(),
            None => {
                let fingerprint = entry.model.fingerprint()?;
                self.fingerprints.insert(entry.model.name.clone(), fingerprint.clone());
                fingerprint
            }
        };
        let settings = &entry.model.settings;
        Ok(Key {
            model,
            guidance: settings.guidance,
            clipped_eps: settings.clipped_eps,
            range: entry.model.range(),
            features: self.reference.space.fingerprint.clone(),
            reference: self.reference.fingerprint(),
            solver: entry.solver.name.to_string(),
            steps: entry.request.steps.unwrap_or_default(),
            count: ask.count,
            seed: ask.seed,
        })
    }

    /// Draws the samples of an entry and measures them, batch after batch.
    pub fn measure(&mut self, entry: &Entry, key: Key) -> Result<Cell> {
        let shape = entry.shape;
        let ready = self.features.take().filter(|(features, _)| features.shape() == shape);
        let (mut features, space) = match ready {
            Some(ready) => ready,
            None => self.network.compile(shape)?,
        };
        let mut sampler = Sampler::compile(entry.model, &entry.request, self.backend.as_ref())?;
        let mut observer = Observer { stop: self.stop, rows_done: &mut |_| {} };
        let mut found = Statistics::new(space.clone(), shape);
        let numel = shape.iter().product::<usize>();
        let mut shown = Vec::new();
        let indices: Vec<usize> = sampler.indices().collect();
        for part in indices.chunks(sampler.batch()) {
            observer.check()?;
            let samples = sampler.sample(part, &mut observer)?;
            let bytes: Vec<u8> =
                samples.data.iter().map(|value| to_byte(*value, entry.model.range())).collect();
            for bytes in bytes.chunks(features.batch() * numel) {
                observer.check()?;
                found.add(&features.of(bytes, &mut observer)?)?;
            }
            let wanted = (SHOWN * numel).saturating_sub(shown.len()).min(bytes.len());
            shown.extend_from_slice(&bytes[..wanted]);
            part.iter().for_each(|_| self.progress.advance());
        }
        observer.check()?;
        self.features = Some((features, space));
        let figure = Figure::of(entry, frechet_distance(&found, self.reference)?);
        let shown = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Cell { key, figure, shown })
    }
}
