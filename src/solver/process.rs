//! Forward processes: what turns data into noise, and what a model was trained on.

use super::{Coordinates, Level, Schedule};
use std::f64::consts::FRAC_PI_2;

/// The forward process of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Process {
    /// Variance preserving in discrete time (Ho et al. 2020, arXiv:2006.11239, eq. 4).
    Discrete(Schedule),
    /// Variance preserving along a circle, `x = cos(t pi / 2) x0 + sin(t pi / 2) eps` for t on
    /// [0, 1] (Salimans & Ho 2022, arXiv:2202.00512, appendix D).
    Angle,
    /// Variance preserving in continuous time, beta(t) linear on [0, 1]
    /// (Song et al. 2021, arXiv:2011.13456, eq. 32 and 33).
    VariancePreserving { beta_min: f64, beta_max: f64 },
    /// Sub-VP on the same beta (eq. 34, 35).
    SubVariancePreserving { beta_min: f64, beta_max: f64 },
    /// Variance exploding, sigma geometric on [0, 1] (eq. 30, 31); the network is told sigma.
    VarianceExploding { sigma_min: f64, sigma_max: f64 },
    /// sigma is the time (Karras et al. 2022, arXiv:2206.00364); the network is told ln(sigma) / 4.
    Edm { sigma_min: f64, sigma_max: f64, sigma_data: f64 },
    /// The same for a consistency model (Song et al. 2023, arXiv:2303.01469), which is told
    /// 250 ln(sigma).
    Consistency { sigma_min: f64, sigma_max: f64, sigma_data: f64 },
    /// Rectified flow, `x = (1 - t) x0 + t eps` (Liu et al. 2022, arXiv:2209.03003); the network is
    /// told `scale t`.
    Flow { scale: f64 },
}

impl Process {
    /// The discrete schedule, if that is what it is.
    pub fn schedule(&self) -> Option<&Schedule> {
        match self {
            Process::Discrete(schedule) => Some(schedule),
            _ => None,
        }
    }

    /// The scale in which it writes x.
    pub fn coordinates(&self) -> Coordinates {
        match self {
            Process::Discrete(_) | Process::Angle | Process::VariancePreserving { .. } => {
                Coordinates::VariancePreserving
            }
            Process::SubVariancePreserving { .. } => Coordinates::SubVariancePreserving,
            Process::VarianceExploding { .. }
            | Process::Edm { .. }
            | Process::Consistency { .. } => Coordinates::VarianceExploding,
            Process::Flow { .. } => Coordinates::Flow,
        }
    }

    /// Its level at a time on [0, 1] of a process in continuous time, where the network is told
    /// that time.
    pub(super) fn at(&self, t: f64) -> Level {
        // The integral of beta from 0 to t.
        let integral = |min: f64, max: f64| min * t + 0.5 * (max - min) * t * t;
        let (alpha, sigma) = match *self {
            Process::VariancePreserving { beta_min, beta_max } => {
                let b = integral(beta_min, beta_max);
                ((-0.5 * b).exp(), (-(-b).exp_m1()).sqrt())
            }
            Process::SubVariancePreserving { beta_min, beta_max } => {
                let b = integral(beta_min, beta_max);
                ((-0.5 * b).exp(), -(-b).exp_m1())
            }
            Process::Angle => ((t * FRAC_PI_2).cos(), (t * FRAC_PI_2).sin()),
            Process::Flow { scale } => return Level { time: scale * t, alpha: 1.0 - t, sigma: t },
            Process::VarianceExploding { sigma_min, sigma_max } => {
                let sigma = sigma_min * (sigma_max / sigma_min).powf(t);
                return Level { time: sigma, alpha: 1.0, sigma };
            }
            Process::Discrete(_) | Process::Edm { .. } | Process::Consistency { .. } => {
                panic!("a process without a time on [0, 1]")
            }
        };
        Level { time: t, alpha, sigma }
    }

    /// What the network is told where sigma / alpha is `ratio`; a timestep may be fractional.
    pub fn time_of(&self, ratio: f64) -> f64 {
        match self {
            Process::Discrete(schedule) => schedule.time_of(ratio),
            Process::Angle => ratio.atan() / FRAC_PI_2,
            Process::VariancePreserving { beta_min, beta_max } => {
                time_of_integral((ratio * ratio).ln_1p(), *beta_min, *beta_max)
            }
            Process::SubVariancePreserving { beta_min, beta_max } => {
                let own = Coordinates::SubVariancePreserving;
                let alpha = own.level(Level { time: 0.0, alpha: 1.0, sigma: ratio }).alpha;
                time_of_integral(-2.0 * alpha.ln(), *beta_min, *beta_max)
            }
            Process::VarianceExploding { .. } => ratio,
            Process::Edm { .. } => 0.25 * ratio.ln(),
            // A level of 0 keeps a finite time.
            Process::Consistency { .. } => 250.0 * (ratio + 1e-44).ln(),
            Process::Flow { scale } => scale * ratio / (1.0 + ratio),
        }
    }

    /// The level at a noise: sigma / alpha, or t where sigma / alpha has no bound.
    pub(super) fn level(&self, noise: f64) -> Level {
        match self {
            Process::Flow { .. } | Process::Angle => self.at(noise),
            _ => Level { time: self.time_of(noise), alpha: 1.0, sigma: noise },
        }
    }

    /// The largest and the smallest noise of the training, as [`Process::level`] takes it;
    /// `earliest` is where a process on [0, 1] stops.
    pub(super) fn range(&self, earliest: f64) -> (f64, f64) {
        match self {
            Process::Discrete(s) => (s.ratio(s.alpha_bar.len() - 1), s.ratio(0)),
            Process::VarianceExploding { sigma_min, sigma_max }
            | Process::Edm { sigma_min, sigma_max, .. }
            | Process::Consistency { sigma_min, sigma_max, .. } => (*sigma_max, *sigma_min),
            Process::Flow { scale } => (1.0, 1.0 / scale),
            Process::Angle => (1.0, earliest),
            Process::VariancePreserving { .. } | Process::SubVariancePreserving { .. } => {
                (self.at(1.0).ratio(), self.at(earliest).ratio())
            }
        }
    }

    /// The deviation of x where sampling starts, in its own coordinates.
    pub(super) fn prior(&self) -> f64 {
        match self {
            Process::VarianceExploding { sigma_max, .. }
            | Process::Edm { sigma_max, .. }
            | Process::Consistency { sigma_max, .. } => *sigma_max,
            _ => 1.0,
        }
    }
}

/// The t at which the integral of beta is `b`.
fn time_of_integral(b: f64, beta_min: f64, beta_max: f64) -> f64 {
    2.0 * b / (beta_min + (beta_min * beta_min + 2.0 * (beta_max - beta_min) * b).sqrt())
}
