//! A noise level: where a solver stands.

/// The marginal of the forward process at one time, in the solver's coordinates:
/// `x = alpha x0 + sigma eps`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The time as the network is told it: a timestep, perhaps fractional, or a continuous t.
    pub time: f64,
    /// Scale of the data.
    pub alpha: f64,
    /// Scale of the noise; 0 where the data is reached.
    pub sigma: f64,
}

impl Level {
    /// lambda = ln(alpha / sigma), half the logarithm of the signal-to-noise ratio
    /// (Lu et al. 2022, arXiv:2206.00927, section 2.2); infinite where sigma is 0.
    pub fn lambda(&self) -> f64 {
        (self.alpha / self.sigma).ln()
    }

    /// sigma / alpha: the noise level of x / alpha, sigma of Karras et al. 2022 (arXiv:2206.00364).
    pub fn ratio(&self) -> f64 {
        self.sigma / self.alpha
    }

    /// The same level in variance-preserving coordinates, alpha^2 + sigma^2 = 1.
    pub fn variance_preserving(&self) -> Level {
        let norm = self.alpha.hypot(self.sigma);
        Level { alpha: self.alpha / norm, sigma: self.sigma / norm, ..*self }
    }

    /// The same level in variance-exploding coordinates, alpha = 1.
    pub fn variance_exploding(&self) -> Level {
        Level { alpha: 1.0, sigma: self.ratio(), ..*self }
    }
}
