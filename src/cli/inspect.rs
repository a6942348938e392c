//! `unnoise inspect`: the plan of a model, from its configuration alone.

use super::args::InspectArgs;
use super::{print, print_json, say};
use unnoise::error::Result;
use unnoise::sampler;

/// Samples of a plan of which nothing was said: costs are quoted for one.
const COUNT: usize = 1;

pub fn run(args: &InspectArgs) -> Result<()> {
    let request = args.plan.request(COUNT)?;
    let model = args.plan.open_model()?;
    let inspection = sampler::inspect(&model, &request)?;
    inspection.notes.iter().for_each(|note| say(&format!("note: {note}")));
    if args.plan.json { print_json(&inspection) } else { print(&inspection.to_string()) }
}
