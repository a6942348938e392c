//! scheduler_config.json of the diffusers layout: DDPMScheduler and DDIMScheduler.

use super::{BetaSchedule, PredictionType, Schedule, TimestepSpacing};
use crate::error::{Error, Result};
use crate::json::{self, brief};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// More timesteps than this are a mistake, not a schedule.
const MAX_TIMESTEPS: usize = 1_000_000;

/// The scheduler that the configuration was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulerClass {
    Ddpm,
    Ddim,
}

impl SchedulerClass {
    /// The words of `_class_name`.
    pub const NAMES: &[(&str, SchedulerClass)] =
        &[("DDPMScheduler", SchedulerClass::Ddpm), ("DDIMScheduler", SchedulerClass::Ddim)];

    /// The solver that the class stands for, by its name in [`super::SOLVERS`].
    pub fn solver(self) -> &'static str {
        match self {
            SchedulerClass::Ddpm => "ddpm",
            SchedulerClass::Ddim => "ddim",
        }
    }
}

/// The variance of DDPM's noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VarianceType {
    /// beta_tilde, the posterior's.
    FixedSmall,
    /// beta.
    FixedLarge,
    /// Between the two, as the network says.
    LearnedRange,
}

impl VarianceType {
    /// The words of scheduler_config.json. `fixed_small_log` takes a logarithm and its exponential.
    pub const NAMES: &[(&str, VarianceType)] = &[
        ("fixed_small", VarianceType::FixedSmall),
        ("fixed_small_log", VarianceType::FixedSmall),
        ("fixed_large", VarianceType::FixedLarge),
        ("learned_range", VarianceType::LearnedRange),
    ];

    /// Its word in scheduler_config.json.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, v)| *v == self).map_or("", |(name, _)| name)
    }
}

/// A validated scheduler configuration. A key that is absent has diffusers' default.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// Where it was read from, for messages.
    pub origin: String,
    /// Whose configuration it is; the default solver follows it.
    pub class: SchedulerClass,
    /// T.
    pub num_train_timesteps: usize,
    /// beta of the first timestep.
    pub beta_start: f64,
    /// beta of the last timestep.
    pub beta_end: f64,
    /// How beta rises between the two.
    pub beta_schedule: BetaSchedule,
    /// In place of the schedule, T values.
    pub trained_betas: Option<Vec<f64>>,
    /// Whether the schedule is rescaled to end at alpha_bar 0 (arXiv:2305.08891).
    pub rescale_betas_zero_snr: bool,
    /// What the network predicts.
    pub prediction_type: PredictionType,
    /// The variance of DDPM's noise.
    pub variance_type: VarianceType,
    /// Whether x0 is clipped.
    pub clip_sample: bool,
    /// x0 is clipped to [-range, range].
    pub clip_sample_range: f64,
    /// Which timesteps a short trajectory visits.
    pub timestep_spacing: TimestepSpacing,
    /// Added to every timestep of the `leading` spacing.
    pub steps_offset: usize,
    /// Whether DDIM's last step ends at alpha_bar 1, not at that of timestep 0.
    pub set_alpha_to_one: bool,
}

impl SchedulerConfig {
    /// Parses the text of a scheduler_config.json; `origin` names it in messages. The keys of both
    /// classes are taken for either, so that each solver runs on each configuration.
    ///
    /// # Errors
    /// Text that is not a JSON object, a class or a key that is not known, a value out of its range
    /// or one that is not covered.
    pub fn parse(text: &str, origin: &str) -> Result<SchedulerConfig> {
        let mut keys = Keys { map: json::object(text, origin)?, origin };
        let config = SchedulerConfig {
            origin: origin.to_string(),
            class: keys.choice("_class_name", SchedulerClass::NAMES, None)?,
            num_train_timesteps: keys.take("num_train_timesteps", "a whole number", 1000)?,
            beta_start: keys.take("beta_start", "a number", 1e-4)?,
            beta_end: keys.take("beta_end", "a number", 0.02)?,
            beta_schedule: keys.choice(
                "beta_schedule",
                BetaSchedule::NAMES,
                Some(BetaSchedule::Linear),
            )?,
            trained_betas: keys.take("trained_betas", "null or a list of numbers", None)?,
            rescale_betas_zero_snr: keys.take("rescale_betas_zero_snr", "true or false", false)?,
            prediction_type: keys.choice(
                "prediction_type",
                PredictionType::NAMES,
                Some(PredictionType::Epsilon),
            )?,
            variance_type: keys.choice(
                "variance_type",
                VarianceType::NAMES,
                Some(VarianceType::FixedSmall),
            )?,
            clip_sample: keys.take("clip_sample", "true or false", true)?,
            clip_sample_range: keys.take("clip_sample_range", "a number", 1.0)?,
            timestep_spacing: keys.choice(
                "timestep_spacing",
                TimestepSpacing::NAMES,
                Some(TimestepSpacing::Leading),
            )?,
            steps_offset: keys.take("steps_offset", "a whole number", 0)?,
            set_alpha_to_one: keys.take("set_alpha_to_one", "true or false", true)?,
        };
        keys.no_thresholding()?;
        keys.no_others()?;
        config.validate()?;
        Ok(config)
    }

    /// alpha_bar_t of the training timesteps.
    pub fn schedule(&self) -> Schedule {
        let schedule = Schedule::from_betas(&self.betas());
        if self.rescale_betas_zero_snr { schedule.rescale_zero_terminal_snr() } else { schedule }
    }

