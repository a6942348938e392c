//! A Vulkan driver on Linux: found, installed, or asked for in words. Windows and macOS bring a GPU
//! API of their own.

use crate::packages::{self, has_library};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];
const LOADER: &str = "libvulkan.so.1";

/// Makes sure that the loader and some driver are there.
pub fn ensure_driver() -> Result<(), String> {
    if !cfg!(target_os = "linux") || (has_driver() && has_library(LOADER)) {
        return Ok(());
    }
    install()?;
    match has_driver() && has_library(LOADER) {
        true => Ok(()),
        false => Err(format!(
            "{} are installed, but the Vulkan loader would find no driver; VK_DRIVER_FILES and \
             VK_ICD_FILENAMES, where they are set, must name one",
            PACKAGES.join(" ")
        )),
    }
}

/// Installs a software driver where that is allowed without asking, or says how.
pub fn install() -> Result<(), String> {
    let elsewhere = "on Fedora mesa-vulkan-drivers vulkan-loader; on Arch vulkan-swrast \
                     vulkan-icd-loader";
    packages::install("Vulkan driver", &PACKAGES, elsewhere)
}

/// Whether a driver manifest is where the loader looks for one.
fn has_driver() -> bool {
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        if let Some(files) = env::var_os(variable).filter(|files| !files.is_empty()) {
            return env::split_paths(&files).any(|path| path.is_file() || has_manifest(&path));
        }
    }
    manifest_folders().iter().any(|folder| has_manifest(folder))
}

fn has_manifest(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension() == Some(OsStr::new("json")))
}

/// In the order of the loader: the user's folders, then the system's.
fn manifest_folders() -> Vec<PathBuf> {
    let mut bases = Vec::new();
    if let Some(home) = env::var_os("HOME").map(PathBuf::from) {
        bases.extend([home.join(".config"), home.join(".local/share")]);
    }
    for variable in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS"] {
        bases.extend(env::var_os(variable).iter().flat_map(env::split_paths));
    }
    let system = ["/etc", "/usr/local/etc", "/usr/local/share", "/usr/share"];
    bases.extend(system.iter().map(PathBuf::from));
    bases.push("/run/opengl-driver/share".into());
    bases.iter().map(|base| base.join("vulkan/icd.d")).collect()
}
