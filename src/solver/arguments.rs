//! What can be set of a solver beside the keys of its class.

use super::SolverInfo;
use serde_json::{Map, Value};

/// Keys that no class of these solvers has, as they are arguments of its steps; they may be set.
const ARGUMENTS: &[(&str, &[&str])] = &[
    ("euler", &["s_churn", "s_min", "s_max", "s_noise"]),
    ("dpm2", &["s_churn", "s_min", "s_max", "s_noise"]),
    ("edm", &["s_churn", "s_min", "s_max", "s_noise"]),
    ("euler-ancestral", &["s_noise"]),
    ("dpm2-ancestral", &["s_noise"]),
    ("repaint", &["jump_length", "jump_n_sample"]),
    ("restart", &["restart", "s_noise"]),
    ("dpmpp-sde", &["s_noise"]),
    ("dpmpp-2s-ancestral", &["s_noise"]),
    ("dpmpp-2m-sde", &["s_noise"]),
    ("dpmpp-3m-sde", &["s_noise"]),
    ("lms", &["solver_order"]),
    ("analytic-ddpm", &["gamma", "sigma_data"]),
    ("langevin", &["correct_steps", "langevin_step"]),
    ("ncsnv2", &["correct_steps", "langevin_step"]),
    ("pc", &["snr", "correct_steps", "reduce"]),
    ("ode-rk45", &["rtol", "atol", "max_steps", "reduce"]),
    ("dpm-adaptive", &["rtol", "atol", "max_steps", "reduce", "solver_order"]),
];

impl SolverInfo {
    /// The arguments that it takes beside the keys of its class.
    pub(super) fn arguments(&self) -> &'static [&'static str] {
        ARGUMENTS.iter().find(|(name, _)| *name == self.name).map_or(&[], |(_, keys)| keys)
    }

    /// The keys that the name fixes.
    pub(super) fn fixed(&self) -> Map<String, Value> {
        let value = |text| serde_json::from_str(text).expect("a fixed key holds JSON");
        self.fixes.iter().map(|(key, text)| (key.to_string(), value(text))).collect()
    }
}
