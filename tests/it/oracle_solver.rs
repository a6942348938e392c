//! The ops of a solver's row.

use super::Memory;
use std::f64::consts::TAU;
use unnoise::ops::row::{self, Row};
use unnoise::ops::{self, noise};

/// `c * v()`; a coefficient of zero reads nothing.
fn times(c: f32, v: impl FnOnce() -> f64) -> f64 {
    if c == 0.0 { 0.0 } else { f64::from(c) * v() }
}

fn guidance_of(run: &[u32], sample: usize) -> f64 {
    f64::from(f32::from_bits(run[5 + 2 * sample]))
}

pub fn guidance(p: &ops::guidance::Params, m: &mut Memory) {
    let (b, c, cf, hw) = (p.b as usize, p.c as usize, p.cf as usize, p.hw as usize);
    for n in 0..b {
        for i in 0..hw {
            for k in 0..cf {
                let conditional = m.numbers[0][(n * hw + i) * cf + k];
                let unconditional = m.numbers[0][((b + n) * hw + i) * cf + k];
                let w = guidance_of(&m.words[1], n);
                m.numbers[2][(n * hw + i) * cf + k] = match k < c {
                    true => (1.0 - w) * unconditional + w * conditional,
                    false => conditional,
                };
            }
        }
    }
}

fn x0_and_eps(row: &Row, x: f64, f: f64) -> (f64, f64) {
    let raw = times(row.x0_x, || x) + times(row.x0_f, || f);
    // Comparisons with a NaN are false: it passes.
    let x0 = match f64::from(row.clip) {
        clip if row.clip < f32::MAX && raw < -clip => -clip,
        clip if row.clip < f32::MAX && raw > clip => clip,
        _ => raw,
    };
    let eps = times(row.eps_x, || x) + times(row.eps_f, || f) + times(row.eps_x0, || x0);
    (x0, eps)
}

/// Logarithm of the standard deviation between the two bounds (Nichol & Dhariwal, eq. 15).
fn log_scale(row: &Row, f_var: f64) -> f64 {
    let v = (f_var + 1.0) / 2.0;
    (v * f64::from(row.log_var_max) + (1.0 - v) * f64::from(row.log_var_min)) / 2.0
}

pub fn predict(p: &ops::predict::Params, m: &mut Memory) {
    let (c, cf, hw) = (p.c as usize, p.cf as usize, p.hw as usize);
    let row = m.step();
    for n in 0..p.b as usize {
        for (k, i) in (0..c).flat_map(|k| (0..hw).map(move |i| (k, i))) {
            let at = (n * c + k) * hw + i;
            let f = |k: usize| m.numbers[1][(n * hw + i) * cf + k];
            let (x0, eps) = x0_and_eps(&row, m.numbers[0][at], f(k));
            let learned = row.flags & row::LEARNED != 0;
            let log = if learned { log_scale(&row, f(c + k)) } else { 0.0 };
            m.numbers[3][at] = x0;
            m.numbers[4][at] = eps;
            m.numbers[5][at] = log;
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
fn draw(
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

fn names(row: &Row) -> [[u32; 3]; 2] {
    [[row.z0_step, row.z0_stream, row.z0_index], [row.z1_step, row.z1_stream, row.z1_index]]
}

pub fn noise(p: &noise::Params, m: &mut Memory) {
    let (b, numel) = (p.b as usize, p.numel as usize);
    let row = m.step();
    let used = [row.x_z0 != 0.0 || row.s_z0 != 0.0, row.x_z1 != 0.0 || row.s_z1 != 0.0];
    for z in (0..2).filter(|z| used[*z]) {
        for (n, e) in (0..b).flat_map(|n| (0..numel).map(move |e| (n, e))) {
            let value = draw(p, &m.words[1], &m.numbers[2], names(&row)[z], (n, e));
            m.numbers[3][(z * b + n) * numel + e] = value;
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
    let x = m.numbers[x_at][i];
    let total = |c: [f32; 6], h: [f32; 4], m: &Memory| -> f64 {
        let past = |j: usize| {
            let ring = (row.ring as usize + depth - 1 - j) % depth;
            m.numbers[history_at][ring * n + i]
        };
        times(c[0], || x)
            + times(c[1], || terms.x0)
            + times(c[2], || terms.eps)
            + times(c[3], || m.numbers[saved_at][i])
            + times(c[4], || terms.z[0]())
            + times(c[5], || terms.z[1]())
            + (0..4).map(|j| times(h[j], || past(j))).sum::<f64>()
    };
    let to_x = [row.x_x, row.x_x0, row.x_eps, row.x_saved, row.x_z0, row.x_z1];
    let to_saved = [row.s_x, row.s_x0, row.s_eps, row.s_saved, row.s_z0, row.s_z1];
    let new_x = total(to_x, row.x_h, m);
    let new_saved = total(to_saved, row.s_h, m);
    m.numbers[x_at][i] = new_x;
    if row.flags & row::WRITE_SAVED != 0 {
        m.numbers[saved_at][i] = new_saved;
    }
    if row.flags & row::PUSH != 0 {
        let pushed =
            times(row.p_x, || x) + times(row.p_x0, || terms.x0) + times(row.p_eps, || terms.eps);
        m.numbers[history_at][row.ring as usize * n + i] = pushed;
    }
}

pub fn combine(p: &ops::combine::Params, m: &mut Memory) {
    let n = p.n as usize;
    let row = m.step();
    for i in 0..n {
        let scale = m.or_zero(4, i).exp();
        let z = [m.numbers[5][i] * scale, m.numbers[5][n + i] * scale];
        let terms = Terms { x0: m.or_zero(2, i), eps: m.or_zero(3, i), z: [&|| z[0], &|| z[1]] };
        update(&row, m, [0, 6, 7], (i, n, p.depth as usize), terms);
    }
}

pub fn solver_step(p: &ops::solver_step::Params, m: &mut Memory) {
    let (b, c, cf, hw) = (p.b as usize, p.c as usize, p.cf as usize, p.hw as usize);
    let row = m.step();
    let source = noise::Params {
        b: p.b,
        numel: p.c * p.hw,
        mode: p.mode,
        threads: p.threads,
        calls: p.calls,
    };
    let (run, draws) = (m.words[3].clone(), m.numbers[4].clone());
    for at in 0..b * c * hw {
        let (n, k, i) = (at / (c * hw), at / hw % c, at % hw);
        let (mut x0, mut eps, mut scale) = (0.0, 0.0, 1.0);
        if row.flags & row::EVAL != 0 {
            let f = |n: usize, k: usize| m.numbers[1][(n * hw + i) * cf + k];
            let w = guidance_of(&run, n);
            let guided = match p.guided {
                1 => f(n + b, k) + w * (f(n, k) - f(n + b, k)),
                _ => f(n, k),
            };
            (x0, eps) = x0_and_eps(&row, m.numbers[0][at], guided);
            if row.flags & row::LEARNED != 0 {
                scale = log_scale(&row, f(n, c + k)).exp();
            }
        }
        let e = at % (c * hw);
        let z = |which: usize| scale * draw(&source, &run, &draws, names(&row)[which], (n, e));
        let terms = Terms { x0, eps, z: [&|| z(0), &|| z(1)] };
        update(&row, m, [0, 5, 6], (at, b * c * hw, p.depth as usize), terms);
    }
}
