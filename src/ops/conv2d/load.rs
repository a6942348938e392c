//! The input of `conv2d` as the convolution sees it: joined, normalised, activated, enlarged.

use super::Params;
use crate::ops::activation::Apply;
use crate::ops::on_load::{self, Affine};
use crate::ops::row::Rows;
use crate::ops::{Cursor, parallel};

impl Params {
    /// Writes the input as the convolution sees it, `[n, h * up, w * up, cin]`.
    pub(super) fn load(
        &self,
        [x, x2, rows]: [&[f32]; 3],
        table: &Rows,
        norm: &Norm,
        loaded: &mut Vec<f32>,
    ) {
        let (w, ca, cb) = (self.w as usize, self.ca as usize, self.cb as usize);
        let (up, c) = (self.up as usize, ca + cb);
        loaded.resize(self.n as usize * self.h as usize * up * w * up * c, 0.0);
        // One line of x a block, which becomes `up` lines.
        parallel::blocks(loaded, up * w * up * c, 1, |first, lines| {
            for (i, lines) in lines.chunks_exact_mut(up * w * up * c).enumerate() {
                let line = first + i;
                let mut joined = Vec::new();
                if self.states > 0 {
                    self.line_of_state(x, table, line, &mut joined);
                } else if cb > 0 {
                    for pixel in line * w..(line + 1) * w {
                        joined.extend_from_slice(&x[pixel * ca..][..ca]);
                        joined.extend_from_slice(&x2[pixel * cb..][..cb]);
                    }
                }
                let read = if joined.is_empty() { &x[line * w * c..][..w * c] } else { &joined };
                let sample = line / self.h as usize;
                norm.apply(self, sample, rows, read, &mut lines[..w * c]);
                // From the end, so that no pixel is overwritten before it was copied.
                for pixel in (1..w * up).rev().filter(|_| up > 1) {
                    lines.copy_within(pixel / up * c..(pixel / up + 1) * c, pixel * c);
                }
                for copy in 1..up {
                    lines.copy_within(..w * up * c, copy * w * up * c);
                }
            }
        });
    }
}

impl Params {
    /// Line `line` of the samples' lines, made of the state.
    fn line_of_state(&self, x: &[f32], table: &Rows, line: usize, joined: &mut Vec<f32>) {
        let (h, w, c) = (self.h as usize, self.w as usize, self.ca as usize);
        let state = line / h % self.states as usize;
        let gain = self.gain * table.of(state).c_in;
        for pixel in line % h * w..(line % h + 1) * w {
            let channels = (0..c).map(|k| gain * x[(state * c + k) * h * w + pixel] + self.shift);
            joined.extend(channels);
        }
    }
}

/// The norm and the activation on load.
pub(super) struct Norm<'a> {
    vectors: &'a [f32],
    /// Mean and reciprocal deviation of each group of each sample.
    groups: Vec<Vec<(f64, f64)>>,
    cursor: Cursor,
    cond: &'a [u32],
}

impl<'a> Norm<'a> {
    pub fn new(
        p: &Params,
        vectors: &'a [f32],
        moments: &[f32],
        cursor: Cursor,
        cond: &'a [u32],
    ) -> Self {
        let [a, b, _] = p.regions();
        let regions = if p.cb > 0 { vec![a, b] } else { vec![a] };
        let groups = |n| on_load::groups(&regions, moments, n, p.groups, p.eps);
        let samples = if p.groups > 0 { p.n as usize } else { 0 };
        Norm { vectors, groups: (0..samples).map(groups).collect(), cursor, cond }
    }

    /// Pixels of `sample`.
    fn apply(&self, p: &Params, sample: usize, rows: &[f32], x: &[f32], y: &mut [f32]) {
        let c = p.cin() as usize;
        let Some(groups) = self.groups.get(sample) else {
            y.copy_from_slice(x);
            return parallel::vectorized(Apply { act: p.act_in, values: y });
        };
        let row = match p.rows_norm {
            0 => &[],
            _ => &rows[p.map.row(self.cursor, self.cond, sample) * 2 * c..][..2 * c],
        };
        let (gamma, beta) = self.vectors[..2 * c].split_at(c);
        Affine { gamma, beta, row, act: p.act_in }.by_group(groups, x, y);
    }
}
