//! `unnoise sheet`: samples and their distance from a reference, for models, solvers and budgets of
//! network evaluations, on one page.

mod cell;
mod kept;
mod page;
mod plan;

use super::eval::{MOST_AT_ONCE, MeasureArgs, Network, space};
use super::progress::Progress;
use super::{print, print_json, request, say, session};
use cell::{Bench, Cell, Figure};
use kept::Kept;
use plan::Skipped;
use serde::Serialize;
use std::path::PathBuf;
use unnoise::error::{Error, Result};
use unnoise::metrics::{Space, Statistics};
use unnoise::output::Target;

/// The built-in models that were trained, one a family.
const TRAINED: [&str; 4] = ["digits", "digits-ve", "digits-edm", "digits-cm"];

#[derive(Debug, clap::Args)]
pub struct SheetArgs {
    /// Models, as `unnoise sample` takes them
    #[arg(value_name = "MODEL", default_values_t = TRAINED.map(String::from))]
    models: Vec<String>,
    /// Network evaluations that a sample may take [default: those that are usual for a model's
    /// process, such as 5,10,20,50]
    #[arg(long, value_name = "N,N,..", allow_hyphen_values = true)]
    nfe: Option<String>,
    /// Solvers [default: those that are usual for a model's process, and its own]
    #[arg(long, alias = "solvers", value_name = "NAME,NAME,..")]
    solver: Option<String>,
    /// Samples of a cell [default: 256]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    count: Option<String>,
    /// Samples at a time [default: the count, at most 64]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    batch: Option<String>,
    /// Seed of the noise, the same in each cell
    #[arg(long, value_name = "N", default_value = "0", allow_hyphen_values = true)]
    seed: String,
    #[command(flatten)]
    measure: MeasureArgs,
    /// Where to draw the sheet, a .png
    #[arg(long, value_name = "PATH", default_value = "sheet.png")]
    out: PathBuf,
    /// Where to write the figures as a table, a .csv
    #[arg(long, value_name = "PATH")]
    csv: Option<PathBuf>,
    /// Where cells are kept as they are finished, a .json: a run takes those that it needs
    #[arg(long, value_name = "PATH")]
    kept: Option<PathBuf>,
    /// Print one JSON object on stdout, and words on stderr only
    #[arg(long)]
    json: bool,
}

/// Samples of a cell of which nothing was said.
const COUNT: usize = 256;
const MOST: usize = 1 << 24;

/// `sheet --json`.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The network whose features the distances are of.
    pub features: String,
    pub reference: String,
    pub reference_samples: u64,
    pub samples: usize,
    pub seed: u64,
    pub device: String,
    pub cells: Vec<Figure>,
    pub skipped: Vec<Skipped>,
    pub out: String,
}

pub fn run(args: &SheetArgs) -> Result<()> {
    let count = request::whole("--count", args.count.as_deref(), MOST)?.unwrap_or(COUNT);
    if count < 2 {
        let action = "ask for more: a Frechet distance needs a covariance";
        return Err(Error::invalid("--count", "2 or more", count.to_string(), action));
    }
    let batch = request::whole("--batch", args.batch.as_deref(), MOST_AT_ONCE)?;
    let seed = request::seed(&args.seed)?;
    let budgets = args.nfe.as_deref().map(plan::budgets).transpose()?;
    let out = Target::file("--out", args.out.clone(), &["png"])?;
    let file = |flag: &str, path: &Option<PathBuf>, ending: &str| {
        path.clone().map(|path| Target::file(flag, path, &[ending])).transpose()
    };
    let csv = file("--csv", &args.csv, "csv")?;
    let mut kept = Kept::open(file("--kept", &args.kept, "json")?)?;
    let ask = plan::Ask { count, batch: batch.unwrap_or(64).min(count), seed };
    let models = plan::models(&args.models)?;
    let (entries, skipped) =
        plan::entries(&models, args.solver.as_deref(), budgets.as_deref(), &ask)?;

    let stop = session::stop_on_ctrl_c(args.kept.is_some())?;
    let mut network = Network::new(&args.measure, None, &stop)?;
    let space = space(network.extractor()?.as_ref());
    entries.iter().try_for_each(|e| network.extractor()?.input(e.shape).map(drop))?;
    page::check(&out, &entries, &skipped)?;
    let reference = network.open_reference()?;
    let Some((name, reference)) = network.reference(reference, &space)? else {
        let action = "name pictures or statistics to compare with";
        return Err(Error::invalid("--reference", "a reference", "none", action));
    };
    comparable(&space, &reference)?;
    let progress = Progress::new(entries.len() * count);
    let mut bench = Bench::new(&mut network, &reference, &stop, &progress)?;
    let mut cells = Vec::new();
    for entry in &entries {
        let key = bench.key(entry, &ask)?;
        let cell = match kept.take(&key) {
            // The same samples may stand under another name, or be all that more would allow.
            Some(cell) => {
                let figure = Figure::of(entry, cell.figure.frechet_distance);
                Cell { figure, ..cell }
            }
            None => {
                let cell = bench.measure(entry, key)?;
                kept.add(cell.clone())?;
                cell
            }
        };
        cells.push(cell);
        progress.of(cells.len() * count, entries.len() * count);
    }
    let device = bench.device();
    drop(progress);

    let found = Found {
        features: space.name.clone(),
        reference: name,
        reference_samples: reference.count,
        samples: count,
        seed,
        device,
        cells: cells.iter().map(|cell| cell.figure.clone()).collect(),
        skipped,
        out: out.display().to_string(),
    };
    page::save(&out, &found, &entries, &cells)?;
    if let Some(csv) = &csv {
        page::save_csv(csv, &found)?;
    }
    found.skipped.iter().for_each(|skipped| say(&skipped.to_string()));
    if args.json { print_json(&found) } else { print(&page::words(&found)) }
}

/// Whether there can be a distance from the reference, before anything is drawn.
fn comparable(space: &Space, reference: &Statistics) -> Result<()> {
    Statistics::new(space.clone(), reference.shape).check_fits(reference)?;
    if reference.count >= 2 {
        return Ok(());
    }
    let action = "name more: a Frechet distance needs a covariance";
    Err(Error::invalid("--reference", "2 or more samples", reference.count.to_string(), action))
}
