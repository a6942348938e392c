//! What a value of each key may be, and which keys go together.

use super::{AlgorithmType, FinalSigmas, Keys, SchedulerClass, SolverType, is_beta, schedule};
use crate::error::{Error, Result};
use crate::solver::PredictionType;

/// More timesteps than this are a mistake, not a schedule.
const MAX_TIMESTEPS: usize = 1_000_000;

/// Holds the keys, as `home` reads a configuration of the class `own`, to what they may be. A word
/// of another class's algorithm becomes the one that `home` has for it.
pub(super) fn keys(
    keys: &mut Keys,
    home: &SchedulerClass,
    own: &SchedulerClass,
    origin: &str,
) -> Result<()> {
    let check = Check { origin };
    timesteps(keys, &check)?;
    ranges(keys, &check)?;
    sigmas(keys, home, &check)?;
    betas(keys, &check)?;
    algorithm(keys, home, home == own, &check)?;
    together(keys, home, &check)
}

struct Check<'a> {
    origin: &'a str,
}

impl Check<'_> {
    fn hold(&self, holds: bool, key: &str, expected: &str, found: &dyn ToString) -> Result<()> {
        if holds { Ok(()) } else { Err(invalid(self.origin, key, expected, &found.to_string())) }
    }

    fn above(&self, key: &str, value: f64, least: f64) -> Result<()> {
        let held = value > least && value.is_finite();
        self.hold(held, key, &format!("a number above {least}"), &value)
    }

    fn from(&self, key: &str, value: f64, least: f64) -> Result<()> {
        let held = value >= least && value.is_finite();
        self.hold(held, key, &format!("a number from {least} on"), &value)
    }

    fn order(&self, key: &str, order: usize, fewest: usize, most: usize) -> Result<()> {
        self.hold((fewest..=most).contains(&order), key, &format!("{fewest}..={most}"), &order)
    }
}

pub(in crate::solver) fn invalid(origin: &str, key: &str, expected: &str, found: &str) -> Error {
    let action = "correct the key or restore the model's own file";
    Error::invalid(format!("{origin}: {key}"), expected, found, action)
}

fn timesteps(keys: &Keys, check: &Check) -> Result<()> {
    let steps = keys.num_train_timesteps;
    let fewest = if keys.rescale_betas_zero_snr { 2 } else { 1 };
    check.order("num_train_timesteps", steps, fewest, MAX_TIMESTEPS)?;
    let expected = format!("below num_train_timesteps, {steps}");
    check.hold(keys.steps_offset < steps, "steps_offset", &expected, &keys.steps_offset)
}

fn ranges(keys: &Keys, check: &Check) -> Result<()> {
    check.order("jump_length", keys.jump_length, 1, MAX_TIMESTEPS)?;
    check.order("jump_n_sample", keys.jump_n_sample, 1, MAX_TIMESTEPS)?;
    check.order("correct_steps", keys.correct_steps, 0, MAX_TIMESTEPS)?;
    check.order("max_steps", keys.max_steps.unwrap_or(1), 0, MAX_TIMESTEPS)?;
    check.hold(keys.eta <= 1.0, "eta", "a number from 0 to 1", &keys.eta)?;
    let range = keys.clip_sample_range;
    let held = range as f32 > 0.0 && (range as f32).is_finite();
    check.hold(held, "clip_sample_range", "a number above 0, within the range of f32", &range)?;
    let quantile = keys.dynamic_thresholding_ratio;
    let held = (0.0..=1.0).contains(&quantile);
    check.hold(held, "dynamic_thresholding_ratio", "a number from 0 to 1", &quantile)?;
    for (key, value) in [
        ("sample_max_value", keys.sample_max_value),
        ("flow_shift", keys.flow_shift),
        ("shift", keys.shift),
        ("sigma_data", keys.sigma_data),
        ("rho", keys.rho),
        ("timestep_scaling", keys.timestep_scaling),
        ("snr", keys.snr),
        ("beta_max", keys.beta_max),
    ] {
        check.above(key, value, 0.0)?;
    }
    for (key, value) in [
        ("s_noise", keys.s_noise),
        ("s_churn", keys.s_churn),
        ("s_min", keys.s_min),
        ("beta_min", keys.beta_min),
        ("eta", keys.eta),
        ("base_shift", keys.base_shift),
        ("max_shift", keys.max_shift),
    ] {
        check.from(key, value, 0.0)?;
    }
    check.hold(keys.s_max >= keys.s_min, "s_max", "a number from s_min on", &keys.s_max)?;
    let rises = keys.beta_max >= keys.beta_min;
    check.hold(rises, "beta_max", "a number from beta_min on", &keys.beta_max)?;
    let eps = keys.sampling_eps;
    check.hold(0.0 < eps && eps < 1.0, "sampling_eps", "above 0 and below 1", &eps)?;
    let clipped = keys.lambda_min_clipped;
    let expected = "a number or -Infinity";
    check.hold(clipped < f64::INFINITY, "lambda_min_clipped", expected, &clipped)?;
    if let Some(terminal) = keys.shift_terminal {
        let held = (0.0..1.0).contains(&terminal);
        check.hold(held, "shift_terminal", "a number from 0 on, below 1", &terminal)?;
    }
    if let Some(mu) = keys.mu {
        check.hold(mu.is_finite(), "mu", "a number", &mu)?;
    }
    check.order("solver_order", keys.solver_order, 1, 3)?;
    check.order("predictor_order", keys.predictor_order, 1, 4)?;
    check.order("corrector_order", keys.corrector_order, 0, 4)?;
    let teacher = keys.original_inference_steps;
    check.order("original_inference_steps", teacher, 1, MAX_TIMESTEPS)
}

