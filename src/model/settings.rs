//! `unnoise.json`: how a model is best sampled, kept beside its `config.json`.

use super::keys::{Keys, as_size};
use crate::error::Result;
use serde_json::Value;

/// What `unnoise.json` says; nothing where the file or the key is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// A solver's name, such as `ddim`.
    pub solver: Option<String>,
    /// Steps of the trajectory.
    pub steps: Option<usize>,
    /// The weight of classifier-free guidance; 1 is none.
    pub guidance: Option<f64>,
    /// The class that stands for no class.
    pub null_class: Option<usize>,
    /// Names of the classes from 0 on.
    pub class_names: Vec<String>,
    /// Whether eps is derived again from the clipped x0.
    pub clipped_eps: Option<bool>,
    /// What black and white are in pictures; -1 and 1 if it is not said.
    pub range: Option<[f32; 2]>,
}

const STEPS: std::ops::RangeInclusive<usize> = 1..=1_000_000;

impl Settings {
    /// Parses the file's `text`; `origin` is its name for messages, `classes` the number of classes
    /// of the model it belongs to and `null_class` the one that is none by the model itself.
    pub(super) fn parse(
        text: &str,
        origin: &str,
        classes: Option<usize>,
        null_class: Option<usize>,
    ) -> Result<Settings> {
        let mut keys = Keys::parse(text, origin)?;
        let text = |v: &Value| v.as_str().map(|s| Some(s.to_string()));
        let names = |v: &Value| {
            v.as_array()?.iter().map(|name| name.as_str().map(str::to_string)).collect()
        };
        let number = |v: &Value| v.as_f64().filter(|n| (*n as f32).is_finite()).map(Some);
        let size = |v: &Value| as_size(v).map(Some);
        let steps = |v: &Value| as_size(v).filter(|n| STEPS.contains(n)).map(Some);
        let whole = format!("an integer from {} to {}", STEPS.start(), STEPS.end());
        let range = |v: &Value| match *v.as_array()?.as_slice() {
            [ref low, ref high] => {
                let range = [low.as_f64()? as f32, high.as_f64()? as f32];
                (range[0] < range[1] && (range[1] - range[0]).is_finite()).then_some(Some(range))
            }
            _ => None,
        };
        let settings = Settings {
            solver: keys.take("solver", "the name of a solver", None, text)?,
            steps: keys.take("steps", &whole, None, steps)?,
            guidance: keys.take("guidance", "a number within the range of f32", None, number)?,
            null_class: keys.take("null_class", "the number of a class", None, size)?,
            class_names: keys.take("class_names", "a list of names", Vec::new(), names)?,
            clipped_eps: keys
                .take("clipped_eps", "true or false", None, |v| v.as_bool().map(Some))?,
            range: keys.take("range", "[black, white], black below white", None, range)?,
        };
        settings.check(&keys, classes.unwrap_or(0), null_class)?;
        keys.finish()?;
        Ok(settings)
    }

    fn check(&self, keys: &Keys, classes: usize, own_null: Option<usize>) -> Result<()> {
        if let Some(null) = self.null_class.filter(|null| *null >= classes) {
            let expected = format!("one of the model's {classes} classes");
            return Err(keys.bad("null_class", expected, null.to_string()));
        }
        if self.class_names.len() > classes {
            let expected = format!("at most {classes} names, one a class");
            return Err(keys.bad("class_names", expected, self.class_names.len().to_string()));
        }
        if let (Some(w), None) = (self.guidance, self.null_class.or(own_null))
            && w != 1.0
        {
            let expected = "1, as the file names no null_class to guide away from";
            return Err(keys.bad("guidance", expected, w.to_string()));
        }
        Ok(())
    }
}
