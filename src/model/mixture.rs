//! GaussianMixture: data whose denoiser is known exactly, so that solvers can be run, timed and
//! measured without a network.
//!
//! `config.json` holds the number of `dimensions`, one mean a component in `means`, their
//! `deviations` (one number for all, one a component, or one vector a component) and, unless all
//! are as likely, their `weights`.

use super::keys::Keys;
use super::{Model, Network, Text};
use crate::error::{Error, Result};
use crate::graph::{Graph, GraphBuilder, Shape};
use crate::ops::mixture::{MOST_COMPONENTS, table};
use serde_json::Value;

/// A mixture of Gaussians of diagonal covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// Of each component; their sum is 1.
    pub weights: Vec<f64>,
    /// A vector of each component.
    pub means: Vec<Vec<f64>>,
    /// The standard deviation of each dimension of each component.
    pub deviations: Vec<Vec<f64>>,
}

/// Dimensions at most: a vector is one thread's work.
const MOST_DIMENSIONS: usize = 1 << 16;
/// Deviations from here on: their squares are well inside f32.
const LEAST_DEVIATION: f64 = 1e-12;
/// Means and deviations up to here.
const LARGEST: f64 = 1e12;

/// Builds the denoiser that `config.json` describes.
pub(super) fn build(keys: Keys) -> Result<Network> {
    let mixture = Mixture::read(keys)?;
    let network = Network::new(mixture.graph(), [mixture.dimensions(), 1, 1]);
    Ok(Network { mixture: Some(mixture), ..network })
}

impl Mixture {
    fn read(mut keys: Keys) -> Result<Mixture> {
        let dimensions = keys.size("dimensions", 1..=MOST_DIMENSIONS, 2)?;
        let expected = format!("1 to {MOST_COMPONENTS} means of {dimensions} finite numbers each");
        let means = keys.take("means", &expected, None, |v| {
            let means = v.as_array()?.iter().map(|mean| vector(mean, dimensions, coordinate));
            means.collect::<Option<Vec<_>>>().filter(|m| count(m.len())).map(Some)
        })?;
        let means = means.ok_or_else(|| keys.bad("means", expected, "no such key"))?;
        let k = means.len();
        let expected =
            format!("a number above 0, {k} of them, or {k} lists of {dimensions}, one a component");
        let deviations =
            keys.take("deviations", &expected, None, |v| deviations(v, k, dimensions).map(Some))?;
        let deviations =
            deviations.ok_or_else(|| keys.bad("deviations", expected, "no such key"))?;
        let expected = format!("{k} numbers above 0, one a component");
        let weights = keys.take("weights", &expected, vec![1.0; k], |v| {
            vector(v, k, |w| w > 1e-30 && w < 1e30)
        })?;
        keys.finish()?;
        let sum: f64 = weights.iter().sum();
        let weights = weights.into_iter().map(|w| w / sum).collect();
        Ok(Mixture { weights, means, deviations })
    }

    /// The network: its input is x / alpha and its time sigma / alpha.
    fn graph(&self) -> Graph {
        let mut g = GraphBuilder::new();
        let x = g.state(Shape::Row { c: self.dimensions() }, 1.0, 0.0);
        let components = table(&self.weights, &self.means, &self.deviations);
        let y = g.mixture("mixture", x, self.weights.len(), components);
        g.finish(y)
    }

    pub fn dimensions(&self) -> usize {
        self.means[0].len()
    }

    /// Weight, mean and deviations of each component.
    fn components(&self) -> impl Iterator<Item = (f64, &[f64], &[f64])> {
        let parts = self.weights.iter().zip(&self.means).zip(&self.deviations);
        parts.map(|((w, mean), deviation)| (*w, mean.as_slice(), deviation.as_slice()))
    }

    /// ln p(x) of the mixture with noise of deviation `sigma` on it; of its first `x.len()`
    /// dimensions where x has fewer than the mixture.
    pub fn log_density(&self, x: &[f64], sigma: f64) -> f64 {
        let logs = self.logs(x, sigma);
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + logs.iter().map(|l| (l - most).exp()).sum::<f64>().ln()
    }

    /// ln(w_k N(x; mu_k, s_k^2 + sigma^2)) of each component.
    fn logs(&self, x: &[f64], sigma: f64) -> Vec<f64> {
        let log = |(w, mean, deviation): (f64, &[f64], &[f64])| {
            let square = |((x, mu), s): ((&f64, &f64), &f64)| {
                let v = s * s + sigma * sigma;
                (x - mu).powi(2) / v + (std::f64::consts::TAU * v).ln()
            };
            w.ln() - 0.5 * x.iter().zip(mean).zip(deviation).map(square).sum::<f64>()
        };
        self.components().map(log).collect()
    }

