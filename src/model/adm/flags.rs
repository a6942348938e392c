//! Values as the scripts spell them: -1 for none, numbers joined by commas.

use super::super::keys::Keys;
use super::config::{Repository, positive};
use crate::error::Result;
use std::ops::RangeInclusive;

/// Ways to read a flag.
pub(super) trait Flags {
    /// Numbers joined by commas, or one number.
    fn list(&mut self, key: &'static str, default: &str) -> Result<String>;
    /// An integer in `range`, or -1 for none.
    fn maybe_positive(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>>;
}

impl Flags for Keys<'_> {
    fn list(&mut self, key: &'static str, default: &str) -> Result<String> {
        self.take(key, "numbers joined by commas, in quotes", default.to_string(), |v| {
            v.as_str().map(str::to_string).or_else(|| v.as_u64().map(|n| n.to_string()))
        })
    }

    fn maybe_positive(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>> {
        let expected = format!("an integer from {} to {}, or -1", range.start(), range.end());
        self.take(key, &expected, None, |v| positive(v, &range))
    }
}

/// The widths of the levels of each image size, in multiples of `num_channels`.
const MULTIPLIERS: &[(Repository, usize, &str)] = &[
    (Repository::Guided, 512, "0.5,1,1,2,2,4,4"),
    (Repository::Guided, 256, "1,1,2,2,4,4"),
    (Repository::Guided, 128, "1,1,2,3,4"),
    (Repository::Guided, 64, "1,2,3,4"),
    (Repository::Improved, 256, "1,1,2,2,4,4"),
    (Repository::Improved, 64, "1,2,3,4"),
    (Repository::Improved, 32, "1,2,2,2"),
];

/// Levels at most: each halves the map.
const LEVELS: RangeInclusive<usize> = 1..=12;

/// What `channel_mult` says, or what the image size stands for where it is empty.
pub(super) fn multipliers(
    keys: &Keys,
    text: &str,
    repository: Repository,
    image_size: usize,
) -> Result<Vec<f64>> {
    // The consistency models took the table of guided-diffusion along.
    let table = match repository {
        Repository::Improved => Repository::Improved,
        Repository::Guided | Repository::Consistency => Repository::Guided,
    };
    let of_table = || MULTIPLIERS.iter().filter(move |(whose, ..)| *whose == table);
    if text.is_empty() {
        let known = of_table().find(|(_, size, _)| *size == image_size);
        let sizes: Vec<_> = of_table().map(|(_, size, _)| size.to_string()).collect();
        let expected = match repository {
            Repository::Improved => format!("one of {}", sizes.join(", ")),
            _ => format!("one of {} where channel_mult is empty", sizes.join(", ")),
        };
        let bad = || keys.bad("image_size", expected, image_size.to_string());
        return known.ok_or_else(bad).map(|(.., mult)| numbers(mult).unwrap_or_default());
    }
    let fits = |mult: &Vec<f64>| {
        LEVELS.contains(&mult.len()) && mult.iter().all(|m| *m > 0.0 && *m <= 1024.0)
    };
    numbers(text).filter(fits).ok_or_else(|| {
        let expected = format!("1 to {} numbers above 0, joined by commas", LEVELS.end());
        keys.bad("channel_mult", expected, format!("{text:?}"))
    })
}

/// Which of the levels attend: those where `image_size / resolution`, rounded down, is the factor
/// by which the map was halved.
pub(super) fn divided(
    keys: &Keys,
    text: &str,
    image_size: usize,
    levels: usize,
) -> Result<Vec<bool>> {
    let sizes = text.split(',').map(|s| s.trim().parse::<usize>().ok().filter(|n| *n > 0));
    let Some(sizes) = sizes.collect::<Option<Vec<usize>>>() else {
        let expected = "whole numbers above 0, joined by commas";
        return Err(keys.bad("attention_resolutions", expected, format!("{text:?}")));
    };
    Ok((0..levels).map(|i| sizes.iter().any(|size| image_size / size == 1 << i)).collect())
}

fn numbers(text: &str) -> Option<Vec<f64>> {
    text.split(',').map(|s| s.trim().parse::<f64>().ok()).collect()
}
