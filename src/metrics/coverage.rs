//! Precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991, eq. 2): the share of one set
//! that lies where the other has its neighbours.

use super::Rows;
use faer::Mat;

/// The neighbour whose distance is the radius around a row.
pub const NEIGHBOURS: usize = 3;

/// Rows whose products with all others are in memory at once.
const BLOCK: usize = 256;

/// The share of the samples that lie within the reference. `None` if a set has no more than
/// [`NEIGHBOURS`] rows.
pub fn precision(samples: &Rows, reference: &Rows) -> Option<f64> {
    covered(reference, samples)
}

/// The share of the reference that lies within the samples.
pub fn recall(samples: &Rows, reference: &Rows) -> Option<f64> {
    covered(samples, reference)
}

/// The share of `points` that are no further from a row of `by` than its neighbour of that number
/// is.
fn covered(by: &Rows, points: &Rows) -> Option<f64> {
    if by.len().min(points.len()) <= NEIGHBOURS {
        return None;
    }
    let by: Vec<&[f32]> = by.iter().collect();
    let points: Vec<&[f32]> = points.iter().collect();
    let mut radii = Vec::with_capacity(by.len());
    distances(&by, &by, |_, row| {
        // The nearest of all is the row itself.
        let (_, radius, _) = row.select_nth_unstable_by(NEIGHBOURS, f64::total_cmp);
        radii.push(*radius);
    });
    let mut inside = 0;
    distances(&points, &by, |_, row| {
        inside += usize::from(row.iter().zip(&radii).any(|(distance, radius)| distance <= radius));
    });
    Some(inside as f64 / points.len() as f64)
}

/// The squared distances of each row of x to all rows of y, to be written over.
fn distances(x: &[&[f32]], y: &[&[f32]], mut each: impl FnMut(usize, &mut [f64])) {
    let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
    let norms: Vec<f64> = y.iter().map(|row| norm(row)).collect();
    let mut line = vec![0.0; y.len()];
    blocks(x, y, |first, products| {
        for i in 0..products.nrows() {
            let own = norm(x[first + i]);
            for (j, distance) in line.iter_mut().enumerate() {
                // Equal rows have no distance, whatever rounding makes of it.
                let found = own + norms[j] - 2.0 * products[(i, j)];
                *distance = if x[first + i] == y[j] { 0.0 } else { found.max(0.0) };
            }
            each(first + i, &mut line);
        }
    });
}

/// The products of rows of x with all rows of y in f64, block after block; `each` is told the first
/// row of a block.
pub(super) fn blocks(x: &[&[f32]], y: &[&[f32]], mut each: impl FnMut(usize, &Mat<f64>)) {
    let d = y.first().map_or(0, |row| row.len());
    let across = Mat::from_fn(d, y.len(), |i, j| f64::from(y[j][i]));
    for (b, block) in x.chunks(BLOCK).enumerate() {
        let rows = Mat::from_fn(block.len(), d, |i, j| f64::from(block[i][j]));
        each(b * BLOCK, &(&rows * &across));
    }
}