/// A class that has the ends of its sigmas in its defaults cannot be without them.
fn sigmas(keys: &Keys, home: &SchedulerClass, check: &Check) -> Result<()> {
    for (key, value) in [("sigma_min", keys.sigma_min), ("sigma_max", keys.sigma_max)] {
        match value {
            Some(value) => check.above(key, value, 0.0)?,
            None => {
                let needed = home.defaults.get(key).is_some_and(|default| !default.is_null());
                check.hold(!needed, key, "a number", &"null")?;
            }
        }
    }
    match (keys.sigma_min, keys.sigma_max) {
        (Some(min), Some(max)) => {
            check.hold(max > min, "sigma_max", &format!("above sigma_min, {min}"), &max)
        }
        _ => Ok(()),
    }
}

fn betas(keys: &Keys, check: &Check) -> Result<()> {
    for (key, beta) in [("beta_start", keys.beta_start), ("beta_end", keys.beta_end)] {
        check.hold(is_beta(beta), key, "above 0 and below 1", &beta)?;
    }
    let steps = keys.num_train_timesteps;
    if let Some(betas) = &keys.trained_betas {
        let expected = format!("as many values as num_train_timesteps, {steps}");
        check.hold(betas.len() == steps, "trained_betas", &expected, &betas.len())?;
        let bad = betas.iter().enumerate().find(|(_, beta)| !is_beta(**beta));
        let found = bad.map_or(String::new(), |(t, beta)| format!("{beta} at timestep {t}"));
        check.hold(bad.is_none(), "trained_betas", "values above 0 and below 1", &found)?;
    }
    let (key, expected) = match keys.trained_betas {
        Some(_) => ("trained_betas", "an alpha_bar that falls from below 1 to above 0"),
        None => ("beta_schedule", "betas whose alpha_bar falls from below 1 to above 0"),
    };
    let fault = schedule_fault(keys);
    check.hold(fault.is_none(), key, expected, &fault.unwrap_or_default())
}

/// Where rounding leaves alpha_bar at 1 or 0, or lets it stand still, no step can be taken. Only a
/// zero terminal SNR ends at 0.
fn schedule_fault(keys: &Keys) -> Option<String> {
    let alpha_bar = schedule(keys).alpha_bar;
    let inner = alpha_bar.len() - usize::from(keys.rescale_betas_zero_snr);
    let mut above = 1.0;
    alpha_bar[..inner].iter().enumerate().find_map(|(t, &a)| {
        let falls = 0.0 < a && a < above;
        above = a;
        (!falls).then(|| format!("alpha_bar = {a} at timestep {t}"))
    })
}

