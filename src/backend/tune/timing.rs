//! How long a candidate is looked at: the same for every backend.

use crate::error::Result;
use std::time::Duration;

/// Device time of one sample: long enough that a submission's own time is small in it, and far
/// below what a desktop's watchdog allows.
const SAMPLE: Duration = Duration::from_millis(5);
/// Samples of a candidate, of which the fastest counts.
const SAMPLES: usize = 3;
/// Launches of one sample at most: recording has its price too.
const MOST: f64 = 200.0;
/// A candidate that takes so much longer than the best at first is not looked at again.
const HOPELESS: f64 = 1.5;

/// Milliseconds of one launch; `run` gives those of so many, one after another.
///
/// # Errors
/// Those of `run`.
pub fn fastest(best: Option<f64>, run: &mut dyn FnMut(usize) -> Result<f64>) -> Result<f64> {
    run(1)?;
    let mut fastest = run(1)?;
    if best.is_some_and(|best| fastest > HOPELESS * best && fastest > 1.0) {
        return Ok(fastest);
    }
    let repeats = (SAMPLE.as_secs_f64() * 1e3 / fastest.max(1e-3)).clamp(1.0, MOST) as usize;
    for _ in 0..SAMPLES {
        fastest = fastest.min(run(repeats)? / repeats as f64);
    }
    Ok(fastest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says of launches of `ms`, and how often it ran how many.
    fn of(ms: f64, best: Option<f64>) -> (f64, Vec<usize>) {
        let mut runs = Vec::new();
        let mut run = |repeats| {
            runs.push(repeats);
            // The first is slow, as lazy loading makes it.
            Ok(if runs.len() == 1 { 50.0 } else { ms * repeats as f64 })
        };
        (fastest(best, &mut run).unwrap(), runs)
    }

    #[test]
    fn short_launches_are_repeated_and_hopeless_ones_are_not() {
        assert_eq!(of(2.5, None), (2.5, vec![1, 1, 2, 2, 2]));
        assert_eq!(of(0.001, None).1, [1, 1, 200, 200, 200]);
        assert_eq!(of(20.0, Some(25.0)), (20.0, vec![1, 1, 1, 1, 1]));
        assert_eq!(of(20.0, Some(10.0)), (20.0, vec![1, 1]));
        // So short that a single one says little.
        assert_eq!(of(0.5, Some(0.1)).1, [1, 1, 10, 10, 10]);
    }

    #[test]
    fn an_error_ends_it() {
        let mut run = |_| Err(crate::error::Error::Interrupted);
        assert!(fastest(None, &mut run).is_err());
    }
}
