//! Sinusoidal embedding of a time (Vaswani et al. 2017, section 3.5; Ho et al. 2020):
//! `y = [sin(s t f) | cos(s t f)]`, or `[cos | sin]` if `flip`; an odd last channel is zero. With
//! `log` the logarithm of the time is embedded, and with `s = 2 pi` and frequencies drawn once that
//! is the Fourier embedding of NCSN++ (Song et al. 2021, arXiv:2011.13456, appendix H.2).
//!
//! The frequencies are a table made on the host, or weights. The angle is the product (t f) s, each
//! step rounded to f32 as PyTorch does; its sine must be good to 1e-6 for angles up to 1e4, which
//! needs range reduction.

use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};

params! {
    /// `n` vectors of `dim`; vector i embeds `times[map(i)]`; `freqs` has `dim / 2` entries.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub dim: u32,
        pub flip: u32,
        /// 1: of ln t.
        pub log: u32,
        pub scale: f32,
    }
}

impl Op for Params {
    const NAME: &'static str = "time_embedding";
    const ARGS: &'static [Arg] =
        &[Arg::read("times"), Arg::read("freqs"), Arg::maybe("cond"), Arg::write("y")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => self.map.vectors(self.n),
            1 => (self.dim / 2) as usize,
            2 => self.n as usize,
            _ => (self.n * self.dim) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            0 => self.map.reach(self.n, span),
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        20 * self.n as u64 * self.dim as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [times, freqs, cond, ..] = buffers.read;
        let (dim, half) = (self.dim as usize, self.dim as usize / 2);
        let y = &mut buffers.write[3][..self.elements(3)];
        parallel::vectors(y, dim, |i, y| {
            let t = times[self.map.row(cursor, words(cond), i)];
            let t = if self.log != 0 { t.ln() } else { t };
            for (k, freq) in freqs[..half].iter().enumerate() {
                let (sin, cos) = (t * freq * self.scale).sin_cos();
                let (first, second) = if self.flip != 0 { (cos, sin) } else { (sin, cos) };
                y[k] = first;
                y[half + k] = second;
            }
            y[2 * half..].fill(0.0);
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let maps = row_maps(&mut random, 6);
        let mut case = |MapCase { kind, map, cursor, cond, rows }: MapCase, (dim, flip)| {
            let params = Params { map, n: 6, dim, flip, log: 0, scale: 1.0 };
            let mut times: Vec<f32> = random.below(rows, 1000).iter().map(|t| *t as f32).collect();
            // The largest angle that the op is made for, zero, and a time between two others.
            (times[0], times[rows / 2]) = (10_000.0, 0.0);
            times[rows - 1] = 999.25;
            let half = dim / 2;
            let freq = |i: u32| (-(10_000f64.ln()) * f64::from(i) / f64::from(half)).exp() as f32;
            let freqs = CaseArg::F32((0..half).map(freq).collect());
            let args = vec![CaseArg::F32(times), freqs, cond, CaseArg::OutputF32];
            let name = format!("time_embedding {dim} flip {flip} by {kind}");
            // Sines of large angles are held to 2e-6 absolute: their size says nothing.
            Case::new(name, params, args).at(cursor).tolerance(2e-6, 0.0)
        };
        let sizes = [(2, 0), (32, 1), (33, 0), (7, 1), (64, 0), (3, 0), (16, 1), (128, 0)];
        let mut cases: Vec<Case> =
            maps.into_iter().zip(sizes).map(|(map, size)| case(map, size)).collect();
        cases.extend([(24, 0, 1), (9, 1, 1), (8, 0, 0)].map(|size| fourier(&mut random, size)));
        cases
    }
}

/// Frequencies as a checkpoint holds them, and the scale 2 pi. Those of a logarithm are small: what
/// a device's logarithm is off by is a part of the angle.
fn fourier(random: &mut Random, (dim, flip, log): (u32, u32, u32)) -> Case {
    let scale = std::f32::consts::TAU;
    let params = Params { map: RowMap::IDENTITY, n: 6, dim, flip, log, scale };
    let times = CaseArg::F32(vec![0.01, 1348.0, 1.0, 0.5, 19.25, 3e-5]);
    let freqs = random.f32(dim as usize / 2, if log == 1 { 0.5 } else { 16.0 });
    let args = vec![times, freqs, CaseArg::Absent, CaseArg::OutputF32];
    let name = format!("time_embedding {dim} flip {flip} log {log} by weights");
    Case::new(name, params, args).tolerance(if log == 1 { 1e-5 } else { 2e-6 }, 0.0)
}
