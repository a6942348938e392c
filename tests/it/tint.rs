//! The other WGSL compiler, that of Chromium, where it is installed: a shader that only naga takes
//! is not portable.

use super::device;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// `tint`, once it is known to run.
pub struct Tint {
    folder: tempfile::TempDir,
}

impl Tint {
    /// Without it: `None`, said on stderr; a failure if `UNNOISE_REQUIRE` names tint.
    pub fn find() -> Option<Tint> {
        if Command::new("tint").arg("--help").output().is_ok() {
            return Some(Tint { folder: tempfile::tempdir().expect("a temporary folder") });
        }
        assert!(!device::required("tint"), "UNNOISE_REQUIRE asks for tint, which is not on PATH");
        device::note_ignored("no tint on PATH");
        None
    }

    /// Fails with what tint says about `source`. It wants subgroups enabled, which naga refuses.
    pub fn check(&self, source: &str) -> Result<(), String> {
        let enabled = if source.contains("subgroup") { "enable subgroups;\n" } else { "" };
        let [file, written] = ["kernel.wgsl", "written.wgsl"].map(|name| self.path(name));
        fs::write(&file, format!("{enabled}{source}")).expect("a temporary file");
        let mut tint = Command::new("tint");
        let output = tint.args(["--format", "wgsl", "-o"]).arg(&written).arg(&file).output();
        let output = output.expect("tint starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn tint_takes_subgroups_and_names_what_it_refuses() {
    let Some(tint) = Tint::find() else { return };
    let kernel = |body: &str| {
        format!(
            "@compute @workgroup_size(8) fn k(@builtin(local_invocation_index) i: u32) {{{body}}}"
        )
    };
    tint.check(&kernel("let v = subgroupBroadcast(i, 3u);")).unwrap();
    let message = tint.check(&kernel("let v: f32 = i;")).unwrap_err();
    assert!(message.contains("error"), "{message}");
}
