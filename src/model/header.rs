//! The configuration that a `.safetensors` file carries in its header.
//!
//! `__metadata__` holds texts by name: `config` is what config.json would say, `scheduler` what
//! scheduler_config.json would, `unnoise` what unnoise.json would. Where `config` is a whole
//! pipeline's, as diffusers reads it from single files, its parts `unet` or `transformer` and
//! `scheduler` are taken.

use super::layout::Text;
use crate::error::{Error, Result};
use crate::json;
use crate::weights;
use serde_json::Value;
use std::path::Path;

/// The texts of a header.
pub(super) struct Header {
    pub config: Text,
    pub scheduler: Option<Text>,
    pub settings: Option<Text>,
}

/// Parts of a pipeline that are its network.
const NETWORKS: &[&str] = &["unet", "transformer"];

/// Reads the header of a file that has no config.json beside it.
///
/// Fails if the file is damaged, or says nothing about its network.
pub(super) fn read(path: &Path) -> Result<Header> {
    let mut metadata = weights::metadata(path)?;
    let mut text = |key: &str| {
        let origin = format!("{}: {key} of its metadata", path.display());
        metadata.remove(key).map(|text| Text { origin, text })
    };
    let Some(config) = text("config") else {
        return Err(Error::invalid(
            path.display().to_string(),
            "config.json beside it, or the same text as config in its metadata",
            "neither",
            "put the model's config.json there",
        ));
    };
    let (scheduler, settings) = (text("scheduler"), text("unnoise"));
    let whole = json::object(&config.text, &config.origin)?;
    let part = |key: &str| {
        let text = whole.get(key).filter(|part| part.is_object()).map(Value::to_string)?;
        Some(Text { origin: format!("{}: {key}", config.origin), text })
    };
    let network = match whole.contains_key("_class_name") {
        true => None,
        false => NETWORKS.iter().find_map(|key| part(key)),
    };
    Ok(match network {
        Some(network) => {
            let scheduler = scheduler.or_else(|| part("scheduler"));
            Header { config: network, scheduler, settings }
        }
        None => Header { config, scheduler, settings },
    })
}
