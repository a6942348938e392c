//! The matrix products of the oracle with all that surrounds them.

use super::{Input, Memory, act};
use unnoise::ops::moments::{Moments, Region};
use unnoise::ops::{Norm, Op, attention, conv2d, linear};

/// Mean and deviation of the group of channel `channel` in sample `n`, by the moments in the
/// case's buffer `arg`.
fn statistics(
    m: &Memory,
    arg: usize,
    regions: &[Region],
    (n, channel): (usize, usize),
    groups: usize,
    eps: f32,
) -> (f64, f64) {
    let buffer: Vec<f32> = m.numbers[arg].iter().map(|v| *v as f32).collect();
    let all: Vec<Moments> =
        regions.iter().flat_map(|r| (0..r.c as usize).map(|c| r.channel(&buffer, n, c))).collect();
    let size = all.len() / groups;
    let group = &all[channel / size * size..][..size];
    let count: f64 = group.iter().map(|g| g.count).sum();
    let mean = group.iter().map(|g| g.count * g.mean).sum::<f64>() / count;
    let spread = |g: &Moments| g.m2 + g.count * (g.mean - mean).powi(2);
    let variance = group.iter().map(spread).sum::<f64>() / count;
    (mean, (variance + f64::from(eps)).sqrt())
}

/// Writes the moments of `y` `[n, hw, c]` as those of one tile.
fn keep(m: &mut Memory, arg: usize, region: Region, y: &[f64]) {
    let (n, tiles, c) = (region.n as usize, region.tiles as usize, region.c as usize);
    let hw = y.len() / (n * c);
    let at = 2 * region.at as usize;
    m.numbers[arg][at..at + 2 * tiles].fill(0.0);
    m.numbers[arg][at] = hw as f64;
    for (sample, channel) in (0..n).flat_map(|s| (0..c).map(move |c| (s, c))) {
        let values = || (0..hw).map(|i| y[(sample * hw + i) * c + channel]);
        let mean = values().sum::<f64>() / hw as f64;
        let pair = at + 2 * (tiles + sample * tiles * c + channel);
        m.numbers[arg][pair] = mean;
        m.numbers[arg][pair + 1] = values().map(|v| (v - mean).powi(2)).sum();
    }
}

/// The input of a convolution as it sees it, `[n, h * up, w * up, cin]`.
fn loaded(p: &conv2d::Params, m: &Memory) -> Vec<f64> {
    let (h, w, up) = (p.h as usize, p.w as usize, p.up as usize);
    let (ca, cb) = (p.ca as usize, p.cb as usize);
    let region = |at, tiles, c| Region { at, n: p.n, tiles, c };
    let (a, b) = (region(p.from_a, p.tiles_a, p.ca), region(p.from_b, p.tiles_b, p.cb));
    let regions = if cb > 0 { vec![a, b] } else { vec![a] };
    let c = ca + cb;
    let input = Input { states: p.states, gain: p.gain, shift: p.shift, per_sample: p.own_rows };
    let of_state = (p.states > 0).then(|| input.of(m, p.n as usize, ca, h * w));
    let first = of_state.as_ref().unwrap_or(&m.numbers[0]);
    let mut all = vec![0.0; p.n as usize * h * up * w * up * c];
    for n in 0..p.n as usize {
        for channel in 0..c {
            let groups = p.groups as usize;
            let stats =
                (groups > 0).then(|| statistics(m, 4, &regions, (n, channel), groups, p.eps));
            for (y, x) in (0..h * up).flat_map(|y| (0..w * up).map(move |x| (y, x))) {
                let pixel = (n * h + y / up) * w + x / up;
                let mut v = match channel < ca {
                    true => first[pixel * ca + channel],
                    false => m.numbers[1][pixel * cb + channel - ca],
                };
                if let Some((mean, deviation)) = stats {
                    let vectors = &m.numbers[3];
                    v = (v - mean) / deviation * vectors[channel] + vectors[c + channel];
                    if p.rows_norm == 1 {
                        let row = &m.numbers[5][m.row(&p.map, 6, n) * 2 * c..];
                        v = v * (1.0 + row[channel]) + row[c + channel];
                    }
                }
                all[((n * h * up + y) * w * up + x) * c + channel] = act(p.act_in, v);
            }
        }
    }
    all
}

pub(super) fn conv2d(p: &conv2d::Params, m: &mut Memory) {
    let (cin, cout) = ((p.ca + p.cb) as usize, p.cout as usize);
    let (kh, kw) = (p.kh as usize, p.kw as usize);
    let (h, w) = ((p.h * p.up) as usize, (p.w * p.up) as usize);
    let padded = cout.next_multiple_of(4);
    let input = loaded(p, m);
    let bias = if p.groups > 0 { 2 * cin } else { 0 };
    let mut sums = vec![0.0; (p.n * p.ho * p.wo) as usize * cout];
    for n in 0..p.n as usize {
        for (oy, ox) in (0..p.ho as usize).flat_map(|y| (0..p.wo as usize).map(move |x| (y, x))) {
            let pixel = (n * p.ho as usize + oy) * p.wo as usize + ox;
            for o in 0..cout {
                let mut sum = 0.0;
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let y = (oy * p.stride as usize + ky) as isize - p.top as isize;
                    let x = (ox * p.stride as usize + kx) as isize - p.left as isize;
                    let inside = |v: isize, end: usize| v >= 0 && v < end as isize;
                    if !inside(y, h) || !inside(x, w) {
                        continue;
                    }
                    let at = (n * h + y as usize) * w + x as usize;
                    for i in 0..cin {
                        let weight = m.numbers[2][((ky * kw + kx) * cin + i) * padded + o];
                        sum += input[at * cin + i] * weight;
                    }
                }
                let mut below = kh * kw * cin;
                for (arg, s) in [(7, p.sa as usize), (8, p.sb as usize)] {
                    for i in 0..s {
                        let weight = m.numbers[2][(below + i) * padded + o];
                        sum += m.numbers[arg][pixel * s + i] * weight;
                    }
                    below += s;
                }
                if p.bias == 1 {
                    sum += m.numbers[3][bias + o];
                }
                if p.rows_norm == 0 && m.has(5) {
                    sum += m.numbers[5][m.row(&p.map, 6, n) * cout + o];
                }
                if p.sa == 0 {
                    sum += m.or_zero(7, pixel * cout + o);
                }
                sums[pixel * cout + o] = act(p.act, sum * f64::from(p.scale));
            }
        }
    }
    if p.tiles > 0 {
        keep(m, 4, Region { at: p.into, n: p.n, tiles: p.tiles, c: p.cout }, &sums);
    }
    m.numbers[10] = sums;
}

