//! What tells two models apart that have one name.

use super::Model;
use crate::error::Result;
use xxhash_rust::xxh3::Xxh3;

impl Model {
    /// A hash, as hex, of what decides the samples of a model: its configuration, its scheduler,
    /// its null class and every byte of its weights. Equal for two copies of one model; no proof
    /// against one made to collide.
    ///
    /// Fails if the model has no scheduler or no weights, or a file cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = Xxh3::new();
        // The length first: where one part ends decides too.
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(self.config.text.as_bytes());
        part(self.scheduler.text()?.text.as_bytes());
        part(format!("{:?}", self.settings.null_class).as_bytes());
        for file in self.open_weights()?.files() {
            part(file);
        }
        Ok(format!("{:032x}", hash.digest128()))
    }
}
