//! EDM's checkpoints (Karras et al. 2022, arXiv:2206.00364): SongUNet and DhariwalUNet with the
//! four preconditionings of table 1. Each class says itself what its network predicts and is told.

mod blocks;
mod config;
mod unet;

use super::keys::Keys;
use super::{Network, Sampler};
use crate::error::Result;
use crate::graph::Unread;
use crate::solver::{Coordinates, PredictionType, Schedule, TimeInput};
use config::{Config, Precond};
use serde_json::json;

/// Noise levels of EDM's sampler (section 5), within those of the training.
const SIGMAS: (f64, f64) = (0.002, 80.0);

/// Builds the network of EDMPrecond.
pub(super) fn edm(keys: Keys) -> Result<Network> {
    build(Config::read(keys, false, config::edm)?)
}

/// Builds the network of VPPrecond.
pub(super) fn vp(keys: Keys) -> Result<Network> {
    build(Config::read(keys, true, config::vp)?)
}

/// Builds the network of VEPrecond.
pub(super) fn ve(keys: Keys) -> Result<Network> {
    build(Config::read(keys, true, config::ve)?)
}

/// Builds the network of iDDPMPrecond.
pub(super) fn iddpm(keys: Keys) -> Result<Network> {
    build(Config::read(keys, false, config::iddpm)?)
}

fn build(config: Config) -> Result<Network> {
    let (side, channels) = (config.img_resolution, config.img_channels);
    // iDDPM also predicts a variance.
    let learned_variance = matches!(config.precond, Precond::Iddpm { .. });
    let mut graph = unet::graph(&config, channels * if learned_variance { 2 } else { 1 })?;
    graph.unread.extend(config.precond.levels());
    // A label of zeros stands for none.
    let labels = (config.label_dim > 0).then_some(config.label_dim);
    Ok(Network {
        learned_variance,
        classes: labels.map(|n| n + 1),
        null_class: labels,
        form: Some(config.precond.form()),
        time: Some(config.precond.time()),
        sampler: Some(config.precond.sampler()),
        ..Network::new(graph, [channels, side, side])
    })
}

impl Precond {
    /// The noise levels u_j that iDDPM was trained on, which its checkpoints hold. They follow from
    /// the other numbers, but in f32 the last ones are rounded away.
    fn levels(self) -> Option<Unread> {
        let Precond::Iddpm { timesteps, .. } = self else { return None };
        Some(Unread { name: "u".into(), shape: vec![timesteps + 1], values: None })
    }

    /// c_skip, c_out and c_in of table 1.
    fn form(self) -> (Coordinates, PredictionType) {
        match self {
            Precond::Edm { sigma_data, .. } => {
                (Coordinates::Edm { sigma_data }, PredictionType::Epsilon)
            }
            Precond::Vp { .. } | Precond::Iddpm { .. } => {
                (Coordinates::VariancePreserving, PredictionType::Epsilon)
            }
            Precond::Ve { .. } => (Coordinates::VarianceExploding, PredictionType::ScaledScore),
        }
    }

    /// c_noise of table 1.
    fn time(self) -> TimeInput {
        match self {
            Precond::Edm { .. } => TimeInput::Log { scale: 0.25, factor: 1.0 },
            Precond::Vp { beta_d, beta_min, timesteps, .. } => {
                TimeInput::Continuous { beta_d, beta_min, scale: (timesteps - 1) as f64 }
            }
            Precond::Ve { .. } => TimeInput::Log { scale: 1.0, factor: 0.5 },
            Precond::Iddpm { c_1, c_2, timesteps } => {
                TimeInput::Nearest { timesteps, shift: c_2, least: c_1 }
            }
        }
    }

    /// The noise levels of the training.
    fn range(self) -> (f64, f64) {
        match self {
            Precond::Edm { sigma_min, sigma_max, .. } | Precond::Ve { sigma_min, sigma_max } => {
                (sigma_min, sigma_max)
            }
            Precond::Vp { beta_d, beta_min, epsilon_t, .. } => {
                let sigma = |t: f64| f64::exp_m1(0.5 * beta_d * t * t + beta_min * t).sqrt();
                (sigma(epsilon_t), sigma(1.0))
            }
            Precond::Iddpm { c_1, c_2, timesteps } => {
                let schedule = Schedule::cosine(timesteps, c_2, c_1);
                (schedule.ratio(0), schedule.ratio(timesteps - 1))
            }
        }
    }

    /// Heun's method on 18 levels (Alg. 1 and table 1, the last column), whatever the training.
    fn sampler(self) -> Sampler {
        let (least, most) = self.range();
        let sigma_data = match self {
            Precond::Edm { sigma_data, .. } => sigma_data,
            _ => 0.5,
        };
        let scheduler = json!({
            "_class_name": "EDMEulerScheduler",
            "sigma_min": SIGMAS.0.max(least),
            "sigma_max": SIGMAS.1.min(most),
            "sigma_data": sigma_data,
        });
        Sampler { scheduler: scheduler.to_string(), solver: "edm", steps: 18 }
    }
}
