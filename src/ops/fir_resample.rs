//! Halves or doubles a map behind or before a separable filter: upfirdn2d of StyleGAN2 (Karras et
//! al. 2020, arXiv:1912.04958, appendix B) with factor 2, as NCSN++ resamples (Song et al. 2021,
//! arXiv:2011.13456, appendix H). In each direction, with T taps k,
//!
//! ```text
//! down: y[o] = sum_j k[T - 1 - j] x[2 o + j - (T - 1) / 2]
//! up:   y[o] = sum_j k[T - 1 - j] u[o + j - (T - 1) / 2 - 1],   u[2 i] = x[i], u[2 i + 1] = 0
//! ```
//!
//! Outside the map x is zero, or mirrored about its first and last pixel. A map of one line may be
//! resampled along it alone, as the networks for waveforms do.

use super::random::Random;
use super::resample::Mode;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, parallel, params};

/// Taps at most.
pub const MOST_TAPS: usize = 8;

/// What lies outside the map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Zero = 0,
    Mirror = 1,
}

pub(super) const CONSTANTS: &[(&str, u32)] = &[("EDGE_MIRROR", Edge::Mirror as u32)];

params! {
    /// x `[n, h, w, c]`; `mode` is one of [`Mode`], `edge` of [`Edge`]; of the taps k0.. the first
    /// `taps` count. With `flat` lines stay as they are, and only each line is resampled.
    pub struct Params {
        pub n: u32,
        pub h: u32,
        pub w: u32,
        pub c: u32,
        pub mode: u32,
        pub edge: u32,
        pub taps: u32,
        pub flat: u32,
        pub k0: f32,
        pub k1: f32,
        pub k2: f32,
        pub k3: f32,
        pub k4: f32,
        pub k5: f32,
        pub k6: f32,
        pub k7: f32,
    }
}

impl Params {
    /// Filters maps of `size` `[n, h, w, c]`; of `taps` at most [`MOST_TAPS`] count. They are the
    /// lines of [`Params::flat`] if `flat`.
    pub fn new([n, h, w, c]: [u32; 4], mode: Mode, edge: Edge, taps: &[f32], flat: bool) -> Params {
        let k = |i: usize| taps.get(i).copied().unwrap_or(0.0);
        let count = taps.len().min(MOST_TAPS) as u32;
        let [k0, k1, k2, k3] = [k(0), k(1), k(2), k(3)];
        let [k4, k5, k6, k7] = [k(4), k(5), k(6), k(7)];
        let (mode, edge, flat) = (mode as u32, edge as u32, flat.into());
        Params { n, h, w, c, mode, edge, taps: count, flat, k0, k1, k2, k3, k4, k5, k6, k7 }
    }

    /// Height and width of the result.
    pub fn size(&self) -> (u32, u32) {
        let side = |n| if self.down() { n / 2 } else { 2 * n };
        (if self.flat == 1 { self.h } else { side(self.h) }, side(self.w))
    }

    fn down(&self) -> bool {
        self.mode == Mode::Down as u32
    }

    /// The lines that output line `o` reads, with their weights.
    fn lines(&self, o: usize) -> Vec<(usize, f32)> {
        if self.flat == 1 { vec![(o, 1.0)] } else { self.sources(o, self.h as usize).collect() }
    }

    /// The pixels of a side of `size` that output pixel `o` reads, with their weights.
    fn sources(&self, o: usize, size: usize) -> impl Iterator<Item = (usize, f32)> {
        let k = [self.k0, self.k1, self.k2, self.k3, self.k4, self.k5, self.k6, self.k7];
        let (taps, down, edge) = (self.taps as i64, self.down(), self.edge);
        let (o, size) = (o as i64, size as i64);
        (0..taps).filter_map(move |j| {
            let shift = j - (taps - 1) / 2;
            let mut at = if down { 2 * o + shift } else { o + shift - 1 };
            if !down && at % 2 != 0 {
                return None;
            }
            at /= if down { 1 } else { 2 };
            if edge == Edge::Mirror as u32 {
                at = if at < 0 { -at } else { at.min(2 * (size - 1) - at) };
            }
            (0..size).contains(&at).then_some((at as usize, k[(taps - 1 - j) as usize]))
        })
    }
}

