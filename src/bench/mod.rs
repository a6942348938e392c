//! What `unnoise bench` makes of times: how they spread, when a device is warm, what differs.
//!
//! Everything here is arithmetic on milliseconds that were measured elsewhere, and can be used on
//! times of any origin:
//!
//! * [`Series`]: quantiles, mean and deviation, with a confidence interval of the median;
//! * [`Warmup`]: when runs have settled;
//! * [`interleave`] and [`Rounds`]: several candidates in one run, so that drift cancels;
//! * [`Baseline`]: an earlier measurement, and what changed since;
//! * [`Meter`]: the energy and the clocks of an NVIDIA GPU;
//! * [`Environment`]: where a measurement was made.
//!
//! ```
//! use unnoise::bench::Series;
//!
//! let times = Series::new(vec![4.1, 4.0, 4.2, 4.0, 9.7, 4.1, 4.0])?; // milliseconds
//! assert_eq!(times.quantile(0.5), 4.1);
//! assert_eq!(times.median_interval().map(|i| i.low), Some(4.0));
//! # Ok::<(), unnoise::error::Error>(())
//! ```

mod baseline;
mod energy;
mod environment;
#[cfg(test)]
mod noise;
mod rounds;
mod series;
mod warmup;

pub use baseline::{Baseline, Comparison, Configuration, Earlier, Verdict};
pub use energy::{Clocks, Meter, Reading, Spent};
pub use environment::{Environment, Gpu, REVISION};
pub use rounds::{Rounds, interleave};
pub use series::{CONFIDENCE, Interval, LEAST, Ratio, Series};
pub use warmup::{Stability, Warmup};
