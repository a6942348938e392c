//! What comes of a sheet: the picture, the table as .csv, and words.

use super::Found;
use super::cell::{Cell, Figure, SHOWN};
use super::plan::{Entry, Skipped};
use crate::cli::table::table;
use std::collections::BTreeSet;
use std::path::Path;
use unnoise::error::Result;
use unnoise::output;
use unnoise::output::sheet::{self, Band, Row, Sheet};

/// Draws the cells, which are those of `entries`.
pub fn save(path: &Path, found: &Found, entries: &[Entry], cells: &[Cell]) -> Result<()> {
    let models = models(found);
    let band = |model: &&str| {
        let shape = entries.iter().find(|e| e.model.name == *model).map(|e| e.shape);
        let budgets = budgets(found, model);
        let row = |solver: &str| Row {
            name: solver.to_string(),
            cells: budgets.iter().map(|n| drawn(found, cells, model, solver, *n)).collect(),
        };
        Band {
            title: model.to_string(),
            shape: shape.unwrap_or_default(),
            columns: budgets.iter().map(|n| format!("NFE {n}")).collect(),
            rows: solvers(found, model).into_iter().map(row).collect(),
        }
    };
    let sheet = Sheet {
        title: "Quality over network evaluations (NFE)".to_string(),
        note: format!(
            "Frechet distance in {} features, {} samples to {} of {}; seed {}; framed: the least \
             of its column",
            found.features, found.samples, found.reference_samples, found.reference, found.seed
        ),
        bands: models.iter().map(band).collect(),
    };
    sheet::save(path, &sheet).map(drop)
}

/// Whether a page has room for all cells, before they are drawn.
///
/// # Errors
/// Samples of neither 1 nor 3 channels, or a sheet that is too large.
pub fn check(path: &Path, entries: &[Entry], skipped: &[Skipped]) -> Result<()> {
    let band = |model: &&str| {
        let own = || entries.iter().filter(|e| e.model.name == *model);
        let left_out = skipped.iter().filter(|s| s.model == *model);
        let budgets = own().map(|e| e.budget).chain(left_out.map(|s| s.budget));
        let columns: BTreeSet<usize> = budgets.collect();
        let shape = own().map(|e| e.shape).next().unwrap_or_default();
        let samples = vec![0; SHOWN * shape.iter().product::<usize>()];
        let cell = sheet::Cell { samples, caption: WIDEST.into(), best: false };
        let row = |name: &str| Row { name: name.into(), cells: vec![cell.clone()] };
        Band {
            title: model.to_string(),
            shape,
            columns: columns.iter().map(|n| format!("NFE {n}")).collect(),
            rows: unique(own().map(|e| e.solver.name)).into_iter().map(row).collect(),
        }
    };
    let models = unique(entries.iter().map(|e| e.model.name.as_str()));
    let bands = models.iter().map(band).collect();
    sheet::check(path, &Sheet { bands, ..Sheet::default() })
}

/// A caption as wide as any.
const WIDEST: &str = "00000.00 (NFE 00000)";

/// The cell of a solver at a budget; empty where it was left out.
fn drawn(found: &Found, cells: &[Cell], model: &str, solver: &str, budget: usize) -> sheet::Cell {
    let is = |f: &Figure| f.model == model && f.solver == solver && f.budget == budget;
    let Some(cell) = cells.iter().find(|cell| is(&cell.figure)) else {
        return sheet::Cell { caption: "-".to_string(), ..sheet::Cell::default() };
    };
    let column = found.cells.iter().filter(|f| f.model == model && f.budget == budget);
    let least = column.map(|f| f.frechet_distance).fold(f64::INFINITY, f64::min);
    let Figure { nfe, frechet_distance, .. } = cell.figure;
    sheet::Cell {
        samples: cell.samples(),
        caption: caption(frechet_distance, nfe, budget),
        best: frechet_distance == least,
    }
}

/// The distance, and the evaluations where they are fewer than were allowed.
fn caption(distance: f64, nfe: usize, budget: usize) -> String {
    let spent = if nfe == budget { String::new() } else { format!(" (NFE {nfe})") };
    format!("{distance:.2}{spent}")
}

/// The columns of a model, those with nothing in them too.
fn budgets(found: &Found, model: &str) -> Vec<usize> {
    let drawn = found.cells.iter().filter(|f| f.model == model).map(|f| f.budget);
    let skipped = found.skipped.iter().filter(|s| s.model == model).map(|s| s.budget);
    drawn.chain(skipped).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The models in the order in which they were named.
fn models(found: &Found) -> Vec<&str> {
    unique(found.cells.iter().map(|f| f.model.as_str()))
}

fn solvers<'a>(found: &'a Found, model: &str) -> Vec<&'a str> {
    unique(found.cells.iter().filter(|f| f.model == model).map(|f| f.solver.as_str()))
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    names.for_each(|name| {
        if !found.contains(&name) {
            found.push(name);
        }
    });
    found
}

/// Writes the figures as a table.
pub fn save_csv(path: &Path, found: &Found) -> Result<()> {
    let mut text = "model,family,solver,budget,nfe,steps,samples,frechet_distance\n".to_string();
    for f in &found.cells {
        let Figure { model, family, solver, budget, nfe, steps, frechet_distance } = f;
        let model = quoted(model);
        let samples = found.samples;
        text.push_str(&format!(
            "{model},{family},{solver},{budget},{nfe},{steps},{samples},{frechet_distance}\n"
        ));
    }
    output::save_text(path, &text)
}

/// A name of a folder may hold anything.
fn quoted(name: &str) -> String {
    match name.contains([',', '"', '\n']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_string(),
    }
}

/// A table for each model, a line a solver, a column a budget.
pub fn words(found: &Found) -> String {
    let mut text = format!(
        "{}: Frechet distance in {} features, {} samples to {} of {}, seed {}\n",
        found.out,
        found.features,
        found.samples,
        found.reference_samples,
        found.reference,
        found.seed
    );
    for model in models(found) {
        let budgets = budgets(found, model);
        let head = std::iter::once(model.to_string());
        let mut lines =
            vec![head.chain(budgets.iter().map(|n| format!("NFE {n}"))).collect::<Vec<String>>()];
        for solver in solvers(found, model) {
            let cell = |budget: &usize| {
                let is =
                    |f: &&Figure| f.model == model && f.solver == solver && f.budget == *budget;
                let figure = found.cells.iter().find(is);
                figure.map_or("-".to_string(), |f| caption(f.frechet_distance, f.nfe, *budget))
            };
            lines.push(std::iter::once(solver.into()).chain(budgets.iter().map(cell)).collect());
        }
        text.push_str(&format!("\n{}", table(&lines)));
    }
    text
}
