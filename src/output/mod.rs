//! Where samples go: a labelled picture, an array file, or a folder that a second run goes on with.
//!
//! A [`Target`] is checked before any work is done; a [`Writer`] takes batches in any order. What
//! is written is written beside its final name and renamed, so a name that exists is complete.

mod array;
mod canvas;
pub mod cloud;
mod folder;
mod grid;
mod pixels;
pub mod plot;
pub mod sheet;
mod target;

pub use crate::beside::discard;
pub use pixels::to_byte;
pub use target::Target;

use crate::beside::{self, Passing};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use target::Kind;

/// What decides the samples of a run: two runs with one identity draw the same samples, whatever
/// their batch, shard or device (to the tolerance of the device's arithmetic).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub model: String,
    /// A hash of the model's files: a name alone may stand for another model tomorrow.
    pub fingerprint: String,
    pub solver: String,
    pub steps: usize,
    /// The classifier-free guidance weight; 1 is none.
    pub guidance: f64,
    pub eta: Option<f64>,
    pub clipped_eps: bool,
    /// Whatever else was said about solver and guidance, by flag.
    pub options: BTreeMap<String, String>,
    pub seed: u64,
    pub noise: String,
    pub precision: String,
    /// `all`, or class numbers joined by commas; none for an unconditional model.
    pub classes: Option<String>,
    /// Samples of the whole run, of which a shard draws a part.
    pub count: usize,
}

/// What a writer needs to know of a run.
#[derive(Clone, Debug)]
pub struct Run {
    pub identity: Identity,
    /// `[C, H, W]` of a sample.
    pub shape: [usize; 3],
    /// The samples of this shard, by their number in the whole run.
    pub indices: Range<usize>,
    /// This shard and the number of shards, from `(1, 1)`.
    pub shard: (usize, usize),
    /// Names of the classes for captions; a class without a name shows its number.
    pub class_names: Vec<String>,
    /// What black and white are in pictures.
    pub range: [f32; 2],
}

impl Run {
    /// The caption of a class.
    fn caption(&self, class: u32) -> String {
        let names = &self.class_names;
        names.get(class as usize).cloned().unwrap_or_else(|| class.to_string())
    }
}

/// Finished samples.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Their numbers in the whole run.
    pub indices: &'a [usize],
    /// Their classes, one for each index, for a class-conditional model.
    pub classes: Option<&'a [u32]>,
    /// `[n, C, H, W]` in the model's range.
    pub data: &'a [f32],
}

/// Takes the samples of a run.
#[derive(Debug)]
pub struct Writer(Sink);

#[derive(Debug)]
enum Sink {
    Folder(folder::Folder),
    Npy(array::Npy),
    File(Gathered),
}

/// The samples of a single file, gathered until all are there.
#[derive(Debug)]
struct Gathered {
    path: PathBuf,
    kind: Kind,
    run: Run,
    /// `[n, C, H, W]`.
    data: Vec<f32>,
    /// Empty for an unconditional model.
    classes: Vec<u32>,
    /// Where each sample of `data` belongs.
    indices: Vec<usize>,
}

impl Target {
    /// Starts a run. A folder that holds part of the same run goes on with it.
    ///
    /// # Errors
    /// A folder that holds another run, or samples of no known run.
    pub fn begin(self, run: Run) -> Result<Writer> {
        let Target { path, kind } = self;
        Ok(Writer(match kind {
            Kind::Folder => Sink::Folder(folder::Folder::begin(path, run)?),
            Kind::Npy => Sink::Npy(array::Npy::begin(path, run.shape, run.indices)?),
            _ => Sink::File(Gathered {
                path,
                kind,
                run,
                data: Vec::new(),
                classes: Vec::new(),
                indices: Vec::new(),
            }),
        }))
    }
}

