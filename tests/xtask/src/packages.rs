//! Packages of Debian, installed where that is allowed without asking.

use crate::run;
use std::env;
use std::fs;
use std::process::{Command, Stdio};

/// Installs `packages`, or says how to get `what`; `elsewhere` names them on other systems.
pub fn install(what: &str, packages: &[&str], elsewhere: &str) -> Result<(), String> {
    let names = packages.join(" ");
    if !cfg!(target_os = "linux") || !starts("apt-get", &["--version"]) {
        return Err(format!(
            "no {what}: install one with the package manager of this system (on Debian {names}; \
             {elsewhere}), then run this again"
        ));
    }
    let prefix: &[&str] = match (is_root(), starts("sudo", &["-n", "true"])) {
        (true, _) => &[],
        (_, true) => &["sudo", "-n"],
        _ => {
            return Err(format!(
                "no {what}, and no right to install one: run\n    sudo apt-get update && sudo \
                 apt-get install -y {names}\nand then this again"
            ));
        }
    };
    let apt = |words: &[&str]| {
        let mut line = prefix.to_vec();
        line.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        line.extend(words);
        run(Command::new(line[0]).args(&line[1..]))
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"][..], packages].concat())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether a command runs and succeeds, unseen.
pub fn starts(program: &str, args: &[&str]) -> bool {
    let (out, err) = (Stdio::null(), Stdio::null());
    let status = Command::new(program).args(args).stdout(out).stderr(err).status();
    status.is_ok_and(|status| status.success())
}

/// Whether the dynamic linker knows a library whose name begins so.
pub fn has_library(name: &str) -> bool {
    let cached = ["ldconfig", "/sbin/ldconfig"].iter().any(|ldconfig| {
        let output = Command::new(ldconfig).arg("-p").output();
        output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(name))
    });
    let path = env::var_os("LD_LIBRARY_PATH");
    let entries = path.iter().flat_map(env::split_paths).filter_map(|path| fs::read_dir(path).ok());
    let mut files = entries.flatten().flatten().map(|entry| entry.file_name());
    cached || files.any(|file| file.to_string_lossy().starts_with(name))
}
