//! The ways to put the rows of a program on a device, which give the same samples. No driver is
//! called here.

use crate::error::{Error, Result};
use std::ops::Range;
use std::time::Duration;

/// How rows are launched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// A graph of one body, launched for every row of its kind.
    #[default]
    Step,
    /// Graphs of several rows.
    Trajectory,
    /// One cooperative kernel that walks all rows: kernels/common/persistent.cuh.
    Persistent,
}

/// A way to replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    pub replay: Replay,
    /// Whether a launch of a graph may begin before the one before it has ended, and wait for it on
    /// the device (programmatic dependent launch).
    pub overlap: bool,
}

/// What chooses the way, to be measured.
const REPLAY: &str = "UNNOISE_CUDA_REPLAY";
const OVERLAP: &str = "UNNOISE_CUDA_OVERLAP";

impl Way {
    /// The way that the environment asks for, else the default.
    ///
    /// # Errors
    /// `Error::Invalid` for words that are none of the ways.
    pub fn of_environment() -> Result<Way> {
        let of = |name| std::env::var_os(name).map(|word| word.to_string_lossy().into_owned());
        Way::parse(of(REPLAY).as_deref(), of(OVERLAP).as_deref())
    }

    fn parse(replay: Option<&str>, overlap: Option<&str>) -> Result<Way> {
        let wrong = |name, expected, found: &str| {
            Err(Error::invalid(name, expected, found, "leave it unset for the default"))
        };
        let replay = match replay {
            None | Some("step") => Replay::Step,
            Some("trajectory") => Replay::Trajectory,
            Some("persistent") => Replay::Persistent,
            Some(other) => return wrong(REPLAY, "step, trajectory or persistent", other),
        };
        let overlap = match overlap {
            None | Some("0") => false,
            Some("1") if replay == Replay::Persistent => {
                return wrong(OVERLAP, "0, as one kernel is never launched behind another", "1");
            }
            Some("1") => true,
            Some(other) => return wrong(OVERLAP, "0 or 1", other),
        };
        Ok(Way { replay, overlap })
    }
}

/// The most launches of a graph: making it takes time and memory for each.
const MOST_LAUNCHES: usize = 4096;
/// The most device time of a graph, which nothing interrupts.
const LONGEST: Duration = Duration::from_millis(50);

/// Cuts rows, given by their launches, into graphs of at most [`MOST_LAUNCHES`] launches and
/// [`LONGEST`] at `pace`, the device time of a row.
pub fn cut(launches: &[usize], first_row: usize, pace: Duration) -> Vec<Range<usize>> {
    let rows = (LONGEST.as_secs_f64() / pace.as_secs_f64().max(1e-9)) as usize;
    let mut graphs: Vec<Range<usize>> = Vec::new();
    let mut sum = 0;
    for (row, launches) in launches.iter().enumerate().skip(first_row) {
        sum += launches;
        match graphs.last_mut() {
            Some(graph) if sum <= MOST_LAUNCHES && graph.len() < rows => graph.end = row + 1,
            _ => {
                graphs.push(row..row + 1);
                sum = *launches;
            }
        }
    }
    graphs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_a_word() {
        let step = Way::default();
        let trajectory = Way { replay: Replay::Trajectory, overlap: true };
        let persistent = Way { replay: Replay::Persistent, overlap: false };
        for (replay, overlap, way) in [
            (None, None, step),
            (Some("step"), Some("0"), step),
            (None, Some("1"), Way { overlap: true, ..step }),
            (Some("trajectory"), Some("1"), trajectory),
            (Some("persistent"), None, persistent),
        ] {
            assert_eq!(Way::parse(replay, overlap).unwrap(), way);
        }
        for (replay, overlap, says) in [
            (Some("graph"), None, "expected step, trajectory or persistent, found graph"),
            (None, Some("yes"), "expected 0 or 1, found yes"),
            (Some("persistent"), Some("1"), "never launched behind another"),
        ] {
            let message = Way::parse(replay, overlap).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn graphs_are_short() {
        let ms = Duration::from_millis;
        // The initial noise, then ten steps.
        let launches = [vec![1], vec![70; 10]].concat();
        let ends = |launches: &[usize], first, pace| -> Vec<usize> {
            let graphs = cut(launches, first, ms(pace));
            assert!(graphs.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(graphs.first().map_or(first, |graph| graph.start), first);
            graphs.iter().map(|graph| graph.end).collect()
        };
        assert_eq!(ends(&launches, 0, 1), [11]);
        assert_eq!(ends(&launches, 0, 10), [5, 10, 11]);
        assert_eq!(ends(&launches, 3, 20), [5, 7, 9, 11]);
        assert_eq!(ends(&launches, 9, 80), [10, 11]);
        assert_eq!(ends(&[2000; 5], 0, 1), [2, 4, 5]);
        assert_eq!(ends(&[5000; 2], 0, 1), [1, 2]);
        assert!(ends(&[], 0, 1).is_empty());
    }
}