    /// D(x, sigma) = E[x0 | x0 + sigma eps = x], see [`crate::ops::mixture`].
    pub fn denoise(&self, x: &[f64], sigma: f64) -> Vec<f64> {
        let logs = self.logs(x, sigma);
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut d) = (0.0, vec![0.0; x.len()]);
        for ((_, mean, deviation), log) in self.components().zip(logs) {
            let r = (log - most).exp();
            sum += r;
            for (((d, x), mu), s) in d.iter_mut().zip(x).zip(mean).zip(deviation) {
                *d += r * (mu + s * s / (s * s + sigma * sigma) * (x - mu));
            }
        }
        d.iter_mut().for_each(|d| *d /= sum);
        d
    }

    /// The sample that the uniform number u and the normal numbers z make.
    pub fn draw(&self, u: f64, z: &[f64]) -> Vec<f64> {
        let mut below = 0.0;
        let chosen = self.components().find(|(w, _, _)| {
            below += w;
            u < below
        });
        // Rounding may leave the sum of the weights below u.
        let last = || self.components().last();
        let Some((_, mean, deviation)) = chosen.or_else(last) else { return Vec::new() };
        mean.iter().zip(deviation).zip(z).map(|((mu, s), z)| mu + s * z).collect()
    }

    /// The mean of the data.
    pub fn mean(&self) -> Vec<f64> {
        let of = |j: usize| self.components().map(|(w, mean, _)| w * mean[j]).sum();
        (0..self.dimensions()).map(of).collect()
    }

    /// The covariance of dimensions i and j of the data.
    pub fn covariance(&self, i: usize, j: usize) -> f64 {
        let mean = self.mean();
        let own = |s: &[f64]| if i == j { s[i] * s[i] } else { 0.0 };
        let parts = self.components();
        let part = |(w, mu, s): (f64, &[f64], &[f64])| {
            w * ((mu[i] - mean[i]) * (mu[j] - mean[j]) + own(s))
        };
        parts.map(part).sum()
    }
}

fn count(components: usize) -> bool {
    (1..=MOST_COMPONENTS).contains(&components)
}

fn coordinate(x: f64) -> bool {
    x.abs() <= LARGEST
}

fn deviation(s: f64) -> bool {
    (LEAST_DEVIATION..=LARGEST).contains(&s)
}

/// A list of n numbers for which `ok` holds.
fn vector(value: &Value, n: usize, ok: impl Fn(f64) -> bool) -> Option<Vec<f64>> {
    let numbers = value.as_array()?.iter().map(|v| v.as_f64().filter(|v| ok(*v)));
    numbers.collect::<Option<Vec<_>>>().filter(|v| v.len() == n)
}

/// One number for all, one a component, or a vector a component.
fn deviations(value: &Value, k: usize, d: usize) -> Option<Vec<Vec<f64>>> {
    if let Some(one) = value.as_f64().filter(|s| deviation(*s)) {
        return Some(vec![vec![one; d]; k]);
    }
    let list = value.as_array().filter(|list| list.len() == k)?;
    let row = |v: &Value| match v.as_f64() {
        Some(s) => deviation(s).then(|| vec![s; d]),
        None => vector(v, d, deviation),
    };
    list.iter().map(row).collect()
}

/// Variance preserving in 1000 timesteps; sampling starts at the last of them, and x0 may leave
/// [-1, 1].
macro_rules! discrete {
    ($betas:literal) => {
        concat!(
            r#"{"_class_name": "DDIMScheduler", "clip_sample": false, "#,
            r#""timestep_spacing": "trailing", "beta_schedule": ""#,
            $betas,
            "\"}"
        )
    };
}

/// Schedules that a mixture, which fits every process, can be given by name: configurations of the
/// classes that stand for them.
pub const SCHEDULES: &[(&str, &str)] = &[
    ("linear", discrete!("linear")),
    ("scaled_linear", discrete!("scaled_linear")),
    ("squaredcos_cap_v2", discrete!("squaredcos_cap_v2")),
    ("sigmoid", discrete!("sigmoid")),
    ("vp", r#"{"_class_name": "ScoreSdeVpScheduler", "clip_sample": false}"#),
    ("sub-vp", r#"{"_class_name": "ScoreSdeSubVpScheduler", "clip_sample": false}"#),
    ("ve", r#"{"_class_name": "ScoreSdeVeScheduler", "sigma_max": 50.0, "clip_sample": false}"#),
    ("edm", include_str!("../../models/mixture/scheduler/scheduler_config.json")),
    ("flow", r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "clip_sample": false}"#),
];

impl Model {
    /// Gives a mixture, or a network that says itself what it is told and predicts, the built-in
    /// schedule of that name in place of its own.
    ///
    /// # Errors
    /// A name that is not known, and a network of which its scheduler's configuration says it.
    pub fn set_schedule(&mut self, name: &str) -> Result<()> {
        if self.mixture.is_none() && self.form.is_none() {
            return Err(Error::invalid(
                "--schedule",
                "a model that fits every schedule: mixture, or one of EDM's own files",
                format!("{}, which was trained on its own schedule", self.name),
                "leave the flag out, or edit the model's scheduler_config.json",
            ));
        }
        let Some((name, text)) = SCHEDULES.iter().find(|(known, _)| *known == name) else {
            let names: Vec<_> = SCHEDULES.iter().map(|(name, _)| *name).collect();
            let expected = format!("one of {}", names.join(", "));
            return Err(Error::invalid("--schedule", expected, name, "choose one of these"));
        };
        self.scheduler = super::SchedulerAt::Found(Text {
            origin: format!("built-in schedule {name}"),
            text: text.to_string(),
        });
        Ok(())
    }
}
