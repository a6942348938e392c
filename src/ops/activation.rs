//! `y = act(x)`: SiLU x / (1 + e^-x), GELU (erf form, or its approximation by tanh, Hendrycks &
//! Gimpel 2016, arXiv:1606.08415, section 2, or by a logistic function, x / (1 + e^-1.702x)), ReLU,
//! Mish x tanh(ln(1 + e^x)).

use super::cases::{MapCase, row_maps};
use super::random::Random;
use super::{Arg, Buffers, Case, CaseArg, Cursor, Op, RowMap, Span, parallel, params, words};

/// The activations of the field's networks.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    None = 0,
    Silu = 1,
    Gelu = 2,
    Relu = 3,
    Mish = 4,
    GeluTanh = 5,
    QuickGelu = 6,
}

pub(super) const CONSTANTS: &[(&str, u32)] = &[
    ("ACT_NONE", Act::None as u32),
    ("ACT_SILU", Act::Silu as u32),
    ("ACT_GELU", Act::Gelu as u32),
    ("ACT_RELU", Act::Relu as u32),
    ("ACT_MISH", Act::Mish as u32),
    ("ACT_GELU_TANH", Act::GeluTanh as u32),
    ("ACT_QUICK_GELU", Act::QuickGelu as u32),
];

params! {
    /// `n` vectors of `c` channels; vector i is read at `map(i)`.
    pub struct Params {
        pub map: RowMap,
        pub n: u32,
        pub c: u32,
        pub act: u32,
    }
}

/// `v = act(v)` for each value.
pub(super) struct Apply<'a> {
    pub act: u32,
    pub values: &'a mut [f32],
}

impl parallel::Loop for Apply<'_> {
    #[inline(always)]
    fn run(self) {
        let Apply { act, values } = self;
        match act {
            a if a == Act::Silu as u32 => values.iter_mut().for_each(|v| *v = silu(*v)),
            a if a == Act::Gelu as u32 => values.iter_mut().for_each(|v| *v = gelu(*v)),
            a if a == Act::Relu as u32 => values.iter_mut().for_each(|v| *v = relu(*v)),
            a if a == Act::Mish as u32 => values.iter_mut().for_each(|v| *v = mish(*v)),
            a if a == Act::GeluTanh as u32 => values.iter_mut().for_each(|v| *v = gelu_tanh(*v)),
            a if a == Act::QuickGelu as u32 => values.iter_mut().for_each(|v| *v = quick_gelu(*v)),
            _ => {}
        }
    }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `(1 + tanh(u)) / 2 = 1 / (1 + e^-2u)`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    let u = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    x / (1.0 + exp(-2.0 * u))
}

#[inline(always)]
fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

/// Keeps a NaN, which `f32::max` would drop.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `tanh(ln(1 + e)) = n / (n + 2)` with `n = e (e + 2)`; beyond 20 the quotient is 1 in f32.
#[inline(always)]
fn mish(x: f32) -> f32 {
    let e = exp(if x > 20.0 { 20.0 } else { x });
    let n = e * (e + 2.0);
    x * (n / (n + 2.0))
}

/// `e^x` to one or two units in the last place, without a branch or a call, so that loops over it
/// become vector code. Arguments beyond the range of normal numbers are clamped to it.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first short enough that its products are exact.
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    // The minimax polynomial of Cephes' expf (Moshier).
    const P: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2.0 - n * LN2.1;
    let p = P[1..].iter().fold(P[0], |p, c| p * r + c);
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * (r * r) + r + 1.0) * power
}

impl Op for Params {
    const NAME: &'static str = "activation";
    const ARGS: &'static [Arg] =
        &[Arg::read("x").wide("VEC4"), Arg::maybe("cond"), Arg::write("y").wide("VEC4")];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            0 => self.map.vectors(self.n) * self.c as usize,
            1 => self.n as usize,
            _ => (self.n * self.c) as usize,
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        super::wide("VEC4", &[self.c])
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            0 => self.map.reach(self.n, span) * self.c as usize,
            _ => self.elements(arg),
        }
    }
    fn flops(&self) -> u64 {
        4 * self.n as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [x, cond, ..] = buffers.read;
        let c = self.c as usize;
        let y = &mut buffers.write[2][..self.elements(2)];
        parallel::vectors(y, c, |i, y| {
            let row = self.map.row(cursor, words(cond), i);
            y.copy_from_slice(&x[row * c..][..c]);
            parallel::vectorized(Apply { act: self.act, values: y });
        });
    }
    fn cases() -> Vec<Case> {
        let mut random = Random::new(Self::NAME);
        let mut cases = Vec::new();
        let gelus = [Act::Gelu, Act::GeluTanh, Act::QuickGelu];
        for act in [Act::None, Act::Silu, Act::Relu, Act::Mish].into_iter().chain(gelus) {
            let mut x = random.uniform(35, 8.0);
            x[..8].copy_from_slice(&[0.0, -0.0, 30.0, -30.0, 88.0, -88.0, 300.0, -300.0]);
            for rows in [false, true] {
                let params = Params { map: RowMap::IDENTITY, n: 7, c: 5, act: act as u32 };
                let (x, y, kind) = match rows {
                    false => (CaseArg::Data(x.clone()), CaseArg::Output, "map"),
                    true => (CaseArg::F32(x.clone()), CaseArg::OutputF32, "rows"),
                };
                let name = format!("activation {act:?} {kind} 7x5");
                cases.push(Case::new(name, params, vec![x, CaseArg::Absent, y]));
            }
        }
        let one = Params { map: RowMap::IDENTITY, n: 1, c: 1, act: Act::Silu as u32 };
        let args = vec![random.data(1, 1.0), CaseArg::Absent, CaseArg::Output];
        cases.push(Case::new("activation Silu one element", one, args));
        for MapCase { kind, map, cursor, cond, rows } in row_maps(&mut random, 6) {
            let params = Params { map, n: 6, c: 12, act: Act::Silu as u32 };
            let args = vec![random.f32(rows * 12, 4.0), cond, CaseArg::OutputF32];
            cases.push(Case::new(format!("activation by {kind}"), params, args).at(cursor));
        }
        cases
    }
}
