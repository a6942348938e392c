//! Halves or doubles a map: the mean of 2x2 pixels, or each pixel repeated 2x2 (nearest).

use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

/// The direction.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Down = 0,
    Up = 1,
}

pub(super) const CONSTANTS: &[(&str, u32)] =
    &[("RESAMPLE_DOWN", Mode::Down as u32), ("RESAMPLE_UP", Mode::Up as u32)];

params! {
    /// x `[n, h, w, c]`; `mode` is one of [`Mode`].
    pub struct Params {
        pub n: u32,
        pub h: u32,
        pub w: u32,
        pub c: u32,
        pub mode: u32,
    }
}

impl Op for Params {
    const NAME: &'static str = "resample";
    const ARGS: &'static [Arg] = &[Arg::read("x").wide("VEC4"), Arg::write("y").wide("VEC4")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => (self.n * self.h * self.w * self.c) as usize,
            _ if self.mode == Mode::Down as u32 => {
                (self.n * (self.h / 2) * (self.w / 2) * self.c) as usize
            }
            _ => (self.n * self.h * 2 * self.w * 2 * self.c) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn flops(&self) -> u64 {
        self.elements(0) as u64
    }
    fn reference(&self, _cursor: Cursor, buffers: &mut Buffers) {
        let x = buffers.read[0];
        let (h, w, c) = (self.h as usize, self.w as usize, self.c as usize);
        let down = self.mode == Mode::Down as u32;
        let (ho, wo) = if down { (h / 2, w / 2) } else { (2 * h, 2 * w) };
        let y = &mut buffers.write[1][..self.elements(1)];
        parallel::vectors(y, c, |i, y| {
            let (n, oy, ox) = (i / (ho * wo), i / wo % ho, i % wo);
            let pixel = |py: usize, px: usize| &x[((n * h + py) * w + px) * c..][..c];
            if !down {
                return y.copy_from_slice(pixel(oy / 2, ox / 2));
            }
            let (above, below) = (pixel(2 * oy, 2 * ox), pixel(2 * oy + 1, 2 * ox));
            let (above_right, below_right) =
                (pixel(2 * oy, 2 * ox + 1), pixel(2 * oy + 1, 2 * ox + 1));
            for k in 0..c {
                y[k] = 0.25 * (above[k] + above_right[k] + (below[k] + below_right[k]));
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |(n, h, w, c), mode: Mode| {
            let params = Params { n, h, w, c, mode: mode as u32 };
            let args = vec![random.data(params.elements(0), 2.0), CaseArg::Output];
            Case::new(format!("resample {mode:?} {n}x{h}x{w}x{c}"), params, args)
        };
        let down = [(1, 2, 2, 1), (2, 4, 6, 5), (1, 5, 7, 3), (3, 8, 2, 8)];
        let up = [(1, 1, 1, 1), (2, 3, 5, 5), (1, 4, 4, 3), (3, 2, 7, 8)];
        let mut cases: Vec<Case> = down.map(|size| case(size, Mode::Down)).into();
        cases.extend(up.map(|size| case(size, Mode::Up)));
        cases
    }
}
