//! What a network is told as its time: what its level says, or a function of the noise that the
//! network was trained on, whatever schedule a run follows.

use super::{Level, Schedule};

/// What the network is told as its time, sigma being [`Level::ratio`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimeInput {
    /// [`Level::time`].
    Time,
    /// [`Level::time`] times a number: timesteps that a network counts by another number than its
    /// schedule's (`rescale_timesteps` of Dhariwal & Nichol 2021, arXiv:2105.05233).
    Scaled(f64),
    /// The noise level itself.
    Sigma,
    /// `scale ln(factor sigma)`: ln(sigma) / 4 of EDM, ln(sigma / 2) of its VE networks
    /// (Karras et al. 2022, arXiv:2206.00364, table 1, c_noise).
    Log { scale: f64, factor: f64 },
    /// `scale t` with sigma(t) variance preserving, beta(t) = beta_min + beta_d t
    /// (Karras et al. 2022, table 1, c_noise of VP).
    Continuous { beta_d: f64, beta_min: f64, scale: f64 },
    /// The timestep whose noise is nearest, of a cosine schedule ([`Schedule::cosine`];
    /// Karras et al. 2022, table 1, c_noise of iDDPM).
    Nearest { timesteps: usize, shift: f64, least: f64 },
}

impl TimeInput {
    /// What the network is told at this level.
    pub fn at(self, level: Level) -> f64 {
        let sigma = level.ratio();
        match self {
            TimeInput::Time => level.time,
            TimeInput::Scaled(factor) => factor * level.time,
            TimeInput::Sigma => sigma,
            TimeInput::Log { scale, factor } => scale * (factor * sigma).ln(),
            TimeInput::Continuous { beta_d, beta_min, scale } => {
                // 0.5 beta_d t^2 + beta_min t = b, solved without a difference of equals.
                let b = (sigma * sigma).ln_1p();
                scale * 2.0 * b / (beta_min + (beta_min * beta_min + 2.0 * beta_d * b).sqrt())
            }
            TimeInput::Nearest { timesteps, shift, least } => {
                nearest(&Schedule::cosine(timesteps, shift, least), sigma) as f64
            }
        }
    }

    /// These levels, or the nearest ones at which the network was trained if it knows only so many;
    /// those that become one are visited once. Where the data is stays.
    pub(super) fn rounded(self, levels: Vec<Level>) -> Vec<Level> {
        let TimeInput::Nearest { timesteps, shift, least } = self else { return levels };
        let schedule = Schedule::cosine(timesteps, shift, least);
        let round = |level: Level| match level.sigma {
            0.0 => level,
            _ => {
                let sigma = schedule.ratio(nearest(&schedule, level.ratio()));
                Level { sigma: level.alpha * sigma, ..level }
            }
        };
        let mut rounded: Vec<Level> = levels.into_iter().map(round).collect();
        rounded.dedup_by(|a, b| a.alpha == b.alpha && a.sigma == b.sigma);
        rounded
    }
}

/// The timestep whose sigma / alpha is nearest to `sigma`.
fn nearest(schedule: &Schedule, sigma: f64) -> usize {
    let above = schedule.alpha_bar.partition_point(|a| ((1.0 - a) / a).sqrt() < sigma);
    let above = above.min(schedule.alpha_bar.len() - 1);
    let below = above.saturating_sub(1);
    if sigma - schedule.ratio(below) <= schedule.ratio(above) - sigma { below } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(sigma: f64) -> Level {
        Level { time: 7.0, alpha: 1.0, sigma }
    }

    #[test]
    fn continuous_inverts_its_sigma() {
        let (beta_d, beta_min) = (19.9, 0.1);
        for t in [1e-5, 1e-3, 0.2, 1.0] {
            let sigma = f64::exp_m1(0.5 * beta_d * t * t + beta_min * t).sqrt();
            let told = TimeInput::Continuous { beta_d, beta_min, scale: 999.0 }.at(level(sigma));
            assert!((told / 999.0 / t - 1.0).abs() < 1e-9, "{told} of {t}");
        }
    }

    #[test]
    fn nearest_is_in_sigma_and_stays_inside() {
        let input = TimeInput::Nearest { timesteps: 1000, shift: 0.008, least: 0.001 };
        let schedule = Schedule::cosine(1000, 0.008, 0.001);
        for t in [0, 1, 500, 999] {
            assert_eq!(input.at(level(schedule.ratio(t))), t as f64);
        }
        let between = |w: f64| schedule.ratio(500) * (1.0 - w) + schedule.ratio(501) * w;
        assert_eq!(input.at(level(between(0.49))), 500.0);
        assert_eq!(input.at(level(between(0.51))), 501.0);
        assert_eq!((input.at(level(1e-9)), input.at(level(1e9))), (0.0, 999.0));
        let levels = vec![level(between(0.9)), level(between(0.51)), level(0.0)];
        let rounded = input.rounded(levels);
        assert_eq!(rounded.len(), 2);
        assert!((rounded[0].sigma / schedule.ratio(501) - 1.0).abs() < 1e-15);
        assert_eq!(rounded[1].sigma, 0.0);
    }
}
