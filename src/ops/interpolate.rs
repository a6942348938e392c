//! A map at another size, by bilinear interpolation of its pixels.
//!
//! Line i of y lies at `(i + offset) h / ho - offset` of x, clamped to the map, between the line
//! below it and the next; columns likewise. `offset` 0 is TensorFlow 1's `resize_bilinear`, by
//! which the Inception network of the FID was published; 1/2 puts the centres of pixels over each
//! other (PyTorch's `interpolate` with `align_corners=False`). There is no smoothing where the map
//! shrinks.

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

params! {
    /// x `[n, h, w, c]`, y `[n, ho, wo, c]`.
    pub struct Params {
        pub n: u32,
        pub h: u32,
        pub w: u32,
        pub c: u32,
        pub ho: u32,
        pub wo: u32,
        pub offset: f32,
    }
}

impl Params {
    /// The pixel before place `i` of `places` along `size` pixels, the next one, and the part of
    /// the next.
    fn between(&self, i: usize, size: u32, places: u32) -> (usize, usize, f32) {
        let scale = size as f32 / places as f32;
        let at = ((i as f32 + self.offset) * scale - self.offset).max(0.0);
        let first = (at.floor() as usize).min(size as usize - 1);
        (first, (first + 1).min(size as usize - 1), at - first as f32)
    }
}

impl Op for Params {
    const NAME: &'static str = "interpolate";
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
        9 * self.elements(1) as u64
    }
    fn reference(&self, _cursor: Cursor, buffers: &mut Buffers) {
        let x = buffers.read[0];
        let (h, w, c) = (self.h as usize, self.w as usize, self.c as usize);
        let (ho, wo) = (self.ho as usize, self.wo as usize);
        let y = &mut buffers.write[1][..self.elements(1)];
        parallel::vectors(y, c, |i, y| {
            let (n, oy, ox) = (i / (ho * wo), i / wo % ho, i % wo);
            let (above, below, down) = self.between(oy, self.h, self.ho);
            let (left, right, across) = self.between(ox, self.w, self.wo);
            let pixel = |line: usize, column: usize| &x[((n * h + line) * w + column) * c..][..c];
            let (a, b) = (pixel(above, left), pixel(above, right));
            let (d, e) = (pixel(below, left), pixel(below, right));
            for k in 0..c {
                let upper = a[k] + (b[k] - a[k]) * across;
                let lower = d[k] + (e[k] - d[k]) * across;
                y[k] = upper + (lower - upper) * down;
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut cases = Vec::new();
        for (n, (h, w), (ho, wo), c) in [
            (1, (1, 1), (1, 1), 1),
            (2, (1, 1), (3, 4), 4),
            (1, (4, 6), (8, 12), 3),
            (2, (5, 7), (13, 9), 5),
            (1, (32, 32), (37, 75), 3),
            (3, (9, 8), (4, 5), 8),
            (1, (3, 5), (3, 5), 2),
            (1, (2, 16), (29, 29), 4),
        ] {
            for offset in [0.0, 0.5] {
                let p = Params { n, h, w, c, ho, wo, offset };
                let args = vec![random.data(p.elements(0), 2.0), CaseArg::Output];
                let name = format!("interpolate {n}x{h}x{w}x{c} to {ho}x{wo}, offset {offset}");
                cases.push(Case::new(name, p, args));
            }
        }
        cases
    }
}
