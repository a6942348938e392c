//! Exact sums over the features and classes of samples.
//!
//! Numbers are rounded to multiples of 2^-20 (features) and 2^-40 (probabilities) and added as
//! integers, which have no order.

use super::Rows;
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Rows that are kept beside the sums, for what asks for neighbours.
pub const KEPT: usize = 10_000;

/// Parts that the published Inception score is a mean over (Salimans et al. 2016,
/// arXiv:1606.03498, in the code beside it).
pub const SPLITS: usize = 10;

/// A feature is a multiple of 2^-20 and lies below 2^15, so that n times a sum of products fits
/// 127 bits for up to 2^28 samples.
const FEATURE: f64 = (1_u64 << 20) as f64;
const LARGEST: f64 = (1_u64 << 15) as f64;
pub(super) const MOST_SAMPLES: u64 = 1 << 28;
/// Probabilities and entropies are multiples of 2^-40.
const SHARE: f64 = (1_u64 << 40) as f64;

/// Whose features they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// What results call it.
    pub name: String,
    /// A hash of the network, as hex.
    pub fingerprint: String,
    /// Whether figures in it are those that are published as FID, KID and Inception score.
    pub canonical: bool,
    pub features: usize,
    pub classes: usize,
}

/// What is known of a set of samples. Equal sets have equal statistics, bit for bit, however they
/// were cut into parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    pub space: Space,
    /// `[C, H, W]` of the samples.
    pub shape: [usize; 3],
    pub count: u64,
    /// Of the features, `[d]`, in units of 2^-20.
    pub(super) sums: Vec<i128>,
    /// Of products of two of them, i <= j, row by row, in units of 2^-40.
    pub(super) products: Vec<i128>,
    /// Of the classes, part by part. A hash of its features decides which part a sample is of: the
    /// parts are nearly equal, and the same however the samples came.
    pub(super) splits: [Split; SPLITS],
    /// The features of at most [`KEPT`] samples.
    pub(super) rows: Rows,
}

/// What a classifier made of one part of the samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Split {
    pub count: u64,
    /// Of the probabilities of the classes, in units of 2^-40.
    pub shares: Vec<i128>,
    /// Of `sum p ln p` over the classes, in the same units.
    pub negentropy: i128,
}

impl Split {
    pub fn new(classes: usize) -> Split {
        Split { shares: vec![0; classes], ..Split::default() }
    }

    /// Adds what the classifier made of one sample. The functions of `libm` have one result on
    /// every machine.
    fn add(&mut self, logits: &[f32]) {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shifted = || logits.iter().map(|l| f64::from(*l) - f64::from(most));
        let total: f64 = shifted().map(libm::exp).sum();
        let log_total = libm::log(total);
        for (sum, s) in self.shares.iter_mut().zip(shifted()) {
            let p = libm::exp(s) / total;
            *sum += i128::from((p * SHARE).round_ties_even() as i64);
            self.negentropy += i128::from((p * (s - log_total) * SHARE).round_ties_even() as i64);
        }
        self.count += 1;
    }

    fn merge(&mut self, other: &Split) {
        self.shares.iter_mut().zip(&other.shares).for_each(|(sum, other)| *sum += other);
        self.negentropy += other.negentropy;
        self.count += other.count;
    }

    /// `exp E[KL(p(y | x) || p(y))]`; 0 for no samples.
    fn score(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let n = self.count as f64 * SHARE;
        let shares = self.shares.iter().map(|sum| *sum as f64 / n).filter(|q| *q > 0.0);
        let marginal: f64 = shares.map(|q| q * libm::log(q)).sum();
        libm::exp(self.negentropy as f64 / n - marginal)
    }
}

impl Statistics {
    /// Of no samples.
    pub fn new(space: Space, shape: [usize; 3]) -> Statistics {
        let d = space.features;
        Statistics {
            shape,
            count: 0,
            sums: vec![0; d],
            products: vec![0; d * (d + 1) / 2],
            splits: std::array::from_fn(|_| Split::new(space.classes)),
            rows: Rows::new(d),
            space,
        }
    }

    /// Adds samples: `[n, features + classes]`, features and then logits.
    ///
    /// # Errors
    /// Features of 32768 and more.
    pub fn add(&mut self, rows: &[f32]) -> Result<()> {
        let (d, width) = (self.space.features, self.space.features + self.space.classes);
        let n = rows.len() / width;
        if let Some(found) = rows.chunks_exact(width).flat_map(|row| &row[..d]).find(too_large) {
            return Err(Error::invalid(
                format!("features of {}", self.space.name),
                format!("numbers below {LARGEST}"),
                found.to_string(),
                "use a network with smaller features",
            ));
        }
        // Feature by feature, so that a product of two sums over neighbours in memory.
        let column = |i: usize| rows.chunks_exact(width).map(move |row| fixed(row[i], FEATURE));
        let columns: Vec<i64> = (0..d).flat_map(column).collect();
        let column = |i: usize| &columns[i * n..][..n];
        for (i, sum) in self.sums.iter_mut().enumerate() {
            *sum += column(i).iter().map(|v| i128::from(*v)).sum::<i128>();
        }
        let mut lines: Vec<(usize, &mut [i128])> = Vec::with_capacity(d);
        let mut rest = self.products.as_mut_slice();
        for i in 0..d {
            let (line, after) = rest.split_at_mut(d - i);
            lines.push((i, line));
            rest = after;
        }
        lines.into_par_iter().for_each(|(i, line)| {
            for (j, sum) in (i..d).zip(line) {
                let pairs = column(i).iter().zip(column(j));
                *sum += pairs.map(|(a, b)| i128::from(*a) * i128::from(*b)).sum::<i128>();
            }
        });
        for row in rows.chunks_exact(width) {
            let hash = self.rows.push(&row[..d]);
            self.splits[(hash % SPLITS as u64) as usize].add(&row[d..]);
        }
        self.rows.trim(KEPT);
        self.count += n as u64;
        self.check_count()
    }

