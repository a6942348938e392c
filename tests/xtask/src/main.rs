//! `cargo xtask test [ARGS]`: makes sure that a GPU API is there, then runs every test and lets
//! none of those that need wgpu be skipped. ARGS go to `cargo test`.
//!
//! `cargo xtask matrices`: those of cooperative matrices, see [`matrices`].
//!
//! `cargo xtask races`: what sanitizers say of the CUDA kernels, run on the processor.
//!
//! `cargo xtask compare BASE NEW`: what two runs of the benches say, see [`compare`].

mod compare;
mod emulator;
mod matrices;
mod packages;
mod vulkan;

use serde_json::Value;
use std::env;
use std::process::{Command, ExitCode};

const USAGE: &str = "cargo xtask test [ARGS FOR cargo test]\n       cargo xtask matrices\n       \
                     cargo xtask races";

/// Exits with 2 for bad input, 1 for a failed test or a slower case.
fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let verb = args.next();
    let mut rest: Vec<String> = args.collect();
    if rest.first().is_some_and(|arg| arg == "--") {
        rest.remove(0);
    }
    let failed = |code, message| {
        eprintln!("xtask: {message}");
        ExitCode::from(code)
    };
    match verb.as_deref() {
        Some("test") => test(&rest).map_or_else(|e| failed(1, e), |()| ExitCode::SUCCESS),
        Some("matrices") if rest.is_empty() => {
            matrices::matrices().map_or_else(|e| failed(1, e), |()| ExitCode::SUCCESS)
        }
        Some("races") if rest.is_empty() => {
            races().map_or_else(|e| failed(1, e), |()| ExitCode::SUCCESS)
        }
        Some("compare") => match compare::compare(&rest) {
            Ok((table, good)) => {
                print!("{table}");
                ExitCode::from(u8::from(!good))
            }
            Err(message) => failed(2, message),
        },
        _ => failed(2, format!("usage: {USAGE}\n       {}", compare::USAGE)),
    }
}

/// A driver, an adapter, all tests.
fn test(args: &[String]) -> Result<(), String> {
    vulkan::ensure_driver()?;
    emulator::ensure_compiler()?;
    run(cargo().args(["build", "--release", "--workspace"]))?;
    ensure_adapter()?;
    let all = ["test", "--release", "--workspace"];
    run(cargo().args(all).args(args).env("UNNOISE_REQUIRE", emulator::required()))
}

/// The ignored tests of tests/it/races.rs.
fn races() -> Result<(), String> {
    emulator::ensure_compiler()?;
    let tests = ["test", "--release", "--package", "unnoise", "--test", "it", "--"];
    let races = ["--ignored", "races::"];
    run(cargo().args(tests).args(races).env("UNNOISE_REQUIRE", "emulator"))
}

/// A driver that is installed may still find no device: a GPU's driver without its GPU. Then a
/// software one helps.
fn ensure_adapter() -> Result<(), String> {
    if has_adapter()? {
        return Ok(());
    }
    vulkan::install()?;
    match has_adapter()? {
        true => Ok(()),
        false => Err("`cargo run --release -- devices` lists no adapter although a Vulkan driver \
                      is installed; see whether `vulkaninfo --summary` lists one"
            .to_string()),
    }
}

/// Whether one is there that the tests take: they share a device between threads, which OpenGL does
/// not allow.
fn has_adapter() -> Result<bool, String> {
    let mut devices = cargo();
    devices.args(["run", "--quiet", "--release", "--package", "unnoise", "--"]);
    devices.args(["devices", "--json"]);
    let output = devices.output().map_err(|e| format!("cannot start {devices:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{devices:?} failed\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let adapters: Vec<Value> = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("{devices:?} wrote no list in JSON: {e}"))?;
    Ok(adapters.iter().any(|a| a["backend"] != "gl" && a["immediates"] == true))
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command to its end; what it prints is seen.
fn run(command: &mut Command) -> Result<(), String> {
    eprintln!("xtask: {command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(e) => Err(format!("cannot start {command:?}: {e}")),
    }
}
