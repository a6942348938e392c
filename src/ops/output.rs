//! The network's output of a step, as a row reads it.

use super::guidance::{guidance_of, guide};
use super::row::{self, Row};

/// The output f `[n, hw, cf]` of a batch of `b`, n = 2 b if `guided`.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    pub f: &'a [f32],
    pub run: &'a [u32],
    pub b: usize,
    pub c: usize,
    pub cf: usize,
    pub hw: usize,
    pub guided: bool,
}

impl Output<'_> {
    /// The output for `channel` of the pixel of element `i` of network sample `n`.
    fn at(&self, n: usize, channel: usize, i: usize) -> f32 {
        self.f[(n * self.hw + i % self.hw) * self.cf + channel]
    }

    /// C and U of element `i` of a sample; both C where guidance does not act.
    pub fn pair(&self, row: &Row, sample: usize, i: usize) -> [f32; 2] {
        let channel = i / self.hw;
        let conditional = self.at(sample, channel, i);
        match self.guided && row.has(row::GUIDE) {
            true => [conditional, self.at(self.b + sample, channel, i)],
            false => [conditional; 2],
        }
    }

    /// `U + w (C - U)`.
    pub fn guided(&self, sample: usize, [conditional, unconditional]: [f32; 2]) -> f32 {
        guide(conditional, unconditional, guidance_of(self.run, sample))
    }

    /// F and the output that eps is made of.
    pub fn outputs(&self, row: &Row, sample: usize, i: usize) -> [f32; 2] {
        let pair = self.pair(row, sample, i);
        if !(self.guided && row.has(row::GUIDE)) {
            return pair;
        }
        let f = row.f_scale * self.guided(sample, pair);
        [f, if row.has(row::UNCOND_EPS) { pair[1] } else { f }]
    }

    /// The factor of the noise of element `i`: the variance is the conditional half's own.
    pub fn noise_scale(&self, row: &Row, sample: usize, i: usize) -> f32 {
        match row.has(row::LEARNED) {
            true => row.log_scale(self.at(sample, self.c + i / self.hw, i)).exp(),
            false => 1.0,
        }
    }
}