impl Writer {
    /// The samples still to draw, in order.
    pub fn pending(&self) -> Vec<usize> {
        match &self.0 {
            Sink::Folder(folder) => folder.pending(),
            Sink::Npy(file) => file.pending(),
            Sink::File(file) => {
                let there: HashSet<&usize> = file.indices.iter().collect();
                file.run.indices.clone().filter(|i| !there.contains(i)).collect()
            }
        }
    }

    /// Takes a batch. A folder has its files when this returns.
    pub fn write(&mut self, batch: Batch) -> Result<()> {
        match &mut self.0 {
            Sink::Folder(folder) => folder.write(batch),
            Sink::Npy(file) => file.write(batch),
            Sink::File(file) => {
                file.indices.extend_from_slice(batch.indices);
                file.classes.extend_from_slice(batch.classes.unwrap_or_default());
                file.data.extend_from_slice(batch.data);
                Ok(())
            }
        }
    }

    /// Ends a run that drew every sample.
    pub fn finish(self) -> Result<()> {
        match self.0 {
            Sink::Folder(mut folder) => folder.save(),
            Sink::Npy(file) => file.finish(),
            Sink::File(file) => file.save().map(|_| ()),
        }
    }

    /// Ends a run that was stopped: a folder records what it has, a single file is not written.
    pub fn abandon(self) -> Result<()> {
        match self.0 {
            Sink::Folder(mut folder) => folder.save(),
            Sink::Npy(_) | Sink::File(_) => Ok(()),
        }
    }
}

impl Gathered {
    fn save(self) -> Result<u64> {
        let Gathered { path, kind, run, data, classes, indices } = self.in_order();
        let shape = [indices.len(), run.shape[0], run.shape[1], run.shape[2]];
        let labels = (!classes.is_empty()).then_some(classes);
        match kind {
            Kind::Grid => {
                let captions = labels.map(|l| l.iter().map(|&c| run.caption(c)).collect());
                grid::save(&path, &data, shape, run.range, captions)
            }
            _ => array::save_safetensors(&path, &data, shape, labels.as_deref(), &run.identity),
        }
    }

    /// Samples by ascending index, whatever the order in which batches came.
    fn in_order(mut self) -> Self {
        if self.indices.is_sorted() {
            return self;
        }
        let mut order: Vec<usize> = (0..self.indices.len()).collect();
        order.sort_by_key(|&i| self.indices[i]);
        let size: usize = self.run.shape.iter().product();
        self.data = order.iter().flat_map(|&i| self.data[i * size..][..size].to_vec()).collect();
        if !self.classes.is_empty() {
            self.classes = order.iter().map(|&i| self.classes[i]).collect();
        }
        self.indices.sort_unstable();
        self
    }
}

/// Whether a sample of `[C, H, W]` is a series, of which the one line says nothing to the eye.
fn is_series([_, h, w]: [usize; 3]) -> bool {
    h == 1 && w > 1
}

/// Writes f32 `data` of `shape` as .npy.
///
/// # Errors
/// The file cannot be written.
pub fn save_array(path: &Path, data: &[f32], shape: &[usize]) -> Result<()> {
    array::save_npy(path, data, shape).map(|_| ())
}

/// Writes a text, replacing a file of that name in one step.
///
/// # Errors
/// The file cannot be written.
pub fn save_text(path: &Path, text: &str) -> Result<()> {
    write(path, |file| file.write_all(text.as_bytes())).map(drop)
}

/// Writes `path` with `fill`, replacing a file of that name in one step. Returns its length.
fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<u64> {
    beside::write(path, fill).map_err(|e| failed(path, e))
}

/// Results that could not be written to `path`.
fn failed(path: &Path, error: io::Error) -> Error {
    Error::write(path, error, "check the free space and the permissions there")
}

/// Makes sure that files can be made in `folder`, and leaves none.
fn probe(folder: &Path) -> Result<()> {
    Passing::new(folder).map(drop).map_err(|e| {
        Error::io(folder, "write into", e, "name a path in a folder that you may write")
    })
}
