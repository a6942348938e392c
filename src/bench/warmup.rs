//! Runs before those that count: until the last of them agree, or until patience is over.

use serde::Serialize;

/// Runs on each side of a comparison at least; of more runs it is a quarter of them.
const WINDOW: usize = 4;

/// Medians this near agree however little the runs scatter.
const TOLERANCE: f64 = 0.02;

/// Medians within so many median deviations of the runs agree: they differ by no more than chance
/// would have them. A trend separates the sides by four.
const SCATTER: f64 = 2.0;

/// A device raises its clocks within some tenths of a second, in which short runs may agree.
const LEAST_MS: f64 = 300.0;

/// Patience, in runs and in milliseconds of them.
const MOST_RUNS: usize = 1000;
const MOST_MS: f64 = 10_000.0;

/// How a warm-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stability {
    pub runs: usize,
    /// None where too few runs were made to judge.
    pub stable: Option<bool>,
}

/// The runs of a warm-up so far, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Warmup {
    times: Vec<f64>,
    /// Runs that were asked for; until stable if `None`.
    wanted: Option<usize>,
}

impl Warmup {
    /// A warm-up of `wanted` runs, or until they are stable.
    pub fn new(wanted: Option<usize>) -> Warmup {
        Warmup { times: Vec::new(), wanted }
    }

    /// Adds a run of `ms`.
    pub fn add(&mut self, ms: f64) {
        self.times.push(ms);
    }

    /// Whether no more runs are needed, or worth waiting for.
    pub fn done(&self) -> bool {
        let spent: f64 = self.times.iter().sum();
        match self.wanted {
            Some(wanted) => self.times.len() >= wanted,
            None if self.times.len() >= MOST_RUNS || spent >= MOST_MS => true,
            None => spent >= LEAST_MS && self.stable() == Some(true),
        }
    }

    /// How it stands.
    pub fn stability(&self) -> Stability {
        Stability { runs: self.times.len(), stable: self.stable() }
    }

    /// Whether the median of the last runs is that of as many before them.
    fn stable(&self) -> Option<bool> {
        let n = self.times.len();
        let window = WINDOW.max(n / 4);
        if n < 2 * window {
            return None;
        }
        let (before, last) = self.times[n - 2 * window..].split_at(window);
        let (a, b) = (median(before.to_vec()), median(last.to_vec()));
        let away = |side: &[f64], middle: f64| -> Vec<f64> {
            side.iter().map(|time| (time - middle).abs()).collect()
        };
        let scatter = median([away(before, a), away(last, b)].concat());
        Some((a - b).abs() <= (TOLERANCE * a).max(SCATTER * scatter))
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let n = times.len();
    0.5 * (times[(n - 1) / 2] + times[n / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::noise::Noise;

    /// Warms up on what `time` says of run `i`.
    fn warm(mut time: impl FnMut(usize) -> f64) -> Stability {
        let mut warmup = Warmup::new(None);
        while !warmup.done() {
            warmup.add(time(warmup.times.len()));
        }
        warmup.stability()
    }

    #[test]
    fn equal_runs_are_stable_as_soon_as_they_can_be_compared() {
        assert_eq!(warm(|_| 50.0), Stability { runs: 8, stable: Some(true) });
        // Clocks have had their time.
        let short = warm(|_| 1.0);
        assert_eq!(short, Stability { runs: 300, stable: Some(true) });
    }

    /// Every run is a tenth of its excess nearer to 40 ms.
    #[test]
    fn runs_that_still_become_faster_are_not_stable() {
        let settled = warm(|i| 40.0 + 400.0 * 0.9_f64.powi(i as i32));
        assert_eq!(settled.stable, Some(true));
        let left = 400.0 * 0.9_f64.powi(settled.runs as i32 - 1);
        assert!(left < 3.0, "stopped after {} runs, {left:.1} ms above", settled.runs);
    }

    #[test]
    fn a_noisy_machine_becomes_stable_too() {
        let mut noise = Noise::new(2);
        for spread in [0.05, 0.2, 0.5] {
            let mut runs: Vec<usize> = (0..100)
                .map(|_| {
                    let found = warm(|_| 40.0 * noise.skewed(spread));
                    assert_eq!(found.stable, Some(true), "{spread}: {found:?}");
                    found.runs
                })
                .collect();
            runs.sort_unstable();
            assert!(runs[50] <= 12 && runs[95] <= 40, "{spread}: {runs:?}");
        }
    }

    #[test]
    fn patience_ends_in_runs_and_in_time() {
        let slower = warm(|i| 0.001 * i as f64);
        assert_eq!(slower, Stability { runs: MOST_RUNS, stable: Some(false) });
        let long = warm(|i| if i == 0 { 4000.0 } else { 8000.0 });
        assert_eq!(long, Stability { runs: 2, stable: None });
        let trend = warm(|i| 1000.0 * 1.3_f64.powi(i as i32));
        assert!(trend.stable != Some(true), "{trend:?}");
    }

    #[test]
    fn a_number_that_was_asked_for_is_kept() {
        let mut warmup = Warmup::new(Some(9));
        while !warmup.done() {
            warmup.add(1.0);
        }
        assert_eq!(warmup.stability(), Stability { runs: 9, stable: Some(true) });
        assert!(Warmup::new(Some(0)).done());
        assert_eq!(Warmup::new(Some(0)).stability(), Stability { runs: 0, stable: None });
    }
}
