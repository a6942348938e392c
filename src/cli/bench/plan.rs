//! From the flags of `bench` to the configurations that it measures.

use crate::cli::args::{BenchArgs, RunArgs};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use unnoise::bench::Baseline;
use unnoise::error::{Error, Result};
use unnoise::output::Target;
use unnoise::sampler::Request;
use unnoise::solver;

/// Samples of a run of which nothing was said: latency is a matter of one.
const COUNT: usize = 1;

/// Warm runs of each configuration: one after another, and in turn, where two make a round.
const RUNS: usize = 10;
const RUNS_IN_TURN: usize = 20;

/// What `--ablate` takes, and the flag of each.
pub const PARTS: [(&str, &str); 3] =
    [("fuse", "no-fuse"), ("hoist", "no-hoist"), ("tune", "no-tune")];

/// A configuration as asked for.
pub struct Candidate {
    /// The flags, with one value each.
    pub run: RunArgs,
    pub request: Request,
    pub asked: Asked,
}

/// What sets a configuration apart; `None` where nothing was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    pub solver: Option<String>,
    pub steps: Option<usize>,
    pub batch: Option<usize>,
    pub precision: String,
    pub ablation: String,
}

/// What `bench` is to do.
pub struct Plan {
    pub candidates: Vec<Candidate>,
    /// How many candidates in a row are measured in turn; 1 is one after another.
    pub group: usize,
    /// Warm runs of each.
    pub runs: usize,
    pub warmup: Option<usize>,
    /// Whether cold starts are measured.
    pub cold: bool,
    pub baseline: Option<Baseline>,
    pub threshold: f64,
    pub out: Option<PathBuf>,
}

impl Plan {
    /// Judges what was typed; looks at no model and no device.
    ///
    /// # Errors
    /// Flags that make no sense, a baseline that is none, a picture that cannot be written.
    pub fn new(args: &BenchArgs) -> Result<Plan> {
        let candidates = candidates(args)?;
        let ablations = ablations(args)?.len();
        let group = match (args.interleave, ablations) {
            (true, _) => candidates.len(),
            (false, ablations) => ablations,
        };
        if args.interleave && group == 1 {
            let action = "give a list, as in --steps 4,8, or --ablate fuse";
            let expected = "two or more configurations";
            return Err(Error::invalid("--interleave", expected, "one", action));
        }
        if args.out.is_some() && candidates.len() == 1 {
            let (expected, action) = ("a sweep to draw", "give a list, as in --steps 4,8,16");
            return Err(Error::invalid("--out", expected, "one configuration", action));
        }
        let default = if group > 1 { RUNS_IN_TURN } else { RUNS };
        let runs = args.runs.unwrap_or(default);
        if runs == 0 {
            return Err(Error::invalid("--runs", "at least 1", "0", "measure at least one run"));
        }
        // A cold start is for its times alone.
        let whole = args.cold_of.is_none();
        let (baseline, out) = (args.baseline.as_deref(), args.out.clone());
        Ok(Plan {
            candidates,
            group,
            runs,
            warmup: args.warmup,
            cold: !args.no_cold,
            threshold: threshold(&args.threshold)?,
            baseline: baseline.filter(|_| whole).map(Baseline::read).transpose()?,
            out: out
                .filter(|_| whole)
                .map(|out| Target::file("--out", out, &["png"]))
                .transpose()?,
        })
    }

    /// Whether there are several configurations.
    pub fn sweeps(&self) -> bool {
        self.candidates.len() > 1
    }

    /// What sets `asked` apart from the others, in words.
    pub fn label(&self, asked: &Asked) -> String {
        let words = self.columns().into_iter().map(|column| column.words(asked));
        words.collect::<Vec<_>>().join(", ")
    }

    /// What differs between the configurations.
    pub fn columns(&self) -> Vec<Column> {
        Column::of(self.candidates.iter().map(|candidate| &candidate.asked))
    }
}

/// What configurations may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Solver,
    Steps,
    Batch,
    Precision,
    Ablation,
}