    fn betas(&self) -> Vec<f64> {
        self.trained_betas.clone().unwrap_or_else(|| {
            self.beta_schedule.betas(self.num_train_timesteps, self.beta_start, self.beta_end)
        })
    }

    fn validate(&self) -> Result<()> {
        let expect = |holds: bool, key: &str, expected: String, found: String| {
            if holds { Ok(()) } else { Err(invalid(&self.origin, key, &expected, &found)) }
        };
        let steps = self.num_train_timesteps;
        let fewest = if self.rescale_betas_zero_snr { 2 } else { 1 };
        expect(
            (fewest..=MAX_TIMESTEPS).contains(&steps),
            "num_train_timesteps",
            format!("{fewest}..={MAX_TIMESTEPS}"),
            steps.to_string(),
        )?;
        let offset = self.steps_offset;
        let expected = format!("below num_train_timesteps, {steps}");
        expect(offset < steps, "steps_offset", expected, offset.to_string())?;
        let betas = [("beta_start", self.beta_start), ("beta_end", self.beta_end)];
        for (key, beta) in betas {
            expect(is_beta(beta), key, "above 0 and below 1".into(), beta.to_string())?;
        }
        if let Some(betas) = &self.trained_betas {
            let length = betas.len();
            expect(
                length == steps,
                "trained_betas",
                format!("as many values as num_train_timesteps, {steps}"),
                length.to_string(),
            )?;
            let bad = betas.iter().enumerate().find(|(_, beta)| !is_beta(**beta));
            let found = bad.map_or(String::new(), |(t, beta)| format!("{beta} at timestep {t}"));
            let expected = "values above 0 and below 1".into();
            expect(bad.is_none(), "trained_betas", expected, found)?;
        }
        let range = self.clip_sample_range;
        let held = range as f32 > 0.0 && (range as f32).is_finite();
        let expected = "a number above 0, within the range of f32".into();
        expect(held, "clip_sample_range", expected, range.to_string())?;

        let (key, expected) = match self.trained_betas {
            Some(_) => ("trained_betas", "an alpha_bar that falls from below 1 to above 0"),
            None => ("beta_schedule", "betas whose alpha_bar falls from below 1 to above 0"),
        };
        let fault = self.schedule_fault();
        expect(fault.is_none(), key, expected.into(), fault.unwrap_or_default())
    }

    /// Where rounding leaves alpha_bar at 1 or 0, or lets it stand still, no step can be taken.
    /// Only a zero terminal SNR ends at 0.
    fn schedule_fault(&self) -> Option<String> {
        let alpha_bar = self.schedule().alpha_bar;
        let inner = alpha_bar.len() - usize::from(self.rescale_betas_zero_snr);
        let mut above = 1.0;
        alpha_bar[..inner].iter().enumerate().find_map(|(t, &a)| {
            let falls = 0.0 < a && a < above;
            above = a;
            (!falls).then(|| format!("alpha_bar = {a} at timestep {t}"))
        })
    }
}

fn is_beta(beta: f64) -> bool {
    0.0 < beta && beta < 1.0
}

fn invalid(origin: &str, key: &str, expected: &str, found: &str) -> Error {
    let action = "correct the key or restore the model's own file";
    Error::invalid(format!("{origin}: {key}"), expected, found, action)
}

/// The keys not yet read.
struct Keys<'a> {
    map: Map<String, Value>,
    origin: &'a str,
}

impl Keys<'_> {
    /// The value of a key, or its default.
    fn take<T: DeserializeOwned>(&mut self, key: &str, expected: &str, default: T) -> Result<T> {
        match self.map.remove(key) {
            None => Ok(default),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|_| invalid(self.origin, key, expected, &brief(&value))),
        }
    }

    /// The value of a key that holds one of a few words; without a default it must be there.
    fn choice<T: Copy>(&mut self, key: &str, names: &[(&str, T)], default: Option<T>) -> Result<T> {
        let found = self.map.remove(key);
        let word = found.as_ref().and_then(Value::as_str);
        let chosen = names.iter().find(|(name, _)| Some(*name) == word).map(|(_, value)| *value);
        let fallback = if found.is_none() { default } else { None };
        chosen.or(fallback).ok_or_else(|| {
            let words: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            let found = found.map_or("nothing".to_string(), |value| brief(&value));
            Error::invalid(
                format!("{}: {key}", self.origin),
                format!("one of {}", words.join(", ")),
                found,
                "use a model with one of these; others are not covered yet",
            )
        })
    }

    /// Dynamic thresholding is not covered; the keys that tune it mean nothing without it.
    fn no_thresholding(&mut self) -> Result<()> {
        let on: bool = self.take("thresholding", "true or false", false)?;
        self.take("dynamic_thresholding_ratio", "a number", 0.995)?;
        self.take("sample_max_value", "a number", 1.0)?;
        if !on {
            return Ok(());
        }
        Err(Error::invalid(
            format!("{}: thresholding", self.origin),
            "false",
            "true, which is not covered yet",
            "set it to false; clip_sample then limits x0 to clip_sample_range",
        ))
    }

    /// Every key has been read, those that start with '_' aside.
    fn no_others(self) -> Result<()> {
        let others: Vec<_> = self.map.keys().filter(|key| !key.starts_with('_')).cloned().collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(
            self.origin,
            "the keys of DDPMScheduler and DDIMScheduler",
            format!("also {}", others.join(", ")),
            "remove them if they change nothing; otherwise the scheduler is not covered yet",
        ))
    }
}
