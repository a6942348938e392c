//! Where the samples of `unnoise sample` go: to a writer of samples, or, drawn or with their way,
//! into one file at the end.

use super::args::SampleArgs;
use std::ops::Range;
use std::path::PathBuf;
use unnoise::error::{Error, Result};
use unnoise::model::{Mixture, Model};
use unnoise::output::cloud::{self, Cloud};
use unnoise::output::{self, Batch, Run, Target, Writer};
use unnoise::sampler::{Report, Request, Samples};

/// A place for samples, judged before any work.
pub enum Place {
    Samples(Target),
    /// One file with all samples of the run.
    Whole(PathBuf, What),
}

/// What one file of all samples shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A mixture's points over its density.
    Cloud,
    /// The state after each row.
    Trace,
}

impl Place {
    /// Judges the path for what the flags ask for.
    pub fn open(
        out: PathBuf,
        args: &SampleArgs,
        model: &Model,
        request: &Request,
    ) -> Result<Place> {
        let ending = out.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        let what = match (&model.mixture, ending.as_deref()) {
            (Some(mixture), Some("png")) => {
                two_dimensions(mixture)?;
                What::Cloud
            }
            _ if args.trace => What::Trace,
            _ => {
                let shards = request.shard.of;
                let shape = request.shape(model)?;
                return Target::open(out, shape, request.count, shards).map(Place::Samples);
            }
        };
        if request.shard.of > 1 {
            return Err(Error::invalid(
                "--shard",
                "one part: all samples come into one file",
                format!("{} parts", request.shard.of),
                "leave --shard out, or write a folder without --trace",
            ));
        }
        let endings: &[&str] = if what == What::Cloud { &["png"] } else { &["npy"] };
        Ok(Place::Whole(Target::file("--out", out, endings)?, what))
    }

    /// Whether what is finished when the run is stopped is kept.
    pub fn keeps(&self) -> bool {
        matches!(self, Place::Samples(target) if target.is_folder())
    }

    /// Starts a run.
    pub fn begin(self, run: Run) -> Result<Sink> {
        let indices = run.indices.clone();
        Ok(match self {
            Place::Samples(target) => Sink::Samples(Box::new(target.begin(run)?)),
            Place::Whole(path, what) => {
                Sink::Whole(Whole { path, what, indices, data: Vec::new(), rows: Vec::new() })
            }
        })
    }
}

fn two_dimensions(mixture: &Mixture) -> Result<()> {
    if mixture.dimensions() >= 2 {
        return Ok(());
    }
    Err(Error::invalid(
        "--out",
        "two dimensions or more for a picture of points",
        "a mixture of one dimension",
        "use .npy or .safetensors",
    ))
}

/// Takes the samples of a run.
pub enum Sink {
    Samples(Box<Writer>),
    Whole(Whole),
}

/// All samples of a run, in order.
pub struct Whole {
    path: PathBuf,
    what: What,
    indices: Range<usize>,
    /// `[n, C, H, W]`.
    data: Vec<f32>,
    /// The same after each row; empty unless it was asked for.
    rows: Vec<Vec<f32>>,
}

impl Sink {
    /// The samples still to draw, in order.
    pub fn pending(&self) -> Vec<usize> {
        match self {
            Sink::Samples(writer) => writer.pending(),
            Sink::Whole(whole) => whole.indices.clone().collect(),
        }
    }

    /// Takes the samples of these indices.
    pub fn write(
        &mut self,
        indices: &[usize],
        classes: Option<&[u32]>,
        samples: &Samples,
    ) -> Result<()> {
        match self {
            Sink::Samples(writer) => writer.write(Batch { indices, classes, data: &samples.data }),
            Sink::Whole(whole) => {
                whole.data.extend_from_slice(&samples.data);
                let size = samples.data.len().max(1);
                whole.rows.resize(samples.trace.len() / size, Vec::new());
                for (row, part) in whole.rows.iter_mut().zip(samples.trace.chunks(size)) {
                    row.extend_from_slice(part);
                }
                Ok(())
            }
        }
    }

    /// Ends a run that drew every sample.
    pub fn finish(self, model: &Model, report: &Report) -> Result<()> {
        match self {
            Sink::Samples(writer) => writer.finish(),
            Sink::Whole(whole) => whole.save(model, report),
        }
    }

    /// Ends a run that was stopped.
    pub fn abandon(self) -> Result<()> {
        match self {
            Sink::Samples(writer) => writer.abandon(),
            Sink::Whole(_) => Ok(()),
        }
    }
}

/// Ways drawn of a cloud's points.
const PATHS: usize = 60;
/// Standard deviations around each component that a cloud shows, and how much further it shows the
/// ways to there.
const AROUND: f64 = 3.5;
const FURTHER: f64 = 1.9;

impl Whole {
    fn save(self, model: &Model, report: &Report) -> Result<()> {
        let [c, h, w] = model.state;
        match (self.what, &model.mixture) {
            (What::Cloud, Some(mixture)) => self.draw(mixture, report),
            _ => {
                let shape = [self.rows.len(), self.indices.len(), c, h, w];
                output::save_array(&self.path, &self.rows.concat(), &shape)
            }
        }
    }

    fn draw(&self, mixture: &Mixture, report: &Report) -> Result<()> {
        let d = mixture.dimensions();
        let pairs = |data: &[f32]| data.chunks(d).map(|x| [x[0], x[1]]).collect::<Vec<_>>();
        let points = pairs(&self.data);
        let every = points.len().div_ceil(PATHS).max(1);
        let path = |i: usize| self.rows.iter().map(|row| [row[i * d], row[i * d + 1]]).collect();
        let traced = if self.rows.is_empty() { 0 } else { points.len() };
        let paths: Vec<Vec<[f32; 2]>> = (0..traced).step_by(every).map(path).collect();
        let dimensions =
            if d == 2 { String::new() } else { format!("first 2 of {d} dimensions, ") };
        let ways = match paths.len() {
            0 => String::new(),
            n => format!("; lines: the ways of {n}, from noise (rings, where in sight) to data"),
        };
        let cloud = Cloud {
            title: format!(
                "{}: {} samples by {}, {} steps (NFE {})",
                report.model, report.count, report.solver, report.steps, report.nfe
            ),
            note: format!(
                "{dimensions}shades: exact ln p; points: samples, seed {}{ways}",
                report.seed
            ),
            range: range(mixture, if paths.is_empty() { 1.0 } else { FURTHER }),
            log_density: &|x| mixture.log_density(&x, 0.0),
            points: &points,
            paths: &paths,
        };
        cloud::save(&self.path, &cloud).map(|_| ())
    }
}

/// What to show of the first two dimensions: all that is likely, `further` times.
fn range(mixture: &Mixture, further: f64) -> [[f64; 2]; 2] {
    [0, 1].map(|j| {
        let reach = |sign: f64| {
            let parts = mixture.means.iter().zip(&mixture.deviations);
            let ends = parts.map(|(mean, s)| sign * mean[j] + AROUND * s[j]);
            sign * ends.fold(f64::NEG_INFINITY, f64::max)
        };
        let (low, high) = (reach(-1.0), reach(1.0));
        let (middle, half) = (0.5 * (low + high), 0.5 * further * (high - low));
        [middle - half, middle + half]
    })
}
