//! `unnoise bench`: cold and warm latency of a run.

use super::args::BenchArgs;
use super::session::{self, Keys, StepsTaken};
use super::{print, print_json};
use serde::Serialize;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use unnoise::backend::Observer;
use unnoise::error::{Error, Result};
use unnoise::program;
use unnoise::sampler::Sampler;

/// Samples of a run of which nothing was said: latency is a matter of one.
const COUNT: usize = 1;

/// `bench --json`; times are of a whole run of `count` samples.
#[derive(Debug, Serialize)]
struct Measured {
    #[serde(flatten)]
    keys: Keys,
    /// Reading, planning, compiling and uploading.
    compile_ms: f64,
    /// Whether the driver had what it compiled at an earlier start.
    compile_cached: bool,
    /// From the start of the process to its first samples.
    cold_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    /// Median time of a step of a batch.
    step_ms: f64,
    images_per_s: f64,
    /// Median time in which the host made work for the device, of a run.
    host_ms: f64,
    /// Median time of it in which commands were recorded.
    encode_ms: f64,
    runs: usize,
}

/// Runs cold, warms up, then measures.
pub fn run(args: &BenchArgs, start: Instant) -> Result<()> {
    if args.runs == 0 {
        return Err(Error::invalid("--runs", "at least 1", "0", "measure at least one run"));
    }
    let request = args.run.plan.request(COUNT)?;
    args.run.device()?;
    let model = args.run.plan.open_model()?;
    request.check(&model)?;
    let stop = session::stop_on_ctrl_c(false)?;
    let mut sampler = session::compile(&args.run, &model, &request, &stop)?;
    let cold = draw(&mut sampler, &stop)?;
    let cold_ms = start.elapsed().as_secs_f64() * 1e3;
    StepsTaken::of(&sampler, &cold.reports).iter().for_each(StepsTaken::tell);
    for _ in 0..args.warmup {
        draw(&mut sampler, &stop)?;
    }
    let runs: Vec<Drawn> =
        (0..args.runs).map(|_| draw(&mut sampler, &stop)).collect::<Result<_>>()?;
    let measured = measured(&sampler, cold_ms, &runs);
    if args.run.plan.json { print_json(&measured) } else { print(&words(&measured)) }
}

/// What one run took, in all and of the host's own work.
#[derive(Default)]
struct Drawn {
    wall_ms: f64,
    host_ms: f64,
    encode_ms: f64,
    reports: Vec<program::Report>,
}

/// One run: all samples of the shard.
fn draw(sampler: &mut Sampler, stop: &AtomicBool) -> Result<Drawn> {
    let indices: Vec<usize> = sampler.indices().collect();
    let mut ignore = |_| {};
    let mut observer = Observer { stop, rows_done: &mut ignore };
    let mut drawn = Drawn::default();
    for batch in indices.chunks(sampler.batch()) {
        let samples = sampler.sample(batch, &mut observer)?;
        drawn.wall_ms += samples.wall_ms;
        drawn.host_ms += samples.stats.host_ms;
        drawn.encode_ms += samples.stats.encode_ms;
        drawn.reports.extend(samples.reports);
    }
    observer.check()?;
    Ok(drawn)
}

fn measured(sampler: &Sampler, cold_ms: f64, runs: &[Drawn]) -> Measured {
    let report = sampler.report();
    let samples = sampler.indices().len();
    let steps = samples.div_ceil(sampler.batch()) * report.steps;
    let times = |of: fn(&Drawn) -> f64| sorted(runs.iter().map(of).collect());
    let walls = times(|drawn| drawn.wall_ms);
    let p50_ms = quantile(&walls, 0.5);
    Measured {
        keys: Keys::of(report),
        compile_ms: report.compile_ms,
        compile_cached: sampler.tuned().is_some_and(|tuned| tuned.compile_cached),
        cold_ms,
        p50_ms,
        p90_ms: quantile(&walls, 0.9),
        p99_ms: quantile(&walls, 0.99),
        step_ms: p50_ms / steps as f64,
        images_per_s: samples as f64 / (p50_ms / 1e3),
        host_ms: quantile(&times(|drawn| drawn.host_ms), 0.5),
        encode_ms: quantile(&times(|drawn| drawn.encode_ms), 0.5),
        runs: runs.len(),
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The quantile `q` of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

fn words(m: &Measured) -> String {
    format!(
        "{}\n\n\
         compiled in   {:>10.1} ms\n\
         cold          {:>10.1} ms\n\
         warm p50      {:>10.2} ms   of {} runs\n\
         warm p90      {:>10.2} ms\n\
         warm p99      {:>10.2} ms\n\
         step          {:>10.3} ms\n\
         host          {:>10.3} ms   of which it recorded {:.3} ms\n\
         images/s      {:>10.2}",
        m.keys,
        m.compile_ms,
        m.cold_ms,
        m.p50_ms,
        m.runs,
        m.p90_ms,
        m.p99_ms,
        m.step_ms,
        m.host_ms,
        m.encode_ms,
        m.images_per_s
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        let values = sorted(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 0.5), 2.5);
        assert_eq!(quantile(&values, 1.0), 4.0);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
    }
}