impl Op for Params {
    const NAME: &'static str = "fir_resample";
    const ARGS: &'static [Arg] = &[Arg::read("x").wide("VEC4"), Arg::write("y").wide("VEC4")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        let (ho, wo) = self.size();
        let (h, w) = if arg == 0 { (self.h, self.w) } else { (ho, wo) };
        (self.n * h * w * self.c) as usize
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn flops(&self) -> u64 {
        // Every other tap of an enlarged map meets a zero.
        let taps = if self.down() { self.taps } else { self.taps.div_ceil(2) } as u64;
        let lines = if self.flat == 1 { 1 } else { taps };
        2 * taps * lines * self.elements(1) as u64
    }
    fn reference(&self, _cursor: Cursor, buffers: &mut Buffers) {
        let x = buffers.read[0];
        let (h, w, c) = (self.h as usize, self.w as usize, self.c as usize);
        let (ho, wo) = self.size();
        let (ho, wo) = (ho as usize, wo as usize);
        let y = &mut buffers.write[1][..self.elements(1)];
        parallel::vectors(y, c, |i, y| {
            let (n, oy, ox) = (i / (ho * wo), i / wo % ho, i % wo);
            y.fill(0.0);
            for (py, ky) in self.lines(oy) {
                for (px, kx) in self.sources(ox, w) {
                    let pixel = &x[((n * h + py) * w + px) * c..][..c];
                    y.iter_mut().zip(pixel).for_each(|(y, x)| *y += ky * kx * x);
                }
            }
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut case = |size, mode: Mode, edge, taps: &[f32]| {
            let params = Params::new(size, mode, edge, taps, false);
            let args = vec![random.data(params.elements(0), 2.0), CaseArg::Output];
            let (count, size) = (taps.len(), size.map(|n| n.to_string()).join("x"));
            Case::new(format!("fir_resample {mode:?} {edge:?} {count} taps {size}"), params, args)
        };
        let smooth = [0.125, 0.375, 0.375, 0.125];
        let uneven = [0.5, -0.25, 0.125, 1.0, 0.75, -0.5, 0.375, 0.0625];
        let mut cases = Vec::new();
        for mode in [Mode::Down, Mode::Up] {
            for (size, taps) in [
                ([2, 4, 6, 8], &smooth[..]),
                ([1, 5, 3, 3], &smooth),
                ([3, 2, 2, 4], &uneven[..2]),
                ([1, 6, 7, 5], &uneven[..1]),
                ([2, 3, 2, 1], &uneven[..3]),
                ([1, 2, 9, 12], &uneven),
            ] {
                cases.push(case(size, mode, Edge::Zero, taps));
            }
            cases.push(case([2, 4, 6, 4], mode, Edge::Mirror, &smooth));
            cases.push(case([1, 2, 3, 3], mode, Edge::Mirror, &smooth));
            cases.push(case([1, 5, 6, 2], mode, Edge::Mirror, &uneven[..5]));
        }
        for mode in [Mode::Down, Mode::Up] {
            let mut flat = |size, edge, taps: &[f32]| {
                let params = Params::new(size, mode, edge, taps, true);
                let args = vec![random.data(params.elements(0), 2.0), CaseArg::Output];
                let name = format!("fir_resample {mode:?} {edge:?} lines {size:?}");
                cases.push(Case::new(name, params, args));
            };
            flat([2, 1, 12, 4], Edge::Mirror, &uneven);
            flat([1, 3, 9, 3], Edge::Mirror, &uneven);
            flat([3, 1, 5, 1], Edge::Zero, &smooth);
        }
        cases
    }
}