/// The words that a class has a formula for; those of its neighbours mean its own default, as in
/// diffusers, and so do all others in a configuration of another class.
fn algorithm(keys: &mut Keys, home: &SchedulerClass, own: bool, check: &Check) -> Result<()> {
    use AlgorithmType::{
        DataPrediction, Deis, DpmSolver, DpmSolverPlusPlus, NoisePrediction, SdeDpmSolver,
        SdeDpmSolverPlusPlus,
    };
    use SolverType::{Bh1, Bh2, Heun, LogRho, Midpoint};
    type Words = (&'static [AlgorithmType], &'static [AlgorithmType], &'static [SolverType]);
    let dpm: &[SolverType] = &[Midpoint, Heun];
    let (all, neighbours, types): Words = match home.name.as_str() {
        "DPMSolverMultistepScheduler" | "DPMSolverMultistepInverseScheduler" => {
            (&[DpmSolverPlusPlus, SdeDpmSolverPlusPlus, DpmSolver, SdeDpmSolver], &[Deis], dpm)
        }
        "DPMSolverSinglestepScheduler" => {
            (&[DpmSolverPlusPlus, SdeDpmSolverPlusPlus, DpmSolver], &[Deis], dpm)
        }
        "EDMDPMSolverMultistepScheduler" => {
            (&[DpmSolverPlusPlus, SdeDpmSolverPlusPlus], &[Deis], dpm)
        }
        "DEISMultistepScheduler" => (&[Deis], &[DpmSolver, DpmSolverPlusPlus], &[LogRho]),
        "SASolverScheduler" => (&[DataPrediction, NoisePrediction], &[], &[]),
        "UniPCMultistepScheduler" => (&[], &[], &[Bh2, Bh1]),
        _ => return Ok(()),
    };
    if !all.is_empty() && !all.contains(&keys.algorithm_type) {
        let words: Vec<_> = all.iter().chain(neighbours).map(|word| word.name()).collect();
        let held = !own || neighbours.contains(&keys.algorithm_type);
        let expected = format!("one of {} for {}", words.join(", "), home.name);
        check.hold(held, "algorithm_type", &expected, &keys.algorithm_type.name())?;
        keys.algorithm_type = all[0];
    }
    if !types.is_empty() && !types.contains(&keys.solver_type) {
        keys.solver_type = types[0];
    }
    Ok(())
}

/// What diffusers refuses to combine, or what would have no meaning.
fn together(keys: &Keys, home: &SchedulerClass, check: &Check) -> Result<()> {
    let spacings: Vec<_> = [
        (keys.use_karras_sigmas, "use_karras_sigmas"),
        (keys.use_exponential_sigmas, "use_exponential_sigmas"),
        (keys.use_beta_sigmas, "use_beta_sigmas"),
        (keys.use_lu_lambdas, "use_lu_lambdas"),
    ]
    .into_iter()
    .filter_map(|(on, key)| on.then_some(key))
    .collect();
    if let [first, others @ ..] = spacings.as_slice() {
        let expected = "false where another spacing is chosen";
        let found = format!("true, as {} is", others.join(", "));
        check.hold(others.is_empty(), first, expected, &found)?;
        let unipc = home.name == "UniPCMultistepScheduler" && keys.use_karras_sigmas;
        let expected = "false where use_flow_sigmas is true";
        check.hold(!keys.use_flow_sigmas || unipc, first, expected, &"true")?;
    }
    let in_eps =
        matches!(keys.algorithm_type, AlgorithmType::DpmSolver | AlgorithmType::SdeDpmSolver);
    let ends = home.defaults.contains_key("algorithm_type")
        && home.defaults.contains_key("final_sigmas_type")
        && keys.final_sigmas_type == FinalSigmas::Zero;
    let expected = format!("sigma_min, as {} has no step to sigma 0", keys.algorithm_type.name());
    check.hold(!(in_eps && ends), "final_sigmas_type", &expected, &"zero")?;
    let flow = keys.prediction_type == PredictionType::Flow && !keys.use_flow_sigmas;
    let expected = "epsilon, sample or v_prediction without use_flow_sigmas";
    check.hold(!flow, "prediction_type", expected, &"flow_prediction")?;
    let edm = home.name.starts_with("EDM");
    let held =
        matches!(keys.prediction_type, PredictionType::Epsilon | PredictionType::VPrediction);
    let expected = "epsilon or v_prediction, which give F of Karras et al. 2022 its sign";
    check.hold(!edm || held, "prediction_type", expected, &keys.prediction_type.name())
}
