//! The ops of a solver's row.

use super::Memory;
use std::f64::consts::TAU;
use unnoise::ops::row::{self, HISTORY, Mix, Row};
use unnoise::ops::{self, noise};

/// `c * v()`; a coefficient of zero reads nothing.
pub fn times(c: f32, v: impl FnOnce() -> f64) -> f64 {
    if c == 0.0 { 0.0 } else { f64::from(c) * v() }
}

pub fn guidance_of(run: &[u32], sample: usize) -> f64 {
    f64::from(f32::from_bits(run[5 + 2 * sample]))
}

pub fn guidance(p: &ops::guidance::Params, m: &mut Memory) {
    let (b, c, cf, hw) = (p.b as usize, p.c as usize, p.cf as usize, p.hw as usize);
    for n in 0..b {
        let row = m.step(p.per_sample, n);
        for i in 0..hw {
            for k in 0..cf {
                let conditional = m.numbers[0][(n * hw + i) * cf + k];
                let unconditional = m.numbers[0][((b + n) * hw + i) * cf + k];
                let w = guidance_of(&m.words[2], n);
                let guided = (1.0 - w) * unconditional + w * conditional;
                m.numbers[3][(n * hw + i) * cf + k] = match k < c && row.flags & row::GUIDE != 0 {
                    true => f64::from(row.f_scale) * guided,
                    false => conditional,
                };
            }
        }
    }
}

/// `f` and the output that eps is made of.
pub fn x0_and_eps(row: &Row, x: f64, [f, of_eps]: [f64; 2]) -> (f64, f64) {
    let raw = times(row.x0_x, || x) + times(row.x0_f, || f);
    // Comparisons with a NaN are false: it passes.
    let x0 = match f64::from(row.clip) {
        clip if row.clip < f32::MAX && raw < -clip => -clip,
        clip if row.clip < f32::MAX && raw > clip => clip,
        _ => raw,
    };
    let x0 = f64::from(row.x0_scale) * x0;
    let eps = times(row.eps_x, || x) + times(row.eps_f, || of_eps) + times(row.eps_x0, || x0);
    (x0, eps)
}

/// Logarithm of the standard deviation between the two bounds (Nichol & Dhariwal, eq. 15).
pub fn log_scale(row: &Row, f_var: f64) -> f64 {
    let v = (f_var + 1.0) / 2.0;
    (v * f64::from(row.log_var_max) + (1.0 - v) * f64::from(row.log_var_min)) / 2.0
}

pub fn predict(p: &ops::predict::Params, m: &mut Memory) {
    let (b, c, cf, hw) = (p.b as usize, p.c as usize, p.cf as usize, p.hw as usize);
    for n in 0..b {
        let row = m.step(p.per_sample, n);
        for (k, i) in (0..c).flat_map(|k| (0..hw).map(move |i| (k, i))) {
            let at = (n * c + k) * hw + i;
            let f = |k: usize| m.numbers[1][(n * hw + i) * cf + k];
            let of_eps = match row.flags & row::UNCOND_EPS != 0 {
                true => m.numbers[2][((b + n) * hw + i) * cf + k],
                false => f(k),
            };
            let (x0, eps) = x0_and_eps(&row, m.numbers[0][at], [f(k), of_eps]);
            let learned = row.flags & row::LEARNED != 0;
            let log = if learned { log_scale(&row, f(c + k)) } else { 0.0 };
            m.numbers[4][at] = x0;
            m.numbers[5][at] = eps;
            m.numbers[6][at] = log;
        }
    }
}

/// Philox4x32-10 in the form of the paper's figure, on 64-bit products.
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut l0, mut r0, mut l1, mut r1] = counter.map(u64::from);
    for round in 0..10u64 {
        let key = |i: usize, weyl: u64| (u64::from(key[i]) + round * weyl) & 0xFFFF_FFFF;
        let (k0, k1) = (key(0, 0x9E37_79B9), key(1, 0xBB67_AE85));
        let (p0, p1) = (l0 * 0xD251_1F53, l1 * 0xCD9E_8D57);
        (l0, r0, l1, r1) =
            ((p1 >> 32) ^ r0 ^ k0, p1 & 0xFFFF_FFFF, (p0 >> 32) ^ r1 ^ k1, p0 & 0xFFFF_FFFF);
    }
    [l0 as u32, r0 as u32, l1 as u32, r1 as u32]
}

/// The op defines the uniform as an f32: what is not in f64 here is that rounding alone.
fn uniform(word: u32) -> f64 {
    f64::from(word as f32 + 0.5) / 4_294_967_296.0
}

