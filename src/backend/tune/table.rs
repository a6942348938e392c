//! What was measured: for each class of launches the time of each candidate.

use crate::ops::Tile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A candidate and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timed {
    pub tile: Tile,
    /// Milliseconds of one launch; none if the device refused it.
    pub ms: Option<f64>,
}

/// Times by class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Table(BTreeMap<String, Vec<Timed>>);

impl Table {
    /// What is known of a candidate.
    pub fn get(&self, class: &str, tile: Tile) -> Option<Timed> {
        self.0.get(class)?.iter().find(|timed| timed.tile == tile).copied()
    }

    /// Notes a time, in place of one that was there.
    pub fn put(&mut self, class: &str, timed: Timed) {
        let times = self.0.entry(class.to_string()).or_default();
        times.retain(|other| other.tile != timed.tile);
        times.push(timed);
    }

    /// The fastest of `candidates`, once each of them was measured: half a comparison would
    /// prefer what happened to come first.
    pub fn best(&self, class: &str, candidates: &[Tile]) -> Option<Tile> {
        let timed: Option<Vec<Timed>> =
            candidates.iter().map(|tile| self.get(class, *tile)).collect();
        let ran = timed?.into_iter().filter_map(|timed| Some((timed.tile, timed.ms?)));
        ran.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(tile, _)| tile)
    }

    /// Takes over everything that `newer` knows.
    pub fn merge(&mut self, newer: &Table) {
        for (class, times) in &newer.0 {
            times.iter().for_each(|timed| self.put(class, *timed));
        }
    }

    /// Whether every time is one.
    pub fn is_sound(&self) -> bool {
        let mut times = self.0.values().flatten().filter_map(|timed| timed.ms);
        times.all(|ms| ms.is_finite() && ms > 0.0)
    }

    /// Classes in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Method;

    fn tile(rows: u32) -> Tile {
        Tile { method: Method::Tiled, rows, columns: 64, splits: 1 }
    }

    #[test]
    fn the_fastest_is_known_once_all_were_measured() {
        let candidates = [tile(16), tile(32), tile(64)];
        let mut table = Table::default();
        table.put("c", Timed { tile: tile(16), ms: Some(2.0) });
        table.put("c", Timed { tile: tile(32), ms: Some(1.0) });
        assert_eq!(table.best("c", &candidates), None);
        table.put("c", Timed { tile: tile(64), ms: None });
        assert_eq!(table.best("c", &candidates), Some(tile(32)));
        assert_eq!(table.best("d", &candidates), None);
        table.put("c", Timed { tile: tile(32), ms: Some(3.0) });
        assert_eq!(table.best("c", &candidates), Some(tile(16)));
    }

    #[test]
    fn newer_times_replace_older_ones() {
        let (mut older, mut newer) = (Table::default(), Table::default());
        older.put("a", Timed { tile: tile(16), ms: Some(2.0) });
        older.put("b", Timed { tile: tile(16), ms: Some(2.0) });
        newer.put("a", Timed { tile: tile(16), ms: Some(1.0) });
        older.merge(&newer);
        assert_eq!((older.len(), older.get("a", tile(16)).unwrap().ms), (2, Some(1.0)));
    }
}
