//! The cache folder: what was measured, and what a driver compiled. A cache never fails a run: a
//! file that cannot be used or written is a note.

use super::table::Table;
use crate::beside;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// The form of the file of choices; another is not read.
const FORMAT: u32 = 1;

/// The folder that `UNNOISE_CACHE_DIR` names, else the user's own for caches. None if the variable
/// is empty or there is no such folder: nothing is kept then.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os("UNNOISE_CACHE_DIR") {
        Some(named) => Some(PathBuf::from(named)).filter(|path| !path.as_os_str().is_empty()),
        None => dirs::cache_dir().map(|caches| caches.join("unnoise")),
    }
}

/// What times hold for: another device, driver or kernel source has its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub adapter: String,
    pub driver: String,
    /// Hash of the kernel sources.
    pub sources: String,
}

impl Identity {
    /// The file of what is kept of it: `tiles-llvmpipe-LLVM-15-0-6-0123456789abcdef.json`.
    pub fn file_name(&self, what: &str) -> String {
        let Identity { adapter, driver, sources } = self;
        let hash = xxh3_64(format!("{adapter}\n{driver}\n{sources}").as_bytes());
        format!("{what}-{}-{hash:016x}.json", slug(adapter))
    }
}

/// The letters and digits of a name, for a file.
pub fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").chars().take(40).collect()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    #[serde(rename = "for")]
    identity: Identity,
    /// Milliseconds of one launch, by class and candidate.
    classes: Table,
}

/// The file of choices of one device.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    identity: Identity,
}

impl Store {
    pub fn new(folder: &Path, identity: Identity) -> Store {
        Store { path: folder.join(identity.file_name("tiles")), identity }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds, and a note if there is one that cannot be used.
    pub fn load(&self) -> (Table, Option<String>) {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Default::default(),
            Err(e) => return self.ignored(&e.to_string()),
        };
        match serde_json::from_str::<Content>(&text) {
            Err(e) => self.ignored(&e.to_string()),
            Ok(content) if content.format != FORMAT || content.identity != self.identity => {
                self.ignored("it is of another device or version")
            }
            Ok(content) if !content.classes.is_sound() => self.ignored("it holds impossible times"),
            Ok(content) => (content.classes, None),
        }
    }

    fn ignored(&self, why: &str) -> (Table, Option<String>) {
        let note = format!("{}: measured tiles are ignored: {why}", self.path.display());
        (Table::default(), Some(note))
    }

    /// Writes `table` and what another process wrote meanwhile; a note if that fails.
    pub fn save(&self, table: &Table) -> Option<String> {
        let (mut classes, _) = self.load();
        classes.merge(table);
        let content = Content { format: FORMAT, identity: self.identity.clone(), classes };
        let text = serde_json::to_string_pretty(&content).map_err(io::Error::other);
        let written = text.and_then(|text| replace(&self.path, text.as_bytes()));
        let e = written.err()?;
        Some(format!("{}: measured tiles are not kept: {e}", self.path.display()))
    }
}

/// Writes `path` whole, in place of a file of that name; the cache folder is made when its first
/// file is.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(beside::parent(path))?;
    beside::write(path, |file| file.write_all(content)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::table::Timed;
    use super::*;
    use crate::ops::{Method, Tile};

    fn identity() -> Identity {
        Identity { adapter: "GPU (x)".into(), driver: "1.2".into(), sources: "abc".into() }
    }

    fn table() -> Table {
        let mut table = Table::default();
        for splits in [1, 4] {
            let tile = Tile { method: Method::Subgroup, rows: 32, columns: 16, splits };
            table.put("conv2d n=1", Timed { tile, ms: (splits == 1).then_some(0.1 + 0.2) });
        }
        table
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        // The folder is made when the first file is.
        let store = Store::new(&folder.path().join("new"), identity());
        assert_eq!(store.load(), (Table::default(), None));
        assert_eq!(store.save(&table()), None);
        assert_eq!(store.load(), (table(), None));
        let mut more = Table::default();
        let tile = Tile { method: Method::Tiled, rows: 64, columns: 64, splits: 1 };
        more.put("linear m=1", Timed { tile, ms: Some(1.5) });
        assert_eq!(store.save(&more), None);
        assert_eq!(store.load().0.len(), 2, "what was there stays");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_as_readable_as_any_other_and_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let other = other.path().join("other");
        fs::write(&other, "").unwrap();
        let store = Store::new(folder.path(), identity());
        assert_eq!(store.save(&table()), None);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(store.path()), mode(&other));
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(names.collect::<Vec<_>>(), [store.path()]);
    }

    #[test]
    fn another_device_driver_or_source_has_another_file() {
        let name = identity().file_name("tiles");
        assert!(name.starts_with("tiles-GPU-x-") && name.ends_with(".json"), "{name}");
        let others = [
            Identity { adapter: "GPU (y)".into(), ..identity() },
            Identity { driver: "1.3".into(), ..identity() },
            Identity { sources: "abd".into(), ..identity() },
        ];
        assert!(others.iter().all(|other| other.file_name("tiles") != name));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_a_note_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), identity());
        assert_eq!(store.save(&table()), None);
        let good = fs::read_to_string(store.path()).unwrap();
        let bad = [
            String::new(),
            good[..good.len() / 2].to_string(),
            good.replace("\"format\": 1", "\"format\": 2"),
            good.replace("1.2", "1.4"),
            good.replace("0.30000000000000004", "-1.0"),
            good.replace("subgroup", "magic"),
            good.replace("\"classes\"", "\"groups\""),
        ];
        for text in bad {
            assert_ne!(text, good);
            fs::write(store.path(), &text).unwrap();
            let (found, note) = store.load();
            assert!(found.is_empty(), "{text}");
            assert!(note.unwrap().contains("ignored"), "{text}");
            assert_eq!(store.save(&table()), None);
            assert_eq!(store.load(), (table(), None));
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let note = Store::new(&file, identity()).save(&table()).unwrap();
        assert!(note.contains("not kept"), "{note}");
    }
}
