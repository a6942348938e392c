//! An output path, judged before any work: what kind it is, and whether it can be written.

use super::{grid, probe};
use crate::beside::parent;
use crate::error::{Error, Result};
use std::fs::{self, Metadata};
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `.png`: a labelled grid.
    Grid,
    /// `.npy`: f32 `[N, C, H, W]`.
    Npy,
    /// `.safetensors`: the same, with the classes and the run.
    Safetensors,
    /// One file a sample and a manifest.
    Folder,
}

/// Samples that are gathered before they are written may take so much memory.
const GATHERED_BYTES: usize = 4 << 30;

/// A place for samples that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

impl Target {
    /// Judges `path` for `count` samples of `shape` `[C, H, W]`, drawn in `shards` parts. A path
    /// that ends in a separator,
    /// is a folder, or has no extension means a folder. Nothing is left on disk.
    ///
    /// # Errors
    /// An unknown extension, a missing parent folder, a place that cannot be written, a folder
    /// where a file is meant (or the reverse), a single file for several shards, more samples than
    /// a file can gather, and a picture of what cannot be pictured.
    pub fn open(
        path: impl Into<PathBuf>,
        shape: [usize; 3],
        count: usize,
        shards: usize,
    ) -> Result<Target> {
        let path = path.into();
        let what = format!("--out {}", path.display());
        let kind = kind(&path, &what)?;
        if kind == Kind::Grid {
            grid::check(&what, shape, count)?;
        }
        if kind != Kind::Folder {
            single(&what, kind, shape, count, shards)?;
        }
        Ok(Target { path: place(&path, what, kind == Kind::Folder)?, kind })
    }

    /// Judges the path that was given to `flag` for one file with one of these `endings`, whatever
    /// it will hold.
    ///
    /// # Errors
    /// Another ending, and what [`Target::open`] says of a path.
    pub fn file(flag: &str, path: impl Into<PathBuf>, endings: &[&str]) -> Result<PathBuf> {
        let path = path.into();
        let what = format!("{flag} {}", path.display());
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        if !ending.as_deref().is_some_and(|ending| endings.contains(&ending)) {
            let expected = format!("a file that ends in .{}", endings.join(" or ."));
            let found = ending.map_or("no extension".to_string(), |e| format!(".{e}"));
            return Err(Error::invalid(what, expected, found, "name such a file"));
        }
        place(&path, what, false)
    }

    /// Whether a second run can go on with what a first one left here.
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }
}

/// The path of a file or a folder that can be written.
fn place(typed: &Path, what: String, folder: bool) -> Result<PathBuf> {
    // Without a separator at its end, which would hide a file of that name.
    let (path, exists) = existing(typed.components().collect(), &what, folder)?;
    let refused = exists.as_ref().and_then(|meta| refuse(meta, folder));
    if let Some((expected, found, action)) = refused {
        return Err(Error::invalid(what, expected, found, action));
    }
    let within = if folder && exists.is_some() { &path } else { parent(&path) };
    if !within.is_dir() {
        return Err(Error::invalid(
            what,
            format!("a path in an existing folder {}", within.display()),
            "no such folder",
            "make it first or name another path",
        ));
    }
    probe(within)?;
    Ok(path)
}

/// Why what is there already cannot be written: what was expected, what was found, what to do.
fn refuse(meta: &Metadata, folder: bool) -> Option<(&'static str, &'static str, &'static str)> {
    match folder {
        true if meta.is_dir() => None,
        true => Some((
            "a folder, or a file name that ends in .png, .npy or .safetensors",
            "a file",
            "name another path",
        )),
        false if meta.is_dir() => Some((
            "a file",
            "a folder of that name",
            "name another file, or end the path in / to write into the folder",
        )),
        false if !meta.is_file() => {
            Some(("a regular file", "a pipe, a device or a socket", "name another file"))
        }
        false if meta.permissions().readonly() => {
            Some(("a file that may be replaced", "a read-only file", "name another file"))
        }
        false => None,
    }
}

/// A file is of one process, and what is gathered for it has a bound.
fn single(what: &str, kind: Kind, shape: [usize; 3], count: usize, shards: usize) -> Result<()> {
    if shards > 1 {
        return Err(Error::invalid(
            what,
            "a folder, which shards can share",
            format!("a single file for one of {shards} shards"),
            "name a folder, or leave --shard out",
        ));
    }
    let bytes = shape.iter().fold(count.saturating_mul(4), |n, &side| n.saturating_mul(side));
    if kind != Kind::Npy && bytes > GATHERED_BYTES {
        return Err(Error::invalid(
            what,
            format!("at most {GATHERED_BYTES} bytes of samples, which are gathered in memory"),
            format!("{bytes} bytes for {count} samples"),
            "use .npy or a folder, or a smaller --count",
        ));
    }
    Ok(())
}

/// What is at `path` already. A link to a file stands for that file, which is replaced in its
/// own folder.
fn existing(path: PathBuf, what: &str, folder: bool) -> Result<(PathBuf, Option<Metadata>)> {
    let here = match fs::symlink_metadata(&path) {
        Ok(here) => here,
        // A missing folder is named by what comes after.
        Err(e) if matches!(e.kind(), NotFound | NotADirectory) => return Ok((path, None)),
        Err(e) => return Err(Error::io(&path, "use", e, "name another path")),
    };
    if !here.is_symlink() || folder {
        let meta = fs::metadata(&path).ok();
        return Ok((path, meta));
    }
    let dangling =
        |_| Error::invalid(what, "a file", "a link to what is not there", "name the file itself");
    let path = path.canonicalize().map_err(dangling)?;
    let meta = fs::metadata(&path).map_err(dangling)?;
    Ok((path, Some(meta)))
}

fn kind(path: &Path, what: &str) -> Result<Kind> {
    let text = path.to_string_lossy();
    if text.is_empty() {
        return Err(Error::invalid(
            "--out",
            "a path",
            "an empty one",
            "name a file that ends in .png, .npy or .safetensors, or a folder",
        ));
    }
    let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase());
    let bare = name.is_some_and(|n| [".png", ".npy", ".safetensors"].contains(&&*n));
    if bare && !text.ends_with(['/', '\\']) && !path.is_dir() {
        return Err(Error::invalid(
            what,
            "a name before the extension",
            "only the extension",
            "write a.png, or end the path in / for a folder",
        ));
    }
    let Some(extension) = path.extension().filter(|_| !text.ends_with(['/', '\\'])) else {
        return Ok(Kind::Folder);
    };
    match extension.to_string_lossy().to_ascii_lowercase().as_str() {
        "png" => Ok(Kind::Grid),
        "npy" => Ok(Kind::Npy),
        "safetensors" => Ok(Kind::Safetensors),
        _ if path.is_dir() => Ok(Kind::Folder),
        other => Err(Error::invalid(
            what,
            ".png, .npy, .safetensors or a folder",
            format!(".{other}"),
            "change the extension, or end the path in / for a folder",
        )),
    }
}