/// Row `i` of a linear layer's input, normalised and activated.
fn row(p: &linear::Params, m: &Memory, i: usize) -> Vec<f64> {
    let k = p.k as usize;
    let at = if p.rows == 0 { m.row(&p.map, 4, i) } else { i };
    let x = &m.numbers[0][at * k..][..k];
    let mean = x.iter().sum::<f64>() / k as f64;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / k as f64;
    let sample = i / (p.hw as usize).max(1);
    let from = Region { at: p.from_x, n: p.m / p.hw.max(1), tiles: p.tiles_x, c: p.k };
    let normed = |channel: usize| {
        let (mean, deviation) = match p.norm {
            n if n == Norm::None as u32 => return x[channel],
            n if n == Norm::Layer as u32 => (mean, (variance + f64::from(p.eps)).sqrt()),
            _ => statistics(m, 3, &[from], (sample, channel), p.groups as usize, p.eps),
        };
        let vectors = &m.numbers[2];
        let v = (x[channel] - mean) / deviation * vectors[channel] + vectors[k + channel];
        if p.rows != 1 {
            return v;
        }
        let row = &m.numbers[7][m.row(&p.map, 4, sample) * 2 * k..];
        v * (1.0 + row[channel]) + row[k + channel]
    };
    (0..k).map(|channel| act(p.act_in, normed(channel))).collect()
}

pub(super) fn linear(p: &linear::Params, m: &mut Memory) {
    let n = p.n as usize;
    let columns = if p.gate == 1 { 2 * n } else { n };
    let padded = columns.next_multiple_of(4);
    let bias = if p.norm != 0 { 2 * p.k as usize } else { 0 };
    let mut sums = vec![0.0; p.m as usize * n];
    for i in 0..p.m as usize {
        let x = row(p, m, i);
        let sum = |j: usize| {
            let dot = x.iter().enumerate().map(|(l, x)| x * m.numbers[1][l * padded + j]);
            dot.sum::<f64>() + if p.bias == 1 { m.numbers[2][bias + j] } else { 0.0 }
        };
        for j in 0..n {
            let sum = if p.gate == 1 { sum(j) * act(2, sum(n + j)) } else { sum(j) };
            let times = match p.rows {
                2 => m.numbers[7][m.row(&p.map, 4, i / p.hw as usize) * n + j],
                _ => 1.0,
            };
            let all = sum * times + m.or_zero(5, i * n + j);
            sums[i * n + j] = act(p.act, all * f64::from(p.scale));
        }
    }
    if p.tiles > 0 {
        keep(m, 3, Region { at: p.into, n: p.m / p.hw, tiles: p.tiles, c: p.n }, &sums);
    }
    m.numbers[6] = sums;
}

pub(super) fn attention(p: &attention::Params, m: &mut Memory) {
    let (tq, tk, d) = (p.tq as usize, p.tk as usize, p.d as usize);
    let mut y = vec![0.0; p.elements(6)];
    for n in 0..p.n as usize {
        let of_keys = m.row(&p.map, 3, n);
        for h in 0..p.heads as usize {
            for t in 0..tq {
                let q = p.q_first as usize + (n * tq + t) * p.q_stride as usize + h * d;
                let key = |s: usize| {
                    p.k_first as usize + (of_keys * tk + s) * p.k_stride as usize + h * d
                };
                let score = |s: usize| -> f64 {
                    let dot = (0..d).map(|i| m.numbers[0][q + i] * m.numbers[1][key(s) + i]);
                    let unseen = if p.causal != 0 && s > t { f64::NEG_INFINITY } else { 0.0 };
                    dot.sum::<f64>() * f64::from(p.score_scale) + unseen
                };
                let scores: Vec<f64> = (0..tk).map(score).collect();
                let max = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
                let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
                let total: f64 = weights.iter().sum();
                for i in 0..d {
                    let row = |s: usize| (of_keys * tk + s) * p.v_stride as usize + h * d;
                    let value = |s: usize| m.numbers[2][p.v_first as usize + row(s) + i];
                    let sum: f64 = (0..tk).map(|s| weights[s] * value(s)).sum();
                    let at = ((n * tq + t) * p.heads as usize + h) * d + i;
                    y[at] = (sum / total + m.or_zero(5, at)) * f64::from(p.scale);
                }
            }
        }
    }
    if p.tiles > 0 {
        let c = p.heads * p.d;
        keep(m, 4, Region { at: p.into, n: p.n, tiles: p.tiles, c }, &y);
    }
    m.numbers[6] = y;
}
