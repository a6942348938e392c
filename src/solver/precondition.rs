//! Preconditioning: whatever a network predicts, read as the denoiser D(x, sigma) and written as x0
//! and eps (Karras et al. 2022, arXiv:2206.00364, eq. 7).

use super::words::words;
use super::{Level, Prediction, Threshold, TimeInput};

words! {
    /// What the network's output F stands for, with `x = alpha x0 + sigma eps` in the
    /// [`Coordinates`] of its training.
    pub enum PredictionType {
        /// F = eps (Ho et al. 2020, arXiv:2006.11239, eq. 14).
        Epsilon = "epsilon",
        /// F = x0.
        Sample = "sample",
        /// F = v = alpha eps - sigma x0 (Salimans & Ho 2022, arXiv:2202.00512, appendix D).
        VPrediction = "v_prediction",
        /// F = -eps / sigma, the score (Song et al. 2021, arXiv:2011.13456, eq. 7).
        Score = "score",
        /// F = -eps, the score times sigma.
        ScaledScore = "scaled_score",
        /// F = eps - x0, a rectified flow's velocity (Liu et al. 2022, arXiv:2209.03003, eq. 1).
        Flow = "flow_prediction",
    }
}

/// In which scale the network saw `x = alpha x0 + sigma eps` in training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coordinates {
    /// alpha^2 + sigma^2 = 1.
    VariancePreserving,
    /// alpha = 1.
    VarianceExploding,
    /// alpha^2 + sigma = 1 (Song et al. 2021, eq. 29).
    SubVariancePreserving,
    /// alpha + sigma = 1 (Liu et al. 2022).
    Flow,
    /// alpha = 1, with input, output and skip scaled by c_in, c_out and c_skip of Karras et al.
    /// 2022, table 1; F is what they leave, with the opposite sign for
    /// [`PredictionType::VPrediction`].
    Edm { sigma_data: f64 },
    /// The same with the identity at `sigma_min` (Song et al. 2023, arXiv:2303.01469, appendix C).
    Consistency { sigma_data: f64, sigma_min: f64 },
}

impl Coordinates {
    /// The same level in these coordinates. Pure noise has none where alpha is 1.
    pub fn level(self, level: Level) -> Level {
        let norm = self.norm(level.alpha, level.sigma);
        Level { alpha: level.alpha / norm, sigma: level.sigma / norm, ..level }
    }

    /// x over the x of these coordinates.
    fn norm(self, alpha: f64, sigma: f64) -> f64 {
        match self {
            Coordinates::VariancePreserving => alpha.hypot(sigma),
            Coordinates::VarianceExploding => alpha,
            // alpha' of alpha'^2 + sigma' = 1 with sigma' / alpha' = s: alpha' = (r - s) / 2.
            Coordinates::SubVariancePreserving => {
                let s = sigma / alpha;
                0.5 * alpha * ((s * s + 4.0).sqrt() + s)
            }
            Coordinates::Flow => alpha + sigma,
            Coordinates::Edm { sigma_data } | Coordinates::Consistency { sigma_data, .. } => {
                sigma.hypot(alpha * sigma_data)
            }
        }
    }
}

/// How a solver reads the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preconditioning {
    pub coordinates: Coordinates,
    pub prediction: PredictionType,
    pub time: TimeInput,
    /// |x0| is limited to this.
    pub clip: Option<f64>,
    /// x0 is limited to a quantile of its own.
    pub threshold: Option<Threshold>,
    /// After the clip, eps is what x and the clipped x0 imply; otherwise it stays as predicted,
    /// and pushes against the clip where that takes hold.
    pub clipped_eps: bool,
}

impl Preconditioning {
    /// A network of variance-preserving training that is read as it is.
    pub fn new(prediction: PredictionType) -> Preconditioning {
        Preconditioning {
            coordinates: Coordinates::VariancePreserving,
            prediction,
            time: TimeInput::Time,
            clip: None,
            threshold: None,
            clipped_eps: false,
        }
    }

    /// What the network is told at this level.
    pub fn time(&self, level: Level) -> f64 {
        self.time.at(level)
    }

    /// The coefficients at a level, in the coordinates of that level.
    pub fn at(&self, level: Level) -> Prediction {
        let Level { alpha, sigma, .. } = level;
        let norm = self.coordinates.norm(alpha, sigma);
        let (x0_x, x0_f, eps_x, eps_f) = match self.coordinates {
            Coordinates::Edm { sigma_data } => self.edm(alpha, sigma, sigma_data, sigma),
            Coordinates::Consistency { sigma_data, sigma_min } => {
                self.edm(alpha, sigma, sigma_data, sigma - alpha * sigma_min)
            }
            _ => self.plain(alpha, sigma, norm),
        };
        let raw = Prediction {
            c_in: 1.0 / norm,
            x0_x,
            x0_f,
            clip: self.clip,
            threshold: self.threshold,
            eps_x,
            eps_f,
            eps_x0: 0.0,
        };
        let clips = self.clip.is_some() || self.threshold.is_some();
        // At sigma 0 x is the data, and no eps follows from it.
        if clips && self.clipped_eps && sigma > 0.0 {
            Prediction { eps_x: 1.0 / sigma, eps_f: 0.0, eps_x0: -alpha / sigma, ..raw }
        } else {
            raw
        }
    }

    /// (x0_x, x0_f, eps_x, eps_f) where F is one of the usual targets.
    fn plain(&self, alpha: f64, sigma: f64, norm: f64) -> (f64, f64, f64, f64) {
        match self.prediction {
            PredictionType::Epsilon => (1.0 / alpha, -sigma / alpha, 0.0, 1.0),
            PredictionType::Sample => (0.0, 1.0, 1.0 / sigma, -alpha / sigma),
            PredictionType::VPrediction => {
                let n = alpha.hypot(sigma);
                (alpha / (n * n), -sigma / n, sigma / (n * n), alpha / n)
            }
            PredictionType::Score => {
                let own = sigma / norm;
                (1.0 / alpha, sigma * own / alpha, 0.0, -own)
            }
            PredictionType::ScaledScore => (1.0 / alpha, sigma / alpha, 0.0, -1.0),
            PredictionType::Flow => {
                let sum = alpha + sigma;
                (1.0 / sum, -sigma / sum, 1.0 / sum, alpha / sum)
            }
        }
    }

    /// The same for c_skip = sigma_data^2 / (s^2 + sigma_data^2) and
    /// c_out = s sigma_data / sqrt(sigma^2 + sigma_data^2), of x / alpha; s is `skip`.
    fn edm(&self, alpha: f64, sigma: f64, data: f64, skip: f64) -> (f64, f64, f64, f64) {
        let sign = if self.prediction == PredictionType::VPrediction { -1.0 } else { 1.0 };
        let x0_x = alpha * data * data / (skip * skip + (alpha * data).powi(2));
        let c_out = sign * data / sigma.hypot(alpha * data);
        // (1 - alpha x0_x) / sigma without a difference of equals, and at sigma 0 its limit.
        let ratio = if skip == sigma { 1.0 } else { skip / sigma };
        let eps_x = ratio * skip / (skip * skip + (alpha * data).powi(2));
        (x0_x, skip * c_out, eps_x, -alpha * ratio * c_out)
    }
}