/// Lane `lane` of the four normals of a block: (cos, sin) pairs.
fn normal(block: [u32; 4], lane: usize) -> f64 {
    let (u, v) = (uniform(block[lane / 2 * 2]), uniform(block[lane / 2 * 2 + 1]));
    let wave = if lane.is_multiple_of(2) { (TAU * v).cos() } else { (TAU * v).sin() };
    (-2.0 * u.ln()).sqrt() * wave
}

/// Element `e` of sample `n` of the draw with these names.
pub fn draw(
    p: &noise::Params,
    run: &[u32],
    draws: &[f64],
    names: [u32; 3],
    (n, e): (usize, usize),
) -> f64 {
    let [step, stream, index] = names;
    let (key, sample) = ([run[0], run[1]], run[4 + 2 * n]);
    match p.mode {
        noise::MODE_PHILOX => normal(philox([(e / 4) as u32, step, stream, sample], key), e % 4),
        noise::MODE_TABLE => draws[(index * p.b + n as u32) as usize * p.numel as usize + e],
        _ => {
            let e = u64::from(sample) * u64::from(p.numel) + e as u64;
            let threads = u64::from(p.threads);
            let (thread, lane, turn) = (e % threads, e / threads % 4, e / (4 * threads));
            let counter = [index * p.calls + turn as u32, 0, thread as u32, 0];
            // PyTorch's pairs are (sin, cos).
            normal(philox(counter, key), lane as usize ^ 1)
        }
    }
}

pub fn names(row: &Row) -> [[u32; 3]; 2] {
    [[row.z0_step, row.z0_stream, row.z0_index], [row.z1_step, row.z1_stream, row.z1_index]]
}

fn mixes(row: &Row) -> [Mix; 3] {
    [row.x, row.saved, row.push]
}

pub fn noise(p: &noise::Params, m: &mut Memory) {
    let (b, numel) = (p.b as usize, p.numel as usize);
    for n in 0..b {
        let row = m.step(p.per_sample, n);
        let of_draw = |mix: &Mix| [mix.z0, mix.z1];
        for z in (0..2).filter(|z| mixes(&row).iter().any(|mix| of_draw(mix)[*z] != 0.0)) {
            for e in 0..numel {
                let value = draw(p, &m.words[1], &m.numbers[2], names(&row)[z], (n, e));
                m.numbers[3][(z * b + n) * numel + e] = value;
            }
        }
    }
}

/// The values that an update may read.
struct Terms<'a> {
    x0: f64,
    eps: f64,
    z: [&'a dyn Fn() -> f64; 2],
}

/// Updates element `i` of `n`; `places` are the arguments x, saved, history.
fn update(
    row: &Row,
    m: &mut Memory,
    places: [usize; 3],
    (i, n, depth): (usize, usize, usize),
    terms: Terms,
) {
    let [x_at, saved_at, history_at] = places;
    let total = |c: &Mix, m: &Memory| -> f64 {
        let past = |j: usize| {
            let ring = (row.ring as usize + depth - 1 - j) % depth;
            m.numbers[history_at][ring * n + i]
        };
        times(c.x, || m.numbers[x_at][i])
            + times(c.x0, || terms.x0)
            + times(c.eps, || terms.eps)
            + times(c.saved, || m.numbers[saved_at][i])
            + times(c.z0, || terms.z[0]())
            + times(c.z1, || terms.z[1]())
            + (0..HISTORY).map(|j| times(c.h[j], || past(j))).sum::<f64>()
    };
    let [x, saved, push] = mixes(row).map(|mix| total(&mix, m));
    m.numbers[x_at][i] = x;
    if row.flags & row::WRITE_SAVED != 0 {
        m.numbers[saved_at][i] = saved;
    }
    if row.flags & row::PUSH != 0 {
        m.numbers[history_at][row.ring as usize * n + i] = push;
    }
}

pub fn combine(p: &ops::combine::Params, m: &mut Memory) {
    let n = (p.b * p.numel) as usize;
    for i in 0..n {
        let row = m.step(p.per_sample, i / p.numel as usize);
        let scale = m.or_zero(4, i).exp();
        let z = [m.numbers[5][i] * scale, m.numbers[5][n + i] * scale];
        let terms = Terms { x0: m.or_zero(2, i), eps: m.or_zero(3, i), z: [&|| z[0], &|| z[1]] };
        update(&row, m, [0, 6, 7], (i, n, p.depth as usize), terms);
    }
}

/// What a row reads of the network's output `[n, hw, cf]`.
pub struct Output<'a> {
    pub f: &'a [f64],
    pub run: &'a [u32],
    pub b: usize,
    pub cf: usize,
    pub hw: usize,
    pub guided: bool,
}

