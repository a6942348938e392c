//! Measurements as JSON, as a page of words and as a table.

use super::against::Compared;
use super::plan::{Asked, Column, Plan};
use super::result::{Measured, Outcome, Refused};
use crate::cli::table::table;
use serde::Serialize;
use std::fmt::Write as _;
use unnoise::bench::{CONFIDENCE, Environment, Interval, LEAST, Ratio};

/// `bench --json` of one configuration.
#[derive(Serialize)]
pub struct One<'a> {
    #[serde(flatten)]
    measured: &'a Measured,
    environment: &'a Environment,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<&'a [Compared]>,
}

/// `bench --json` of a sweep.
#[derive(Serialize)]
pub struct Sweep<'a> {
    environment: &'a Environment,
    /// Whether configurations were measured in turn.
    interleaved: bool,
    results: &'a [Measured],
    refused: &'a [Refused],
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<&'a [Compared]>,
}

pub fn one<'a>(
    measured: &'a Measured,
    outcome: &'a Outcome,
    compared: &'a Option<Vec<Compared>>,
) -> One<'a> {
    One { measured, environment: &outcome.environment, baseline: compared.as_deref() }
}

pub fn sweep<'a>(
    plan: &Plan,
    outcome: &'a Outcome,
    compared: &'a Option<Vec<Compared>>,
) -> Sweep<'a> {
    Sweep {
        environment: &outcome.environment,
        interleaved: plan.group > 1,
        results: &outcome.results,
        refused: &outcome.refused,
        baseline: compared.as_deref(),
    }
}

/// What was measured, for a person.
pub fn words(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = match &outcome.results[..] {
        [one] if !plan.sweeps() => page(one),
        _ => sheet(plan, outcome),
    };
    let environment = &outcome.environment;
    if environment.software {
        text.push_str("\nthe device is a software driver: these times say nothing about a GPU\n");
    }
    let Environment { git, date, processor, cores, os, driver, .. } = environment;
    let known = |text: &Option<String>, word: &str| {
        text.as_ref().map(|text| format!("{word}{text}, ")).unwrap_or_default()
    };
    let _ = writeln!(
        text,
        "\n{}{}{}{cores} cores; unnoise {} ({git}), {date}",
        known(driver, "driver "),
        known(os, ""),
        known(processor, ""),
        environment.unnoise
    );
    text
}

/// An interval with so many digits behind the point.
pub fn interval(interval: Option<Interval>, digits: usize) -> String {
    interval.map_or("-".to_string(), |i| format!("{:.digits$} .. {:.digits$}", i.low, i.high))
}

/// One configuration, a line a number.
fn page(m: &Measured) -> String {
    let sure = match m.p50_interval_ms {
        Some(_) => {
            let within = interval(m.p50_interval_ms, 2);
            format!("{:.0}% interval {within}, of {} runs", 100.0 * CONFIDENCE, m.runs)
        }
        None => format!("of {} runs; an interval takes {LEAST}", m.runs),
    };
    let mut text = format!("{}\n\n", m.keys);
    let mut line = |what: &str, number: String, more: &str| {
        let _ = writeln!(text, "{}", format!("{what:<13} {number:>10} {more}").trim_end());
    };
    let ms = |ms: f64, digits: usize| format!("{ms:.digits$}");
    line("compiled in", ms(m.compile_ms, 1), "ms");
    if let Some(cold) = m.cold_ms {
        line("cold", ms(cold, 1), "ms");
    }
    line("warm p50", ms(m.p50_ms, 2), &format!("ms   {sure}"));
    line("warm p90", ms(m.p90_ms, 2), "ms");
    line("warm p99", ms(m.p99_ms, 2), "ms");
    let deviation = m.sd_ms.map(|sd| format!(", standard deviation {sd:.2}")).unwrap_or_default();
    line("warm mean", ms(m.mean_ms, 2), &format!("ms   least {:.2}{deviation}", m.min_ms));
    line("step", ms(m.step_ms, 3), "ms");
    line("host", ms(m.host_ms, 3), &format!("ms   of which it recorded {:.3} ms", m.encode_ms));
    line("images/s", ms(m.images_per_s, 2), "");
    if let (Some(joules), Some(watts)) = (m.joules_per_sample, m.mean_watts) {
        line("energy", format!("{joules:.3}"), &format!("J a sample, {watts:.1} W"));
    }
    let stable = match m.stable {
        Some(true) => "stable then",
        Some(false) => "NOT stable then",
        None => "too few to judge",
    };
    line("warm-up", m.warmup_runs.to_string(), &format!("runs, {stable}"));
    text
}

/// A column of the table: its head, and its cell if a configuration has one.
type Cell = (&'static str, fn(&Measured) -> Option<String>);

const CELLS: [Cell; 11] = [
    ("compile ms", |m| Some(format!("{:.1}", m.compile_ms))),
    ("cold ms", |m| m.cold_ms.map(|ms| format!("{ms:.1}"))),
    ("p50 ms", |m| Some(format!("{:.3}", m.p50_ms))),
    ("95% interval", |m| m.p50_interval_ms.map(|i| interval(Some(i), 3))),
    ("p90 ms", |m| Some(format!("{:.3}", m.p90_ms))),
    ("p99 ms", |m| Some(format!("{:.3}", m.p99_ms))),
    ("step ms", |m| Some(format!("{:.3}", m.step_ms))),
    ("images/s", |m| Some(format!("{:.2}", m.images_per_s))),
    ("J/sample", |m| m.joules_per_sample.map(|joules| format!("{joules:.3}"))),
    ("ratio", |m| m.ratio.map(ratio)),
    ("stable", |m| m.stable.map(|stable| if stable { "yes" } else { "no" }.to_string())),
];

fn ratio(Ratio { value, interval: within }: Ratio) -> String {
    match within {
        // The first to itself.
        Some(Interval { low, high }) if low == 1.0 && high == 1.0 => "1".to_string(),
        Some(_) => format!("{value:.3} ({})", interval(within, 3)),
        None => format!("{value:.3}"),
    }
}

/// A sweep as a table, then what was left out of it.
fn sheet(plan: &Plan, outcome: &Outcome) -> String {
    let columns = plan.columns();
    let names = |asked: &Asked| columns.iter().map(|c| c.value(asked)).collect::<Vec<String>>();
    let cells: Vec<&Cell> = CELLS
        .iter()
        .filter(|(_, cell)| outcome.results.iter().any(|m| cell(m).is_some()))
        .collect();
    let heads =
        columns.iter().map(|c: &Column| c.name()).chain(cells.iter().map(|(head, _)| *head));
    let mut lines = vec![heads.map(String::from).collect::<Vec<String>>()];
    for measured in &outcome.results {
        let numbers = cells.iter().map(|(_, cell)| cell(measured).unwrap_or("-".to_string()));
        lines.push(names(&measured.asked).into_iter().chain(numbers).collect());
    }
    let mut text = String::new();
    if let Some(first) = outcome.results.first() {
        let _ = writeln!(text, "{} on {}\n", first.configuration.model, first.device);
    }
    text.push_str(&table(&lines));
    if outcome.results.iter().any(|m| m.ratio.is_some()) {
        text.push_str("ratios are to the first of those that were measured in turn\n");
    }
    if !outcome.refused.is_empty() {
        text.push_str("\nleft out\n");
    }
    for Refused { asked, reason } in &outcome.refused {
        let _ = writeln!(text, "{}: {reason}", plan.label(asked));
    }
    text
}
