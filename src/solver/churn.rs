//! Churn: noise that is added before a step (Karras et al. 2022, arXiv:2206.00364, Alg. 2).

use super::Term::X;
use super::{Level, Process, Recorder, Setting};
use crate::error::{Error, Result};
use std::f64::consts::SQRT_2;

/// What a run does before each of its steps; nothing without churn.
pub(super) struct Churn<'a> {
    run: &'a Setting<'a>,
}

impl<'a> Churn<'a> {
    /// Reads S_churn, S_tmin, S_tmax and S_noise.
    ///
    /// # Errors
    /// Churn where noise cannot be raised by adding more: on a table of timesteps, on a flow.
    pub fn of(run: &'a Setting<'a>) -> Result<Churn<'a>> {
        let expected = match run.process {
            _ if run.keys.s_churn == 0.0 => return Ok(Churn { run }),
            Process::Discrete(_) => "0: churn on a VP table has no timestep to rise to",
            Process::Flow { .. } => "0: churn on a flow, whose noise does not grow by adding",
            _ => return Ok(Churn { run }),
        };
        Err(Error::invalid(
            format!("{}: s_churn", run.config.origin),
            expected,
            run.keys.s_churn.to_string(),
            "set s_churn to 0, or use --solver euler-ancestral for a stochastic run",
        ))
    }

    /// Line 4 to 6: `gamma = min(S_churn / N, sqrt(2) - 1)` where `S_tmin <= sigma <= S_tmax`,
    /// `sigma_hat = (1 + gamma) sigma`, and x gains the noise that is lacking. Returns the level
    /// where x then is. With S_churn > 0 every step draws, used or not, as line 3 says.
    pub fn raise(&self, rec: &mut Recorder, level: Level) -> Level {
        let keys = &self.run.keys;
        if keys.s_churn == 0.0 {
            return level;
        }
        let z = rec.noise();
        let sigma = level.ratio();
        if !(keys.s_min..=keys.s_max).contains(&sigma) {
            return level;
        }
        let gamma = (keys.s_churn / self.run.steps as f64).min(SQRT_2 - 1.0);
        let sigma_hat = (1.0 + gamma) * sigma;
        let hat = self.run.rounded_level_of(sigma_hat);
        let sigma_hat = hat.ratio();
        let lacking = (sigma_hat * sigma_hat - sigma * sigma).max(0.0).sqrt();
        rec.update((hat.alpha / level.alpha) * X + (hat.alpha * keys.s_noise * lacking) * z);
        hat
    }
}
