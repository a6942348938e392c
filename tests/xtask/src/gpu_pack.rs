//! `cargo xtask gpu-pack`: everything that `benches/gpu/run` needs on a machine with a GPU and
//! without Rust, in one folder below the target folder.

use crate::artifacts::built;
use crate::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may be carried, in bytes.
const MOST: u64 = 60_000_000;

/// The scripts, and what the tests read.
const FILES: [&str; 4] = ["benches/gpu", "tests/golden", "models/ddpm-cifar10", "models/digits"];
/// What made those files, and what was made of them.
const LEFT_OUT: [&str; 4] = ["py", "png", "md", "sh"];

/// Builds, strips and copies; gives the folder and its size in words.
pub fn gpu_pack() -> Result<String, String> {
    let (programs, target) = built(&["--bin", "unnoise", "--test", "it", "--bench", "gpu"])?;
    let folder = target.join("gpu");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    for (name, from) in programs {
        let to = folder.join("bin").join(name);
        copy(&from, &to)?;
        run(Command::new("strip").arg(&to))?;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for part in FILES {
        // The scripts lie at the top.
        let to = if part == FILES[0] { folder.clone() } else { folder.join(part) };
        for file in files(&root.join(part))? {
            let inside = file.strip_prefix(root.join(part)).unwrap_or(&file);
            let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if part == FILES[0] || !LEFT_OUT.contains(&ending) {
                copy(&file, &to.join(inside))?;
            }
        }
    }
    let git = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = git.map_err(|e| format!("cannot start git: {e}"))?.stdout;
    let path = folder.join("commit");
    fs::write(&path, commit).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut bytes = 0;
    for file in files(&folder)? {
        bytes += fs::metadata(&file).map_err(|e| format!("{}: {e}", file.display()))?.len();
    }
    let words = format!("{}, {:.1} MB", folder.display(), bytes as f64 / 1e6);
    if bytes > MOST { Err(format!("{words}: more than can be carried")) } else { Ok(words) }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let said = |e| format!("{} to {}: {e}", from.display(), to.display());
    fs::create_dir_all(to.parent().unwrap_or(to)).map_err(said)?;
    fs::copy(from, to).map(|_| ()).map_err(said)
}

/// The files below a folder; nothing that Python left there.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.is_dir() {
            true if path.ends_with("__pycache__") => {}
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}
