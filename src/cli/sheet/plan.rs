//! What `unnoise sheet` draws: which solvers at which budgets of which models, checked before any
//! work.

use serde::Serialize;
use std::fmt;
use unnoise::error::{Error, Result};
use unnoise::model::Model;
use unnoise::sampler::Request;
use unnoise::solver::{SchedulerConfig, SolverInfo, find};

/// One cell to be drawn.
pub struct Entry<'a> {
    pub model: &'a Model,
    pub solver: &'static SolverInfo,
    /// Evaluations that a sample may take, and that it takes.
    pub budget: usize,
    pub nfe: usize,
    pub request: Request,
    /// `[C, H, W]` of a sample.
    pub shape: [usize; 3],
}

/// A cell that cannot be.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    pub model: String,
    pub solver: &'static str,
    pub budget: usize,
    pub why: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Skipped { model, solver, budget, why } = self;
        write!(f, "left out: {solver} at {budget} evaluations of {model}: {why}")
    }
}

/// What all cells share.
pub struct Ask {
    pub count: usize,
    pub batch: usize,
    pub seed: u64,
}

const MOST_EVALUATIONS: usize = 10_000;

/// Rising numbers, joined by commas.
pub fn budgets(text: &str) -> Result<Vec<usize>> {
    let budgets: Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    let allowed = |n: &usize| (1..=MOST_EVALUATIONS).contains(n);
    let Some(mut budgets) = budgets.ok().filter(|all| all.iter().all(allowed)) else {
        return Err(Error::invalid(
            "--nfe",
            format!("numbers from 1 to {MOST_EVALUATIONS}, joined by commas"),
            text,
            "write --nfe 5,10,20",
        ));
    };
    budgets.sort_unstable();
    budgets.dedup();
    Ok(budgets)
}

/// What is usual for models of a process.
struct Usual {
    /// The classes of their schedulers.
    schedulers: &'static [&'static str],
    solvers: &'static [&'static str],
    budgets: &'static [usize],
}

const FEW: &[usize] = &[5, 10, 20, 50];
const USUAL: &[Usual] = &[
    Usual {
        schedulers: &["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"],
        solvers: &[
            "edm",
            "euler",
            "lms",
            "deis",
            "dpmpp-2m",
            "unipc",
            "euler-ancestral",
            "dpmpp-2m-sde",
        ],
        budgets: FEW,
    },
    // Noise that explodes is taken away over hundreds of evaluations. Annealed Langevin dynamics
    // take a thousand and more, so they are drawn where they are asked for.
    Usual {
        schedulers: &["ScoreSdeVeScheduler", "KarrasVeScheduler"],
        solvers: &["reverse-diffusion", "pc", "euler-maruyama", "euler", "heun"],
        budgets: &[50, 100, 400],
    },
    Usual {
        schedulers: &["CMStochasticIterativeScheduler"],
        solvers: &["consistency"],
        budgets: &[1, 2, 5, 10],
    },
];
/// The same of every other: trained on noise levels in discrete time.
const DISCRETE: Usual = Usual {
    schedulers: &[],
    solvers: &[
        "ddpm",
        "ddim",
        "pndm",
        "deis",
        "dpmpp-2m",
        "unipc",
        "euler-ancestral",
        "dpmpp-2m-sde",
    ],
    budgets: FEW,
};

impl Usual {
    fn of(scheduler: &SchedulerConfig) -> &'static Usual {
        let class = scheduler.class.name.as_str();
        USUAL.iter().find(|usual| usual.schedulers.contains(&class)).unwrap_or(&DISCRETE)
    }
}

/// Opens models, whose names tell their rows apart.
///
/// # Errors
/// No such model, or two of one name.
pub fn models(specs: &[String]) -> Result<Vec<Model>> {
    let models = specs.iter().map(|spec| Model::open(spec)).collect::<Result<Vec<_>>>()?;
    for (i, model) in models.iter().enumerate() {
        if models[..i].iter().any(|other| other.name == model.name) {
            let found = format!("{} twice", model.name);
            let action = "leave one out, or rename its folder";
            return Err(Error::invalid("MODEL", "models of different names", found, action));
        }
    }
    Ok(models)
}

/// The usual solvers of a model, its own first.
fn usual_solvers(
    model: &Model,
    scheduler: &SchedulerConfig,
    usual: &Usual,
) -> Result<Vec<&'static SolverInfo>> {
    let own = match &model.settings.solver {
        Some(name) => find(name)?,
        None => SolverInfo::of(scheduler)?,
    };
    let others = usual.solvers.iter().filter(|name| **name != own.name);
    let others = others.filter_map(|name| find(name).ok());
    Ok(std::iter::once(own).chain(others).collect())
}

/// Opens the models and makes a request of every cell. A cell that cannot be is left out.
///
/// # Errors
/// No such model or solver, and a model of which no cell is left.
pub fn entries<'a>(
    models: &'a [Model],
    solvers: Option<&str>,
    budgets: Option<&[usize]>,
    ask: &Ask,
) -> Result<(Vec<Entry<'a>>, Vec<Skipped>)> {
    let asked = solvers.map(|names| names.split(',').map(|n| find(n.trim())).collect());
    let asked: Option<Vec<&'static SolverInfo>> = asked.transpose()?;
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    for model in models {
        let scheduler = model.scheduler()?;
        let usual = Usual::of(&scheduler);
        let solvers = match &asked {
            Some(solvers) => solvers.clone(),
            None => usual_solvers(model, &scheduler, usual)?,
        };
        let budgets = budgets.unwrap_or(usual.budgets);
        let before = entries.len();
        let mut last = None;
        for solver in solvers {
            for &budget in budgets {
                let request = Request {
                    solver: Some(solver.name.to_string()),
                    count: ask.count,
                    batch: Some(ask.batch),
                    seed: ask.seed,
                    ..Request::default()
                };
                match request.within(model, budget) {
                    Ok((request, nfe)) => {
                        let shape = request.shape(model)?;
                        entries.push(Entry { model, solver, budget, nfe, request, shape });
                    }
                    Err(error) => {
                        let (model, why) = (model.name.clone(), error.to_string());
                        skipped.push(Skipped { model, solver: solver.name, budget, why });
                        last = Some(error);
                    }
                }
            }
        }
        if let Some(error) = last.filter(|_| entries.len() == before) {
            return Err(error);
        }
    }
    Ok((entries, skipped))
}