impl Column {
    const ALL: [Column; 5] =
        [Column::Solver, Column::Steps, Column::Batch, Column::Precision, Column::Ablation];

    /// What differs between `all`.
    pub fn of<'a>(all: impl Iterator<Item = &'a Asked> + Clone) -> Vec<Column> {
        let values = |column: Column| all.clone().map(move |asked| column.value(asked));
        let differs = |column: &Column| values(*column).collect::<BTreeSet<String>>().len() > 1;
        Column::ALL.into_iter().filter(differs).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Column::Solver => "solver",
            Column::Steps => "steps",
            Column::Batch => "batch",
            Column::Precision => "precision",
            Column::Ablation => "without",
        }
    }

    pub fn value(self, asked: &Asked) -> String {
        let number = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
        match self {
            Column::Solver => asked.solver.clone().unwrap_or_default(),
            Column::Steps => number(asked.steps),
            Column::Batch => number(asked.batch),
            Column::Precision => asked.precision.clone(),
            Column::Ablation => asked.ablation.clone(),
        }
    }

    /// `8 steps`, `batch 4`; a name speaks for itself.
    pub fn words(self, asked: &Asked) -> String {
        let value = self.value(asked);
        match self {
            Column::Steps => format!("{value} steps"),
            Column::Batch => format!("batch {value}"),
            Column::Ablation if value == "none" => "whole plan".to_string(),
            _ => value,
        }
    }
}

/// Every combination, the ablation changing first, then the batch.
fn candidates(args: &BenchArgs) -> Result<Vec<Candidate>> {
    let plan = &args.run.plan;
    let solvers = list("--solver", plan.solver.as_deref())?;
    let precisions = list("--precision", Some(&plan.precision))?;
    let steps = list("--steps", plan.steps.as_deref())?;
    let batches = list("--batch", plan.batch.as_deref())?;
    let ablations = ablations(args)?;
    let mut found = Vec::new();
    for solver in &solvers {
        for precision in precisions.iter().flatten() {
            for steps in &steps {
                for batch in &batches {
                    for part in &ablations {
                        let mut run = args.run.clone();
                        run.plan.solver = solver.clone();
                        run.plan.precision = precision.clone();
                        run.plan.steps = steps.clone();
                        run.plan.batch = batch.clone();
                        run.plan.fuse &= *part != Some("fuse");
                        run.plan.hoist &= *part != Some("hoist");
                        run.tune &= *part != Some("tune");
                        found.push(Candidate::new(run)?);
                    }
                }
            }
        }
    }
    Ok(found)
}

impl Candidate {
    fn new(run: RunArgs) -> Result<Candidate> {
        let request = run.plan.request(COUNT)?;
        // A batch of which no count was said is the count.
        let request = match (&run.plan.count, &run.plan.batch) {
            (None, Some(batch)) => {
                let mut plan = run.plan.clone();
                plan.count = Some(batch.clone());
                plan.request(COUNT)?
            }
            _ => request,
        };
        if let Some(name) = &request.solver {
            solver::find(name)?;
        }
        let flags = [run.plan.fuse, run.plan.hoist, run.tune];
        let off: Vec<&str> =
            PARTS.iter().zip(flags).filter(|(_, on)| !on).map(|((_, flag), _)| *flag).collect();
        let asked = Asked {
            solver: request.solver.clone(),
            steps: request.steps,
            batch: request.batch,
            precision: run.plan.precision.clone(),
            ablation: if off.is_empty() { "none".to_string() } else { off.join(" ") },
        };
        Ok(Candidate { run, request, asked })
    }
}

/// The whole plan, then what is left out of it one at a time.
fn ablations(args: &BenchArgs) -> Result<Vec<Option<&'static str>>> {
    let mut parts = vec![None];
    let named = list("--ablate", args.ablate.as_deref())?;
    let flags = [args.run.plan.fuse, args.run.plan.hoist, args.run.tune];
    for name in named.into_iter().flatten() {
        let Some(i) = PARTS.iter().position(|(part, _)| *part == name) else {
            let expected = "fuse, hoist or tune, joined by commas";
            return Err(Error::invalid("--ablate", expected, name, "choose among these"));
        };
        let (part, flag) = PARTS[i];
        if !flags[i] {
            let expected = format!("a plan with what is left out of it, so no --{flag}");
            return Err(Error::invalid("--ablate", expected, part, format!("drop --{flag}")));
        }
        parts.push(Some(part));
    }
    Ok(parts)
}

