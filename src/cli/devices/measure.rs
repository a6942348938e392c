//! `unnoise devices --measure`: what each device does at most, measured anew and kept.

use super::super::progress::Progress;
use super::super::say;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use unnoise::backend::roofline::{Kept, Peak};
use unnoise::backend::select::{self, DeviceSpec};
use unnoise::backend::tune::{Identity, Tuning};
use unnoise::backend::{Backend, Observer, Settings};
use unnoise::error::{Error, Result};

/// The rooflines of the cache folder, and those that were measured just now.
pub struct Rooflines {
    folder: Option<PathBuf>,
    fresh: Vec<(Identity, Kept)>,
    /// What is wrong with files of the folder, or with a measurement.
    pub notes: Vec<String>,
}

impl Rooflines {
    pub fn new(folder: Option<PathBuf>) -> Rooflines {
        Rooflines { folder, fresh: Vec::new(), notes: Vec::new() }
    }

    /// Measures devices one after another. One that fails is told, and the others go on.
    ///
    /// # Errors
    /// `Error::Interrupted` once `stop` is set.
    pub fn measure_all(
        &mut self,
        all: impl Iterator<Item = DeviceSpec>,
        stop: &AtomicBool,
    ) -> Result<()> {
        for spec in all {
            match self.measure(&spec, stop) {
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(e) => self.notes.push(format!("{spec} was not measured: {e}")),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Measures a device and keeps what was found.
    ///
    /// # Errors
    /// Those of the device, and `Error::Interrupted` once `stop` is set.
    pub fn measure(&mut self, spec: &DeviceSpec, stop: &AtomicBool) -> Result<()> {
        let cache = self.folder.clone();
        let settings = Settings { tuning: Tuning::Off, cache, ..Settings::default() };
        let backend = select::open_with(spec, &settings)?.backend;
        let identity = backend.identity();
        // Two of a kind do the same.
        if self.fresh.iter().any(|(known, _)| *known == identity) {
            return Ok(());
        }
        say(&format!("measuring {}", backend.device()));
        let peak = watched(&*backend, stop)?;
        self.notes.extend(peak.unsettled().map(|words| format!("{}: {words}", backend.device())));
        let kept = Kept::today(peak);
        match &self.folder {
            Some(folder) => self.notes.extend(kept.save(folder, &identity)),
            None => self.notes.push("what was measured is not kept: there is no folder".into()),
        }
        self.fresh.push((identity, kept));
        Ok(())
    }

    /// What is known of a device.
    pub fn of(&mut self, identity: &Identity) -> Option<Kept> {
        if let Some((_, kept)) = self.fresh.iter().find(|(known, _)| known == identity) {
            return Some(kept.clone());
        }
        let (kept, note) = Kept::load(self.folder.as_ref()?, identity);
        self.notes.extend(note);
        kept
    }
}

/// Measures with a bar of how many figures are done.
fn watched(backend: &dyn Backend, stop: &AtomicBool) -> Result<Peak> {
    let (progress, total) = (Progress::new(0), Peak::figures(backend));
    let mut rows_done = |done| progress.of(done, total);
    Peak::measure(backend, &mut Observer { stop, rows_done: &mut rows_done })
}
