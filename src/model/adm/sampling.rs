//! What the flags say about sampling: the schedule that the network was trained on, what its output
//! stands for, which time it is told, and how its authors sample it.

use super::super::Sampler;
use super::super::keys::Keys;
use super::config::Repository;
use super::flags::Flags;
use crate::error::Result;
use crate::solver::{Coordinates, PredictionType, TimeInput};
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// The sampler, and how the network is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sampling {
    scheduler: Value,
    solver: &'static str,
    steps: usize,
    pub form: Option<(Coordinates, PredictionType)>,
    pub time: Option<TimeInput>,
}

/// Timesteps, and levels of a consistency model, at most.
const STEPS: RangeInclusive<usize> = 1..=1_000_000;

/// The timesteps by which the networks were first trained: betas and, with `rescale_timesteps`,
/// times are those of so many.
const TIMESTEPS: f64 = 1000.0;

/// Deviation of the data of every consistency model, and rho and number of its levels.
const SIGMA_DATA: f64 = 0.5;
const RHO: f64 = 7.0;
const LEVELS: usize = 40;

/// A consistency model is told `1000 ln(sigma) / 4`.
const LOG_SCALE: f64 = 250.0;

const SCHEDULES: &[(Option<&str>, &str)] =
    &[(Some("linear"), "linear"), (Some("cosine"), "squaredcos_cap_v2")];

/// What a network of consistency_models was trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trained {
    /// The consistency function.
    Consistency,
    /// The denoiser of EDM, the teacher.
    Edm,
}

const TRAINING_MODES: &[(Option<&str>, Option<Trained>)] = &[
    (Some("edm"), Some(Trained::Edm)),
    (Some("consistency_distillation"), Some(Trained::Consistency)),
    (Some("consistency_training"), Some(Trained::Consistency)),
];

impl Sampling {
    /// Reads the flags of the diffusion.
    pub fn read(keys: &mut Keys, repository: Repository, learn_sigma: bool) -> Result<Sampling> {
        let clip = keys.flag("clip_denoised", true)?;
        match repository {
            Repository::Consistency => Sampling::of_levels(keys, clip),
            _ => Sampling::of_timesteps(keys, repository, learn_sigma, clip),
        }
    }

    /// How its authors sample it.
    pub fn sampler(&self) -> Sampler {
        let scheduler = self.scheduler.to_string();
        Sampler { scheduler, solver: self.solver, steps: self.steps }
    }

    /// DDPM's process in discrete time.
    fn of_timesteps(
        keys: &mut Keys,
        repository: Repository,
        learn_sigma: bool,
        clip: bool,
    ) -> Result<Sampling> {
        let improved = repository == Repository::Improved;
        let total = keys.size("diffusion_steps", STEPS, 1000)?;
        let schedule = keys.word("noise_schedule", SCHEDULES, "linear")?;
        let small = improved && keys.flag("sigma_small", false)?;
        let variance = match (learn_sigma, small) {
            (true, _) => "learned_range",
            (_, true) => "fixed_small",
            _ => "fixed_large",
        };
        let predict_xstart = keys.flag("predict_xstart", false)?;
        let rescaled = keys.flag("rescale_timesteps", improved)?;
        let spacing = Spacing::read(keys, total)?;
        let ddim = keys.flag("use_ddim", spacing.strided)?;
        if ddim && spacing.evenly() {
            let expected = "false, or timestep_respacing \"ddimN\" beside it";
            return Err(keys.bad("use_ddim", expected, "true"));
        }
        let scale = TIMESTEPS / total as f64;
        let scheduler = json!({
            "_class_name": "DDPMScheduler",
            "num_train_timesteps": total,
            "beta_schedule": schedule,
            "beta_start": 1e-4 * scale,
            "beta_end": 0.02 * scale,
            "variance_type": variance,
            "prediction_type": if predict_xstart { "sample" } else { "epsilon" },
            "clip_sample": clip,
            "timestep_spacing": if spacing.evenly() { "linspace" } else { "leading" },
        });
        Ok(Sampling {
            scheduler,
            solver: if ddim { "ddim" } else { "ddpm" },
            steps: spacing.steps,
            form: None,
            time: (rescaled && total as f64 != TIMESTEPS).then_some(TimeInput::Scaled(scale)),
        })
    }

    /// Noise levels of EDM (Karras et al. 2022), of the teacher or the consistency model.
    fn of_levels(keys: &mut Keys, clip: bool) -> Result<Sampling> {
        let sigma = |keys: &mut Keys, key, default| {
            keys.number(key, "a number above 0", default, |sigma| sigma > 0.0)
        };
        let (min, max) = (sigma(keys, "sigma_min", 0.002)?, sigma(keys, "sigma_max", 80.0)?);
        if min >= max {
            return Err(keys.bad(
                "sigma_min",
                format!("less than sigma_max, {max}"),
                min.to_string(),
            ));
        }
        let expected = "edm, consistency_distillation or consistency_training";
        let trained = keys.word("training_mode", TRAINING_MODES, None)?;
        let trained = trained.ok_or_else(|| keys.bad("training_mode", expected, "no such key"))?;
        let time = Some(TimeInput::Log { scale: LOG_SCALE, factor: 1.0 });
        let edm = (Coordinates::Edm { sigma_data: SIGMA_DATA }, PredictionType::Epsilon);
        let levels = |class: &str| {
            json!({
                "_class_name": class,
                "num_train_timesteps": LEVELS,
                "sigma_min": min,
                "sigma_max": max,
                "sigma_data": SIGMA_DATA,
                "rho": RHO,
            })
        };
        Ok(match trained {
            Trained::Consistency => Sampling {
                scheduler: clipped(levels("CMStochasticIterativeScheduler"), clip),
                solver: "consistency",
                steps: 1,
                form: None,
                time,
            },
            Trained::Edm => Sampling {
                scheduler: levels("EDMEulerScheduler"),
                solver: "edm",
                steps: LEVELS,
                form: Some(edm),
                time,
            },
        })
    }
}

/// The configuration of a class that clips x0 or not.
fn clipped(mut scheduler: Value, clip: bool) -> Value {
    scheduler["clip_denoised"] = clip.into();
    scheduler
}

/// `timestep_respacing`: which timesteps a run visits.
struct Spacing {
    steps: usize,
    /// Every k-th timestep from 0 on; otherwise evenly spaced with both ends.
    strided: bool,
    total: usize,
}

impl Spacing {
    fn evenly(&self) -> bool {
        !self.strided && self.steps != self.total
    }

    fn read(keys: &mut Keys, total: usize) -> Result<Spacing> {
        let text = keys.list("timestep_respacing", "")?;
        let strided = text.strip_prefix("ddim");
        let steps = match (text.as_str(), strided) {
            ("", _) => Some(total),
            (_, Some(n)) => n.parse().ok().filter(|n| *n > 0 && total.is_multiple_of(*n)),
            (n, None) => n.parse().ok().filter(|n| (1..=total).contains(n)),
        };
        let strided = strided.is_some();
        steps.map(|steps| Spacing { steps, strided, total }).ok_or_else(|| {
            let expected = format!(
                "\"\", one number of steps from 1 to {total}, or \"ddimN\" with N a divisor of \
                 {total}"
            );
            keys.bad("timestep_respacing", expected, format!("{text:?}"))
        })
    }
}
