//! What came of a measurement.

use super::measure::{Drawn, Ready};
use super::plan::Asked;
use crate::cli::session::Keys;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use unnoise::bench::{Clocks, Configuration, Environment, Interval, Ratio, Series, Spent};
use unnoise::error::Result;
use unnoise::sampler::Sampler;

/// The times of a cold start.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cold {
    pub compile_ms: f64,
    pub compile_cached: bool,
    pub cold_ms: f64,
}

impl Cold {
    /// Of a sampler that has just drawn for the first time, in a process that began at `begin`.
    pub fn of(sampler: &Sampler, begin: Instant) -> Cold {
        Cold {
            compile_ms: sampler.report().compile_ms,
            compile_cached: sampler.tuned().is_some_and(|tuned| tuned.compile_cached),
            cold_ms: begin.elapsed().as_secs_f64() * 1e3,
        }
    }
}

/// `bench --json` of one configuration; times are of a whole run of `count` samples.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub keys: Keys,
    pub guidance: f64,
    /// `none`, or what is switched off: `no-fuse no-hoist`.
    pub ablation: String,
    /// Reading, planning, compiling and uploading.
    pub compile_ms: f64,
    /// Whether the driver had what it compiled at an earlier start.
    pub compile_cached: bool,
    /// From the start of a process to its first samples.
    pub cold_ms: Option<f64>,
    pub p50_ms: f64,
    /// The 95% interval of the median; none for fewer than six runs.
    pub p50_interval_ms: Option<Interval>,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub mean_ms: f64,
    pub min_ms: f64,
    pub sd_ms: Option<f64>,
    /// Median time of a step of a batch.
    pub step_ms: f64,
    pub images_per_s: f64,
    /// Median time in which the host made work for the device, of a run.
    pub host_ms: f64,
    /// Median time of it in which commands were recorded.
    pub encode_ms: f64,
    pub runs: usize,
    pub warmup_runs: usize,
    /// None where too few warm-up runs were made to judge.
    pub stable: Option<bool>,
    /// To the first of those that were measured in turn.
    pub ratio: Option<Ratio>,
    pub joules_per_sample: Option<f64>,
    pub mean_watts: Option<f64>,
    pub clocks_before: Option<Clocks>,
    pub clocks_after: Option<Clocks>,
    /// Every run, in order.
    pub samples_ms: Vec<f64>,
    #[serde(skip)]
    pub configuration: Configuration,
    #[serde(skip)]
    pub asked: Asked,
    #[serde(skip)]
    pub series: Series,
    #[serde(skip)]
    pub device: String,
}

/// A configuration that was not measured.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    #[serde(flatten)]
    pub asked: Asked,
    pub reason: String,
}

/// What came of a plan.
pub struct Outcome {
    pub environment: Environment,
    pub results: Vec<Measured>,
    pub refused: Vec<Refused>,
}

/// What of a sampler its baseline must have too.
pub fn configuration(sampler: &Sampler, asked: &Asked) -> Configuration {
    let report = sampler.report();
    Configuration {
        model: report.model.clone(),
        backend: report.backend.clone(),
        precision: report.precision.clone(),
        solver: report.solver.clone(),
        steps: report.steps,
        count: report.count,
        batch: report.batch,
        guidance: report.guidance,
        ablation: asked.ablation.clone(),
    }
}

impl Measured {
    /// The numbers of a configuration that has run.
    pub fn new(
        ready: Ready,
        ratio: Option<Ratio>,
        spent: Option<Spent>,
        clocks: Option<[Clocks; 2]>,
    ) -> Result<Measured> {
        let Ready { sampler, asked, cold, warm, runs } = ready;
        let report = sampler.report();
        let samples = sampler.indices().len();
        let steps = samples.div_ceil(sampler.batch()) * report.steps;
        let series = Series::new(runs.iter().map(|drawn| drawn.wall_ms).collect())?;
        let own = Cold::of(&sampler, Instant::now());
        let start = cold.unwrap_or(own);
        let p50_ms = series.median();
        // The host may have had nothing to do, so this is no series of times.
        let median = |of: fn(&Drawn) -> f64| {
            let mut times: Vec<f64> = runs.iter().map(of).collect();
            times.sort_by(f64::total_cmp);
            0.5 * (times[(times.len() - 1) / 2] + times[times.len() / 2])
        };
        Ok(Measured {
            keys: Keys::of(report),
            guidance: report.guidance,
            ablation: asked.ablation.clone(),
            compile_ms: start.compile_ms,
            compile_cached: start.compile_cached,
            cold_ms: cold.map(|cold| cold.cold_ms),
            p50_ms,
            p50_interval_ms: series.median_interval(),
            p90_ms: series.quantile(0.9),
            p99_ms: series.quantile(0.99),
            mean_ms: series.mean(),
            min_ms: series.least(),
            sd_ms: series.deviation(),
            step_ms: p50_ms / steps as f64,
            images_per_s: samples as f64 / (p50_ms / 1e3),
            host_ms: median(|drawn| drawn.host_ms),
            encode_ms: median(|drawn| drawn.encode_ms),
            runs: runs.len(),
            warmup_runs: warm.runs,
            stable: warm.stable,
            ratio,
            joules_per_sample: spent.map(|spent| spent.joules / (samples * runs.len()) as f64),
            mean_watts: spent.map(|spent| spent.watts()),
            clocks_before: clocks.map(|[before, _]| before),
            clocks_after: clocks.map(|[_, after]| after),
            samples_ms: series.times().to_vec(),
            configuration: configuration(&sampler, &asked),
            device: report.device.clone(),
            asked,
            series,
        })
    }
}
