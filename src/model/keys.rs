//! Reads a JSON object key by key, so that every complaint names the file and the key.

use super::clip;
use crate::error::{Error, Result};
use crate::json::{self, brief};
use crate::ops::Act;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Bounds that keep a mistyped number from asking for terabytes.
pub(super) const CHANNELS: RangeInclusive<usize> = 1..=65_536;
pub(super) const SIDE: RangeInclusive<usize> = 1..=8_192;
pub(super) const CLASSES: RangeInclusive<usize> = 1..=16_777_216;
pub(super) const LAYERS: RangeInclusive<usize> = 1..=64;

/// What diffusers' networks for pictures call their activations.
pub(super) const ACTIVATIONS: &[(Option<&str>, Act)] = &[
    (Some("silu"), Act::Silu),
    (Some("swish"), Act::Silu),
    (Some("gelu"), Act::Gelu),
    (Some("relu"), Act::Relu),
    (Some("mish"), Act::Mish),
];

/// A JSON object whose keys are taken one after another; what is left at the end is an error.
pub(super) struct Keys<'a> {
    origin: &'a str,
    class: Option<Value>,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    /// Embeddings of classes that lie beside the file, if any.
    pub embeddings: Option<usize>,
    /// The text encoder of the pipeline, if it has one.
    pub text: Option<clip::Config>,
}

impl<'a> Keys<'a> {
    /// Parses `text`; `origin` is the file that messages name. Keys that begin with `_` are set
    /// aside: they are notes of the program that wrote the file.
    pub fn parse(text: &str, origin: &'a str) -> Result<Self> {
        let mut map = json::object(text, origin)?;
        let class = map.remove("_class_name");
        map.retain(|key, _| !key.starts_with('_'));
        Ok(Keys { origin, class, map, known: Vec::new(), embeddings: None, text: None })
    }

    /// The file that messages name.
    pub fn origin(&self) -> &str {
        self.origin
    }

    /// `_class_name`, which says what the object configures; must be a text.
    pub fn class(&self) -> Result<&str> {
        match &self.class {
            Some(Value::String(name)) => Ok(name),
            Some(other) => Err(self.bad("_class_name", "the name of a class", brief(other))),
            None => Err(self.bad("_class_name", "the name of a class", "no such key")),
        }
    }

    /// The value of `key`, read by `read`; `default` where the key is absent.
    pub fn take<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        default: T,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T> {
        self.known.push(key);
        match self.map.remove(key) {
            None => Ok(default),
            Some(value) => read(&value).ok_or_else(|| self.bad(key, expected, brief(&value))),
        }
    }

    /// An integer in `range`.
    pub fn size(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        self.take(key, &expected, default, |v| as_size(v).filter(|n| range.contains(n)))
    }

    /// An integer in `range`, or null for none.
    pub fn maybe_size(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<usize>,
        default: Option<usize>,
    ) -> Result<Option<usize>> {
        let expected = format!("an integer from {} to {}, or null", range.start(), range.end());
        self.take(key, &expected, default, |v| match v {
            Value::Null => Some(None),
            v => as_size(v).filter(|n| range.contains(n)).map(Some),
        })
    }

    /// True or false.
    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool> {
        self.take(key, "true or false", default, Value::as_bool)
    }

    /// A number that f32 holds and for which, once rounded to f32, `ok` holds; `expected` says so
    /// in words.
    pub fn number(
        &mut self,
        key: &'static str,
        expected: &str,
        default: f64,
        ok: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        let expected = format!("{expected}, within the range of f32");
        self.take(key, &expected, default, |v| {
            v.as_f64().filter(|n| (*n as f32).is_finite() && ok(f64::from(*n as f32)))
        })
    }

    /// One of the words of a table.
    pub fn word<T: Copy>(
        &mut self,
        key: &'static str,
        table: &[(Option<&str>, T)],
        default: T,
    ) -> Result<T> {
        let expected = format!("one of {}", words(table));
        self.take(key, &expected, default, |v| match v {
            Value::Null => lookup(table, None),
            v => lookup(table, Some(v.as_str()?)),
        })
    }

    /// An error about a key.
    pub fn bad(&self, key: &str, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::invalid(format!("{}: {key}", self.origin), expected, found, CORRECT)
    }

    /// Whether the key is there and not taken yet.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// A key that nobody took, if there is one.
    pub fn left(&self) -> Option<&str> {
        self.map.keys().next().map(String::as_str)
    }

    /// Ends the reading: a key that nobody took is an error.
    pub fn finish(self) -> Result<()> {
        let Some(key) = self.left() else { return Ok(()) };
        Err(Error::invalid(
            format!("{}: {key}", self.origin),
            format!("only the keys {}", self.known.join(", ")),
            "a key that is not among them",
            "remove it, or use a version that knows it",
        ))
    }
}

const CORRECT: &str = "correct the file, or use a model that this version covers";

fn lookup<T: Copy>(table: &[(Option<&str>, T)], word: Option<&str>) -> Option<T> {
    table.iter().find(|(w, _)| *w == word).map(|(_, value)| *value)
}

/// The words of a table as a message lists them.
pub(super) fn words<T>(table: &[(Option<&str>, T)]) -> String {
    table.iter().map(|(word, _)| word.unwrap_or("null")).collect::<Vec<_>>().join(", ")
}

pub(super) fn as_size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
}
