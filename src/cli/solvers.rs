//! `unnoise solvers`: what can be asked for.

use super::args::ListArgs;
use super::table::table;
use super::{print, print_json};
use unnoise::error::Result;
use unnoise::solver::SOLVERS;

pub fn run(args: &ListArgs) -> Result<()> {
    if args.json {
        return print_json(&SOLVERS);
    }
    let mut lines = vec![["name", "family", "NFE a step", "order", "reference"].map(String::from)];
    lines.extend(SOLVERS.iter().map(|solver| {
        [
            solver.name.to_string(),
            solver.family.to_string(),
            solver.nfe_per_step.to_string(),
            solver.order.to_string(),
            solver.reference.to_string(),
        ]
    }));
    print(&table(&lines))
}
