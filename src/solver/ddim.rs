//! Denoising diffusion implicit models (Song et al. 2020, arXiv:2010.02502).

use super::Term::{Eps, X0};
use super::{Recorder, Setting};
use crate::error::Result;

/// Eq. 12 with sigma of eq. 16 (`a` is alpha_bar; the paper writes it alpha):
///
/// ```text
/// x' = sqrt(a') x0 + sqrt(1 - a' - sigma^2) eps + sigma z
/// sigma = eta sqrt((1 - a') / (1 - a)) sqrt(1 - a / a')
/// ```
///
/// a' lies floor(T / n) timesteps before t; past the first timestep it is 1, or alpha_bar_0 unless
/// `set_alpha_to_one`. With eta > 0 every step draws, even the last, whose sigma may be 0.
pub(super) fn ddim(run: &Setting, rec: &mut Recorder) -> Result<()> {
    let alpha_bar = &run.schedule.alpha_bar;
    let stride = alpha_bar.len() / run.timesteps.len();
    let a_final = if run.config.set_alpha_to_one { 1.0 } else { alpha_bar[0] };
    rec.initial_noise(1.0);
    for &t in &run.timesteps {
        let a = alpha_bar[t];
        let a_prev = t.checked_sub(stride).map_or(a_final, |s| alpha_bar[s]);
        let variance = (1.0 - a_prev) / (1.0 - a) * (1.0 - a / a_prev);
        let sigma = run.options.eta * variance.sqrt();

        rec.denoise(t as f64, a.sqrt(), (1.0 - a).sqrt());
        // Rounding may leave a last bit below zero at eta = 1.
        let direction = (1.0 - a_prev - sigma * sigma).max(0.0).sqrt();
        let mut x = a_prev.sqrt() * X0 + direction * Eps;
        if run.options.eta > 0.0 {
            x = x + sigma * rec.noise();
        }
        rec.update(x);
    }
    Ok(())
}
