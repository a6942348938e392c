//! Libraries that stand in for CUDA's driver, for NVRTC and for NVML.

use super::build::{FLAGS, compile, digest, folder, source};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What each is made of. Their names are the first that a program looks for.
const LIBRARIES: [(&str, &[&str]); 2] = [
    (
        "libcuda.so",
        &[
            "driver", "fibers", "launches", "machine", "meetings", "memory", "plans", "reports",
            "streams", "warp",
        ],
    ),
    ("libnvrtc.so", &["nvrtc", "plans"]),
];
const HEADERS: [&str; 4] = ["cuda", "driver", "image", "plans"];

/// The folder of both, for `LD_LIBRARY_PATH`.
///
/// # Errors
/// In the compiler's words, if they do not compile.
pub fn stand_ins() -> Result<PathBuf, String> {
    static MADE: Mutex<()> = Mutex::new(());
    let _one = MADE.lock().map_err(|_| "the stand-ins were not made".to_string())?;
    let code = LIBRARIES.iter().flat_map(|(_, parts)| *parts);
    let code = code.map(|name| format!("{name}.cpp"));
    let names = code.chain(HEADERS.iter().map(|name| format!("{name}.hpp")));
    let text: String = names
        .map(|name| fs::read_to_string(source(&name)).map_err(|e| format!("{name}: {e}")))
        .collect::<Result<_, _>>()?;
    // They know where the sources lie, as another clone's do not.
    let made =
        folder().join(format!("cuda-{}", digest(&format!("{text}{}", source("").display()))));
    fs::create_dir_all(&made).map_err(|e| e.to_string())?;
    let library = |(name, parts): &(&str, &[&str])| match made.join(name) {
        there if there.exists() => Ok(()),
        missing => link(parts, &missing),
    };
    let [driver, compiler] = &LIBRARIES;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| library(compiler));
        library(driver)?;
        other.join().map_err(|_| "the stand-in for NVRTC was not made".to_string())?
    })?;
    Ok(made)
}

fn link(parts: &[&str], library: &Path) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = [
        ("SOURCES", source("").display().to_string()),
        ("PTX_FILE", root.join("kernels/common/ptx.cuh").display().to_string()),
        ("OBJECTS", folder().display().to_string()),
        ("FLAGS", FLAGS.join(" ")),
        ("DIGEST", digest("")),
    ];
    let told = told.map(|(name, value)| format!("-D{name}=\"{value}\""));
    let files: Vec<PathBuf> = parts.iter().map(|name| source(&format!("{name}.cpp"))).collect();
    let args = ["-std=c++17", "-O2", "-g1", "-Wall", "-Wextra", "-shared", "-fPIC", "-pthread"];
    let args = args.iter().copied().chain(told.iter().map(String::as_str)).map(OsStr::new);
    let files = files.iter().map(|file| file.as_os_str());
    let args: Vec<&OsStr> = args.chain(files).chain([OsStr::new("-ldl")]).collect();
    compile(&args, library)
}

/// The folder of a stand-in for NVML, for `LD_LIBRARY_PATH`.
///
/// # Errors
/// In the compiler's words, if it does not compile.
pub fn nvml() -> Result<PathBuf, String> {
    static MADE: Mutex<()> = Mutex::new(());
    let _one = MADE.lock().map_err(|_| "the stand-in was not made".to_string())?;
    let code = source("nvml.cpp");
    let text = fs::read_to_string(&code).map_err(|e| e.to_string())?;
    let made = folder().join(format!("nvml-{}", digest(&text)));
    fs::create_dir_all(&made).map_err(|e| e.to_string())?;
    let library = made.join("libnvidia-ml.so.1");
    if !library.exists() {
        let args = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC"].map(OsStr::new);
        compile(&[&args[..], &[code.as_os_str()]].concat(), &library)?;
    }
    Ok(made)
}
