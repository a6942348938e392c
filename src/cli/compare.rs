//! `unnoise solvers --compare`: the error of each solver over its evaluations of an exact model.

use super::args::CompareArgs;
use super::progress::Progress;
use super::table::table;
use super::{print, print_json, request, say, session};
use unnoise::backend::select;
use unnoise::error::{Error, Result};
use unnoise::model::Model;
use unnoise::output::Target;
use unnoise::output::plot::{self, Panel, Scale, Series};
use unnoise::sampler::{Compared, Comparison, Measured, compare};
use unnoise::solver::{Kind, find};

/// Samples of each run of which nothing was said.
const COUNT: usize = 4096;
/// Energy distances are taken between all pairs.
const MOST_SAMPLES: usize = 1 << 16;
const MOST_EVALUATIONS: usize = 10_000;

pub fn run(args: &CompareArgs, json: bool) -> Result<()> {
    let device = args.device.parse()?;
    let comparison = comparison(args)?;
    let mut model = Model::open(&args.model)?;
    if let Some(schedule) = &args.schedule {
        model.set_schedule(schedule)?;
    }
    let out = args.out.clone().map(|out| Target::file("--out", out, &["png"])).transpose()?;

    let stop = session::stop_on_ctrl_c(false)?;
    let selected = select::open(&device)?;
    say(&selected.reason);
    let mut progress = Progress::new(comparison.solvers.len() * comparison.nfe.len());
    let mut at = |done, _, _: &str| progress.at(done);
    let compared = compare(&model, &comparison, selected.backend.as_ref(), &stop, &mut at)?;
    progress.batch_done(comparison.solvers.len() * comparison.nfe.len());
    drop(progress);

    if let Some(out) = &out {
        draw(out, &compared)?;
        say(&format!("{}: the errors over the evaluations", out.display()));
    }
    if json { print_json(&compared) } else { print(&words(&compared, &comparison.nfe)) }
}

/// What was typed, checked before any work.
fn comparison(args: &CompareArgs) -> Result<Comparison> {
    let nfe = args.nfe.as_deref().unwrap_or("4,8,16,32,64");
    let budgets: Result<Vec<usize>, _> = nfe.split(',').map(|n| n.trim().parse()).collect();
    let allowed = |n: &usize| (1..=MOST_EVALUATIONS).contains(n);
    let Some(mut budgets) = budgets.ok().filter(|all| all.iter().all(allowed)) else {
        return Err(Error::invalid(
            "--nfe",
            format!("numbers from 1 to {MOST_EVALUATIONS}, joined by commas"),
            nfe,
            "write --nfe 4,8,16",
        ));
    };
    budgets.sort_unstable();
    budgets.dedup();
    let solvers = match &args.solver {
        None => Comparison::all_solvers(),
        Some(names) => names.split(',').map(|name| name.trim().to_string()).collect(),
    };
    solvers.iter().try_for_each(|name| find(name).map(|_| ()))?;
    let count = request::whole("--count", args.count.as_deref(), MOST_SAMPLES)?.unwrap_or(COUNT);
    if count < 2 {
        let action = "ask for more: a distribution has no single sample";
        return Err(Error::invalid("--count", "2 or more", count.to_string(), action));
    }
    Ok(Comparison { solvers, nfe: budgets, count, seed: request::seed(&args.seed)? })
}

/// The measure of a kind of solver, in words.
fn measure(kind: Kind) -> &'static str {
    match kind {
        Kind::Ode => "RMS distance to the exact solution",
        Kind::Sde => "energy distance to the exact distribution",
    }
}

/// A table for each kind of solver, a line a solver, a column a budget; then what was left out.
fn words(compared: &Compared, nfe: &[usize]) -> String {
    let mut text = format!(
        "{}, {} samples, seed {}, {}, on {}\n",
        compared.model, compared.count, compared.seed, compared.schedule, compared.device
    );
    for kind in [Kind::Ode, Kind::Sde] {
        let head = ["solver".to_string()].into_iter();
        let head = head.chain(nfe.iter().map(|n| format!("NFE {n}"))).collect::<Vec<_>>();
        let mut lines = vec![head];
        for (solver, runs) in by_solver(compared, kind) {
            let cell = |n: &usize| {
                let run = runs.iter().find(|m| m.budget == *n);
                run.map_or("-".to_string(), |m| {
                    let spent = if m.nfe == *n { String::new() } else { format!(" ({})", m.nfe) };
                    format!("{:.2e}{spent}", m.error)
                })
            };
            lines.push([solver.to_string()].into_iter().chain(nfe.iter().map(cell)).collect());
        }
        if lines.len() > 1 {
            text.push_str(&format!("\n{}\n{}", measure(kind), table(&lines)));
        }
        if kind == Kind::Sde && lines.len() > 1 {
            text.push_str(&format!(
                "below {:.1e} is sampling noise: two standard deviations for exact samples\n",
                compared.noise_floor
            ));
        }
    }
    text.push_str(&left_out(compared));
    text
}

/// Each reason once, with the solvers and budgets that it stopped.
fn left_out(compared: &Compared) -> String {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for skipped in &compared.skipped {
        let run = format!("{} at {}", skipped.solver, skipped.budget);
        match reasons.iter_mut().find(|(why, _)| *why == skipped.why) {
            Some((_, runs)) => runs.push(run),
            None => reasons.push((&skipped.why, vec![run])),
        }
    }
    let lines = reasons.iter().map(|(why, runs)| format!("{}: {why}\n", runs.join(", ")));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\nleft out\n{lines}") }
}

/// The solvers of a kind that were measured, with their runs.
fn by_solver(compared: &Compared, kind: Kind) -> Vec<(&'static str, Vec<&Measured>)> {
    let mut solvers: Vec<(&'static str, Vec<&Measured>)> = Vec::new();
    for run in compared.measured.iter().filter(|m| m.kind == kind) {
        match solvers.iter_mut().find(|(name, _)| *name == run.solver) {
            Some((_, runs)) => runs.push(run),
            None => solvers.push((run.solver, vec![run])),
        }
    }
    solvers
}

fn draw(out: &std::path::Path, compared: &Compared) -> Result<()> {
    let panel = |kind: Kind, title: &str, floor| Panel {
        title: title.to_string(),
        x_label: "network evaluations (NFE)".to_string(),
        y_label: measure(kind).to_string(),
        scale: Scale::Powers,
        series: by_solver(compared, kind)
            .into_iter()
            .map(|(name, runs)| Series {
                name: name.to_string(),
                points: runs.iter().map(|m| [m.nfe as f64, m.error]).collect(),
                upper: Vec::new(),
            })
            .collect(),
        floor,
    };
    let noise = (compared.noise_floor, "sampling noise (2 sd)".to_string());
    let panels =
        [panel(Kind::Ode, "ODE solvers", None), panel(Kind::Sde, "SDE solvers", Some(noise))];
    let title = format!("Solvers on the exact model {}", compared.model);
    let note =
        format!("{} samples a point, {}, {}", compared.count, compared.schedule, compared.device);
    plot::save(out, &title, &note, &panels).map(|_| ())
}
