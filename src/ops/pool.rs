//! The largest or the mean of the pixels under a window, channel by channel.
//!
//! `y[n, i, j, c] = max` or `mean of x[n, stride i + u - top, stride j + v - left, c]` over the
//! `kh x kw` places `(u, v)` of the window that lie inside the map. With `count_padding` the mean
//! divides by all places that the padded map has: `bottom` and `right` say how far that goes. A
//! window as large as the map is the global mean.

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

/// What of the pixels.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Max = 0,
    Mean = 1,
}

pub(super) const CONSTANTS: &[(&str, u32)] =
    &[("POOL_MAX", Mode::Max as u32), ("POOL_MEAN", Mode::Mean as u32)];

params! {
    /// x `[n, h, w, c]`, y `[n, ho, wo, c]`; `mode` is one of [`Mode`].
    pub struct Params {
        pub n: u32,
        pub h: u32,
        pub w: u32,
        pub c: u32,
        pub ho: u32,
        pub wo: u32,
        pub kh: u32,
        pub kw: u32,
        pub stride: u32,
        pub top: u32,
        pub left: u32,
        pub bottom: u32,
        pub right: u32,
        pub mode: u32,
        pub count_padding: u32,
    }
}

impl Params {
    /// Places of the window from `first` on that lie inside `size` after `before` of padding: the
    /// first pixel of the map, one past the last, and how many the padded map has.
    fn span(first: u32, k: u32, before: u32, size: u32, after: u32) -> (usize, usize, usize) {
        let begin = first.max(before) - before;
        let end = (first + k).min(before + size).max(before) - before;
        let padded = (first + k).min(before + size + after) - first;
        (begin as usize, end as usize, padded as usize)
    }
}

impl Op for Params {
    const NAME: &'static str = "pool";
    const ARGS: &'static [Arg] = &[Arg::read("x").wide("VEC4"), Arg::write("y").wide("VEC4")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.n * self.h * self.w * self.c) as usize,
            _ => (self.n * self.ho * self.wo * self.c) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn flops(&self) -> u64 {
        self.elements(1) as u64 * (self.kh * self.kw) as u64
    }
    fn reference(&self, _cursor: Cursor, buffers: &mut Buffers) {
        let x = buffers.read[0];
        let (h, w, c) = (self.h as usize, self.w as usize, self.c as usize);
        let (ho, wo) = (self.ho as usize, self.wo as usize);
        let mean = self.mode == Mode::Mean as u32;
        let y = &mut buffers.write[1][..self.elements(1)];
        parallel::vectors(y, c, |i, y| {
            let (n, oy, ox) = (i / (ho * wo), (i / wo % ho) as u32, (i % wo) as u32);
            let lines = Self::span(oy * self.stride, self.kh, self.top, self.h, self.bottom);
            let columns = Self::span(ox * self.stride, self.kw, self.left, self.w, self.right);
            y.fill(if mean { 0.0 } else { f32::NEG_INFINITY });
            for line in lines.0..lines.1 {
                for column in columns.0..columns.1 {
                    let pixel = &x[((n * h + line) * w + column) * c..][..c];
                    match mean {
                        true => y.iter_mut().zip(pixel).for_each(|(y, x)| *y += x),
                        false => y.iter_mut().zip(pixel).for_each(|(y, x)| *y = y.max(*x)),
                    }
                }
            }
            if mean {
                let count = match self.count_padding {
                    0 => (lines.1 - lines.0) * (columns.1 - columns.0),
                    _ => lines.2 * columns.2,
                };
                y.iter_mut().for_each(|y| *y /= count as f32);
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |what: &str, p: Params| {
            let size = format!("{}x{}x{}x{}", p.n, p.h, p.w, p.c);
            let args = vec![random.data(p.elements(0), 2.0), CaseArg::Output];
            Case::new(format!("pool {}x{} s{} {size} {what}", p.kh, p.kw, p.stride), p, args)
        };
        let params = |(n, h, w, c), (kh, kw), stride, [(top, bottom), (left, right)]: [_; 2]| {
            let ho = (h + top + bottom - kh) / stride + 1;
            let wo = (w + left + right - kw) / stride + 1;
            let mode = Mode::Max as u32;
            let count_padding = 0;
            let size = (n, h, w, c, ho, wo);
            let (n, h, w, c, ho, wo) = size;
            Params {
                n,
                h,
                w,
                c,
                ho,
                wo,
                kh,
                kw,
                stride,
                top,
                left,
                bottom,
                right,
                mode,
                count_padding,
            }
        };
        let none = [(0, 0); 2];
        let one = [(1, 1); 2];
        let shapes = [
            ("one pixel", params((1, 1, 1, 1), (1, 1), 1, none)),
            ("halves", params((2, 6, 4, 5), (2, 2), 2, none)),
            ("halves odd", params((1, 7, 5, 8), (2, 2), 2, none)),
            ("overlapping", params((2, 9, 7, 12), (3, 3), 2, none)),
            ("padded", params((2, 5, 4, 6), (3, 3), 1, one)),
            ("padded, wide", params((1, 4, 6, 4), (1, 5), 1, [(0, 0), (2, 2)])),
            ("sides", params((3, 5, 5, 3), (3, 2), 2, [(0, 1), (1, 0)])),
            ("whole map", params((2, 5, 7, 8), (5, 7), 1, none)),
            ("large map", params((1, 35, 33, 16), (3, 3), 2, none)),
        ];
        let mean = Mode::Mean as u32;
        let mut cases = Vec::new();
        for (what, p) in shapes {
            cases.push(case(&format!("max, {what}"), p));
            cases.push(case(&format!("mean, {what}"), Params { mode: mean, ..p }));
            let padded = p.top + p.left + p.bottom + p.right > 0;
            if padded {
                let p = Params { mode: mean, count_padding: 1, ..p };
                cases.push(case(&format!("mean with padding, {what}"), p));
            }
        }
        cases
    }
}
