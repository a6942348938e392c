//! The value of a key, read from JSON so that a complaint can say what it must be.

use crate::json;
use serde_json::Value;
use std::borrow::Cow;

/// A type that a key may have.
pub(in crate::solver) trait FromKey: Sized {
    /// What a value must be, in words.
    fn expected() -> String;
    /// The value, if it is one.
    fn from_key(value: &Value) -> Option<Self>;
}

impl FromKey for bool {
    fn expected() -> String {
        "true or false".into()
    }
    fn from_key(value: &Value) -> Option<bool> {
        value.as_bool()
    }
}

impl FromKey for f64 {
    fn expected() -> String {
        "a number".into()
    }
    fn from_key(value: &Value) -> Option<f64> {
        match value.as_str() {
            None => value.as_f64(),
            Some(word) => NOT_FINITE.iter().find(|(name, _)| *name == word).map(|(_, v)| *v),
        }
    }
}

impl FromKey for usize {
    fn expected() -> String {
        "a whole number".into()
    }
    fn from_key(value: &Value) -> Option<usize> {
        /// Up to here f64 holds every whole number.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let whole = |v: &f64| v.fract() == 0.0 && (0.0..EXACT).contains(v);
        let float = || value.as_f64().filter(whole).map(|v| v as usize);
        value.as_u64().map(|v| v as usize).or_else(float)
    }
}

impl<T: FromKey> FromKey for Option<T> {
    fn expected() -> String {
        format!("{} or null", T::expected())
    }
    fn from_key(value: &Value) -> Option<Option<T>> {
        if value.is_null() { Some(None) } else { T::from_key(value).map(Some) }
    }
}

impl<T: FromKey> FromKey for Vec<T> {
    fn expected() -> String {
        format!("a list, each element {}", T::expected())
    }
    fn from_key(value: &Value) -> Option<Vec<T>> {
        value.as_array()?.iter().map(T::from_key).collect()
    }
}

/// Words that Python writes where JSON has no number.
const NOT_FINITE: &[(&str, f64)] =
    &[("-Infinity", f64::NEG_INFINITY), ("Infinity", f64::INFINITY), ("NaN", f64::NAN)];

/// The text with those words quoted, wherever they stand outside of a string.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    if !NOT_FINITE.iter().any(|(word, _)| text.contains(word)) {
        return text.into();
    }
    let (mut out, mut rest, mut inside) = (String::new(), text, false);
    while let Some(c) = rest.chars().next() {
        let word = NOT_FINITE.iter().map(|(word, _)| *word).find(|word| rest.starts_with(word));
        let taken = match word {
            Some(word) if !inside => {
                out.extend(["\"", word, "\""]);
                word.len()
            }
            _ => {
                let escaped = if inside && c == '\\' { rest.chars().nth(1) } else { None };
                inside ^= c == '"';
                let taken = c.len_utf8() + escaped.map_or(0, char::len_utf8);
                out.push_str(&rest[..taken]);
                taken
            }
        };
        rest = &rest[taken..];
    }
    out.into()
}

/// A value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    match value.as_str().filter(|word| NOT_FINITE.iter().any(|(name, _)| name == word)) {
        Some(word) => word.into(),
        None => json::brief(value),
    }
}
