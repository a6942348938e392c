//! Files appear whole: they are written under a passing name beside their own and then renamed.

use crate::lock::locked;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::{Builder, NamedTempFile};

/// The passing files of this process, for one that ends before they have their names.
static PASSING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Deletes every file that does not have its name yet. No file is made or named after this: for a
/// process that is about to end.
pub fn discard() {
    let passing = locked(&PASSING);
    for path in passing.iter() {
        // One that cannot be deleted keeps no process alive.
        fs::remove_file(path).unwrap_or_default();
    }
    mem::forget(passing);
}

/// A file under its passing name.
#[derive(Debug)]
pub struct Passing(NamedTempFile);

impl Passing {
    /// Makes one in `folder`.
    pub fn new(folder: &Path) -> io::Result<Passing> {
        let mut builder = Builder::new();
        builder.prefix(".unnoise-");
        // A finished file is readable like any other, as the umask has it; a temporary one is
        // private unless told.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut passing = locked(&PASSING);
        let file = builder.tempfile_in(folder)?;
        passing.insert(file.path().to_path_buf());
        Ok(Passing(file))
    }

    pub fn file(&self) -> &File {
        self.0.as_file()
    }

    /// Gives the file its name, in place of a file of that name.
    pub fn name(self, path: &Path) -> io::Result<()> {
        let mut passing = locked(&PASSING);
        let old = self.0.path().to_path_buf();
        self.0.persist(path).map_err(|e| e.error)?;
        passing.remove(&old);
        Ok(())
    }
}

/// Writes `path` with `fill`, replacing a file of that name in one step. Returns its length.
pub fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<u64> {
    let temporary = Passing::new(parent(path))?;
    let mut writer = BufWriter::new(temporary.file());
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    let length = temporary.file().metadata()?.len();
    temporary.name(path)?;
    Ok(length)
}

/// The folder that `path` lies in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}
