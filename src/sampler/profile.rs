//! Times every launch of a compiled trajectory.

use super::Sampler;
use crate::backend::Observer;
use crate::backend::roofline::Peak;
use crate::backend::timeline::Timeline;
use crate::error::{Error, Result};
use crate::profile::Profile;
use std::time::Instant;

/// Runs of each kind before those that count: compiling, uploading and allocating may be put off
/// until a first run, and the first profiled one makes what takes the timestamps.
const WARM: usize = 2;

impl Sampler {
    /// Times every launch of `runs` runs that draw the samples with these indices, at most
    /// [`Sampler::batch`] of them, and takes as many runs without timestamps in turn with them, so
    /// that what the timestamps cost is known. `peak` is what the device does at most, if that was
    /// measured. Calls `done` after each run with how many of how many are done.
    ///
    /// # Errors
    /// Those of [`Sampler::sample`]; `Error::Invalid` for no runs, or on a device that cannot time
    /// launches.
    pub fn profile(
        &mut self,
        indices: &[usize],
        runs: usize,
        peak: Option<Peak>,
        observer: &mut Observer,
        mut done: impl FnMut(usize, usize),
    ) -> Result<Profile> {
        if runs == 0 {
            return Err(Error::invalid("--runs", "at least 1", "0", "profile at least one run"));
        }
        self.check(indices)?;
        self.fill_inputs(indices);
        let (mut timelines, mut plain) = (Vec::new(), Vec::new());
        for round in 0..WARM + runs {
            // Each kind comes first in turn: a device that slows down slows both.
            for profiled in [round % 2 == 0, round % 2 != 0] {
                match profiled {
                    true => timelines.push(self.timed(observer)?),
                    false => plain.push(self.plain_us(observer)?),
                }
                done(timelines.len() + plain.len(), 2 * (WARM + runs));
            }
        }
        let (timelines, plain) = (&timelines[WARM..], &plain[WARM..]);
        Ok(Profile::new(&self.program, self.tuned(), timelines, plain, peak))
    }

    fn timed(&mut self, observer: &mut Observer) -> Result<Timeline> {
        let (_, timeline) = self.session.profile(&self.inputs, observer, &mut self.output)?;
        Ok(timeline)
    }

    /// Microseconds of a run without timestamps.
    fn plain_us(&mut self, observer: &mut Observer) -> Result<f64> {
        let begin = Instant::now();
        self.session.run(&self.inputs, observer, &mut self.output)?;
        Ok(begin.elapsed().as_secs_f64() * 1e6)
    }
}
