//! Features of single samples, of which a fair choice is kept.

use std::cmp::Ordering;
use xxhash_rust::xxh3::xxh3_64;

/// Rows in an order that depends on them alone: by a hash of their bits. The first k of them are a
/// choice that is fair, and the same however the rows came.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    width: usize,
    /// Sorted by hash, then by bits.
    rows: Vec<(u64, Box<[f32]>)>,
}

impl Rows {
    /// None, of `width` features.
    pub fn new(width: usize) -> Rows {
        Rows { width, rows: Vec::new() }
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        self.rows.iter().map(|(_, row)| &**row)
    }

    /// Row i in that order.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.rows[i].1
    }

    /// Takes a row and returns its hash; [`Rows::trim`] must follow.
    pub(super) fn push(&mut self, row: &[f32]) -> u64 {
        // One zero: -0 and 0 are one feature.
        let row: Box<[f32]> = row.iter().map(|v| v + 0.0).collect();
        let hash = xxh3_64(bytemuck::cast_slice(&row));
        self.rows.push((hash, row));
        hash
    }

    /// Takes the rows of another; [`Rows::trim`] must follow.
    pub(super) fn merge(&mut self, other: &Rows) {
        self.rows.extend(other.rows.iter().cloned());
    }

    /// Brings the rows into order and keeps the first `most`.
    pub(super) fn trim(&mut self, most: usize) {
        self.rows.sort_by(order);
        self.rows.truncate(most);
    }
}

fn order(a: &(u64, Box<[f32]>), b: &(u64, Box<[f32]>)) -> Ordering {
    let bits = |row: &[f32]| row.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    a.0.cmp(&b.0).then_with(|| bits(&a.1).cmp(&bits(&b.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(numbers: impl Iterator<Item = u32>) -> Rows {
        let mut rows = Rows::new(2);
        for n in numbers {
            rows.push(&[n as f32, (n * n) as f32]);
        }
        rows
    }

    #[test]
    fn what_is_kept_depends_on_no_order() {
        let mut whole = rows(0..100);
        whole.trim(20);
        let mut parts = rows((60..100).rev());
        parts.trim(20);
        let mut first = rows(0..60);
        first.trim(20);
        parts.merge(&first);
        parts.trim(20);
        assert_eq!(whole, parts);
        let numbers: Vec<f32> = whole.iter().map(|row| row[0]).collect();
        assert_ne!(
            numbers,
            (0..20).map(|n| n as f32).collect::<Vec<_>>(),
            "a choice, not the first"
        );
    }
}
