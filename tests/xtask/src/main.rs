//! `cargo xtask test [ARGS]`: makes sure that a GPU API, compilers of CUDA kernels and a browser
//! are there, then runs every test and lets none of those that need them be skipped. ARGS go to
//! `cargo test`.
//!
//! `cargo xtask matrices`: those of cooperative matrices, see [`matrices`].
//!
//! `cargo xtask races`: what sanitizers say of the CUDA kernels, run on the processor.
//!
//! `cargo xtask nvrtc`, `cargo xtask budget [--write]`: see [`nvrtc`].
//!
//! `cargo xtask gpu-pack`: what a machine with a GPU is given, see [`gpu_pack`].
//!
//! `cargo xtask compare BASE NEW`: what two runs of the benches say, see [`compare`].

mod artifacts;
mod browser;
mod compare;
mod emulator;
mod gpu_pack;
mod matrices;
mod nvrtc;
mod packages;
mod vulkan;

use nvrtc::Nvrtc;
use serde_json::Value;
use std::env;
use std::process::{Command, ExitCode};

const USAGE: &str = "cargo xtask test [ARGS FOR cargo test]\n       cargo xtask matrices\n       \
                     cargo xtask races\n       cargo xtask nvrtc\n       \
                     cargo xtask budget [--write]\n       cargo xtask gpu-pack";

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
    let done =
        |result: Result<(), String>| result.map_or_else(|e| failed(1, e), |()| ExitCode::SUCCESS);
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (verb.as_deref(), &words[..]) {
        (Some("test"), _) => done(test(&rest)),
        (Some("matrices"), []) => done(matrices::matrices()),
        (Some("races"), []) => done(races()),
        (Some("nvrtc"), []) => done(Nvrtc::ensure().map(|nvrtc| println!("{nvrtc}"))),
        (Some("budget"), []) => done(nvrtc::budget(false)),
        (Some("budget"), ["--write"]) => done(nvrtc::budget(true)),
        (Some("gpu-pack"), []) => done(gpu_pack::gpu_pack().map(|words| println!("{words}"))),
        (Some("compare"), _) => match compare::compare(&rest) {
            Ok((table, good)) => {
                print!("{table}");
                ExitCode::from(u8::from(!good))
            }
            Err(message) => failed(2, message),
        },
        _ => failed(2, format!("usage: {USAGE}\n       {}", compare::USAGE)),
    }
}

/// A driver, an adapter, compilers, a browser, all tests. Without NVRTC the tests that ask for it
/// say so.
fn test(args: &[String]) -> Result<(), String> {
    vulkan::ensure_driver()?;
    emulator::ensure_compiler()?;
    browser::ensure()?;
    run(cargo().args(["build", "--release", "--workspace"]))?;
    ensure_adapter()?;
    let mut tests = cargo();
    tests.args(["test", "--release", "--workspace"]).args(args);
    let mut required = emulator::required().to_string();
    if browser::found() {
        required += ",browser";
    }
    match Nvrtc::ensure() {
        Ok(nvrtc) => {
            nvrtc.told(&mut tests);
            required += ",nvrtc";
        }
        Err(e) => eprintln!("xtask: CUDA kernels are not compiled, as there is no NVRTC: {e}"),
    }
    run(tests.env("UNNOISE_REQUIRE", required))
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
