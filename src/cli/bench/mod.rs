//! `unnoise bench`: cold and warm latency, of one configuration or of a sweep.
//!
//! What was typed becomes a [`plan`]; [`measure`] compiles, warms up and runs; [`report`] and
//! [`picture`] show what came of it, and [`against`] an earlier measurement.

mod against;
mod cold;
mod measure;
mod picture;
mod plan;
mod report;
mod result;

use super::args::BenchArgs;
use super::{print, print_json, say};
use measure::Bench;
use plan::Plan;
use std::time::Instant;
use unnoise::error::Result;

/// What a comparison with a baseline came to.
pub enum Found {
    /// Nothing is slower, or nothing was compared.
    Good,
    Slower,
}

/// Measures what was typed, in a process that began at `begin`.
pub fn run(args: &BenchArgs, begin: Instant) -> Result<Found> {
    let plan = Plan::new(args)?;
    args.run.device()?;
    let model = args.run.plan.open_model()?;
    if let Some(index) = args.cold_of {
        return cold::serve(&plan, index, &model, begin).map(|()| Found::Good);
    }
    let outcome = Bench::new(&plan, &model, begin)?.run()?;
    let compared = against::compare(&plan, &outcome)?;
    if let Some(out) = &plan.out {
        picture::draw(out, &outcome)?;
        say(&format!("{}: latency", out.display()));
    }
    if args.run.plan.json {
        match &outcome.results[..] {
            [one] if !plan.sweeps() => print_json(&report::one(one, &outcome, &compared))?,
            _ => print_json(&report::sweep(&plan, &outcome, &compared))?,
        }
    } else {
        let mut words = report::words(&plan, &outcome);
        words.push_str(&against::words(&plan, &compared));
        print(&words)?;
    }
    Ok(against::found(&compared))
}
