//! The oracle of ops on parts of latents and pictures.

use super::Memory;
use unnoise::ops::{blend_tiles, latent_tile, picture_tile};

/// Sample, block, line and column of the row at the cursor.
fn place(m: &Memory, first: u32) -> [usize; 4] {
    let at = 4 * (m.cursor.row - first) as usize;
    [0, 1, 2, 3].map(|i| m.words[1][at + i] as usize)
}

pub(super) fn latent_tile(p: &latent_tile::Params, m: &mut Memory) {
    let [sample, _, top, left] = place(m, p.first);
    let (c, h, w) = (p.c as usize, p.h as usize, p.w as usize);
    let mut y = Vec::new();
    for n in sample..sample + p.n as usize {
        for line in top..top + p.th as usize {
            for column in left..left + p.tw as usize {
                let x = |k: usize| m.numbers[0][((n * c + k) * h + line) * w + column];
                y.extend((0..c).map(|k| f64::from(p.scale) * x(k)));
            }
        }
    }
    m.numbers[2] = y;
}

pub(super) fn picture_tile(p: &picture_tile::Params, m: &mut Memory) {
    let [_, block, ..] = place(m, p.first);
    let (c, ho, wo) = (p.c as usize, p.ho as usize, p.wo as usize);
    let mut x = m.numbers[0].clone().into_iter();
    for n in 0..p.n as usize {
        let block = block + n * p.step as usize;
        for (line, column) in
            (0..p.th as usize).flat_map(|y| (0..p.tw as usize).map(move |x| (y, x)))
        {
            for k in 0..c {
                m.numbers[2][((block * c + k) * ho + line) * wo + column] = x.next().unwrap();
            }
        }
    }
}

/// As it is done by hand: each tile fades in over the finished one above, then over the finished
/// one to its left; of every tile a corner is kept.
pub(super) fn blend_tiles(p: &blend_tiles::Params, m: &mut Memory) {
    let (c, h, w) = (p.c as usize, p.h as usize, p.w as usize);
    let (side, stride, extent) = (p.side as usize, p.stride as usize, p.extent as usize);
    let (down, across) = (h.div_ceil(stride), w.div_ceil(stride));
    let [sample, ..] = place(m, p.first);
    for (n, k) in (0..p.n as usize).flat_map(|n| (0..c).map(move |k| (n, k))) {
        let mut tiles: Vec<Vec<Vec<f64>>> = Vec::new();
        for (i, j) in (0..down).flat_map(|i| (0..across).map(move |j| (i, j))) {
            let (height, width) = (side.min(h - i * stride), side.min(w - j * stride));
            let first = (((n * down + i) * across + j) * c + k) * side * side;
            let line = |y: usize| m.numbers[0][first + y * side..][..width].to_vec();
            let mut tile: Vec<Vec<f64>> = (0..height).map(line).collect();
            if i > 0 {
                let above = &tiles[(i - 1) * across + j];
                let v = extent.min(above.len()).min(height);
                for y in 0..v {
                    let part = y as f64 / v as f64;
                    for x in 0..width {
                        let from = above[above.len() - v + y][x];
                        tile[y][x] = from * (1.0 - part) + tile[y][x] * part;
                    }
                }
            }
            if j > 0 {
                let left = &tiles[i * across + j - 1];
                let u = extent.min(left[0].len()).min(width);
                for (line, before) in tile.iter_mut().zip(left) {
                    for x in 0..u {
                        let part = x as f64 / u as f64;
                        let from = before[before.len() - u + x];
                        line[x] = from * (1.0 - part) + line[x] * part;
                    }
                }
            }
            for (y, line) in tile.iter().take(stride).enumerate() {
                for (x, value) in line.iter().take(stride).enumerate() {
                    let at = ((sample + n) * c + k) * h + i * stride + y;
                    m.numbers[2][at * w + j * stride + x] = *value;
                }
            }
            tiles.push(tile);
        }
    }
}
