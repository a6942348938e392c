//! scheduler_config.json of the diffusers layout, for every class that a solver covers.

mod keys;
mod read;
mod validate;

pub use keys::{
    AlgorithmType, FinalSigmas, Interpolation, Keys, SigmaSchedule, SolverType, TimeShift,
    TimestepType, VarianceType,
};

use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::json::{self, brief};
pub(super) use read::FromKey;
use read::{quoted, shown};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;
pub(super) use validate::invalid;

/// A scheduler class with the keys that it knows and their defaults.
#[derive(Debug, PartialEq)]
pub struct SchedulerClass {
    /// The word of `_class_name`.
    pub name: String,
    /// Every key with its default.
    pub defaults: Map<String, Value>,
}

/// The classes by name: `classes.json`, written out from the defaults of diffusers 0.42.1.
static CLASSES: LazyLock<BTreeMap<String, SchedulerClass>> = LazyLock::new(|| {
    let classes: BTreeMap<String, Map<String, Value>> =
        serde_json::from_str(include_str!("classes.json")).expect("classes.json is an object");
    let class = |(name, defaults): (String, _)| (name.clone(), SchedulerClass { name, defaults });
    classes.into_iter().map(class).collect()
});

impl SchedulerClass {
    /// The class of that name, if it is covered.
    pub fn find(name: &str) -> Option<&'static SchedulerClass> {
        CLASSES.get(name)
    }

    /// Whether a key may be set by hand: one of its own, or one that no file has to say.
    pub(super) fn takes(&self, key: &str) -> bool {
        self.defaults.contains_key(key) || BY_HAND.contains(&key)
    }

    /// All of them, in the order of their names.
    pub fn all() -> impl Iterator<Item = &'static SchedulerClass> {
        CLASSES.values()
    }
}

/// What a run may need beside any configuration: the shift of an image's size, and the exponent of
/// [`super::Sigmas`].
const BY_HAND: &[&str] = &["mu", "rho"];

/// The keys that say what a model was trained on, whatever solver reads them.
pub(super) const TRAINING: &[&str] = &[
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "prediction_type",
    "use_flow_sigmas",
    "sigma_data",
    "beta_min",
    "beta_max",
];

/// A validated scheduler configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// Where it was read from, for messages.
    pub origin: String,
    /// Whose configuration it is; the default solver follows it.
    pub class: &'static SchedulerClass,
    /// What the file says, by key; keys of other classes are kept for other solvers.
    pub(super) file: Map<String, Value>,
    /// The keys as its own class reads them, with its defaults.
    pub keys: Keys,
}

impl SchedulerConfig {
    /// Parses the text of a scheduler_config.json; `origin` names it in messages.
    ///
    /// # Errors
    /// Text that is not a JSON object, a class or a key that is not known, a value out of its range
    /// or one that is not covered.
    pub fn parse(text: &str, origin: &str) -> Result<SchedulerConfig> {
        let mut file = json::object(&quoted(text), origin)?;
        let class = class(file.remove("_class_name"), origin)?;
        file.retain(|key, _| !key.starts_with('_'));
        no_strangers(&file, origin)?;
        no_code(&file, origin)?;
        // A key of another class must be fit to be read by a solver of that class.
        read(&mut Keys::default(), &file, origin)?;
        let own = file.iter().filter(|(key, _)| class.defaults.contains_key(*key));
        let own = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut keys = Keys::default();
        read(&mut keys, &class.defaults, origin)?;
        read(&mut keys, &own, origin)?;
        validate::keys(&mut keys, class, class, origin)?;
        Ok(SchedulerConfig { origin: origin.into(), class, file, keys })
    }

