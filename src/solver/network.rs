//! What is asked of the network whose outputs a solver reads.

use super::{Coordinates, PredictionType, TimeInput};

/// What a solver must know of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Network {
    /// It gives twice the sample's channels, the second half being the variance of
    /// [`super::Eval::log_variance`].
    pub learned_variance: bool,
    /// It is D(x, sigma) itself: it takes x / alpha, is told sigma / alpha, and gives x0. The
    /// configuration's prediction type means nothing to it.
    pub denoiser: bool,
    /// It knows whole timesteps only.
    pub discrete_time: bool,
    /// In which scale it saw x in training and what its output stands for, where the network itself
    /// says so; otherwise the configuration does. It takes every level that has noise.
    pub form: Option<(Coordinates, PredictionType)>,
    /// What it is told as its time, in the same way.
    pub time: Option<TimeInput>,
}

impl Network {
    /// The exact denoiser.
    pub const DENOISER: Network = Network {
        learned_variance: false,
        denoiser: true,
        discrete_time: false,
        form: None,
        time: None,
    };

    /// Whether its input stands for x / alpha, so that pure noise is out of reach.
    pub(super) fn needs_alpha(&self) -> bool {
        self.denoiser || self.form.is_some()
    }
}
