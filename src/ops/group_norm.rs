//! `y = act(h (1 + scale) + shift)`, `h = (x - mean) / sqrt(var + eps) * gamma + beta`, with mean
//! and variance over each group of channels of a sample (Wu & He 2018, arXiv:1803.08494, eq. 1-6),
//! and the optional row `[scale | shift]` of the sample as in `scale_shift`.

use super::activation::{Act, Apply};
use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};
use std::cell::RefCell;

/// Additions in f32 before a sum goes to f64.
const RUN: usize = 64;

/// Work memory of a thread. Vectors of channels are repeated, see [`parallel::repeat`].
#[derive(Default)]
struct Scratch {
    /// The mean of the channel's group, and what it lacks.
    mean: Vec<f32>,
    lack: Vec<f32>,
    factor: Vec<f32>,
    addend: Vec<f32>,
    /// Sum and sum of squares of each group.
    groups: Vec<[f64; 2]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

params! {
    /// `n` samples of `hw` vectors of `c` channels in `groups` groups.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub hw: u32,
        pub c: u32,
        pub groups: u32,
        pub eps: f32,
        pub act: u32,
    }
}

impl Params {
    /// One sample; `row` is its `[scale | shift]`, or empty.
    fn sample(
        &self,
        x: &[f32],
        affine: [&[f32]; 2],
        row: &[f32],
        work: &mut Scratch,
        y: &mut [f32],
    ) {
        let c = self.c as usize;
        self.statistics(x, work);
        let Scratch { mean, lack, factor, addend, .. } = work;
        let [gamma, beta] = affine;
        for k in 0..c {
            let (scale, shift) = if row.is_empty() { (0.0, 0.0) } else { (row[k], row[c + k]) };
            let plain = factor[k] * gamma[k];
            addend[k] = (beta[k] - lack[k] * plain) * (1.0 + scale) + shift;
            factor[k] = plain * (1.0 + scale);
        }
        for pattern in [&mut *factor, addend] {
            pattern.truncate(c);
            parallel::lengthen(pattern);
        }
        parallel::vectorized(Normalize { x, mean, factor, addend, act: self.act, y });
    }

    /// For each channel of one sample the mean of its group in two parts and the reciprocal
    /// standard deviation (`factor`).
    ///
    /// The first pass gives a mean good to f32; the second measures deviations from it, which are
    /// small, and with them what that mean lacks and the variance: a large mean over a tiny
    /// variance costs nothing.
    fn statistics(&self, x: &[f32], work: &mut Scratch) {
        let Scratch { mean, lack, factor, addend, groups } = work;
        let c = self.c as usize;
        let group = c / self.groups as usize;
        let count = (self.hw as usize * group) as f64;
        parallel::repeat(mean, std::iter::repeat_n(0.0, c));
        for pass in 0..2 {
            factor.resize(mean.len(), 0.0);
            addend.resize(mean.len(), 0.0);
            groups.clear();
            groups.resize(self.groups as usize, [0.0; 2]);
            parallel::vectorized(Deviations {
                x,
                shift: mean,
                sums: factor,
                squares: addend,
                channels: c,
                groups,
            });
            if pass == 0 {
                parallel::repeat(mean, (0..c).map(|k| (groups[k / group][0] / count) as f32));
            }
        }
        lack.clear();
        lack.extend((0..c).map(|k| (groups[k / group][0] / count) as f32));
        for (k, factor) in factor[..c].iter_mut().enumerate() {
            let [sum, squares] = groups[k / group].map(|sum| sum / count);
            let variance = (squares - sum * sum).max(0.0);
            *factor = (1.0 / (variance + f64::from(self.eps)).sqrt()) as f32;
        }
    }
}

/// Adds the sum and the sum of squares of `x - shift` to each group.
struct Deviations<'a> {
    x: &'a [f32],
    shift: &'a [f32],
    /// Work memory as long as `shift`.
    sums: &'a mut [f32],
    squares: &'a mut [f32],
    channels: usize,
    groups: &'a mut [[f64; 2]],
}

impl parallel::Loop for Deviations<'_> {
    #[inline(always)]
    fn run(self) {
        let Deviations { x, shift, sums, squares, channels: c, groups } = self;
        let group = c / groups.len();
        for run in x.chunks(RUN * shift.len()) {
            sums.fill(0.0);
            squares.fill(0.0);
            for part in run.chunks(shift.len()) {
                let sums = sums.iter_mut().zip(squares.iter_mut());
                for ((x, shift), (sum, square)) in part.iter().zip(shift).zip(sums) {
                    let d = x - shift;
                    *sum += d;
                    *square += d * d;
                }
            }
            let parts = sums.chunks_exact(group).zip(squares.chunks_exact(group));
            for (i, (s, q)) in parts.enumerate() {
                let [sum, square] = &mut groups[i % (c / group)];
                *sum += s.iter().map(|v| f64::from(*v)).sum::<f64>();
                *square += q.iter().map(|v| f64::from(*v)).sum::<f64>();
            }
        }
    }
}

