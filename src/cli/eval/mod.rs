//! `unnoise eval`: how far samples are from a reference, in the features of a classifier.

mod network;
mod report;
mod source;

use super::{print, print_json, request, say, session};
use report::Report;
use std::path::PathBuf;
use std::time::Instant;
use unnoise::error::Result;
use unnoise::output::Target;

pub use network::{MeasureArgs, Network, space};

/// What is said below the flags.
const INPUTS: &str = "\
SAMPLES are folders that `unnoise sample` wrote, .npy and .safetensors files of f32 [N, C, H, W]
from -1 to 1, .npz and .npy files of u8 [N, H, W, C], or statistics that --write-stats wrote.
Several are taken together: parts make the same statistics as the whole, in whatever order they are
named. Without a reference only what needs none is computed.";

#[derive(Debug, clap::Args)]
#[command(after_help = INPUTS)]
pub struct EvalArgs {
    /// The samples, or statistics of them
    #[arg(required = true, value_name = "SAMPLES")]
    samples: Vec<PathBuf>,
    #[command(flatten)]
    measure: MeasureArgs,
    /// Where to keep the statistics of the samples, a .safetensors
    #[arg(long, value_name = "FILE")]
    write_stats: Option<PathBuf>,
    /// Samples at a time, on which the last bits of features depend [default: 64; Inception: 16]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    batch: Option<String>,
    /// Seed of the choices of the kernel distance
    #[arg(long, value_name = "N", default_value = "0", allow_hyphen_values = true)]
    seed: String,
    /// Print one JSON object on stdout, and words on stderr only
    #[arg(long)]
    json: bool,
}

/// Nobody's batch is larger.
pub const MOST_AT_ONCE: usize = 1 << 16;

pub fn run(args: &EvalArgs) -> Result<()> {
    let seed = request::seed(&args.seed)?;
    let batch = request::whole("--batch", args.batch.as_deref(), MOST_AT_ONCE)?;
    let out = args.write_stats.clone();
    let out = out.map(|out| Target::file("--write-stats", out, &["safetensors"])).transpose()?;
    let stop = session::stop_on_ctrl_c(false)?;
    let start = Instant::now();
    let mut network = Network::new(&args.measure, batch, &stop)?;
    let samples = args.samples.iter().map(|path| network.open("", path));
    let samples = samples.collect::<Result<Vec<_>>>()?;
    // Before any work: a name that is mistyped is told at once.
    let reference = network.open_reference()?;
    let samples = network.together(samples)?;
    if let Some(out) = &out {
        samples.save(out)?;
        say(&format!("{}: statistics of {} samples", out.display(), samples.count));
    }
    let reference = network.reference(reference, &samples.space)?;
    let reference = reference.as_ref().map(|(name, statistics)| (name.as_str(), statistics));
    let mut report = Report::new(&samples, reference, seed)?;
    report.on(network.used(), start.elapsed());
    let notes = report.notes(&samples, reference.map(|(_, statistics)| statistics));
    notes.iter().for_each(|note| say(note));
    if args.json { print_json(&report) } else { print(&report.words()) }
}
