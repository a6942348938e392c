//! How far each solver is from the truth after so many evaluations of the network, measured on the
//! device with an exact model.

use super::exact::{self, Truth};
use super::{Request, Resolved, Sampler, Samples};
use crate::backend::{Backend, Observer};
use crate::error::{Error, Result};
use crate::model::{Mixture, Model};
use crate::solver::{Eval, Kind, SOLVERS, SchedulerConfig, Trajectory, find};
use serde::Serialize;
use std::sync::atomic::AtomicBool;

/// What to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Names of solvers.
    pub solvers: Vec<String>,
    /// Evaluations that a solver may spend on a sample, rising.
    pub nfe: Vec<usize>,
    /// Samples of each run.
    pub count: usize,
    pub seed: u64,
}

impl Comparison {
    /// The names of all solvers.
    pub fn all_solvers() -> Vec<String> {
        SOLVERS.iter().map(|solver| solver.name.to_string()).collect()
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub solver: &'static str,
    pub kind: Kind,
    /// Evaluations that were allowed, and that were spent; in adaptive steps the mean over the
    /// samples, rounded.
    pub budget: usize,
    pub nfe: usize,
    pub steps: usize,
    /// Of an ODE solver the root mean square distance to the exact solution from the same noise; of
    /// an SDE solver the energy distance to the exact distribution, which sampling noise may make
    /// negative.
    pub error: f64,
    /// From the upload to the samples on the host.
    pub wall_ms: f64,
}

/// A run that could not be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skipped {
    pub solver: &'static str,
    pub budget: usize,
    pub why: String,
}

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub model: String,
    pub schedule: String,
    pub device: String,
    pub count: usize,
    pub seed: u64,
    /// The energy distance that exact samples have by chance: two standard deviations.
    pub noise_floor: f64,
    pub measured: Vec<Measured>,
    pub skipped: Vec<Skipped>,
}

/// Fresh exact samples for each sample of a run.
const TRUTH: usize = 2;

/// Runs every solver at every budget. `progress(done, of, what)` hears of each run before it
/// begins; `stop` ends the comparison.
///
/// # Errors
/// A model that is no exact one, an unknown solver, a device that fails, or a stop. A solver that
/// cannot be run at a budget is noted in [`Compared::skipped`].
pub fn compare(
    model: &Model,
    comparison: &Comparison,
    backend: &dyn Backend,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize, &str),
) -> Result<Compared> {
    let Some(mixture) = &model.mixture else {
        return Err(Error::invalid(
            "--model",
            "a model whose exact solution is known, such as mixture",
            model.name.clone(),
            "compare with --model mixture",
        ));
    };
    let solvers = comparison.solvers.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
    let scheduler = model.scheduler()?;
    let (count, seed) = (comparison.count, comparison.seed);
    let truth = Truth::new(mixture, TRUTH * count, seed);
    let mut compared = Compared {
        model: model.name.clone(),
        schedule: scheduler.origin.clone(),
        device: backend.device(),
        count,
        seed,
        noise_floor: truth.noise_floor(mixture, count, seed),
        measured: Vec::new(),
        skipped: Vec::new(),
    };
    let mut bench =
        Bench { model, mixture, scheduler, backend, stop, truth, solutions: Vec::new() };
    let runs = solvers.len() * comparison.nfe.len();
    for (i, solver) in solvers.iter().enumerate() {
        for (j, &budget) in comparison.nfe.iter().enumerate() {
            progress(i * comparison.nfe.len() + j, runs, solver.name);
            let request = Request {
                solver: Some(solver.name.into()),
                count,
                batch: Some(count),
                seed,
                trace: solver.kind == Kind::Ode,
                ..Request::default()
            };
            match bench.run(request, solver.kind, budget) {
                Ok((steps, nfe, error, wall_ms)) => compared.measured.push(Measured {
                    solver: solver.name,
                    kind: solver.kind,
                    budget,
                    nfe,
                    steps,
                    error,
                    wall_ms,
                }),
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => {
                    let why = error.to_string();
                    compared.skipped.push(Skipped { solver: solver.name, budget, why });
                }
            }
        }
    }
    Ok(compared)
}

/// What all runs share.
struct Bench<'a> {
    model: &'a Model,
    mixture: &'a Mixture,
    scheduler: SchedulerConfig,
    backend: &'a dyn Backend,
    stop: &'a AtomicBool,
    truth: Truth,
    solutions: Vec<Solution>,
}

/// The exact ends of all samples from one start.
struct Solution {
    sigma: f64,
    start: Vec<f64>,
    end: Vec<f64>,
}

