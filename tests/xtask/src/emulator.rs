//! What runs CUDA kernels on the processor: g++ with its sanitizers, on Linux.

use crate::packages::{install, starts};

/// Makes sure that it is there; elsewhere those tests are left out.
pub fn ensure_compiler() -> Result<(), String> {
    if !cfg!(target_os = "linux") || starts("g++", &["--version"]) {
        return Ok(());
    }
    install("g++", &["g++"], "on Fedora gcc-c++ libasan libubsan libtsan; on Arch gcc")
}

/// What the tests may not leave out, for `UNNOISE_REQUIRE`.
pub fn required() -> &'static str {
    if cfg!(target_os = "linux") { "wgpu,emulator" } else { "wgpu" }
}
