//! Parameters of convolutions whose batch norms are folded into them.

use super::Weights;
use crate::backend::WeightSource;
use crate::error::{Error, Result};

/// Of the batch norms.
const EPS: f64 = 1e-3;

/// Parameters of convolutions whose batch norms are folded into them: `X.conv.weight` and
/// `X.conv.bias` are made of `X.conv.weight` and `X.bn.*`, in f64; all others are as they are. The
/// batch norms add 0.001 to their variances, as Inception's do.
pub struct Normalised<'a> {
    source: &'a dyn WeightSource,
    fold: bool,
}

impl<'a> Normalised<'a> {
    /// Of a checkpoint with batch norms.
    pub fn new(source: &'a dyn WeightSource) -> Normalised<'a> {
        Normalised { source, fold: true }
    }

    /// Of one without, in which nothing is folded.
    pub fn plain(source: &'a Weights) -> Normalised<'a> {
        Normalised { source, fold: false }
    }

    /// `gamma / sqrt(variance + eps)` of each of `count` channels.
    fn gains(&self, module: &str, count: usize) -> Result<Vec<f64>> {
        let gamma = self.source.values(&format!("{module}.bn.weight"), &[count])?;
        let variance = self.source.values(&format!("{module}.bn.running_var"), &[count])?;
        if let Some(v) = variance.iter().find(|v| **v < 0.0) {
            return Err(Error::invalid(
                format!("{module}.bn.running_var"),
                "variances, 0 or more",
                v.to_string(),
                "fetch the weights again",
            ));
        }
        let gain = |(g, v): (&f32, &f32)| f64::from(*g) / (f64::from(*v) + EPS).sqrt();
        Ok(gamma.iter().zip(&variance).map(gain).collect())
    }
}

impl WeightSource for Normalised<'_> {
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        if let Some(module) = name.strip_suffix(".conv.weight").filter(|_| self.fold) {
            let gains = self.gains(module, shape[0])?;
            let weight = self.source.values(name, shape)?;
            let rows = weight.chunks_exact((weight.len() / shape[0]).max(1)).zip(gains);
            let scaled = |(row, gain)| {
                let row: &[f32] = row;
                row.iter().map(move |w| (f64::from(*w) * gain) as f32)
            };
            return Ok(rows.flat_map(scaled).collect());
        }
        if let Some(module) = name.strip_suffix(".conv.bias").filter(|_| self.fold) {
            let gains = self.gains(module, shape[0])?;
            let beta = self.source.values(&format!("{module}.bn.bias"), shape)?;
            let mean = self.source.values(&format!("{module}.bn.running_mean"), shape)?;
            let each = beta.iter().zip(&mean).zip(gains);
            let bias = |((b, m), gain): ((&f32, &f32), f64)| f64::from(*b) - f64::from(*m) * gain;
            return Ok(each.map(|all| bias(all) as f32).collect());
        }
        self.source.values(name, shape)
    }
}
