//! What filters and times do to a map.

use super::Memory;
use unnoise::ops::{divide, fir_resample, resample::Mode};

/// The matrix `[out][size]` of one direction: each pixel of x spreads the taps over the result of a
/// whole convolution, of which then a part is kept.
fn matrix(p: &fir_resample::Params, size: usize) -> Vec<Vec<f64>> {
    let k = [p.k0, p.k1, p.k2, p.k3, p.k4, p.k5, p.k6, p.k7];
    let (taps, down) = (p.taps as i64, p.mode == Mode::Down as u32);
    // Padding in front, as diffusers computes it with a factor of 2.
    let before = (taps - 2 + 1).div_euclid(2) + i64::from(!down);
    let mut rows = vec![vec![0.0; size]; if down { size / 2 } else { 2 * size }];
    let last = size as i64 - 1;
    let beyond = if p.edge == 1 { taps } else { 0 };
    for i in -beyond..=last + beyond {
        let mirrored = if i < 0 { -i } else { i.min(2 * last - i) };
        if !(0..=last).contains(&mirrored) {
            continue;
        }
        for (o, row) in rows.iter_mut().enumerate() {
            let kept = if down { 2 * o as i64 } else { o as i64 } + taps - 1 - before;
            let tap = kept - if down { i } else { 2 * i };
            if (0..taps).contains(&tap) {
                row[mirrored as usize] += f64::from(k[tap as usize]);
            }
        }
    }
    rows
}

pub fn fir_resample(p: &fir_resample::Params, m: &mut Memory) {
    let (h, w, c) = (p.h as usize, p.w as usize, p.c as usize);
    let identity = |i: usize| (0..h).map(|j| f64::from(u8::from(i == j))).collect();
    let down = if p.flat == 1 { (0..h).map(identity).collect() } else { matrix(p, h) };
    let across = matrix(p, w);
    let (ho, wo) = (down.len(), across.len());
    for i in 0..p.n as usize * ho * wo * c {
        let (n, y, x, k) = (i / (ho * wo * c), i / (wo * c) % ho, i / c % wo, i % c);
        let pixels = (0..h).flat_map(|v| (0..w).map(move |u| (v, u)));
        let at = |v: usize, u: usize| m.numbers[0][((n * h + v) * w + u) * c + k];
        let terms = pixels.map(|(v, u)| down[y][v] * across[x][u] * at(v, u));
        m.numbers[1][i] = terms.sum();
    }
}

pub fn divide(p: &divide::Params, m: &mut Memory) {
    let (hw, c) = (p.hw as usize, p.c as usize);
    for i in 0..p.n as usize * hw * c {
        let time = m.numbers[1][m.row(&p.map, 2, i / (hw * c))];
        m.numbers[3][i] = m.numbers[0][i] / time;
    }
}
