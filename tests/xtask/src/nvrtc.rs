//! `cargo xtask nvrtc`: the compiler of CUDA kernels, found or fetched. No GPU is needed for it.
//!
//! `cargo xtask budget [--write]`: what every kernel needs of a processor, compared with
//! kernels/budget.txt, or written there.

use crate::packages::{has_library, install, starts};
use crate::{cargo, run};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The wheel of NVIDIA, and its version: code of later ones asks for later drivers, and
/// kernels/budget.txt is of this one.
const PACKAGE: &str = "nvidia-cuda-nvrtc==13.0.88";
/// Where the wheel has its libraries.
const LIBRARIES: &str = "nvidia/cu13/lib";
const LIBRARY: &str = "libnvrtc.so";

/// Where the library lies.
pub enum Nvrtc {
    /// Where the dynamic linker looks.
    Installed,
    /// In a folder that it must be told of.
    Fetched(PathBuf),
}

impl Nvrtc {
    /// Finds it, or fetches it once, below the target folder; nothing is installed.
    pub fn ensure() -> Result<Nvrtc, String> {
        if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
            return Err(format!("{PACKAGE} is fetched for Linux on x86-64 and aarch64 only"));
        }
        let folder = target()?.join("nvrtc").join(PACKAGE.replace("==", "-"));
        let libraries = folder.join(LIBRARIES);
        if libraries.is_dir() {
            return Ok(Nvrtc::Fetched(libraries));
        }
        if has_library(LIBRARY) {
            return Ok(Nvrtc::Installed);
        }
        fetch(&folder)?;
        match libraries.is_dir() {
            true => Ok(Nvrtc::Fetched(libraries)),
            false => Err(format!("{} has no {LIBRARIES}", folder.display())),
        }
    }

    /// `command`, so that it finds the library.
    pub fn told<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        const PATH: &str = "LD_LIBRARY_PATH";
        let Nvrtc::Fetched(folder) = self else { return command };
        let mut path = OsString::from(folder);
        if let Some(others) = env::var_os(PATH).filter(|others| !others.is_empty()) {
            path.push(":");
            path.push(others);
        }
        command.env(PATH, path)
    }
}

impl std::fmt::Display for Nvrtc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Nvrtc::Installed => write!(f, "NVRTC is installed"),
            Nvrtc::Fetched(folder) => write!(f, "LD_LIBRARY_PATH={}", folder.display()),
        }
    }
}

/// `target/release/xtask` runs this.
fn target() -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|e| format!("where is this program? {e}"))?;
    let target = program.ancestors().nth(2).map(Path::to_path_buf);
    target.ok_or_else(|| format!("{} lies in no target folder", program.display()))
}

/// Unpacks the wheel, as a whole or not at all.
fn fetch(folder: &Path) -> Result<(), String> {
    let pip = ["-m", "pip", "--version"];
    if !starts("python3", &pip) {
        install("pip of Python 3", &["python3-pip"], "on Fedora python3-pip; on Arch python-pip")?;
    }
    let part = folder.with_file_name("part");
    if part.exists() {
        fs::remove_dir_all(&part).map_err(|e| format!("{}: {e}", part.display()))?;
    }
    let wheels = part.join("wheels");
    fs::create_dir_all(&wheels).map_err(|e| format!("{}: {e}", wheels.display()))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", PACKAGE, "-d"]);
    run(pip.arg(&wheels))?;
    let entries = fs::read_dir(&wheels).map_err(|e| format!("{}: {e}", wheels.display()))?;
    for wheel in entries.flatten() {
        let mut unpack = Command::new("python3");
        run(unpack.args(["-m", "zipfile", "-e"]).arg(wheel.path()).arg(&part))?;
    }
    fs::remove_dir_all(&wheels).map_err(|e| format!("{}: {e}", wheels.display()))?;
    fs::rename(&part, folder).map_err(|e| format!("{}: {e}", folder.display()))
}

/// The one test of tests/it/kernels that compares with the budget.
pub fn budget(write: bool) -> Result<(), String> {
    let nvrtc = Nvrtc::ensure()?;
    let mut test = cargo();
    test.args(["test", "--release", "--package", "unnoise", "--test", "it", "--"]);
    test.arg("kernels::every_kernel_keeps_to_its_budget");
    if write {
        test.env("UNNOISE_BUDGET", "write");
    }
    run(nvrtc.told(&mut test).env("UNNOISE_REQUIRE", "nvrtc"))
}
