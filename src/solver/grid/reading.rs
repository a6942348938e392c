//! How a solver reads the network of a run.

use super::super::{
    Coordinates, Network, Preconditioning, PredictionType, Process, Threshold, TimeInput,
};
use super::{Grid, Request};

impl Request<'_> {
    /// How the network is read.
    pub fn preconditioning(&self, process: &Process, network: Network) -> Preconditioning {
        let keys = self.keys;
        let threshold =
            Threshold { quantile: keys.dynamic_thresholding_ratio, max: keys.sample_max_value };
        let clip = match process {
            Process::Consistency { .. } => self.own.clip_denoised.then_some(1.0),
            // Thresholding takes the place of the clip.
            _ => (keys.clip_sample && !keys.thresholding).then_some(keys.clip_sample_range),
        };
        let exact = (Coordinates::VarianceExploding, PredictionType::Sample);
        let form = if network.denoiser { Some(exact) } else { network.form };
        let own_time = if network.denoiser { TimeInput::Sigma } else { TimeInput::Time };
        let (coordinates, prediction) = match (form, process) {
            (Some(form), _) => form,
            (_, Process::Edm { sigma_data, .. }) => {
                (Coordinates::Edm { sigma_data: *sigma_data }, self.own.prediction_type)
            }
            (_, Process::Consistency { sigma_data, sigma_min, .. }) => {
                let (sigma_data, sigma_min) = (*sigma_data, *sigma_min);
                let coordinates = Coordinates::Consistency { sigma_data, sigma_min };
                (coordinates, PredictionType::Epsilon)
            }
            _ => (process.coordinates(), self.prediction()),
        };
        Preconditioning {
            coordinates,
            clip,
            threshold: keys.thresholding.then_some(threshold),
            clipped_eps: self.options.clipped_eps,
            time: network.time.unwrap_or(own_time),
            ..Preconditioning::new(prediction)
        }
    }

    /// What the output stands for where the class or its key says so.
    fn prediction(&self) -> PredictionType {
        match Grid::of(self.config.class) {
            Grid::Angle => PredictionType::VPrediction,
            Grid::Flow => PredictionType::Flow,
            Grid::ScoreVe => PredictionType::Score,
            Grid::KarrasVe => PredictionType::ScaledScore,
            Grid::ScoreVp => PredictionType::Epsilon,
            _ => self.own.prediction_type,
        }
    }
}
