//! The oracle of ops that look at the pixels around a place.

use super::Memory;
use unnoise::ops::{interpolate, pool, unpatchify};

pub(super) fn pool(p: &pool::Params, m: &mut Memory) {
    let (h, w, c) = (p.h as i64, p.w as i64, p.c as usize);
    for n in 0..p.n as usize {
        for (oy, ox) in (0..p.ho as usize).flat_map(|y| (0..p.wo as usize).map(move |x| (y, x))) {
            for k in 0..c {
                let (mut inside, mut padded) = (Vec::new(), 0);
                for (u, v) in (0..p.kh as i64).flat_map(|u| (0..p.kw as i64).map(move |v| (u, v))) {
                    let y = oy as i64 * p.stride as i64 + u - p.top as i64;
                    let x = ox as i64 * p.stride as i64 + v - p.left as i64;
                    padded += usize::from(y < h + p.bottom as i64 && x < w + p.right as i64);
                    if (0..h).contains(&y) && (0..w).contains(&x) {
                        let pixel = (n * p.h as usize + y as usize) * p.w as usize + x as usize;
                        inside.push(m.numbers[0][pixel * c + k]);
                    }
                }
                let count = if p.count_padding == 1 { padded } else { inside.len() };
                let value = match p.mode {
                    0 => inside.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b)),
                    _ => inside.iter().sum::<f64>() / count as f64,
                };
                m.numbers[1][((n * p.ho as usize + oy) * p.wo as usize + ox) * c + k] = value;
            }
        }
    }
}

pub(super) fn interpolate(p: &interpolate::Params, m: &mut Memory) {
    let (h, w, c) = (p.h as usize, p.w as usize, p.c as usize);
    let offset = f64::from(p.offset);
    // Each pixel of x weighs what its distance to the place, within the map, leaves of one.
    let place = |i: usize, size: usize, places: usize| {
        let at = (i as f64 + offset) * size as f64 / places as f64 - offset;
        at.clamp(0.0, size as f64 - 1.0)
    };
    for n in 0..p.n as usize {
        for (oy, ox) in (0..p.ho as usize).flat_map(|y| (0..p.wo as usize).map(move |x| (y, x))) {
            let (y, x) = (place(oy, h, p.ho as usize), place(ox, w, p.wo as usize));
            for k in 0..c {
                let mut sum = 0.0;
                for (i, j) in (0..h).flat_map(|i| (0..w).map(move |j| (i, j))) {
                    let weight = (1.0 - (i as f64 - y).abs()).max(0.0)
                        * (1.0 - (j as f64 - x).abs()).max(0.0);
                    sum += weight * m.numbers[0][((n * h + i) * w + j) * c + k];
                }
                m.numbers[1][((n * p.ho as usize + oy) * p.wo as usize + ox) * c + k] = sum;
            }
        }
    }
}

pub(super) fn unpatchify(p: &unpatchify::Params, m: &mut Memory) {
    let (h, w, c, side) = (p.h as usize, p.w as usize, p.c as usize, p.side as usize);
    let mut x = m.numbers[0].clone().into_iter();
    for n in 0..p.n as usize {
        for (i, j) in (0..h).flat_map(|i| (0..w).map(move |j| (i, j))) {
            for (u, v) in (0..side).flat_map(|u| (0..side).map(move |v| (u, v))) {
                let (line, column) = (n * h * side + i * side + u, j * side + v);
                for k in 0..c {
                    m.numbers[1][(line * w * side + column) * c + k] = x.next().unwrap();
                }
            }
        }
    }
}
