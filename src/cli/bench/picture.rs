//! A sweep as a picture: latency over steps or batches, and images a second over batches.

use super::plan::Column;
use super::result::{Measured, Outcome};
use std::path::Path;
use unnoise::error::Result;
use unnoise::output::plot::{self, Panel, Scale, Series};

/// Draws p50 with its p90 over the numeric flag of most values, a curve for each combination of the
/// others; beside it images a second, where there are several batches.
pub fn draw(out: &Path, outcome: &Outcome) -> Result<()> {
    let values = |column: Column| ticks(outcome, column).len();
    let over = match values(Column::Batch) > values(Column::Steps) {
        true => Column::Batch,
        false => Column::Steps,
    };
    let mut panels = vec![panel(outcome, over, "latency", "ms, p50 and up to p90", |m| {
        (m.p50_ms, Some(m.p90_ms))
    })];
    if values(Column::Batch) > 1 {
        let of = |m: &Measured| (m.images_per_s, None);
        panels.push(panel(outcome, Column::Batch, "throughput", "images/s", of));
    }
    let Some(first) = outcome.results.first() else { return Ok(()) };
    let title = format!("{} on {}", first.configuration.model, first.device);
    let environment = &outcome.environment;
    let software = if environment.software { ", a software driver" } else { "" };
    let note = format!(
        "median of {} runs{software}; unnoise {} ({}), {}",
        first.runs, environment.unnoise, environment.git, environment.date
    );
    plot::save(out, &title, &note, &panels).map(|_| ())
}

fn number(m: &Measured, column: Column) -> usize {
    if column == Column::Batch { m.configuration.batch } else { m.configuration.steps }
}

/// The numbers that were measured, rising.
fn ticks(outcome: &Outcome, column: Column) -> Vec<f64> {
    let mut all: Vec<usize> = outcome.results.iter().map(|m| number(m, column)).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(|n| n as f64).collect()
}

/// One pair of axes over `column`.
fn panel(
    outcome: &Outcome,
    column: Column,
    title: &str,
    y_label: &str,
    of: fn(&Measured) -> (f64, Option<f64>),
) -> Panel {
    let columns = Column::of(outcome.results.iter().map(|measured| &measured.asked));
    let columns: Vec<Column> = columns.into_iter().filter(|c| *c != column).collect();
    let mut series: Vec<Series> = Vec::new();
    for measured in &outcome.results {
        let words: Vec<String> = columns.iter().map(|c| c.words(&measured.asked)).collect();
        let name = if words.is_empty() { "p50".to_string() } else { words.join(", ") };
        let (y, upper) = of(measured);
        let curve = match series.iter().position(|s| s.name == name) {
            Some(i) => &mut series[i],
            None => {
                series.push(Series { name, ..Series::default() });
                series.last_mut().expect("one was added")
            }
        };
        curve.points.push([number(measured, column) as f64, y]);
        curve.upper.extend(upper);
    }
    // Lists may be written in any order.
    for curve in &mut series {
        let mut order: Vec<usize> = (0..curve.points.len()).collect();
        order.sort_by(|a, b| curve.points[*a][0].total_cmp(&curve.points[*b][0]));
        curve.points = order.iter().map(|i| curve.points[*i]).collect();
        curve.upper = order.iter().filter_map(|i| curve.upper.get(*i).copied()).collect();
    }
    Panel {
        title: title.to_string(),
        x_label: column.name().to_string(),
        y_label: y_label.to_string(),
        scale: Scale::Measured(ticks(outcome, column)),
        series,
        floor: None,
    }
}
