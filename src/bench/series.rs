//! Times of repeated runs, and how sure their median is.

use crate::error::{Error, Result};
use rand_mt::Mt64;
use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF};

/// How often an interval holds the truth, if nothing but chance is between the runs.
pub const CONFIDENCE: f64 = 0.95;

/// Times below this number have no interval: the least and the most of five are not sure enough.
pub const LEAST: usize = 6;

/// Times drawn again from those there are, for the interval of a ratio.
const RESAMPLES: usize = 2000;

/// From `low` to `high`, both counted in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies in it.
    pub fn holds(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// One time over another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    pub value: f64,
    /// None below [`LEAST`] times.
    pub interval: Option<Interval>,
}

/// Times in milliseconds, or other positive numbers; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// In the order of measurement.
    times: Vec<f64>,
    sorted: Vec<f64>,
}

impl Series {
    /// Takes times in the order in which they were measured.
    ///
    /// # Errors
    /// No time at all, or one that is not a finite positive number.
    pub fn new(times: Vec<f64>) -> Result<Series> {
        let expected = "one or more positive times in milliseconds";
        let bad = times.iter().find(|time| !(time.is_finite() && **time > 0.0));
        let found = match bad {
            Some(time) => format!("{time}"),
            None if times.is_empty() => "none".to_string(),
            None => {
                let mut sorted = times.clone();
                sorted.sort_by(f64::total_cmp);
                return Ok(Series { times, sorted });
            }
        };
        Err(Error::invalid("times of runs", expected, found, "measure again"))
    }

    /// In the order of measurement.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The quantile `q`, from 0 to 1, linear between neighbours.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(&self.sorted, q)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn mean(&self) -> f64 {
        self.times.iter().sum::<f64>() / self.times.len() as f64
    }

    pub fn least(&self) -> f64 {
        self.sorted[0]
    }

    /// The standard deviation of the distribution that the times are from; none for one time.
    pub fn deviation(&self) -> Option<f64> {
        let mean = self.mean();
        let squares: f64 = self.times.iter().map(|time| (time - mean) * (time - mean)).sum();
        let others = self.times.len() - 1;
        (others > 0).then(|| (squares / others as f64).sqrt())
    }

    /// The interval of the median at [`CONFIDENCE`], from order statistics: of n times each is
    /// below the true median with probability 1/2, whatever the distribution (Hahn & Meeker 1991,
    /// section 5.2). None below [`LEAST`] times.
    pub fn median_interval(&self) -> Option<Interval> {
        let n = self.sorted.len();
        let below = Binomial::new(0.5, n as u64).ok()?;
        let tail = 0.5 * (1.0 - CONFIDENCE);
        // The k-th time from either end, k as large as the tails allow.
        let k = (0..n as u64 / 2).take_while(|k| below.cdf(*k) <= tail).count();
        (k > 0).then(|| Interval { low: self.sorted[k - 1], high: self.sorted[n - k] })
    }

    /// The ratio of this median to that of `other`, of runs that were not made side by side. The
    /// interval is a percentile bootstrap (Efron 1979) with a fixed seed.
    pub fn ratio_to(&self, other: &Series) -> Ratio {
        let value = self.median() / other.median();
        let known = self.times.len() >= LEAST && other.times.len() >= LEAST;
        let interval = known.then(|| {
            let mut random = Mt64::new(0);
            let mut ratios: Vec<f64> = (0..RESAMPLES)
                .map(|_| self.resampled(&mut random) / other.resampled(&mut random))
                .collect();
            ratios.sort_by(f64::total_cmp);
            let tail = 0.5 * (1.0 - CONFIDENCE);
            Interval { low: quantile(&ratios, tail), high: quantile(&ratios, 1.0 - tail) }
        });
        Ratio { value, interval }
    }

    /// The median of as many times as there are, each drawn from all of them.
    fn resampled(&self, random: &mut Mt64) -> f64 {
        let n = self.sorted.len();
        let draw = |random: &mut Mt64| self.sorted[(random.next_u64() % n as u64) as usize];
        let mut times: Vec<f64> = (0..n).map(|_| draw(random)).collect();
        times.sort_by(f64::total_cmp);
        quantile(&times, 0.5)
    }
}

/// The quantile `q` of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::noise::Noise;

    fn series(times: &[f64]) -> Series {
        Series::new(times.to_vec()).unwrap()
    }

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        let times = series(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(times.quantile(0.0), 1.0);
        assert_eq!(times.median(), 2.5);
        assert_eq!(times.quantile(1.0), 4.0);
        assert_eq!(times.times(), [4.0, 1.0, 3.0, 2.0]);
        assert_eq!(series(&[7.0]).quantile(0.99), 7.0);
    }

    #[test]
    fn moments_are_those_of_the_textbook() {
        let times = series(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(times.mean(), 5.0);
        assert_eq!(times.least(), 2.0);
        assert!((times.deviation().unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(series(&[3.0]).deviation(), None);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [&[][..], &[1.0, f64::NAN], &[f64::INFINITY], &[0.0], &[1.0, -2.0]] {
            let message = Series::new(bad.to_vec()).unwrap_err().to_string();
            assert!(message.contains("positive times"), "{bad:?}: {message}");
        }
    }

    /// Ranks from a table of the binomial distribution.
    #[test]
    fn intervals_of_the_median_have_the_ranks_of_the_tables() {
        for (n, low, high) in [(6, 1, 6), (8, 1, 8), (10, 2, 9), (20, 6, 15), (100, 40, 61)] {
            let times: Vec<f64> = (1..=n).map(f64::from).collect();
            let interval = series(&times).median_interval().unwrap();
            assert_eq!(interval, Interval { low: f64::from(low), high: f64::from(high) }, "{n}");
        }
        assert_eq!(series(&[1.0, 2.0, 3.0, 4.0, 5.0]).median_interval(), None);
    }

    /// Skewed times, as those of a machine that is sometimes disturbed.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut noise = Noise::new(1);
        let draw = |noise: &mut Noise, n: usize, median: f64| {
            Series::new((0..n).map(|_| median * noise.skewed(0.2)).collect()).unwrap()
        };
        for n in [6, 10, 15] {
            let (mut medians, mut ratios) = (0, 0);
            let trials = 400;
            for _ in 0..trials {
                let (a, b) = (draw(&mut noise, n, 12.0), draw(&mut noise, n, 10.0));
                medians += usize::from(a.median_interval().unwrap().holds(12.0));
                ratios += usize::from(a.ratio_to(&b).interval.unwrap().holds(1.2));
            }
            let share = |held: usize| held as f64 / trials as f64;
            // Two standard deviations of the trial below what is promised.
            assert!(share(medians) >= 0.93, "{n} times: {}", share(medians));
            assert!(share(ratios) >= 0.92, "{n} times, ratios: {}", share(ratios));
        }
    }

    #[test]
    fn a_ratio_to_itself_is_one_and_few_times_have_no_interval() {
        let times = series(&[3.0, 1.0, 2.0, 5.0, 4.0, 6.0]);
        let ratio = times.ratio_to(&times);
        assert_eq!(ratio.value, 1.0);
        assert!(ratio.interval.unwrap().holds(1.0));
        assert_eq!(ratio, times.ratio_to(&times), "the seed is fixed");
        let few = series(&[3.0, 1.0, 2.0, 5.0, 4.0]);
        assert_eq!(few.ratio_to(&times).interval, None);
        assert_eq!(times.ratio_to(&few).interval, None);
    }
}
