//! How far samples are from a reference, in a space of features: Frechet distance, kernel distance,
//! precision and recall, and how sure and how varied a classifier finds them.
//!
//! [`Statistics`] are exact sums over samples. Two parts make the same bits as the whole, in
//! whatever order they come.

mod coverage;
mod file;
mod frechet;
mod kernel;
mod rows;
mod statistics;

pub use coverage::{NEIGHBOURS, precision, recall};
pub use frechet::frechet_distance;
pub use kernel::{KernelDistance, SUBSET, SUBSETS, kernel_distance};
pub use rows::Rows;
pub use statistics::{KEPT, SPLITS, Space, Statistics};
