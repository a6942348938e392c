//! `cargo xtask matrices`: runs the tests of cooperative matrices on a lavapipe that has them.
//!
//! Mesa 26 is the first whose lavapipe has; what distributions install by default is older. So its
//! packages, with the C library that they want, are unpacked below the target folder and nothing is
//! installed: the test binary is started by that library's own loader.

use crate::artifacts::built;
use crate::run;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

const SUITES: [&str; 2] = ["trixie", "trixie-backports"];
const DRIVER: &str = "mesa-vulkan-drivers/trixie-backports";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// What is run: every case on some matrix tile, every tile on some cases, and their peak.
const TESTS: [&str; 3] = ["cooperative_matrices", "every_tile", "matrix_units"];

/// On Debian and what derives from it, on x86-64.
pub fn matrices() -> Result<(), String> {
    let (tests, target) = built(&["--test", "it"])?;
    let test = tests.iter().find(|(name, _)| name == "it").map(|(_, path)| path);
    let folder = target.join("newer-mesa");
    let root = folder.join("root");
    let libraries = root.join(LIBRARIES);
    let manifest = folder.join("lavapipe.json");
    if !manifest.is_file() {
        unpack(&folder, &root)?;
        let driver = libraries.join("libvulkan_lvp.so");
        let icd = json!({ "library_path": driver, "api_version": "1.4.0" });
        let text = json!({ "file_format_version": "1.0.1", "ICD": icd });
        fs::write(&manifest, text.to_string())
            .map_err(|e| format!("{}: {e}", manifest.display()))?;
    }
    let mut tests = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    tests.arg("--library-path").arg(&libraries).args(test).args(TESTS);
    run(tests.env("VK_DRIVER_FILES", &manifest).env("UNNOISE_REQUIRE", "wgpu,matrix"))
}

/// Fetches the driver and everything that it needs, as the user who runs this.
fn unpack(folder: &Path, root: &Path) -> Result<(), String> {
    let said = |path: &Path| format!("cannot write {}", path.display());
    for part in ["state/lists/partial", "cache/archives/partial", "root"] {
        let path = folder.join(part);
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", said(&path)))?;
    }
    let source = |suite| {
        format!("deb [signed-by={KEYS} arch=amd64] http://deb.debian.org/debian {suite} main\n")
    };
    // Nothing counts as installed: even the C library is fetched.
    for (name, text) in [("status", String::new()), ("sources.list", SUITES.map(source).concat())] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", said(&path)))?;
    }
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(["-qq", "-y", "-o", "APT::Architecture=amd64", "-o", "APT::Sandbox::User="]);
        apt.args(["-o", "Dir::Etc::sourceparts=-", "-o", "APT::Install-Recommends=false"]);
        for (key, name) in [
            ("Dir::State", "state"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::sourcelist", "sources.list"),
        ] {
            apt.arg("-o").arg(format!("{key}={}", folder.join(name).display()));
        }
        run(apt.args(words))
    };
    apt(&["update"])?;
    apt(&["install", "--download-only", "libc6", "libvulkan1", DRIVER])?;
    let archives = folder.join("cache/archives");
    let entries = fs::read_dir(&archives).map_err(|e| format!("{}: {e}", archives.display()))?;
    let packages = entries.flatten().map(|entry| entry.path());
    for package in packages.filter(|path| path.extension().is_some_and(|e| e == "deb")) {
        run(Command::new("dpkg").arg("-x").arg(package).arg(root))?;
    }
    Ok(())
}
