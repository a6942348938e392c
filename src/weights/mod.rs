//! Weights: safetensors files, mapped and checked against a graph.
//!
//! Nothing is converted when a file is opened: a parameter is read and converted when a backend
//! asks for it ([`crate::backend::WeightSource`]).

mod check;
mod file;
mod header;
mod names;
mod normalised;

pub use normalised::Normalised;

use crate::backend::WeightSource;
use crate::error::{Error, Result};
use file::{File, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The shards that `path` lists, if it is an index; None if it is a file of weights.
///
/// Fails if the index is absent or not in the format. Whether the shards are there is not asked.
pub fn shards(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    is_index(path).then(|| file::shards(path)).transpose()
}

/// The texts that a `.safetensors` file carries in its header, by name.
///
/// Fails if the file is absent, cut short, or not in the format.
pub fn metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    File::map(path)?.metadata()
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "json")
}

/// The tensors of one model, from one file or several shards.
pub struct Weights {
    /// How messages name it.
    name: String,
    files: Vec<File>,
    tensors: BTreeMap<String, Tensor>,
}

impl std::fmt::Debug for Weights {
    /// Names and counts: the values are megabytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Weights({}, {} tensors)", self.name, self.tensors.len())
    }
}

impl Weights {
    /// Opens a `.safetensors` file, or the `.index.json` that lists the shards of one model.
    ///
    /// Fails if a file is absent, cut short, or not in the format.
    pub fn open(path: &Path) -> Result<Weights> {
        if is_index(path) {
            return file::open_shards(path);
        }
        Self::of(path.display().to_string(), vec![File::map(path)?])
    }

    /// Weights that are part of the program; `name` is what messages call them.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Weights> {
        Self::of(format!("the weights of {name}"), vec![File::embedded(name, bytes)])
    }

    /// Those of a model that has no parameters.
    pub fn none(name: &str) -> Weights {
        Weights { name: name.to_string(), files: Vec::new(), tensors: BTreeMap::new() }
    }

    fn of(name: String, files: Vec<File>) -> Result<Weights> {
        let mut tensors = BTreeMap::new();
        for (i, file) in files.iter().enumerate() {
            for (key, tensor) in file.tensors(i)? {
                if tensors.insert(key.clone(), tensor).is_some() {
                    return Err(Error::invalid(
                        format!("{}: {key}", file.name),
                        "a key that no other shard has",
                        "a second tensor of this name",
                        "fetch the shards again",
                    ));
                }
            }
        }
        Ok(Weights { name, files, tensors })
    }

    /// The same tensors under other names.
    ///
    /// Fails if two have one name then.
    pub fn renamed(mut self, name: impl Fn(&str) -> String) -> Result<Weights> {
        let mut tensors = BTreeMap::new();
        for (key, tensor) in self.tensors {
            if tensors.insert(name(&key), tensor).is_some() {
                return Err(Error::invalid(
                    format!("{}: {key}", self.name),
                    "tensors of different names",
                    format!("a second {}", name(&key)),
                    "save the model again",
                ));
            }
        }
        self.tensors = tensors;
        Ok(self)
    }

    /// These and others, as of the networks of one model.
    ///
    /// Fails if both have a tensor of one name.
    pub fn and(mut self, other: Weights) -> Result<Weights> {
        let before = self.files.len();
        for (key, mut tensor) in other.tensors {
            if self.tensors.contains_key(&key) {
                return Err(Error::invalid(
                    format!("{}: {key}", other.name),
                    format!("a key that {} does not have", self.name),
                    "a second tensor of this name",
                    "use the parts of one model",
                ));
            }
            tensor.file += before;
            self.tensors.insert(key, tensor);
        }
        self.files.extend(other.files);
        Ok(self)
    }

    /// The names of all tensors with their shapes.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t.shape.as_slice()))
    }

    /// The bytes of every file, in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = &[u8]> {
        self.files.iter().map(File::all)
    }

    /// The tensor that parameter `name` is stored as, under its name or an older one.
    fn find(&self, name: &str) -> Option<(&str, &Tensor)> {
        names::candidates(name).find_map(|key| {
            self.tensors.get_key_value(&key).map(|(key, tensor)| (key.as_str(), tensor))
        })
    }

    fn bytes(&self, tensor: &Tensor) -> &[u8] {
        self.files[tensor.file].data(tensor)
    }
}

impl WeightSource for Weights {
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some((key, tensor)) = self.find(name) else { return Err(self.missing(&[name])) };
        self.fits(key, tensor, shape)?;
        Ok(file::to_f32(tensor.dtype, self.bytes(tensor)).collect())
    }
}
