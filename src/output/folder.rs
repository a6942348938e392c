//! A folder of samples: one file each, and a manifest by which a second run goes on.
//!
//! Each shard keeps a manifest of its own, so that shards may run at once; a run reads all of them
//! when it starts. A manifest lists only files that are complete.

use super::pixels::Picture;
use super::{Batch, Identity, Run, array, write};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The manifest is written this often at most while samples come in.
const INTERVAL: Duration = Duration::from_secs(1);

/// One finished sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    index: usize,
    file: String,
    /// Its length: a file that was cut short since is drawn again.
    bytes: u64,
    class: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest<I> {
    identity: I,
    samples: Vec<Entry>,
}

/// A folder that takes samples.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    run: Run,
    /// The samples that this shard's manifest lists, by index.
    own: BTreeMap<usize, Entry>,
    /// The samples that any shard's manifest lists, and those written since.
    done: BTreeSet<usize>,
    saved: Instant,
}

impl Folder {
    /// Opens the folder, makes it if need be, and finds out what is already there.
    pub fn begin(path: PathBuf, run: Run) -> Result<Folder> {
        if !path.is_dir() {
            let advice = "name a folder that you may make";
            match fs::create_dir(&path) {
                // Another shard was first.
                Err(_) if path.is_dir() => {}
                made => made.map_err(|e| Error::io(&path, "make", e, advice))?,
            }
        }
        let (names, manifests) = list(&path)?;
        let own_name = manifest_name(&run);
        let (own, done, saved) = (BTreeMap::new(), BTreeSet::new(), Instant::now());
        let mut folder = Folder { path, run, own, done, saved };
        for manifest in &manifests {
            for entry in folder.read(manifest)? {
                let complete = entry.file == folder.sample_name(entry.index)
                    && folder.length(&entry.file) == Some(entry.bytes);
                if complete {
                    folder.done.insert(entry.index);
                    if *manifest == own_name {
                        folder.own.insert(entry.index, entry);
                    }
                }
            }
        }
        let stray = |i: &usize| names.binary_search(&folder.sample_name(*i)).is_ok();
        if manifests.is_empty()
            && let Some(index) = folder.run.indices.clone().find(stray)
        {
            return Err(Error::invalid(
                folder.path.join(folder.sample_name(index)).display().to_string(),
                "a folder that is empty or has a manifest of its samples",
                "a sample of an unknown run",
                "name an empty or a new folder",
            ));
        }
        // The folder belongs to this run from here on, also if it is stopped in its first batch.
        folder.save()?;
        Ok(folder)
    }

    pub fn pending(&self) -> Vec<usize> {
        self.run.indices.clone().filter(|i| !self.done.contains(i)).collect()
    }

    /// Writes the files of a batch, then lists them.
    pub fn write(&mut self, batch: Batch) -> Result<()> {
        let shape = self.run.shape;
        let size: usize = shape.iter().product();
        for (i, (&index, sample)) in batch.indices.iter().zip(batch.data.chunks(size)).enumerate() {
            let file = self.sample_name(index);
            let path = self.path.join(&file);
            let bytes = if pictured(shape) {
                write(&path, |f| Picture::of_sample(sample, shape, self.run.range).write_png(f))?
            } else {
                array::save_npy(&path, sample, &shape)?
            };
            let class = batch.classes.map(|classes| classes[i]);
            self.own.insert(index, Entry { index, file, bytes, class });
            self.done.insert(index);
        }
        if self.saved.elapsed() >= INTERVAL {
            self.save()?;
        }
        Ok(())
    }

    /// Writes this shard's manifest.
    pub fn save(&mut self) -> Result<()> {
        let samples = self.own.values().cloned().collect();
        let manifest = Manifest { identity: &self.run.identity, samples };
        write(&self.path.join(manifest_name(&self.run)), |file| {
            Ok(serde_json::to_writer_pretty(file, &manifest)?)
        })?;
        self.saved = Instant::now();
        Ok(())
    }

    /// The length of a file that is there.
    fn length(&self, name: &str) -> Option<u64> {
        let meta = fs::metadata(self.path.join(name)).ok()?;
        meta.is_file().then_some(meta.len())
    }

    fn sample_name(&self, index: usize) -> String {
        let extension = if pictured(self.run.shape) { "png" } else { "npy" };
        format!("{index:06}.{extension}")
    }

    /// The entries of a manifest of the same run.
    fn read(&self, name: &str) -> Result<Vec<Entry>> {
        let path = self.path.join(name);
        let advice = "name another folder";
        let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", e, advice))?;
        let broken = |e: serde_json::Error| {
            Error::invalid(
                path.display().to_string(),
                "the manifest of a run",
                e.to_string(),
                "name a new folder, or delete this one and start again",
            )
        };
        let manifest: Manifest<Identity> = serde_json::from_str(&text).map_err(broken)?;
        match difference(&manifest.identity, &self.run.identity).map_err(broken)? {
            None => Ok(manifest.samples),
            Some((key, theirs, ours)) => Err(Error::invalid(
                format!("{}: {key}", path.display()),
                format!("{ours}, as this run has it"),
                theirs,
                "name another folder, or give the flags of the run in this one",
            )),
        }
    }
}

/// Whether a sample of `[C, H, W]` is written as a picture.
fn pictured(shape: [usize; 3]) -> bool {
    let [c, h, w] = shape;
    // One pixel is a point.
    matches!(c, 1 | 3) && h * w > 1 && !super::is_series(shape)
}

fn manifest_name(run: &Run) -> String {
    match run.shard {
        (_, 1) => "manifest.json".to_string(),
        (index, of) => format!("manifest-{index}-of-{of}.json"),
    }
}

/// The names in a folder, sorted, and those of its manifests.
fn list(path: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let failed = |e| Error::io(path, "list", e, "name a folder that you may read");
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    let manifest = |n: &&String| n.starts_with("manifest") && n.ends_with(".json");
    let manifests = names.iter().filter(manifest).cloned().collect();
    Ok((names, manifests))
}

/// The first key in which two identities differ, with both values.
fn difference(
    theirs: &Identity,
    ours: &Identity,
) -> Result<Option<(String, String, String)>, serde_json::Error> {
    // Ours takes the way through text as well: numbers are compared as a manifest holds them.
    let ours: Identity = serde_json::from_str(&serde_json::to_string(ours)?)?;
    let (theirs, ours) = (serde_json::to_value(theirs)?, serde_json::to_value(ours)?);
    let keys = ours.as_object().into_iter().flat_map(|o| o.keys());
    let mut differing = keys.filter(|&key| theirs[key] != ours[key]);
    Ok(differing.next().map(|k| (k.clone(), theirs[k].to_string(), ours[k].to_string())))
}
