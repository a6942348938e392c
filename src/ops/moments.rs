//! Moments: mean and spread of the channels of a map, left by the kernel that wrote it for the norm
//! of the kernels that read it.
//!
//! One f32 buffer, `moments`, is read as pairs. The moments of a map `[n, hw, c]` are a region of
//! it: first `tiles` pairs `(count, 0)`, then `[n][tiles][c]` pairs `(mean, m2)` with the mean of
//! the `count` pixels of a tile and the sum of their squared deviations from it. Tiles without
//! pixels have count 0 and are never read. They are merged pairwise (Chan, Golub & LeVeque 1979,
//! eq. 2.1), so that a large mean over a tiny variance costs nothing.

use super::parallel;
use rayon::prelude::*;

/// Tiles that a region of a map of `h x w` pixels has room for: squares of 8 x 8, or runs of 32.
pub fn tiles(h: usize, w: usize) -> usize {
    (h.div_ceil(8) * w.div_ceil(8)).max((h * w).div_ceil(32))
}

/// Elements of the buffer that holds these regions; those without tiles are absent.
pub(super) fn reach(regions: &[Region]) -> usize {
    let ends = regions.iter().filter(|r| r.tiles > 0).map(|r| 2 * r.end());
    ends.max().unwrap_or(0)
}

/// Count, mean and sum of squared deviations of some values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    pub count: f64,
    pub mean: f64,
    pub m2: f64,
}

impl Moments {
    /// Those of both together.
    pub fn merge(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let delta = other.mean - self.mean;
        let mean = self.mean + delta * other.count / count;
        let m2 = self.m2 + other.m2 + delta * delta * self.count * other.count / count;
        Moments { count, mean, m2 }
    }

    /// Mean and 1 / sqrt(variance + eps).
    pub fn scale(&self, eps: f32) -> (f64, f64) {
        (self.mean, 1.0 / (self.m2 / self.count + f64::from(eps)).sqrt())
    }
}

/// Where the moments of a map `[n, hw, c]` lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The first pair.
    pub at: u32,
    pub n: u32,
    pub tiles: u32,
    pub c: u32,
}

impl Region {
    /// No moments.
    pub const NONE: Region = Region { at: 0, n: 0, tiles: 0, c: 0 };

    /// Pairs that it takes.
    pub fn pairs(&self) -> usize {
        self.tiles as usize * (1 + self.n as usize * self.c as usize)
    }

    /// The pair behind it.
    pub fn end(&self) -> usize {
        self.at as usize + self.pairs()
    }

    /// The moments of a channel of a sample, all tiles merged.
    pub fn channel(&self, buffer: &[f32], sample: usize, channel: usize) -> Moments {
        let (at, tiles, c) = (self.at as usize, self.tiles as usize, self.c as usize);
        (0..tiles).fold(Moments::default(), |sum, tile| {
            let count = f64::from(buffer[2 * (at + tile)]);
            let pair = 2 * (at + tiles + (sample * tiles + tile) * c + channel);
            match count {
                0.0 => sum,
                _ => sum.merge(Moments {
                    count,
                    mean: f64::from(buffer[pair]),
                    m2: f64::from(buffer[pair + 1]),
                }),
            }
        })
    }

    /// Measures the map `y` and writes its region; a tile is a run of pixels.
    pub(super) fn measure(&self, y: &[f32], buffer: &mut [f32]) {
        let (n, tiles, c) = (self.n as usize, self.tiles as usize, self.c as usize);
        let hw = y.len() / (n * c);
        let run = hw.div_ceil(tiles);
        let region = &mut buffer[2 * self.at as usize..][..2 * self.pairs()];
        let (counts, pairs) = region.split_at_mut(2 * tiles);
        for (tile, pair) in counts.chunks_exact_mut(2).enumerate() {
            pair[0] = hw.saturating_sub(tile * run).min(run) as f32;
            pair[1] = 0.0;
        }
        pairs.par_chunks_exact_mut(2 * c).enumerate().for_each(|(i, pairs)| {
            let (sample, tile) = (i / tiles, i % tiles);
            let (first, last) = ((tile * run).min(hw), (tile * run + run).min(hw));
            parallel::vectorized(Measure { y: &y[sample * hw * c..][first * c..last * c], pairs });
        });
    }
}

/// Mean and squared deviations of each channel of a run of pixels.
struct Measure<'a> {
    y: &'a [f32],
    pairs: &'a mut [f32],
}

impl parallel::Loop for Measure<'_> {
    #[inline(always)]
    fn run(self) {
        let Measure { y, pairs } = self;
        let c = pairs.len() / 2;
        let count = (y.len() / c).max(1) as f32;
        pairs.fill(0.0);
        // Deviations from the first pixel are small where the spread is; their mean then corrects.
        let Some((first, _)) = y.split_at_checked(c).filter(|(first, _)| first.len() == c) else {
            return;
        };
        for pixel in y.chunks_exact(c) {
            for (pair, (v, first)) in pairs.chunks_exact_mut(2).zip(pixel.iter().zip(first)) {
                pair[0] += v - first;
            }
        }
        for (pair, first) in pairs.chunks_exact_mut(2).zip(first) {
            pair[0] = first + pair[0] / count;
        }
        for pixel in y.chunks_exact(c) {
            for (pair, v) in pairs.chunks_exact_mut(2).zip(pixel) {
                let d = v - pair[0];
                pair[1] += d * d;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_merge_to_the_whole() {
        let (n, hw, c) = (2, 100, 3);
        let y: Vec<f32> =
            (0..n * hw * c).map(|i| 1000.0 + ((i * 7919) % 101) as f32 * 1e-2).collect();
        let region = Region { at: 5, n: n as u32, tiles: tiles(10, 10) as u32, c: c as u32 };
        let mut buffer = vec![0.0; 2 * region.end()];
        region.measure(&y, &mut buffer);
        for (sample, channel) in (0..n).flat_map(|s| (0..c).map(move |c| (s, c))) {
            let values = || (0..hw).map(|i| f64::from(y[(sample * hw + i) * c + channel]));
            let mean = values().sum::<f64>() / hw as f64;
            let m2 = values().map(|v| (v - mean).powi(2)).sum::<f64>();
            let found = region.channel(&buffer, sample, channel);
            assert_eq!(found.count, hw as f64);
            assert!((found.mean - mean).abs() < 1e-4, "{found:?}, mean {mean}");
            assert!((found.m2 - m2).abs() < 1e-3 * m2, "{found:?}, m2 {m2}");
        }
    }
}