    /// Adds the samples of another part.
    ///
    /// # Errors
    /// Features of another network, or samples of another shape.
    pub fn merge(&mut self, other: Statistics) -> Result<()> {
        self.check_fits(&other)?;
        if self.shape != other.shape {
            let expected = format!("samples of [C, H, W] {:?}, as before", self.shape);
            let (found, action) = (format!("{:?}", other.shape), "give samples of one model");
            return Err(Error::invalid("samples", expected, found, action));
        }
        let add = |sums: &mut Vec<i128>, others: Vec<i128>| {
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        };
        add(&mut self.sums, other.sums);
        add(&mut self.products, other.products);
        self.splits.iter_mut().zip(&other.splits).for_each(|(one, other)| one.merge(other));
        self.count += other.count;
        self.rows.merge(&other.rows);
        self.rows.trim(KEPT);
        self.check_count()
    }

    fn check_count(&self) -> Result<()> {
        if self.count <= MOST_SAMPLES {
            return Ok(());
        }
        let (expected, found) = (format!("at most {MOST_SAMPLES}"), self.count.to_string());
        Err(Error::invalid("samples", expected, found, "leave some out"))
    }

    /// Whether the two are of one network.
    ///
    /// # Errors
    /// Features of another.
    pub fn check_fits(&self, other: &Statistics) -> Result<()> {
        let named = |space: &Space| format!("{} ({})", space.name, space.fingerprint);
        if self.space.fingerprint != other.space.fingerprint || self.sums.len() != other.sums.len()
        {
            return Err(Error::invalid(
                "statistics",
                format!("features of {}", named(&self.space)),
                format!("those of {}", named(&other.space)),
                "make both with one network",
            ));
        }
        Ok(())
    }

    /// A hash of them, as hex.
    pub fn fingerprint(&self) -> String {
        let mut hash = Xxh3::new();
        let sums = self.sums.iter().chain(&self.products);
        for number in sums.chain(self.splits.iter().flat_map(|split| &split.shares)) {
            hash.update(&number.to_le_bytes());
        }
        for split in &self.splits {
            hash.update(&split.negentropy.to_le_bytes());
            hash.update(&split.count.to_le_bytes());
        }
        hash.update(self.space.fingerprint.as_bytes());
        format!("{:032x}", hash.digest128())
    }

    /// The mean of the features.
    pub fn mean(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| *sum as f64 / (self.count as f64 * FEATURE)).collect()
    }

    /// The covariance of features i and j, with n - 1 below; two samples are needed. The numerator
    /// is exact.
    pub fn covariance(&self, i: usize, j: usize) -> f64 {
        let (i, j, d) = (i.min(j), i.max(j), self.sums.len());
        let product = self.products[i * d - i * (i + 1) / 2 + j];
        let n = i128::from(self.count);
        let above = n * product - self.sums[i] * self.sums[j];
        above as f64 / (self.count as f64 * (self.count as f64 - 1.0) * FEATURE * FEATURE)
    }

    /// How sure and how varied the classes are: `exp E[KL(p(y | x) || p(y))]`, over all samples at
    /// once (Salimans et al. 2016, arXiv:1606.03498, section 4). From 1 to the number of classes;
    /// 0 for no samples.
    pub fn score(&self) -> f64 {
        let mut whole = Split::new(self.space.classes);
        self.splits.iter().for_each(|split| whole.merge(split));
        whole.score()
    }

    /// The same as it is published, where the classes are Inception's: the mean of the scores of
    /// [`SPLITS`] parts, and their deviation with [`SPLITS`] below. None where a part is empty.
    pub fn split_score(&self) -> Option<(f64, f64)> {
        if self.splits.iter().any(|split| split.count == 0) {
            return None;
        }
        let scores = self.splits.each_ref().map(Split::score);
        let mean = scores.iter().sum::<f64>() / SPLITS as f64;
        let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / SPLITS as f64;
        Some((mean, variance.sqrt()))
    }

    /// The features that were kept: all, or a fair choice of [`KEPT`].
    pub fn rows(&self) -> &Rows {
        &self.rows
    }
}

fn too_large(value: &&f32) -> bool {
    f64::from(**value).abs() >= LARGEST
}

fn fixed(value: f32, unit: f64) -> i64 {
    (f64::from(value) * unit).round_ties_even() as i64
}
