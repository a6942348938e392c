//! The matrix product of `conv2d` on the CPU, in the form that suits the shape.

use super::Params;
use crate::ops::matrix::{self, View};
use std::cell::{Cell, RefCell};

/// Work memory of a thread.
#[derive(Default)]
struct Scratch {
    /// The patches of a block of output pixels, `[pixels, kh * kw * cin]`, or the padded lines that
    /// a block reads.
    input: Vec<f32>,
    /// The sums of padded lines.
    sums: Vec<f32>,
}

thread_local! {
    /// The grouped weight. Taken out while in use: a thread that waits for others may be given
    /// another convolution to start.
    pub(super) static GROUPED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// How the sum is made a matrix product.
#[derive(Clone, Copy)]
pub(super) enum Method {
    /// A 1x1 kernel: the input is the matrix.
    Pixels,
    /// Each kernel row over padded lines: in `[lines, width, cin]` the `kw * cin` elements from a
    /// pixel on are a row of that pixel's patch, so overlapping rows of one copy of the input
    /// stand for the patches. What falls between two lines is computed and thrown away. So that
    /// few output channels fill a vector, `group` pixels in a row are one row of the product, see
    /// [`Params::grouped`].
    Lines { rows: usize, group: usize },
    /// Patches written out, `kh * kw` copies of the input.
    Patches { pixels: usize },
}

impl Params {
    /// Lines save copying, which is what counts where few output channels share a copy, and waste
    /// `kw - 1` pixels a line, which is little where lines are long.
    pub(super) fn method(&self) -> Method {
        /// Output pixels of one product, and elements that stay in the second cache.
        const PIXELS: usize = 512;
        const ELEMENTS: usize = 1 << 16;
        let same_size = (self.ho, self.wo) == self.size();
        if (self.kh, self.kw, self.stride, self.top, self.left) == (1, 1, 1, 0, 0) && same_size {
            return Method::Pixels;
        }
        let (ho, wo) = (self.ho as usize, self.wo as usize);
        if self.stride == 1 && wo >= 16 && self.cout <= 32 {
            // Whole samples are cut evenly, so that no block holds lines of two.
            let even = (1..=ho).filter(|rows| ho.is_multiple_of(*rows) && rows * wo <= PIXELS);
            // Vectors of 16 lanes; two at once hide the latency of one.
            let group = if self.cout == 16 { 2 } else { (16 / self.cout as usize).max(1) };
            return Method::Lines { rows: even.max().unwrap_or(1), group };
        }
        let patch = (self.taps() * self.cin()) as usize;
        Method::Patches { pixels: (ELEMENTS / patch).clamp(16, PIXELS) }
    }

    /// Output pixels of a block.
    pub(super) fn block(&self, method: Method) -> usize {
        match method {
            Method::Pixels => 512,
            Method::Lines { rows, .. } => rows * self.wo as usize,
            Method::Patches { pixels } => pixels,
        }
    }

    /// The sums of a block of output pixels from number `first` on.
    pub(super) fn sum(&self, method: Method, x: &[f32], weight: View, first: usize, y: &mut [f32]) {
        let (k, cout) = (weight.rows, self.cout as usize);
        let count = y.len() / cout;
        SCRATCH.with_borrow_mut(|scratch| match method {
            Method::Pixels => {
                let x = View::rows(&x[first * k..], count, k, k);
                matrix::product(x, weight, y, cout, false);
            }
            Method::Lines { group, .. } => self.sum_lines(x, (weight, group), first, scratch, y),
            Method::Patches { .. } => {
                scratch.input.resize(count * k, 0.0);
                self.gather(x, first, &mut scratch.input);
                let patches = View::rows(&scratch.input, count, k, k);
                matrix::product(patches, weight, y, cout, false);
            }
        });
    }

    /// The weight `[kh][(group - 1 + kw) * cin][group * cout]` that gives `group` neighbours at
    /// once: the weight itself once for each of them, shifted by a pixel, and zeros.
    pub(super) fn grouped<'a>(
        &self,
        weight: View,
        group: usize,
        grouped: &'a mut Vec<f32>,
    ) -> View<'a> {
        let (kh, k) = (self.kh as usize, self.kw as usize);
        let (cin, cout) = (self.cin() as usize, self.cout as usize);
        grouped.clear();
        grouped.resize(kh * (group - 1 + k) * cin * group * cout, 0.0);
        let lines = grouped.chunks_exact_mut((group - 1 + k) * cin * group * cout);
        for (ky, line) in lines.enumerate() {
            for (i, j) in (0..k * cin).flat_map(|i| (0..group).map(move |j| (i, j))) {
                let to = ((j * cin + i) * group + j) * cout;
                let from = (ky * k * cin + i) * weight.strides.0;
                line[to..to + cout].copy_from_slice(&weight.data[from..][..cout]);
            }
        }
        View::rows(grouped, kh * (group - 1 + k) * cin, group * cout, group * cout)
    }

    /// [`Method::Lines`].
    fn sum_lines(
        &self,
        x: &[f32],
        (weight, group): (View, usize),
        first: usize,
        Scratch { input, sums }: &mut Scratch,
        y: &mut [f32],
    ) {
        let ((h, w), cin) = (self.size(), self.cin() as usize);
        let (h, w) = (h as usize, w as usize);
        let (ho, wo, cout) = (self.ho as usize, self.wo as usize, self.cout as usize);
        let (kh, k) = (self.kh as usize, self.kw as usize);
        let (above, pad) = (self.top as usize, self.left as usize);
        let rows = y.len() / (wo * cout);
        let (n, top) = (first / (ho * wo), first / wo % ho);
        // Columns 0..width of a padded line are pad.. of the map's, so far as they are inside.
        let width = wo + k - 1;
        let inside = w.min(width.saturating_sub(pad));
        let lines = (rows + kh - 1) * width * cin;
        // The last group may reach beyond the last line.
        input.resize(lines + group * cin, 0.0);
        for (i, line) in input[..lines].chunks_exact_mut(width * cin).enumerate() {
            let from = pad.min(width) * cin;
            let to = from + inside * cin;
            line[..from].fill(0.0);
            line[to..].fill(0.0);
            match (top + i).checked_sub(above).filter(|y| *y < h) {
                Some(y) => {
                    line[from..to].copy_from_slice(&x[(n * h + y) * w * cin..][..inside * cin]);
                }
                None => line[from..to].fill(0.0),
            }
        }
        let groups = ((rows - 1) * width + wo).div_ceil(group);
        sums.resize(groups * group * cout, 0.0);
        let depth = (group - 1 + k) * cin;
        for ky in 0..kh {
            let x = View::rows(&input[ky * width * cin..], groups, depth, group * cin);
            let weight = weight.part(ky * depth, depth);
            matrix::product(x, weight, sums, group * cout, ky > 0);
        }
        for (y, sums) in y.chunks_exact_mut(wo * cout).zip(sums.chunks(width * cout)) {
            y.copy_from_slice(&sums[..wo * cout]);
        }
    }

    /// Writes the patches of the output pixels from number `first` on.
    fn gather(&self, x: &[f32], first: usize, patches: &mut [f32]) {
        let ((h, w), cin) = (self.size(), self.cin() as usize);
        let (h, w) = (h as usize, w as usize);
        let (ho, wo) = (self.ho as usize, self.wo as usize);
        let (kh, k, stride) = (self.kh as usize, self.kw as usize, self.stride as usize);
        let (above, pad) = (self.top as usize, self.left as usize);
        for (i, patch) in patches.chunks_exact_mut(kh * k * cin).enumerate() {
            let p = first + i;
            let (n, top, left) = (p / (ho * wo), p / wo % ho * stride, p % wo * stride);
            // Columns of the kernel that lie inside the map.
            let begin = pad.saturating_sub(left).min(k);
            let end = (w + pad).saturating_sub(left).min(k).max(begin);
            for (ky, line) in patch.chunks_exact_mut(k * cin).enumerate() {
                let y = top + ky;
                if y < above || y >= h + above || begin == end {
                    line.fill(0.0);
                    continue;
                }
                let from = ((n * h + y - above) * w + left + begin - pad) * cin;
                line[..begin * cin].fill(0.0);
                line[begin * cin..end * cin].copy_from_slice(&x[from..][..(end - begin) * cin]);
                line[end * cin..].fill(0.0);
            }
        }
    }
}
