//! The network of the features, its device and what to compare with: what `eval` and `sheet` share.

use super::source::{Pictures, Source};
use crate::cli::progress::Progress;
use crate::cli::{request, session};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use unnoise::backend::select::DeviceSpec;
use unnoise::backend::{Backend, Observer, Settings, tune};
use unnoise::error::{Error, Result};
use unnoise::features::Features;
use unnoise::metrics::{Space, Statistics};
use unnoise::model::{DIGITS_CLASSIFIER, Extractor};

/// The flags of it.
#[derive(Clone, Debug, clap::Args)]
pub struct MeasureArgs {
    /// What to compare with, of the same kinds [default: held-out digits, if the features are those
    /// of digits-classifier]
    #[arg(long, value_name = "PATH")]
    pub reference: Option<PathBuf>,
    /// The network of the features: digits-classifier, or a folder with a ConvClassifier
    #[arg(long, value_name = "NAME", default_value = DIGITS_CLASSIFIER)]
    pub features: String,
    /// Weights that models/convert/inception.py wrote: FID, KID and Inception score as published
    #[arg(long, value_name = "FILE", conflicts_with = "features")]
    pub inception: Option<PathBuf>,
    /// What black and white are in samples that are numbers and not bytes
    #[arg(long, value_name = "LOW,HIGH", default_value = "-1,1", allow_hyphen_values = true)]
    pub range: String,
    /// auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Take the default tile of each kernel; measure none and read none that were measured
    #[arg(long = "no-tune", action = clap::ArgAction::SetFalse)]
    pub tune: bool,
}

/// Samples whose features are computed at once: of a small network, and of Inception. Always as
/// many, however few there are: how a device orders its sums depends on it.
const BATCH: usize = 64;
const INCEPTION_BATCH: usize = 16;

/// The network of the features, opened when it is asked for.
pub struct Network<'a> {
    args: &'a MeasureArgs,
    device: DeviceSpec,
    range: [f32; 2],
    batch: Option<usize>,
    stop: &'a Arc<AtomicBool>,
    extractor: Option<Rc<Extractor>>,
    backend: Option<Rc<dyn Backend>>,
}

impl<'a> Network<'a> {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// A device or a range that is none.
    pub fn new(
        args: &'a MeasureArgs,
        batch: Option<usize>,
        stop: &'a Arc<AtomicBool>,
    ) -> Result<Network<'a>> {
        let device = args.device.parse()?;
        let range = request::range(&args.range)?;
        Ok(Network { args, device, range, batch, stop, extractor: None, backend: None })
    }

    /// Opens what was named by a flag, or without one.
    ///
    /// # Errors
    /// See [`Source::open`].
    pub fn open(&self, flag: &str, path: &Path) -> Result<Source> {
        Source::open(flag, path, self.range)
    }

    /// The device, once there was something to do on it.
    pub fn used(&self) -> Option<&dyn Backend> {
        self.backend.as_deref()
    }

    /// The device, opened.
    pub fn backend(&mut self) -> Result<Rc<dyn Backend>> {
        if let Some(backend) = &self.backend {
            return Ok(backend.clone());
        }
        let tuning = session::tuning(self.args.tune, self.stop);
        let settings = Settings { tuning, cache: tune::folder(), ..Settings::default() };
        let backend = Rc::from(session::open(self.device, &settings)?);
        Ok(self.backend.insert(backend).clone())
    }

    /// The network, opened.
    pub fn extractor(&mut self) -> Result<Rc<Extractor>> {
        if let Some(extractor) = &self.extractor {
            return Ok(extractor.clone());
        }
        let extractor = match &self.args.inception {
            Some(path) => Extractor::inception(path)?,
            None => Extractor::open(&self.args.features)?,
        };
        Ok(self.extractor.insert(Rc::new(extractor)).clone())
    }

    /// The network, ready for samples of a shape, and its space.
    pub fn compile(&mut self, shape: [usize; 3]) -> Result<(Features, Space)> {
        let extractor = self.extractor()?;
        let usual = if extractor.canonical() { INCEPTION_BATCH } else { BATCH };
        extractor.input(shape)?;
        let batch = self.batch.unwrap_or(usual);
        let features = Features::compile(&extractor, shape, batch, self.backend()?.as_ref())?;
        Ok((features, space(&extractor)))
    }

    /// The statistics of all of them.
    pub fn together(&mut self, sources: Vec<Source>) -> Result<Statistics> {
        let mut whole: Option<Statistics> = None;
        for source in sources {
            let part = match source {
                Source::Statistics(statistics) => *statistics,
                Source::Pictures(pictures) => {
                    self.measure(&pictures).map_err(|error| named(error, &pictures.what))?
                }
            };
            match &mut whole {
                Some(whole) => whole.merge(part)?,
                None => whole = Some(part),
            }
        }
        whole.ok_or_else(|| Error::invalid("SAMPLES", "one or more", "none", "name some"))
    }

    /// The statistics of pictures.
    fn measure(&mut self, pictures: &Pictures) -> Result<Statistics> {
        let (mut features, space) = self.compile(pictures.shape)?;
        let mut found = Statistics::new(space, pictures.shape);
        let mut observer = Observer { stop: self.stop, rows_done: &mut |_| {} };
        let batch = features.batch();
        let progress = Progress::new(pictures.count.div_ceil(batch));
        for first in (0..pictures.count).step_by(batch) {
            observer.check()?;
            let samples = pictures.batch(first..(first + batch).min(pictures.count))?;
            found.add(&features.of(&samples, &mut observer)?)?;
            progress.advance();
        }
        observer.check()?;
        Ok(found)
    }

    /// Opens what was asked for to compare with, if something was.
    ///
    /// # Errors
    /// See [`Source::open`].
    pub fn open_reference(&self) -> Result<Option<Source>> {
        self.args.reference.as_ref().map(|path| self.open("--reference", path)).transpose()
    }

    /// What to compare with, by name: what was opened, or what comes with the features of `space`,
    /// if something does.
    pub fn reference(
        &mut self,
        opened: Option<Source>,
        space: &Space,
    ) -> Result<Option<(String, Statistics)>> {
        let (Some(source), Some(path)) = (opened, &self.args.reference) else {
            return built_in(space);
        };
        let statistics = self.together(vec![source])?;
        Ok(Some((path.display().to_string(), statistics)))
    }
}

/// The reference that comes with the features, if one does.
fn built_in(space: &Space) -> Result<Option<(String, Statistics)>> {
    let Some((name, bytes)) = Extractor::reference(&space.name) else { return Ok(None) };
    let statistics = Statistics::parse(name, bytes)?;
    let fits = statistics.space.fingerprint == space.fingerprint;
    Ok(fits.then(|| (name.to_string(), statistics)))
}

/// The space of a network's features.
pub fn space(extractor: &Extractor) -> Space {
    Space {
        name: extractor.name.clone(),
        fingerprint: extractor.fingerprint.clone(),
        canonical: extractor.canonical(),
        features: extractor.features(),
        classes: extractor.classes(),
    }
}

/// An error about samples, put down to where they are.
fn named(error: Error, place: &str) -> Error {
    match error {
        Error::Invalid { what, expected, found, action } if what.starts_with("samples for") => {
            Error::invalid(format!("{place}: {what}"), expected, found, action)
        }
        other => other,
    }
}
