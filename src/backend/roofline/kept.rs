//! The file of a device's roofline in the cache folder. What cannot be read or written is a note.

use super::Peak;
use crate::backend::tune::{Identity, replace};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The form of the file; another is not read.
const FORMAT: u32 = 1;

/// A roofline, and when it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The day in UTC, `2026-11-23`.
    pub measured: String,
    #[serde(flatten)]
    pub peak: Peak,
}

#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    #[serde(rename = "for")]
    identity: Identity,
    roofline: Kept,
}

impl Kept {
    /// `peak`, measured today.
    pub fn today(peak: Peak) -> Kept {
        Kept { measured: Timestamp::now().strftime("%Y-%m-%d").to_string(), peak }
    }

    /// The file of the device `identity` in a cache folder.
    pub fn path(folder: &Path, identity: &Identity) -> PathBuf {
        folder.join(identity.file_name("roofline"))
    }

    /// What `folder` holds for the device, and a note if there is a file that cannot be used.
    pub fn load(folder: &Path, identity: &Identity) -> (Option<Kept>, Option<String>) {
        let path = Kept::path(folder, identity);
        let ignored = |why: &str| {
            (None, Some(format!("{}: a measured roofline is ignored: {why}", path.display())))
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return (None, None),
            Err(e) => return ignored(&e.to_string()),
        };
        match serde_json::from_str::<Content>(&text) {
            Err(e) => ignored(&e.to_string()),
            Ok(content) if content.format != FORMAT || content.identity != *identity => {
                ignored("it is of another device or version")
            }
            Ok(content) if !content.roofline.is_sound() => ignored("it holds impossible figures"),
            Ok(content) => (Some(content.roofline), None),
        }
    }

    /// The roofline that was written to `folder` last, and the device that it is of; none if there
    /// is no sound one. It is for what has no device of its own to ask about.
    pub fn latest(folder: &Path) -> Option<(Identity, Kept)> {
        let read = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            if !name.starts_with("roofline-") || !name.ends_with(".json") {
                return None;
            }
            let written = fs::metadata(&path).ok()?.modified().ok()?;
            let content: Content = serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()?;
            let sound = content.format == FORMAT && content.roofline.is_sound();
            sound.then_some((written, content))
        };
        let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let latest = files.filter_map(read).max_by_key(|(written, _)| *written);
        latest.map(|(_, content)| (content.identity, content.roofline))
    }

    /// Writes the file of the device; a note if that fails.
    pub fn save(&self, folder: &Path, identity: &Identity) -> Option<String> {
        let path = Kept::path(folder, identity);
        let (identity, roofline) = (identity.clone(), self.clone());
        let content = Content { format: FORMAT, identity, roofline };
        let text = serde_json::to_string_pretty(&content).map_err(io::Error::other);
        let e = text.and_then(|text| replace(&path, text.as_bytes())).err()?;
        Some(format!("{}: the measured roofline is not kept: {e}", path.display()))
    }

    fn is_sound(&self) -> bool {
        let Peak { gbps, gflops_f32, launch_us, spread, .. } = self.peak;
        let Peak { gflops_f16, gflops_matrix_f16, gflops_matrix_bf16, .. } = self.peak;
        let some = [gflops_f16, gflops_matrix_f16, gflops_matrix_bf16].into_iter().flatten();
        let possible = |rate: f64| rate.is_finite() && rate > 0.0;
        [gbps, gflops_f32, launch_us].into_iter().chain(some).all(possible)
            && spread >= 0.0
            && self.measured.parse::<Date>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { adapter: "GPU (x)".into(), driver: "1.2".into(), sources: "abc".into() }
    }

    fn kept() -> Kept {
        Kept::today(Peak {
            gbps: 900.5,
            gflops_f32: 0.1 + 0.2,
            gflops_f16: None,
            gflops_matrix_f16: None,
            gflops_matrix_bf16: None,
            launch_us: 2.25,
            spread: 0.0,
        })
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        // The folder is made when the first file is.
        let folder = folder.path().join("new");
        assert_eq!(Kept::load(&folder, &identity()), (None, None));
        assert_eq!(kept().save(&folder, &identity()), None);
        assert_eq!(Kept::load(&folder, &identity()), (Some(kept()), None));
        let halves = Peak { gflops_f16: Some(7.5), gflops_matrix_f16: Some(60.0), ..kept().peak };
        let both = Kept { peak: halves, ..kept() };
        assert_eq!(both.save(&folder, &identity()), None);
        assert_eq!(Kept::load(&folder, &identity()), (Some(both), None));
        let other = Identity { driver: "1.3".into(), ..identity() };
        assert_eq!(Kept::load(&folder, &other), (None, None), "another driver, another file");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_a_note_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(kept().save(folder.path(), &identity()), None);
        let path = Kept::path(folder.path(), &identity());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("roofline-GPU-x-") && name.ends_with(".json"), "{name}");
        let good = fs::read_to_string(&path).unwrap();
        let bad = [
            String::new(),
            good[..good.len() / 2].to_string(),
            good.replace("\"format\": 1", "\"format\": 2"),
            good.replace("1.2", "1.4"),
            good.replace("900.5", "0.0"),
            good.replace("900.5", "-3.0"),
            good.replace("900.5", "1e999"),
            good.replace("2.25", "null"),
            good.replace("\"gbps\"", "\"bytes\""),
            good.replace(&kept().measured, "2026-13-45"),
        ];
        for text in bad {
            assert_ne!(text, good);
            fs::write(&path, &text).unwrap();
            let (found, note) = Kept::load(folder.path(), &identity());
            assert_eq!(found, None, "{text}");
            assert!(note.unwrap().contains("ignored"), "{text}");
            assert_eq!(kept().save(folder.path(), &identity()), None);
            assert_eq!(Kept::load(folder.path(), &identity()), (Some(kept()), None));
        }
    }

    #[test]
    fn the_latest_is_the_last_that_is_sound() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Kept::latest(&folder.path().join("none")), None);
        assert_eq!(Kept::latest(folder.path()), None);
        let other = Identity { adapter: "another".into(), ..identity() };
        assert_eq!(kept().save(folder.path(), &other), None);
        assert_eq!(Kept::latest(folder.path()), Some((other.clone(), kept())));
        // A file system may count seconds only.
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        let file = fs::File::options().write(true).open(Kept::path(folder.path(), &other));
        file.unwrap().set_modified(past).unwrap();
        let faster = Kept { peak: Peak { gbps: 2000.0, ..kept().peak }, ..kept() };
        assert_eq!(faster.save(folder.path(), &identity()), None);
        assert_eq!(Kept::latest(folder.path()), Some((identity(), faster)));
        fs::write(Kept::path(folder.path(), &identity()), "{}").unwrap();
        fs::write(folder.path().join("tiles-x.json"), "{}").unwrap();
        assert_eq!(Kept::latest(folder.path()), Some((other, kept())));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let note = kept().save(&file, &identity()).unwrap();
        assert!(note.contains("not kept"), "{note}");
    }
}
