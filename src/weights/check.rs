//! Compares the tensors of a checkpoint with what a graph needs, before any work is done.

use super::{Tensor, Weights, file};
use crate::error::{Error, Result};
use crate::graph::{Graph, Unread};
use std::collections::BTreeSet;

/// Names that a message lists before it only counts.
const LISTED: usize = 5;

impl Weights {
    /// Checks that every parameter of `graph` is here with its shape, in a floating-point type
    /// and with finite values, and that nothing else is.
    pub fn check(&self, graph: &Graph) -> Result<()> {
        let stored = || graph.params.iter().filter_map(|p| Some((p.name.as_str(), p.tensor()?)));
        let mut missing: Vec<&str> =
            stored().map(|(name, _)| name).filter(|name| self.find(name).is_none()).collect();
        // Several parameters may be parts of one tensor.
        let mut once = BTreeSet::new();
        missing.retain(|name| once.insert(*name));
        if !missing.is_empty() {
            return Err(self.missing(&missing));
        }
        let mut used = BTreeSet::new();
        for (name, shape) in stored() {
            if let Some((key, tensor)) = self.find(name) {
                self.fits(key, tensor, &shape)?;
                used.insert(key);
            }
        }
        for unread in &graph.unread {
            if unread.name.ends_with('.') {
                let below = self.tensors.keys().filter(|key| key.starts_with(&unread.name));
                used.extend(below.map(String::as_str));
                continue;
            }
            if let Some((key, tensor)) = self.tensors.get_key_value(&unread.name) {
                if !unread.shape.is_empty() {
                    self.fits(key, tensor, &unread.shape)?;
                    self.agrees(key, tensor, unread)?;
                }
                used.insert(key);
            }
        }
        let extra: Vec<&str> =
            self.tensors.keys().map(String::as_str).filter(|key| !used.contains(key)).collect();
        if !extra.is_empty() {
            return Err(Error::invalid(
                self.name.clone(),
                "only the tensors that config.json asks for",
                format!("{} more: {}", extra.len(), listed(&extra)),
                MISMATCH,
            ));
        }
        self.tensors.iter().try_for_each(|(key, tensor)| self.finite(key, tensor))
    }

    /// The error for parameters that are not here.
    pub(super) fn missing(&self, names: &[&str]) -> Error {
        Error::invalid(
            self.name.clone(),
            "every tensor that config.json asks for",
            format!("{} missing: {}", names.len(), listed(names)),
            MISMATCH,
        )
    }

    /// Type and shape of one tensor.
    pub(super) fn fits(&self, key: &str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
        if !file::is_float(tensor.dtype) {
            return Err(Error::invalid(
                format!("{}: {key}", self.files[tensor.file].name),
                "F32, F16, BF16 or F64",
                tensor.dtype.to_string(),
                "convert the weights to one of these types; quantised weights are not covered",
            ));
        }
        if squeezed(&tensor.shape) != squeezed(shape) {
            return Err(Error::invalid(
                format!("{}: {key}", self.files[tensor.file].name),
                format!("shape {shape:?}"),
                format!("{:?}", tensor.shape),
                MISMATCH,
            ));
        }
        Ok(())
    }

    /// What is known without the file is in the file as it must be.
    fn agrees(&self, key: &str, tensor: &Tensor, unread: &Unread) -> Result<()> {
        let Some(values) = &unread.values else { return Ok(()) };
        let found = file::to_f32(tensor.dtype, self.bytes(tensor));
        let mut pairs = values.iter().zip(found).enumerate();
        match pairs.find(|(_, (value, found))| (*value - found).abs() > 1e-3 * value.abs()) {
            None => Ok(()),
            Some((i, (value, found))) => Err(Error::invalid(
                format!("{}: {key}", self.files[tensor.file].name),
                format!("{value} at index {i}, as config.json has it"),
                found.to_string(),
                MISMATCH,
            )),
        }
    }

    /// The first value that is not a finite number is an error.
    fn finite(&self, key: &str, tensor: &Tensor) -> Result<()> {
        let mut values = file::to_f32(tensor.dtype, self.bytes(tensor)).enumerate();
        match values.find(|(_, v)| !v.is_finite()) {
            None => Ok(()),
            Some((i, value)) => Err(Error::invalid(
                format!("{}: {key}", self.files[tensor.file].name),
                "finite values",
                format!("{value} at index {i}"),
                "fetch the weights again; if they are your own, the training diverged",
            )),
        }
    }
}

const MISMATCH: &str = "config.json and weights do not belong together: use those of one model";

/// A matrix `[out, in]` and a convolution of one tap, `[out, in, 1]` or `[out, in, 1, 1]`, hold the
/// same numbers.
fn squeezed(shape: &[usize]) -> &[usize] {
    match shape {
        [_, _, 1] | [_, _, 1, 1] => &shape[..2],
        _ => shape,
    }
}

fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(LISTED)].join(", ");
    if names.len() > LISTED { format!("{shown}, ...") } else { shown }
}
