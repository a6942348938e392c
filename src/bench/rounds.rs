//! Candidates measured in turn. Clocks, heat and neighbours change while a machine measures; two
//! candidates that are measured one after the other differ by that too.

use super::series::{Ratio, Series};
use crate::error::Result;
use rand_mt::Mt64;

/// Times of candidates in rounds. In a round each runs twice, in an order that reads the same from
/// its end (A B B A): what drifts evenly in it adds the same to all.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounds {
    /// `[round][candidate]`, the mean of the two.
    means: Vec<Vec<f64>>,
    /// `[candidate]`, all of its runs.
    series: Vec<Series>,
}

impl Rounds {
    /// All runs of `candidate`, two a round.
    pub fn series(&self, candidate: usize) -> &Series {
        &self.series[candidate]
    }

    /// The time of `candidate` over that of `reference`: the median of the ratios in the rounds,
    /// whose interval is that of a median.
    pub fn ratio(&self, candidate: usize, reference: usize) -> Result<Ratio> {
        let ratios = self.means.iter().map(|round| round[candidate] / round[reference]);
        let ratios = Series::new(ratios.collect())?;
        Ok(Ratio { value: ratios.median(), interval: ratios.median_interval() })
    }
}

/// Runs `candidates` in `rounds`, each twice a round, in orders that a fixed seed shuffles: who
/// comes after whom matters to a cache. `run` is told a candidate and gives its milliseconds.
///
/// # Errors
/// Those of `run`, and times that are none.
pub fn interleave(
    candidates: usize,
    rounds: usize,
    run: &mut dyn FnMut(usize) -> Result<f64>,
) -> Result<Rounds> {
    let mut random = Mt64::new(0);
    let (mut means, mut times) = (Vec::new(), vec![Vec::new(); candidates]);
    for _ in 0..rounds {
        let order = shuffled(candidates, &mut random);
        let mut sums = vec![0.0; candidates];
        for &candidate in order.iter().chain(order.iter().rev()) {
            let ms = run(candidate)?;
            sums[candidate] += ms;
            times[candidate].push(ms);
        }
        means.push(sums.iter().map(|sum| sum / 2.0).collect());
    }
    let series = times.into_iter().map(Series::new).collect::<Result<_>>()?;
    Ok(Rounds { means, series })
}

/// The numbers below `n` in an order of equal chance (Fisher & Yates 1938).
fn shuffled(n: usize, random: &mut Mt64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, (random.next_u64() % (i as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::noise::Noise;
    use std::collections::BTreeSet;

    /// A machine that becomes slower the longer it runs: 1% for each second, and 3% of noise.
    struct Clock {
        ms: f64,
        noise: Noise,
    }

    impl Clock {
        fn new() -> Clock {
            Clock { ms: 0.0, noise: Noise::new(3) }
        }

        fn run(&mut self, cost: f64) -> f64 {
            let ms = cost * (1.0 + 1e-5 * self.ms) * self.noise.skewed(0.03);
            self.ms += ms;
            ms
        }
    }

    const COSTS: [f64; 3] = [100.0, 110.0, 100.0];

    #[test]
    fn drift_cancels_in_rounds_and_does_not_in_sequence() {
        let mut clock = Clock::new();
        let sequence: Vec<Series> = COSTS
            .iter()
            .map(|cost| Series::new((0..100).map(|_| clock.run(*cost)).collect()).unwrap())
            .collect();
        let wrong = sequence[2].ratio_to(&sequence[0]);
        assert!(wrong.value > 1.15, "{wrong:?}");
        assert!(!wrong.interval.unwrap().holds(1.0), "drift looks like a difference: {wrong:?}");

        let mut clock = Clock::new();
        let rounds = interleave(3, 50, &mut |i| Ok(clock.run(COSTS[i]))).unwrap();
        assert_eq!(rounds.series(2).times().len(), 100);
        for (candidate, truth) in [(0, 1.0), (1, 1.1), (2, 1.0)] {
            let ratio = rounds.ratio(candidate, 0).unwrap();
            let interval = ratio.interval.unwrap();
            assert!(interval.holds(truth), "{candidate}: {ratio:?}");
            assert!(interval.high - interval.low < 0.03, "{candidate}: {ratio:?}");
        }
    }

    #[test]
    fn rounds_read_the_same_from_their_end_and_differ() {
        let mut order = Vec::new();
        let mut run = |i| {
            order.push(i);
            Ok(1.0)
        };
        interleave(4, 20, &mut run).unwrap();
        let rounds: BTreeSet<&[usize]> = order.chunks(8).collect();
        assert!(rounds.len() > 8, "{rounds:?}");
        for round in rounds {
            let back: Vec<usize> = round.iter().rev().copied().collect();
            assert_eq!(round, back);
            let mut there = round[..4].to_vec();
            there.sort_unstable();
            assert_eq!(there, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn few_rounds_have_a_ratio_without_an_interval() {
        let rounds = interleave(2, 5, &mut |i| Ok(1.0 + i as f64)).unwrap();
        assert_eq!(rounds.ratio(1, 0).unwrap(), Ratio { value: 2.0, interval: None });
    }

    #[test]
    fn a_run_that_fails_ends_them() {
        let failed = |_| Err(crate::error::Error::Interrupted);
        assert!(interleave(2, 5, &mut { failed }).is_err());
    }
}
