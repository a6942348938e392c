//! What changed since an earlier measurement.

use super::Found;
use super::plan::Plan;
use super::result::{Measured, Outcome};
use crate::cli::say;
use crate::cli::table::table;
use serde::Serialize;
use unnoise::bench::{Baseline, Comparison, Earlier, Environment, Verdict};
use unnoise::error::{Error, Result};

/// One configuration that the baseline has too: an element of `baseline` in `bench --json`.
#[derive(Serialize)]
pub struct Compared {
    #[serde(flatten)]
    comparison: Comparison,
    /// What else is not as it was: `device: A, now B`.
    differs: Vec<String>,
    #[serde(skip)]
    label: String,
}

/// No configuration that was asked for is in the baseline.
pub fn no_match() -> Error {
    Error::invalid(
        "--baseline",
        "a configuration that is measured now: the same model, solver, steps, batch, count, \
         precision, backend, guidance and ablation",
        "none",
        "measure what the file holds, or write another with `unnoise bench --json > FILE`",
    )
}

/// Compares what was measured with the baseline, if one was given; tells what cannot be compared
/// and what else differs.
pub fn compare(plan: &Plan, outcome: &Outcome) -> Result<Option<Vec<Compared>>> {
    let Some(baseline) = &plan.baseline else { return Ok(None) };
    let mut all = Vec::new();
    for now in &outcome.results {
        let label = plan.label(&now.asked);
        match baseline.find(&now.configuration) {
            Some(before) => all.push(Compared {
                comparison: Comparison::new(&now.series, before, plan.threshold),
                differs: differs(baseline, before, now, &outcome.environment),
                label,
            }),
            None => say(&format!("note: the baseline does not have {label}")),
        }
    }
    if all.is_empty() {
        return Err(no_match());
    }
    let mut told: Vec<&String> = all.iter().flat_map(|compared| &compared.differs).collect();
    told.sort();
    told.dedup();
    told.iter().for_each(|words| say(&format!("note: since the baseline: {words}")));
    Ok(Some(all))
}

/// What a ratio may be due to besides the program.
fn differs(
    baseline: &Baseline,
    before: &Earlier,
    now: &Measured,
    environment: &Environment,
) -> Vec<String> {
    let of = [
        ("device", Some(before.device.as_str()), Some(now.device.as_str())),
        ("driver", baseline.driver.as_deref(), environment.driver.as_deref()),
        ("git", baseline.git.as_deref(), Some(environment.git)),
    ];
    let other = of.into_iter().filter(|(_, before, now)| before != now);
    let words = |text: Option<&str>| text.unwrap_or("not told").to_string();
    other.map(|(what, a, b)| format!("{what}: {}, now {}", words(a), words(b))).collect()
}

/// Whether something is slower.
pub fn found(compared: &Option<Vec<Compared>>) -> Found {
    let slower = |one: &Compared| one.comparison.verdict == Verdict::Slower;
    match compared.iter().flatten().any(slower) {
        true => Found::Slower,
        false => Found::Good,
    }
}

/// A table of the comparisons; nothing without a baseline.
pub fn words(plan: &Plan, compared: &Option<Vec<Compared>>) -> String {
    let Some(compared) = compared else { return String::new() };
    let head = ["", "p50 ms", "before", "ratio", "95% interval", ""];
    let mut lines = vec![head.map(String::from)];
    for Compared { comparison, label, .. } in compared {
        let ratio = comparison.ratio;
        lines.push([
            label.clone(),
            format!("{:.3}", comparison.p50_ms),
            format!("{:.3}", comparison.baseline_p50_ms),
            format!("{:.3}", ratio.value),
            super::report::interval(ratio.interval, 3),
            verdict(comparison).to_string(),
        ]);
    }
    let allowed = (1e5 * plan.threshold).round() / 1e3;
    format!("\nagainst the baseline, {allowed}% more is allowed\n{}", table(&lines))
}

fn verdict(comparison: &Comparison) -> &'static str {
    match (comparison.verdict, comparison.ratio.interval) {
        (Verdict::Faster, _) => "faster",
        (Verdict::Same, _) => "same",
        (Verdict::Slower, _) => "SLOWER",
        (Verdict::Unclear, None) => "unclear: slower, but of too few runs",
        (Verdict::Unclear, Some(_)) => "unclear: slower, but it may be chance; raise --runs",
    }
}