/// `y = act((x - mean) * factor + addend)`.
pub(super) struct Normalize<'a> {
    pub x: &'a [f32],
    pub mean: &'a [f32],
    pub factor: &'a [f32],
    pub addend: &'a [f32],
    pub act: u32,
    pub y: &'a mut [f32],
}

impl parallel::Loop for Normalize<'_> {
    #[inline(always)]
    fn run(self) {
        let Normalize { x, mean, factor, addend, act, y } = self;
        for (y, x) in y.chunks_mut(mean.len()).zip(x.chunks(mean.len())) {
            let affine = factor.iter().zip(addend);
            for (((y, x), mean), (factor, addend)) in y.iter_mut().zip(x).zip(mean).zip(affine) {
                *y = (x - mean) * factor + addend;
            }
            Apply { act, values: y }.run();
        }
    }
}

impl Op for Params {
    const NAME: &'static str = "group_norm";
    const ARGS: &'static [Arg] = &[
        Arg::read("x").wide("VEC4"),
        Arg::read("gamma").wide("VEC4"),
        Arg::read("beta").wide("VEC4"),
        Arg::maybe("rows").wide("VEC4"),
        Arg::maybe("cond"),
        Arg::write("y").wide("VEC4"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 | 2 => self.c as usize,
            3 => self.map.vectors(self.n) * 2 * self.c as usize,
            4 => self.n as usize,
            _ => (self.n * self.hw * self.c) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c / self.groups])
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            3 => self.map.reach(self.n, span) * 2 * self.c as usize,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        8 * self.n as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, gamma, beta, rows, cond, ..] = buffers.read;
        let (hw, c) = (self.hw as usize, self.c as usize);
        let y = &mut buffers.write[5][..self.elements(5)];
        parallel::blocks(y, hw * c, 1, |sample, y| {
            let x = &x[sample * hw * c..][..hw * c];
            let row = match rows {
                [] => &[][..],
                _ => &rows[self.map.row(cursor, words(cond), sample) * 2 * c..][..2 * c],
            };
            SCRATCH.with_borrow_mut(|work| self.sample(x, [gamma, beta], row, work, y));
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut cases = Vec::new();
        let mut case = |what: &str, p: Params, center: f32, spread: f32, rows, cond| {
            let x = random.uniform(p.elements(0), spread).iter().map(|v| v + center).collect();
            let gamma = random.uniform(p.c as usize, 0.5).iter().map(|v| v + 1.0).collect();
            let beta = random.f32(p.c as usize, 0.5);
            let rows =
                if rows == 0 { CaseArg::Absent } else { random.f32(rows * 2 * p.c as usize, 0.5) };
            let name = format!("group_norm {}x{}x{} g{} {what}", p.n, p.hw, p.c, p.groups);
            let (x, gamma) = (CaseArg::Data(x), CaseArg::F32(gamma));
            Case::new(name, p, vec![x, gamma, beta, rows, cond, CaseArg::Output])
        };
        let params = |n, hw, c, groups, act: Act| Params {
            map: RowMap::IDENTITY,
            n,
            hw,
            c,
            groups,
            eps: 1e-5,
            act: act as u32,
        };
        let absent = || CaseArg::Absent;
        let sizes = [
            (1, 9, 1, 1),
            (2, 35, 6, 3),
            (1, 16, 12, 1),
            (3, 7, 5, 5),
            (2, 1, 8, 2),
            (1, 130, 32, 8),
        ];
        for (n, hw, c, groups) in sizes {
            let p = params(n, hw, c, groups, Act::None);
            cases.push(case("", p, 0.5, 2.0, 0, absent()));
        }
        cases.push(case("silu", params(2, 33, 16, 4, Act::Silu), 0.0, 3.0, 0, absent()));
        cases.push(case("gelu", params(1, 5, 4, 2, Act::Gelu), 0.0, 3.0, 0, absent()));
        // One element a group: the variance is zero and only beta is left.
        cases.push(case("one element", params(1, 1, 1, 1, Act::None), 3.0, 1.0, 0, absent()));
        cases.push(case("constant", params(2, 20, 8, 2, Act::None), 7.25, 0.0, 0, absent()));
        // A mean of 100 rounded to f32 is off by up to 4e-6, which division by the deviation of
        // 0.06 makes 7e-5; a one-pass variance would be off by more than itself.
        let large_mean =
            case("large mean", params(2, 64, 8, 2, Act::None), 100.0, 0.1, 0, absent());
        cases.push(large_mean.tolerance(2e-4, 1e-5));
        let large_mean =
            case("large mean", params(1, 999, 4, 4, Act::Silu), -300.0, 1.0, 0, absent());
        cases.push(large_mean.tolerance(2e-4, 1e-5));
        for MapCase { kind, map, cursor, cond, rows } in row_maps(&mut Random::new("rows"), 4) {
            let p = Params { map, ..params(4, 6, 12, 3, Act::Silu) };
            cases.push(case(&format!("row by {kind}"), p, 0.0, 2.0, rows, cond).at(cursor));
        }
        cases
    }
}
