//! `y = act((conv(x, w) + bias + row + residual) * scale)`: a 2-D convolution as an implicit GEMM.
//!
//! `x` is `[N, H, W, Cin]`, `y` and `residual` `[N, Ho, Wo, Cout]`, `row` one vector of `rows` a
//! sample. `weight` is packed `[k][k][Cin][Cout_padded]` (K-major, Cout padded with zeros to a
//! multiple of 4, [`crate::program::Pack::Conv`]). `pad` is the padding above and to the left;
//! what `ho` and `wo` reach past the lower and right edge reads zero.

mod cases;

use super::epilogue::Epilogue;
use super::matrix::{self, View};
use super::{Arg, Buffers, Case, Cursor, Op, RowMap, Span, parallel, params, words};
use std::cell::{Cell, RefCell};

params! {
    /// See the module; `k` is the side of the square kernel.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub h: u32,
        pub w: u32,
        pub cin: u32,
        pub ho: u32,
        pub wo: u32,
        pub cout: u32,
        pub k: u32,
        pub stride: u32,
        pub pad: u32,
        pub act: u32,
        pub scale: f32,
    }
}

/// Work memory of a thread.
#[derive(Default)]
struct Scratch {
    /// The patches of a block of output pixels, `[pixels, k * k * cin]`, or the padded lines that
    /// a block reads.
    input: Vec<f32>,
    /// The sums of padded lines.
    sums: Vec<f32>,
}

thread_local! {
    /// The grouped weight. Taken out while in use: a thread that waits for others may be given
    /// another convolution to start.
    static GROUPED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// How the sum is made a matrix product.
#[derive(Clone, Copy)]
enum Method {
    /// A 1x1 kernel: the input is the matrix.
    Pixels,
    /// Each kernel row over padded lines: in `[lines, width, cin]` the `k * cin` elements from a
    /// pixel on are a row of that pixel's patch, so overlapping rows of one copy of the input
    /// stand for the patches. What falls between two lines is computed and thrown away. So that
    /// few output channels fill a vector, `group` pixels in a row are one row of the product, see
    /// [`Params::grouped`].
    Lines { rows: usize, group: usize },
    /// Patches written out, `k * k` copies of the input.
    Patches { pixels: usize },
}

impl Params {
    /// Lines save copying, which is what counts where few output channels share a copy, and waste
    /// `k - 1` pixels a line, which is little where lines are long.
    fn method(&self) -> Method {
        /// Output pixels of one product, and elements that stay in the second cache.
        const PIXELS: usize = 512;
        const ELEMENTS: usize = 1 << 16;
        let same_size = (self.ho, self.wo) == (self.h, self.w);
        if (self.k, self.stride, self.pad) == (1, 1, 0) && same_size {
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
        let patch = (self.k * self.k * self.cin) as usize;
        Method::Patches { pixels: (ELEMENTS / patch).clamp(16, PIXELS) }
    }

    /// Output pixels of a block.
    fn block(&self, method: Method) -> usize {
        match method {
            Method::Pixels => 512,
            Method::Lines { rows, .. } => rows * self.wo as usize,
            Method::Patches { pixels } => pixels,
        }
    }

    /// The sums of a block of output pixels from number `first` on.
    fn sum(&self, method: Method, x: &[f32], weight: View, first: usize, y: &mut [f32]) {
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

    /// The weight `[k][(group - 1 + k) * cin][group * cout]` that gives `group` neighbours at once:
    /// the weight itself once for each of them, shifted by a pixel, and zeros.
    fn grouped<'a>(&self, weight: View, group: usize, grouped: &'a mut Vec<f32>) -> View<'a> {
        let (k, cin, cout) = (self.k as usize, self.cin as usize, self.cout as usize);
        grouped.clear();
        grouped.resize(k * (group - 1 + k) * cin * group * cout, 0.0);
        let lines = grouped.chunks_exact_mut((group - 1 + k) * cin * group * cout);
        for (ky, line) in lines.enumerate() {
            for (i, j) in (0..k * cin).flat_map(|i| (0..group).map(move |j| (i, j))) {
                let to = ((j * cin + i) * group + j) * cout;
                let from = (ky * k * cin + i) * weight.strides.0;
                line[to..to + cout].copy_from_slice(&weight.data[from..][..cout]);
            }
        }
        View::rows(grouped, k * (group - 1 + k) * cin, group * cout, group * cout)
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
        let (h, w, cin) = (self.h as usize, self.w as usize, self.cin as usize);
        let (ho, wo, cout) = (self.ho as usize, self.wo as usize, self.cout as usize);
        let (k, pad) = (self.k as usize, self.pad as usize);
        let rows = y.len() / (wo * cout);
        let (n, top) = (first / (ho * wo), first / wo % ho);
        // Columns 0..width of a padded line are pad.. of the map's, so far as they are inside.
        let width = wo + k - 1;
        let inside = w.min(width.saturating_sub(pad));
        let lines = (rows + k - 1) * width * cin;
        // The last group may reach beyond the last line.
        input.resize(lines + group * cin, 0.0);
        for (i, line) in input[..lines].chunks_exact_mut(width * cin).enumerate() {
            let from = pad.min(width) * cin;
            let to = from + inside * cin;
            line[..from].fill(0.0);
            line[to..].fill(0.0);
            match (top + i).checked_sub(pad).filter(|y| *y < h) {
                Some(y) => {
                    line[from..to].copy_from_slice(&x[(n * h + y) * w * cin..][..inside * cin]);
                }
                None => line[from..to].fill(0.0),
            }
        }
        let groups = ((rows - 1) * width + wo).div_ceil(group);
        sums.resize(groups * group * cout, 0.0);
        let depth = (group - 1 + k) * cin;
        for ky in 0..k {
            let x = View::rows(&input[ky * width * cin..], groups, depth, group * cin);
            let weight = weight.part(ky * depth, depth);
            matrix::product(x, weight, sums, group * cout, ky > 0);
        }
        for (y, sums) in y.chunks_exact_mut(wo * cout).zip(sums.chunks(width * cout)) {
            y.copy_from_slice(&sums[..wo * cout]);
        }
    }

    /// Adds bias, row and residual to the sums of a block and activates.
    fn finish(&self, epilogue: &Epilogue, addends: &Addends, first: usize, y: &mut [f32]) {
        let (pixels, cout) = ((self.ho * self.wo) as usize, self.cout as usize);
        let count = y.len() / cout;
        // The parts of a block that belong to one sample share its row.
        let mut done = 0;
        while done < count {
            let sample = (first + done) / pixels;
            let end = ((sample + 1) * pixels - first).min(count);
            let row = match addends.rows {
                [] => &[][..],
                rows => &rows[self.map.row(addends.cursor, addends.cond, sample) * cout..][..cout],
            };
            let (from, to) = ((first + done) * cout, (first + end) * cout);
            let residual = addends.residual.get(from..to).unwrap_or_default();
            epilogue.apply(&mut y[done * cout..end * cout], cout, row, residual);
            done = end;
        }
    }

    /// Writes the patches of the output pixels from number `first` on.
    fn gather(&self, x: &[f32], first: usize, patches: &mut [f32]) {
        let (h, w, cin) = (self.h as usize, self.w as usize, self.cin as usize);
        let (ho, wo) = (self.ho as usize, self.wo as usize);
        let (k, stride, pad) = (self.k as usize, self.stride as usize, self.pad as usize);
        for (i, patch) in patches.chunks_exact_mut(k * k * cin).enumerate() {
            let p = first + i;
            let (n, top, left) = (p / (ho * wo), p / wo % ho * stride, p % wo * stride);
            // Columns of the kernel that lie inside the map.
            let begin = pad.saturating_sub(left).min(k);
            let end = (w + pad).saturating_sub(left).min(k).max(begin);
            for (ky, line) in patch.chunks_exact_mut(k * cin).enumerate() {
                let y = top + ky;
                if y < pad || y >= h + pad || begin == end {
                    line.fill(0.0);
                    continue;
                }
                let from = ((n * h + y - pad) * w + left + begin - pad) * cin;
                line[..begin * cin].fill(0.0);
                line[begin * cin..end * cin].copy_from_slice(&x[from..][..(end - begin) * cin]);
                line[end * cin..].fill(0.0);
            }
        }
    }
}

/// What a block adds to its sums, absent ones empty.
struct Addends<'a> {
    rows: &'a [f32],
    residual: &'a [f32],
    cursor: Cursor,
    cond: &'a [u32],
}

