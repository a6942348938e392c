//! The program as a process, in a folder of its own. It is started nowhere else, so that no test
//! reads or writes the cache of whoever runs it.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::{TempDir, tempdir};

/// What a command left.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// stdout, which must be one JSON value and nothing else.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is not one JSON value: {e}\n{}", self.stdout))
    }
}

/// The folder that commands run in.
pub struct Place {
    folder: TempDir,
    /// What `UNNOISE_CACHE_DIR` is for them.
    cache: PathBuf,
}

impl Place {
    /// Nothing is measured or kept.
    pub fn new() -> Place {
        Place { folder: tempdir().unwrap(), cache: PathBuf::new() }
    }

    /// What is measured and compiled is kept in `cache` below it.
    pub fn with_cache() -> Place {
        let folder = tempdir().unwrap();
        Place { cache: folder.path().join("cache"), folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unnoise"));
        command.args(line.split_whitespace()).current_dir(self.folder());
        command.env("UNNOISE_CACHE_DIR", &self.cache);
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        Ran::of(&mut self.command(line))
    }

    /// The names in a folder below, in order; none if there is no such folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The JSON in a file.
    pub fn value(&self, path: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(path)).unwrap()).unwrap()
    }
}
