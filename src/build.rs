//! Tells the program which git revision it is built from.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

fn main() -> io::Result<()> {
    let mut cargo = io::stdout().lock();
    // A commit appends to its log; what is built from decides whether the tree is clean.
    let states = ["HEAD", "logs/HEAD"].map(|name| git(&["rev-parse", "--git-path", name]));
    let built = ["Cargo.toml", "Cargo.lock", "src", "shaders", "kernels", "models"];
    let watched = states.iter().flatten().map(String::as_str).chain(built);
    for path in watched.filter(|path| Path::new(path).exists()) {
        writeln!(cargo, "cargo::rerun-if-changed={path}")?;
    }
    writeln!(cargo, "cargo::rerun-if-env-changed=UNNOISE_GIT")?;
    // Sources that lie in a repository of something else are not its revision.
    let tracked = git(&["ls-files", "--error-unmatch", "Cargo.toml"]);
    let described = tracked.and_then(|_| git(&["describe", "--always", "--dirty", "--abbrev=12"]));
    let told = || std::env::var("UNNOISE_GIT").ok().filter(|told| !told.is_empty());
    let revision = described.or_else(told).unwrap_or_else(|| "unknown".to_string());
    writeln!(cargo, "cargo::rustc-env=UNNOISE_REVISION={revision}")
}

/// What git says in one line, if it is there and knows.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !line.is_empty() && !line.contains('\n')).then_some(line)
}
