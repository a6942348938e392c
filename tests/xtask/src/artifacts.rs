//! Programs that cargo built, where it put them.

use crate::cargo;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;

/// The programs of `targets` (as `cargo build` names them), built for release, each with its name;
/// and the target folder.
pub fn built(targets: &[&str]) -> Result<(Vec<(String, PathBuf)>, PathBuf), String> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "unnoise"]).args(targets);
    build.arg("--message-format=json-render-diagnostics");
    let output = build.stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| format!("cannot start {build:?}: {e}"))?;
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = |m: Value| {
        Some((m["target"]["name"].as_str()?.to_string(), PathBuf::from(m["executable"].as_str()?)))
    };
    let programs: Vec<_> = messages.filter_map(program).collect();
    let wanted = targets.iter().filter(|word| !word.starts_with("--"));
    let missing = wanted.copied().find(|name| !programs.iter().any(|(known, _)| known == name));
    if let Some(name) = missing {
        return Err(format!("{build:?} built no {name}: {}", output.status));
    }
    // target/release/unnoise, target/release/deps/it-...
    let release =
        programs.iter().find_map(|(_, path)| path.ancestors().find(|a| a.ends_with("release")));
    let target = release.and_then(|path| path.parent()).map(PathBuf::from);
    target.map(|target| (programs, target)).ok_or("the programs lie in no target folder".into())
}