impl Op for Params {
    const NAME: &'static str = "conv2d";
    const ARGS: &'static [Arg] = &[
        Arg::read("x"),
        Arg::read("weight"),
        Arg::maybe("bias"),
        Arg::maybe("rows"),
        Arg::maybe("residual"),
        Arg::maybe("cond"),
        Arg::write("y"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.n * self.h * self.w * self.cin) as usize,
            1 => (self.k * self.k * self.cin * self.cout.next_multiple_of(4)) as usize,
            2 => self.cout as usize,
            3 => self.map.vectors(self.n) * self.cout as usize,
            5 => self.n as usize,
            _ => (self.n * self.ho * self.wo * self.cout) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::tile(self.cin, self.cout)
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            3 => self.map.reach(self.n, span) * self.cout as usize,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        let outputs = self.n as u64 * self.ho as u64 * self.wo as u64 * self.cout as u64;
        2 * outputs * self.k as u64 * self.k as u64 * self.cin as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, weight, bias, rows, residual, cond, ..] = buffers.read;
        let (k, cout) = ((self.k * self.k * self.cin) as usize, self.cout as usize);
        let weight = View::rows(weight, k, cout, cout.next_multiple_of(4));
        let epilogue = Epilogue { bias, scale: self.scale, act: self.act };
        let addends = Addends { rows, residual, cursor, cond: words(cond) };
        let y = &mut buffers.write[6][..self.elements(6)];
        let method = self.method();
        let mut grouped = GROUPED.take();
        let weight = match method {
            Method::Lines { group, .. } if group > 1 => self.grouped(weight, group, &mut grouped),
            _ => weight,
        };
        parallel::blocks(y, cout, self.block(method), |first, y| {
            self.sum(method, x, weight, first, y);
            self.finish(&epilogue, &addends, first, y);
        });
        GROUPED.set(grouped);
    }
    fn cases() -> Vec<Case> {
        cases::cases()
    }
}
