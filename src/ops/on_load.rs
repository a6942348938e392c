//! What `conv2d` and `linear` do to their input on the way in: a norm over statistics that are
//! already known, and an activation.

use super::group_norm::Normalize;
use super::moments::{Moments, Region};
use super::parallel;
use std::cell::RefCell;

/// The kinds of norm on load.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    None = 0,
    /// Over groups of channels of a sample, by the moments of its map.
    Group = 1,
    /// Over the channels of each row (Ba, Kiros & Hinton 2016, arXiv:1607.06450).
    Layer = 2,
}

pub(super) const CONSTANTS: &[(&str, u32)] = &[
    ("NORM_NONE", Norm::None as u32),
    ("NORM_GROUP", Norm::Group as u32),
    ("NORM_LAYER", Norm::Layer as u32),
];

thread_local! {
    /// Mean, factor and addend of each channel, repeated.
    static WORK: RefCell<[Vec<f32>; 3]> = RefCell::default();
}

/// `act((x - mean) * rstd * gamma + beta)`, with `[scale | shift]` before the activation.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    /// `[scale | shift]`, or empty.
    pub row: &'a [f32],
    pub act: u32,
}

impl Affine<'_> {
    /// Normalises vectors of channels; `stats(k)` is mean and reciprocal deviation of channel k.
    fn apply(&self, stats: impl Fn(usize) -> (f64, f64), x: &[f32], y: &mut [f32]) {
        let c = self.gamma.len();
        WORK.with_borrow_mut(|[mean, factor, addend]| {
            [&mut *mean, factor, addend].into_iter().for_each(Vec::clear);
            for k in 0..c {
                let (exact, rstd) = stats(k);
                let (scale, shift) = match self.row {
                    [] => (0.0, 0.0),
                    row => (row[k], row[c + k]),
                };
                let plain = rstd as f32 * self.gamma[k];
                let lack = (exact - f64::from(exact as f32)) as f32;
                mean.push(exact as f32);
                factor.push(plain * (1.0 + scale));
                addend.push((self.beta[k] - lack * plain) * (1.0 + scale) + shift);
            }
            [&mut *mean, factor, addend].into_iter().for_each(parallel::lengthen);
            parallel::vectorized(Normalize { x, mean, factor, addend, act: self.act, y });
        });
    }

    /// By the statistics of groups of channels, see [`groups`].
    pub fn by_group(&self, groups: &[(f64, f64)], x: &[f32], y: &mut [f32]) {
        let group = self.gamma.len() / groups.len();
        self.apply(|k| groups[k / group], x, y);
    }

    /// By each row's own statistics.
    pub fn by_row(&self, eps: f32, x: &[f32], y: &mut [f32]) {
        let c = self.gamma.len();
        for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
            let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / c as f64;
            let m2 = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
            let stats = Moments { count: c as f64, mean, m2 }.scale(eps);
            self.apply(|_| stats, x, y);
        }
    }
}

/// Mean and reciprocal deviation of each of `count` groups over the channels of the regions, one
/// region after the other.
pub(super) fn groups(
    regions: &[Region],
    buffer: &[f32],
    sample: usize,
    count: u32,
    eps: f32,
) -> Vec<(f64, f64)> {
    let channels: Vec<Moments> = regions
        .iter()
        .flat_map(|r| (0..r.c as usize).map(|c| r.channel(buffer, sample, c)))
        .collect();
    let group = channels.len() / count as usize;
    let merge = |group: &[Moments]| group.iter().fold(Moments::default(), |a, b| a.merge(*b));
    channels.chunks_exact(group).map(|g| merge(g).scale(eps)).collect()
}
