//! Classifier-free guidance, as far as a row decides it; the weight w is the run's and a sample's.

use super::Level;

/// What guidance does at one evaluation: `F = U + w (C - U)` of the conditional and the
/// unconditional output (Ho & Salimans 2022, arXiv:2207.12598, eq. 6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guidance {
    /// Otherwise F is the conditional output.
    pub on: bool,
    /// phi of Lin et al. 2023 (arXiv:2305.08891, eq. 15, 16): F is scaled by
    /// `phi std(C) / std(F) + 1 - phi`, the deviations being those of a sample.
    pub rescale: f64,
    /// [`super::Term::Eps`] is the unconditional prediction (CFG++, Chung et al. 2024,
    /// arXiv:2406.08070, Alg. 2); x0 is the guided one.
    pub unconditional_eps: bool,
}

impl Default for Guidance {
    fn default() -> Guidance {
        Guidance { on: true, rescale: 0.0, unconditional_eps: false }
    }
}

/// What the user chooses for the whole run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuidanceOptions {
    /// See [`Guidance::rescale`].
    pub rescale: f64,
    /// Guidance works where sigma / alpha is above the first and not above the second
    /// (Kynkaanniemi et al. 2024, arXiv:2404.07724, eq. 6).
    pub interval: (f64, f64),
    /// CFG++.
    pub plus_plus: bool,
}

impl Default for GuidanceOptions {
    fn default() -> GuidanceOptions {
        GuidanceOptions { rescale: 0.0, interval: (0.0, f64::INFINITY), plus_plus: false }
    }
}

impl GuidanceOptions {
    /// What guidance does at `level`.
    pub fn at(&self, level: Level) -> Guidance {
        let (above, most) = self.interval;
        let on = above < level.ratio() && level.ratio() <= most;
        Guidance { on, rescale: self.rescale, unconditional_eps: self.plus_plus && on }
    }
}
