//! The JSON object of a configuration file, read so that every complaint names the file.

use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

const REPAIR: &str = "repair the file or fetch it again";

/// Parses `text`; `origin` is the file that messages name.
///
/// # Errors
/// Text that is not JSON, a value that is no object, a key that stands in it twice.
pub(crate) fn object(text: &str, origin: &str) -> Result<Map<String, Value>> {
    let expected = "a JSON object";
    let not_json =
        |e| Error::invalid(origin, expected, format!("text that is not JSON ({e})"), REPAIR);
    let value: Value = serde_json::from_str(text).map_err(not_json)?;
    if !value.is_object() {
        return Err(Error::invalid(origin, expected, brief(&value), REPAIR));
    }
    let Pairs(pairs) = serde_json::from_str(text).map_err(not_json)?;
    let mut map = Map::new();
    for (key, value) in pairs {
        if let Some(before) = map.get(&key) {
            let found = format!("{}, then {}", brief(before), brief(&value));
            let what = format!("{origin}: {key}");
            return Err(Error::invalid(what, "a key that stands once", found, "keep one of them"));
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// A value as a message shows it: whole if short.
pub(crate) fn brief(value: &Value) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain("...".chars()).collect()
}

/// Keys and values in the order of the text, of which a map would keep only the last of a name.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Collect)
    }
}
