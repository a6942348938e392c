//! Keys of a scheduler_config.json that a solver has no use for.

use super::config::{Keys, TRAINING};
use super::grid::Grid;
use super::{Kind, SchedulerConfig, SolverInfo};
use serde_json::Value;

impl SchedulerConfig {
    /// The keys that the file says and `solver` does not follow, though it would have to sample
    /// otherwise if it did. Keys at a value that asks for nothing are not among them.
    pub fn unread(&self, solver: &SolverInfo) -> Vec<String> {
        let (home, fixed) = (solver.home(self), solver.fixed());
        let own_levels = gives_levels(Grid::of(self.class), &self.keys, Grid::of(home));
        let read = |key: &str, value: &Value| {
            let own = TRAINING.contains(&key) || own_levels && is_level(key);
            let held = home.defaults.contains_key(key) || own && self.class.takes(key);
            held && fixed.get(key).is_none_or(|fixed| fixed == value)
        };
        let unread = self.file.iter().filter(|(key, value)| !read(key, value));
        let asks = unread.filter(|(key, value)| asks(key, value, solver.kind));
        asks.map(|(key, _)| key.clone()).collect()
    }
}

/// Whether a model of the class `own` has its own levels visited by a solver of the class `home`.
fn gives_levels(own: Grid, keys: &Keys, home: Grid) -> bool {
    let timed = match own {
        Grid::Timesteps { .. } | Grid::Distilled | Grid::NoiseRatio { .. } => true,
        Grid::HalfLogSnr(_) => !keys.use_flow_sigmas,
        _ => false,
    };
    let brings = matches!(home, Grid::NoiseRatio { .. } | Grid::HalfLogSnr(_));
    !(timed && (brings || home.needs_timesteps()))
}

/// Whether the key says where the noise levels lie.
fn is_level(key: &str) -> bool {
    LEVELS.contains(&key)
}

const LEVELS: &[&str] = &[
    "timestep_spacing",
    "steps_offset",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
    "flow_shift",
    "final_sigmas_type",
    "lambda_min_clipped",
    "use_dynamic_shifting",
    "time_shift_type",
    "sigma_min",
    "sigma_max",
    "shift_terminal",
    "sigma_schedule",
    "rho",
    "original_inference_steps",
    "shift",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "invert_sigmas",
    "sampling_eps",
    "clip_denoised",
];

/// Whether a value asks for anything that a solver without the key would not do.
fn asks(key: &str, value: &Value, kind: Kind) -> bool {
    match key {
        // A solver without the key has no Runge-Kutta start.
        "skip_prk_steps" => false,
        // An ODE has no noise; the smaller variance is what other solvers put back.
        "variance_type" => kind == Kind::Sde && value.as_str().is_some_and(|v| v.contains("large")),
        // Classes without the key space their timesteps so.
        "timestep_spacing" => value != "linspace",
        _ => {
            let mut keys = Keys::default();
            let known = !value.is_null() && keys.set(key, value).is_ok();
            known && keys != Keys::default()
        }
    }
}
