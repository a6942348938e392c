//! One progress bar over all rows of all batches, on stderr, where stderr is a terminal.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;

/// Rows done of rows in all.
pub struct Progress {
    bar: ProgressBar,
    /// Rows of the batches that are finished.
    before: u64,
}

impl Progress {
    /// For `rows` in all; indicatif shows nothing where stderr is no terminal.
    pub fn new(rows: usize) -> Progress {
        let speed = |state: &ProgressState, out: &mut dyn Write| {
            // A terminal that cannot be written to shows no speed; the run goes on.
            write!(out, "{:.1} it/s", state.per_sec()).unwrap_or_default();
        };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {speed}  ETA {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("speed", speed);
        Progress { bar: ProgressBar::new(rows as u64).with_style(style), before: 0 }
    }

    /// `done` of `total` are done.
    pub fn of(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    /// One more is done.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// `rows` of the current batch are done.
    pub fn at(&self, rows: usize) {
        self.bar.set_position(self.before + rows as u64);
    }

    /// A batch of `rows` is done.
    pub fn batch_done(&mut self, rows: usize) {
        self.before += rows as u64;
        self.bar.set_position(self.before);
    }
}

/// The bar leaves the terminal at the end, also when that is an error.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
