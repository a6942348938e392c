//! Preconditioning: what the network predicts, written as x0 and eps.

use super::Prediction;

/// What the network's output F stands for, with `x = alpha x0 + sigma eps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionType {
    /// F = eps (Ho et al. 2020, arXiv:2006.11239, eq. 14).
    Epsilon,
    /// F = x0.
    Sample,
    /// F = v = alpha eps - sigma x0 (Salimans & Ho 2022, arXiv:2202.00512, appendix D).
    VPrediction,
}

impl PredictionType {
    /// The words of scheduler_config.json.
    pub const NAMES: &[(&str, PredictionType)] = &[
        ("epsilon", PredictionType::Epsilon),
        ("sample", PredictionType::Sample),
        ("v_prediction", PredictionType::VPrediction),
    ];
}

/// How a solver reads the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preconditioning {
    pub prediction: PredictionType,
    /// |x0| is limited to this.
    pub clip: Option<f64>,
    /// After the clip, eps is what x and the clipped x0 imply; otherwise it stays as predicted,
    /// and pushes against the clip where that takes hold.
    pub clipped_eps: bool,
}

impl Preconditioning {
    /// The coefficients at the noise level `x = alpha x0 + sigma eps`, alpha^2 + sigma^2 = 1.
    pub fn at(&self, alpha: f64, sigma: f64) -> Prediction {
        let (x0_x, x0_f, eps_x, eps_f) = match self.prediction {
            PredictionType::Epsilon => (1.0 / alpha, -sigma / alpha, 0.0, 1.0),
            PredictionType::Sample => (0.0, 1.0, 1.0 / sigma, -alpha / sigma),
            PredictionType::VPrediction => (alpha, -sigma, sigma, alpha),
        };
        let raw = Prediction { c_in: 1.0, x0_x, x0_f, clip: self.clip, eps_x, eps_f, eps_x0: 0.0 };
        if self.clip.is_some() && self.clipped_eps {
            Prediction { eps_x: 1.0 / sigma, eps_f: 0.0, eps_x0: -alpha / sigma, ..raw }
        } else {
            raw
        }
    }
}
