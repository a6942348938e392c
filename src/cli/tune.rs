//! `unnoise tune`: measures every tile that a model's kernels can take, and keeps the times.

use super::args::TuneArgs;
use super::session::{self, Keys};
use super::{print, print_json};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Instant;
use unnoise::backend::tune::{Class, Tuned, Tuning};
use unnoise::error::{Error, Result};

/// Samples of a run of which nothing was said: shapes are those of `bench`.
const COUNT: usize = 1;

/// `tune --json`.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    keys: Keys,
    /// Compiling and measuring.
    wall_ms: f64,
    classes: &'a [Class],
}

pub fn run(args: &TuneArgs) -> Result<()> {
    let request = args.plan.request(COUNT)?;
    let device = args.device.parse()?;
    let model = args.plan.open_model()?;
    request.check(&model)?;
    let stop = session::stop_on_ctrl_c(false)?;
    let begin = Instant::now();
    let tuning = Tuning::Anew { step: session::step(&stop) };
    let sampler = session::compile_with(device, tuning, &model, &request)?;
    let wall_ms = begin.elapsed().as_secs_f64() * 1e3;
    let Some(Tuned { classes, .. }) = sampler.tuned() else {
        let report = sampler.report();
        return Err(Error::invalid(
            "--device",
            "a device whose kernels have a choice of tiles",
            report.device.as_str(),
            "see `unnoise devices`, and name one with --device wgpu:N",
        ));
    };
    let keys = Keys::of(sampler.report());
    match args.plan.json {
        true => print_json(&Summary { keys, wall_ms, classes }),
        false => print(&words(&keys, classes)),
    }
}

/// Every class with its candidates, the chosen one marked.
fn words(keys: &Keys, classes: &[Class]) -> String {
    let mut text = format!("{keys}\n");
    for class in classes {
        let launches = super::plural(class.launches as usize, "launch", "launches");
        let _ = writeln!(text, "\n{}, {} {launches} a run", class.class, class.launches);
        for timed in &class.candidates {
            let mark = if timed.tile == class.chosen { "*" } else { " " };
            let ms = timed.ms.map_or("refused".to_string(), |ms| format!("{ms:.3} ms"));
            let _ = writeln!(text, "{mark} {:<24} {ms:>12}", timed.tile.to_string());
        }
    }
    text
}