impl Bench<'_> {
    /// Steps, evaluations, error and milliseconds of one run.
    fn run(
        &mut self,
        request: Request,
        kind: Kind,
        budget: usize,
    ) -> Result<(usize, usize, f64, f64)> {
        let (request, trajectory) = fit(self.model, &self.scheduler, request, budget)?;
        let (sigma, scale) = start(&trajectory).ok_or_else(|| {
            let solver = request.solver.clone().unwrap_or_default();
            Error::invalid("--solver", "one that leads from noise to data", solver, "leave it out")
        })?;
        let mut sampler = Sampler::compile(self.model, &request, self.backend)?;
        let mut observer = Observer { stop: self.stop, rows_done: &mut |_| {} };
        let indices: Vec<usize> = (0..request.count).collect();
        let samples = sampler.sample(&indices, &mut observer)?;
        let nfe = spent(&trajectory, &samples)?;
        let x: Vec<f64> = samples.data.iter().map(|x| f64::from(*x)).collect();
        let error = match kind {
            Kind::Sde => self.truth.energy_distance(&x),
            Kind::Ode => {
                let start = samples.trace[..x.len()].iter().map(|x| scale * f64::from(*x));
                let end = self.solution(sigma, start.collect());
                let square = |(x, y): (&f64, &f64)| (x - y) * (x - y);
                let sum: f64 = x.iter().zip(end).map(square).sum();
                (sum / request.count as f64).sqrt()
            }
        };
        Ok((request.steps.unwrap_or(0), nfe, error, samples.wall_ms))
    }

    /// Where the exact ODE leads from `start` at `sigma`; solvers that start alike share it.
    fn solution(&mut self, sigma: f64, start: Vec<f64>) -> &[f64] {
        let same = |s: &Solution| s.sigma == sigma && s.start == start;
        let found = self.solutions.iter().position(same).unwrap_or_else(|| {
            let end = exact::solve(self.mixture, &start, sigma);
            self.solutions.push(Solution { sigma, start, end });
            self.solutions.len() - 1
        });
        &self.solutions[found].end
    }
}

/// Evaluations of a step from which on trying every number of steps would take long.
const MANY: usize = 5;

/// The request with as many steps as `budget` evaluations allow.
fn fit(
    model: &Model,
    scheduler: &SchedulerConfig,
    mut request: Request,
    budget: usize,
) -> Result<(Request, Trajectory)> {
    let mut least = None;
    let mut refused = None;
    // A step of many evaluations leaves few to try.
    let of_step =
        request.solver.as_deref().map(find).transpose()?.map_or(1, |s| s.nfe_per_step as usize);
    let most = if of_step < MANY { budget } else { 2 * budget / of_step + 2 };
    for steps in (1..=most.min(budget)).rev() {
        request.steps = Some(steps);
        let resolved = Resolved::new(model, scheduler, &request)?;
        match resolved.record(model, scheduler, &request) {
            Ok(trajectory) if trajectory.nfe() <= budget => return Ok((request, trajectory)),
            Ok(trajectory) => least = Some(trajectory.nfe()),
            Err(error) => refused = Some(error),
        }
    }
    let (expected, action) = (format!("at most {budget} evaluations"), "allow more");
    match (least, refused) {
        (None, Some(error)) => Err(error),
        (least, _) => {
            let found = format!("{} at least", least.unwrap_or(0));
            Err(Error::invalid("--nfe", expected, found, action))
        }
    }
}

impl Request {
    /// The request with as many steps as `budget` evaluations of the network allow, and how many it
    /// then takes.
    ///
    /// # Errors
    /// A solver that cannot do with so few, that chooses its steps itself, or that the model or the
    /// rest of the request does not go with.
    pub fn within(self, model: &Model, budget: usize) -> Result<(Request, usize)> {
        let (request, trajectory) = fit(model, &model.scheduler()?, self, budget)?;
        if trajectory.adaptive.is_some() {
            return Err(Error::invalid(
                "--solver",
                "one whose evaluations are known beforehand",
                request.solver.unwrap_or_default(),
                "leave adaptive solvers out",
            ));
        }
        Ok((request, trajectory.nfe()))
    }
}

/// The evaluations that a run spent: of adaptive steps those of the steps that were tried, in the
/// mean over the samples.
///
/// # Errors
/// Adaptive steps that spent their budget on the way.
fn spent(trajectory: &Trajectory, samples: &Samples) -> Result<usize> {
    let Some(adaptive) = &trajectory.adaptive else { return Ok(trajectory.nfe()) };
    let reports = &samples.reports;
    let late = reports.iter().filter(|report| !report.arrived(adaptive)).count();
    if late > 0 {
        return Err(Error::invalid(
            "--nfe",
            "evaluations enough for the adaptive steps of every sample",
            format!("{late} of {} samples on the way when they were spent", reports.len()),
            "allow more",
        ));
    }
    let once = trajectory.nfe() - adaptive.budget * adaptive.method.rows();
    let steps: f64 = reports.iter().map(|r| f64::from(r.accepted + r.rejected)).sum();
    let mean = steps * adaptive.method.rows() as f64 / reports.len() as f64;
    Ok(once + mean.round() as usize)
}

/// The noise level sigma / alpha at which a trajectory begins, and 1 / alpha there: what the
/// denoiser is told and given. `None` if it does not lead from noise to data: an inversion.
fn start(trajectory: &Trajectory) -> Option<(f64, f64)> {
    if let Some(adaptive) = &trajectory.adaptive {
        // Its x is x0 + sigma eps.
        return Some((adaptive.sigma_start, 1.0));
    }
    let (first, rest) = trajectory.rows.split_first()?;
    let noise = first.eval.is_none() && !first.draws.is_empty();
    let mut evals = rest.iter().filter_map(|row| row.eval.as_ref());
    let eval = evals.next().filter(|_| noise)?;
    let time = |eval: &Eval| trajectory.times.get(eval.time).copied();
    let (first, last) = (time(eval)?, time(evals.next_back().unwrap_or(eval))?);
    (first >= last).then_some((first, eval.prediction.c_in))
}