impl Output<'_> {
    /// Channel `k` of pixel `i` of network sample `n`.
    pub fn at(&self, n: usize, k: usize, i: usize) -> f64 {
        self.f[(n * self.hw + i) * self.cf + k]
    }

    /// Whether guidance acts.
    pub fn acts(&self, row: &Row) -> bool {
        self.guided && row.flags & row::GUIDE != 0
    }

    /// The guided output, not scaled.
    pub fn mixed(&self, n: usize, k: usize, i: usize) -> f64 {
        let w = guidance_of(self.run, n);
        let unconditional = self.at(n + self.b, k, i);
        unconditional + w * (self.at(n, k, i) - unconditional)
    }

    /// F and the output that eps is made of.
    pub fn pair(&self, row: &Row, n: usize, k: usize, i: usize) -> [f64; 2] {
        if !self.acts(row) {
            return [self.at(n, k, i); 2];
        }
        let f = f64::from(row.f_scale) * self.mixed(n, k, i);
        [f, if row.flags & row::UNCOND_EPS != 0 { self.at(n + self.b, k, i) } else { f }]
    }
}

pub fn solver_step(p: &ops::solver_step::Params, m: &mut Memory) {
    let (b, c, cf, hw) = (p.b as usize, p.c as usize, p.cf as usize, p.hw as usize);
    let source = noise::Params {
        b: p.b,
        numel: p.c * p.hw,
        mode: p.mode,
        threads: p.threads,
        calls: p.calls,
        per_sample: 0,
    };
    let (f, run, draws) = (m.numbers[1].clone(), m.words[3].clone(), m.numbers[4].clone());
    let output = Output { f: &f, run: &run, b, cf, hw, guided: p.guided == 1 };
    for at in 0..b * c * hw {
        let (n, k, i) = (at / (c * hw), at / hw % c, at % hw);
        let row = m.step(p.per_sample, n);
        let (mut x0, mut eps, mut scale) = (0.0, 0.0, 1.0);
        if row.flags & row::EVAL != 0 {
            (x0, eps) = x0_and_eps(&row, m.numbers[0][at], output.pair(&row, n, k, i));
            if row.flags & row::LEARNED != 0 {
                scale = log_scale(&row, output.at(n, c + k, i)).exp();
            }
        }
        let e = at % (c * hw);
        let z = |which: usize| scale * draw(&source, &run, &draws, names(&row)[which], (n, e));
        let terms = Terms { x0, eps, z: [&|| z(0), &|| z(1)] };
        update(&row, m, [0, 5, 6], (at, b * c * hw, p.depth as usize), terms);
    }
}

/// The elements whose mean is replaced, for each element of a sample: found by where it lies.
fn fellows(p: &ops::replace::Params, e: usize) -> Vec<usize> {
    let (h, w, side) = (p.h as usize, p.w as usize, p.side as usize);
    let place = |e: usize| (e / (h * w), e / w % h, e % w);
    let (k, y, x) = place(e);
    let together = |other: usize| {
        let (l, v, u) = place(other);
        match p.kind {
            ops::replace::CHANNELS => (v, u) == (y, x),
            _ => (l, v / side, u / side) == (k, y / side, x / side),
        }
    };
    (0..p.numel() as usize).filter(|other| together(*other)).collect()
}

pub fn replace(p: &ops::replace::Params, m: &mut Memory) {
    let (numel, hw) = (p.numel() as usize, (p.h * p.w) as usize);
    let source = noise::Params {
        b: p.b,
        numel: p.numel(),
        mode: p.mode,
        threads: p.threads,
        calls: p.calls,
        per_sample: 0,
    };
    let before = m.numbers[0].clone();
    for n in 0..p.b as usize {
        let row = m.step(0, n);
        let to = |m: &Memory, e: usize| {
            let z = || draw(&source, &m.words[4], &m.numbers[5], names(&row)[0], (n, e));
            times(row.x.x0, || m.numbers[1][n * numel + e]) + times(row.x.z0, z)
        };
        for e in 0..numel {
            let x = before[n * numel + e];
            m.numbers[0][n * numel + e] = match p.kind {
                ops::replace::ALL => to(m, e),
                ops::replace::MASK => match m.numbers[2][n * hw + e % hw] {
                    1.0 => x,
                    0.0 => to(m, e),
                    mask => mask * x + (1.0 - mask) * to(m, e),
                },
                _ => {
                    let group = fellows(p, e);
                    let off = |e: &usize| to(m, *e) - before[n * numel + e];
                    x + group.iter().map(off).sum::<f64>() / group.len() as f64
                }
            };
        }
    }
}