/// The values of a flag, each once.
fn list(flag: &str, text: Option<&str>) -> Result<Vec<Option<String>>> {
    let Some(text) = text else { return Ok(vec![None]) };
    let mut values: Vec<Option<String>> = Vec::new();
    for value in text.split(',').map(|value| value.trim().to_string()) {
        if value.is_empty() || values.contains(&Some(value.clone())) {
            let action = "write a list like 4,8,16, or one value";
            return Err(Error::invalid(flag, "values joined by commas, each once", text, action));
        }
        values.push(Some(value));
    }
    Ok(values)
}

/// `5%` or `0.05`.
fn threshold(text: &str) -> Result<f64> {
    let (share, most) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim().parse::<f64>().map(|percent| percent / 100.0), 10.0),
        None => (text.parse(), 1.0),
    };
    match share {
        Ok(share) if (0.0..=most).contains(&share) => Ok(share),
        _ => Err(Error::invalid(
            "--threshold",
            "a share from 0 to 1, or from 0% to 1000%",
            text,
            "write --threshold 5%, or --threshold 0.05",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Verb};
    use clap::Parser;

    fn plan(line: &str) -> Result<Plan> {
        let words = ["unnoise", "bench"].into_iter().chain(line.split_whitespace());
        let Verb::Bench(args) = Args::parse_from(words).verb else { panic!("{line}") };
        Plan::new(&args)
    }

    #[test]
    fn every_combination_is_a_candidate() {
        let plan = plan("--steps 4,8 --batch 1,4,16 --solver ddim,dpmpp-2m").unwrap();
        assert_eq!((plan.candidates.len(), plan.group, plan.runs), (12, 1, RUNS));
        let asked = &plan.candidates[4].asked;
        assert_eq!(plan.label(asked), "ddim, 8 steps, batch 4");
        assert_eq!(plan.candidates[4].request.count, 4, "a batch is its own count");
        let counted = super::tests::plan("--batch 2,4 --count 8").unwrap();
        assert!(counted.candidates.iter().all(|c| c.request.count == 8));
    }

    #[test]
    fn ablations_stand_beside_the_whole_plan() {
        let plan = plan("--ablate fuse,tune --steps 4,8").unwrap();
        assert_eq!((plan.candidates.len(), plan.group, plan.runs), (6, 3, RUNS_IN_TURN));
        let labels: Vec<String> =
            plan.candidates[..3].iter().map(|c| plan.label(&c.asked)).collect();
        assert_eq!(labels, ["4 steps, whole plan", "4 steps, no-fuse", "4 steps, no-tune"]);
        assert!(!plan.candidates[4].request.fuse && plan.candidates[4].request.hoist);
    }

    #[test]
    fn flags_without_sense_name_themselves() {
        let cases = [
            ("--steps 4,,8", "--steps: expected values joined by commas"),
            ("--steps 4,4", "each once"),
            ("--steps 4,x", "--steps: expected a whole number"),
            ("--solver ddim,nothing", "nothing"),
            ("--precision f32,f8", "--precision"),
            ("--ablate fuse,loops", "found loops"),
            ("--ablate fuse --no-fuse", "drop --no-fuse"),
            ("--interleave", "two or more configurations"),
            ("--out a.png", "a sweep to draw"),
            ("--runs 0", "at least 1"),
        ];
        for (line, part) in cases {
            let message = plan(line).err().unwrap().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn thresholds_are_shares() {
        for (text, share) in [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("200%", 2.0)] {
            assert!((threshold(text).unwrap() - share).abs() < 1e-12, "{text}");
        }
        for text in ["", "%", "5", "-1%", "NaN", "inf%", "five"] {
            assert!(threshold(text).is_err(), "{text:?} was taken");
        }
    }
}