    /// The keys as the scheduler class `home` reads this configuration: its own defaults, then what
    /// the file says of its keys, then `fixed`, then `set`, which may name `arguments`, too. What
    /// the model was trained on is as the configuration's class reads it.
    ///
    /// # Errors
    /// A value that the class cannot take.
    pub fn keys_for(
        &self,
        home: &'static SchedulerClass,
        fixed: &Map<String, Value>,
        set: &Map<String, Value>,
        arguments: &[&str],
    ) -> Result<Keys> {
        let training = |key: &str| TRAINING.contains(&key);
        let known = |layer: &Map<String, Value>, class: &SchedulerClass, trained: bool| {
            let held = |key: &str| class.defaults.contains_key(key) && training(key) == trained;
            let pairs = layer.iter().filter(|(key, _)| held(key));
            pairs.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>()
        };
        let layers = [
            known(&home.defaults, home, false),
            known(&self.file, home, false),
            known(&self.class.defaults, self.class, true),
            known(&self.file, self.class, true),
            known(fixed, home, false),
        ];
        let taken =
            |key: &str| arguments.contains(&key) || home.takes(key) || self.class.takes(key);
        if let Some((key, value)) = set.iter().find(|(key, _)| !taken(key)) {
            return Err(Error::invalid(
                format!("--set {key}"),
                format!("a key of {} or {}", home.name, self.class.name),
                format!("{key}={}", shown(value)),
                "correct the key or leave it out",
            ));
        }
        no_code(set, "--set")?;
        let mut keys = Keys::default();
        layers.iter().try_for_each(|layer| read(&mut keys, layer, &self.origin))?;
        read(&mut keys, set, "--set")?;
        validate::keys(&mut keys, home, self.class, &self.origin)?;
        Ok(keys)
    }

    /// A key's value in JSON: the file's, or the default of its class.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.file.get(key).or_else(|| self.class.defaults.get(key))
    }

    /// alpha_bar_t of the training timesteps.
    pub fn schedule(&self) -> Schedule {
        schedule(&self.keys)
    }
}

/// alpha_bar_t of the training timesteps.
pub(super) fn schedule(keys: &Keys) -> Schedule {
    let betas = keys.trained_betas.clone().unwrap_or_else(|| {
        keys.beta_schedule.betas(keys.num_train_timesteps, keys.beta_start, keys.beta_end)
    });
    let schedule = Schedule::from_betas(&betas);
    if keys.rescale_betas_zero_snr { schedule.rescale_zero_terminal_snr() } else { schedule }
}

fn is_beta(beta: f64) -> bool {
    0.0 < beta && beta < 1.0
}

fn class(name: Option<Value>, origin: &str) -> Result<&'static SchedulerClass> {
    let found = name.as_ref().and_then(Value::as_str).and_then(SchedulerClass::find);
    found.ok_or_else(|| {
        let names: Vec<_> = SchedulerClass::all().map(|class| class.name.as_str()).collect();
        Error::invalid(
            format!("{origin}: _class_name"),
            format!("one of {}", names.join(", ")),
            name.map_or("nothing".to_string(), |value| brief(&value)),
            "use a model with one of these; others are not covered yet",
        )
    })
}

/// Sets the keys of one layer over those below it.
fn read(keys: &mut Keys, layer: &Map<String, Value>, origin: &str) -> Result<()> {
    layer.iter().try_for_each(|(key, value)| {
        // Python's None: what the class does by itself.
        let absent = value.is_null() && (key.starts_with("use_") || key == "lambda_min_clipped");
        let set = if absent { Ok(()) } else { keys.set(key, value) };
        set.map_err(|expected| invalid(origin, key, &expected, &shown(value)))
    })
}

/// Options that are code or state of diffusers, none of which a table can hold; null is the class's
/// own way.
const MUST_BE_NULL: &[&str] = &["solver_p", "tau_func", "scale_factors"];

/// Every key belongs to some class.
fn no_strangers(file: &Map<String, Value>, origin: &str) -> Result<()> {
    let known = |key: &str| SchedulerClass::all().any(|class| class.defaults.contains_key(key));
    let others: Vec<_> = file.keys().filter(|key| !known(key)).cloned().collect();
    if !others.is_empty() {
        return Err(Error::invalid(
            origin,
            "the keys of a scheduler",
            format!("also {}", others.join(", ")),
            "remove them if they change nothing; otherwise the scheduler is not covered yet",
        ));
    }
    Ok(())
}

/// None of [`MUST_BE_NULL`] asks for something.
fn no_code(layer: &Map<String, Value>, origin: &str) -> Result<()> {
    let asks = |key: &str, value: &Value| MUST_BE_NULL.contains(&key) && !value.is_null();
    match layer.iter().find(|(key, value)| asks(key, value)) {
        None => Ok(()),
        Some((key, value)) => Err(Error::invalid(
            format!("{origin}: {key}"),
            "null, as no solver covers it",
            shown(value),
            "set it to null to sample without it",
        )),
    }
}
