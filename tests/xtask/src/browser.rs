//! What looks at the pages that the program writes: a browser of the Chromium family, on Linux.

use crate::packages::{install, starts};
use std::env;

/// The names that the tests look for, too.
const NAMES: [&str; 4] = ["chromium", "google-chrome", "chromium-browser", "google-chrome-stable"];

/// Makes sure that one is there; elsewhere those tests are left out without one.
pub fn ensure() -> Result<(), String> {
    if !cfg!(target_os = "linux") || found() {
        return Ok(());
    }
    install("browser", &["chromium"], "on Fedora and Arch chromium too")?;
    match found() {
        true => Ok(()),
        false => Err(format!(
            "chromium is installed, but none of {} starts, as where a package only stands for a \
             snap; install Google Chrome, or name a browser in UNNOISE_BROWSER",
            NAMES.join(", ")
        )),
    }
}

/// Whether one starts: a package may be there that only tells how to get another one.
pub fn found() -> bool {
    let named = env::var("UNNOISE_BROWSER").ok().filter(|named| !named.is_empty());
    match named {
        Some(named) => starts(&named, &["--version"]),
        None => NAMES.iter().any(|name| starts(name, &["--version"])),
    }
}
