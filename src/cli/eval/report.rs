//! The figures of `unnoise eval`, for scripts and for people. Those of Inception's features have
//! their published names, others never.

use crate::cli::table::table;
use serde::Serialize;
use std::time::Duration;
use unnoise::backend::Backend;
use unnoise::error::Result;
use unnoise::metrics::{
    KEPT, KernelDistance, SPLITS, Statistics, frechet_distance, kernel_distance, precision, recall,
};

/// `eval --json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The network whose features they are, and its fingerprint.
    features: String,
    fingerprint: String,
    samples: u64,
    reference: Option<String>,
    reference_samples: Option<u64>,
    #[serde(flatten)]
    figures: Figures,
    /// Null where too few samples are there.
    precision: Option<f64>,
    recall: Option<f64>,
    /// None where only statistics were read.
    backend: Option<String>,
    device: Option<String>,
    wall_ms: f64,
    #[serde(skip)]
    kernel: Option<KernelDistance>,
    #[serde(skip)]
    classes: usize,
}

/// Under their names.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Figures {
    Published {
        fid: Option<f64>,
        kid: Option<f64>,
        kid_deviation: Option<f64>,
        /// Null where too few samples are there for parts.
        inception_score: Option<f64>,
        inception_score_deviation: Option<f64>,
    },
    Other {
        frechet_distance: Option<f64>,
        kernel_distance: Option<f64>,
        kernel_distance_deviation: Option<f64>,
        classifier_score: f64,
    },
}

impl Report {
    /// The figures of samples, against a named reference if there is one.
    ///
    /// # Errors
    /// Too few samples for a distance.
    pub fn new(
        samples: &Statistics,
        reference: Option<(&str, &Statistics)>,
        seed: u64,
    ) -> Result<Report> {
        let against = reference.map(|(_, statistics)| statistics);
        let frechet = against.map(|r| frechet_distance(samples, r)).transpose()?;
        let kernel = against.and_then(|r| kernel_distance(samples.rows(), r.rows(), seed));
        let (mean, deviation) = (kernel.map(|k| k.mean), kernel.and_then(|k| k.deviation));
        let figures = match samples.space.canonical {
            true => Figures::Published {
                fid: frechet,
                kid: mean,
                kid_deviation: deviation,
                inception_score: samples.split_score().map(|(mean, _)| mean),
                inception_score_deviation: samples.split_score().map(|(_, deviation)| deviation),
            },
            false => Figures::Other {
                frechet_distance: frechet,
                kernel_distance: mean,
                kernel_distance_deviation: deviation,
                classifier_score: samples.score(),
            },
        };
        Ok(Report {
            features: samples.space.name.clone(),
            fingerprint: samples.space.fingerprint.clone(),
            samples: samples.count,
            reference: reference.map(|(name, _)| name.to_string()),
            reference_samples: against.map(|r| r.count),
            figures,
            precision: against.and_then(|r| precision(samples.rows(), r.rows())),
            recall: against.and_then(|r| recall(samples.rows(), r.rows())),
            backend: None,
            device: None,
            wall_ms: 0.0,
            kernel,
            classes: samples.space.classes,
        })
    }

    /// Says where the features were computed, if they were, and how long all took.
    pub fn on(&mut self, backend: Option<&dyn Backend>, wall: Duration) {
        self.backend = backend.map(|backend| backend.name().to_string());
        self.device = backend.map(|backend| backend.device());
        self.wall_ms = wall.as_secs_f64() * 1e3;
    }

    /// What to bear in mind about the figures.
    pub fn notes(&self, samples: &Statistics, reference: Option<&Statistics>) -> Vec<String> {
        let mut notes = Vec::new();
        let Some(reference) = reference else {
            notes.push("note: no --reference, so there is no distance".to_string());
            return notes;
        };
        let d = samples.space.features as u64;
        for (which, count) in [("samples", samples.count), ("reference", reference.count)] {
            if count <= d {
                notes.push(format!(
                    "note: {count} {which} leave a covariance of {d} features singular; compare \
                     this Frechet distance only with those of as many"
                ));
            }
            if count > KEPT as u64 {
                notes.push(format!(
                    "note: kernel distance, precision and recall take {KEPT} of the {count} \
                     {which}"
                ));
            }
        }
        notes
    }

    /// A line for what was compared, then one a figure.
    pub fn words(&self) -> String {
        let of = |name: &str| format!("{name} in {} features", self.features);
        let [frechet, kernel, score] = match &self.figures {
            Figures::Published { .. } => ["FID", "KID", "Inception score"].map(String::from),
            Figures::Other { .. } => {
                let distances = ["Frechet distance", "kernel distance"].map(of);
                let [frechet, kernel] = distances;
                [frechet, kernel, format!("score of {}", self.features)]
            }
        };
        let (Figures::Published { fid: distance, .. }
        | Figures::Other { frechet_distance: distance, .. }) = &self.figures;
        let mut lines: Vec<[String; 2]> = Vec::new();
        lines.extend(distance.map(|distance| [frechet, format!("{distance:.4}")]));
        lines.extend(self.kernel.map(|found| {
            let spread = found
                .deviation
                .map_or(String::new(), |d| format!(" ({d:.1e} over {} subsets)", found.subsets));
            [kernel, format!("{:.4e}{spread}", found.mean)]
        }));
        let of_classes = match &self.figures {
            Figures::Other { classifier_score, .. } => Some(format!("{classifier_score:.3}")),
            Figures::Published { inception_score: mean, inception_score_deviation: d, .. } => {
                mean.zip(*d).map(|(mean, d)| format!("{mean:.3} ({d:.1e} over {SPLITS} parts)"))
            }
        };
        lines.extend(of_classes.map(|found| [score, format!("{found} of {}", self.classes)]));
        for (name, share) in [("precision", self.precision), ("recall", self.recall)] {
            lines.extend(share.map(|share| [name.to_string(), format!("{share:.4}")]));
        }
        let against = match (&self.reference, self.reference_samples) {
            (Some(name), Some(count)) => format!(" against {count} of {name}"),
            _ => String::new(),
        };
        format!("{} samples{against}\n{}", self.samples, table(&lines))
    }
}
