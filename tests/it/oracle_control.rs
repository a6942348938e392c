//! The rows of samples: quantiles by sorting, sums as they are written.

use super::Memory;
use super::solver::{Output, draw, log_scale, names, x0_and_eps};
use unnoise::ops::control::Params;
use unnoise::ops::noise;
use unnoise::ops::row::{self, Row, WORDS};

pub fn control(p: &Params, m: &mut Memory) {
    let b = p.b as usize;
    let row = m.step(0, 0);
    let mut rows = vec![row; b];
    let mut norms = vec![[0.0; 2]; b];
    for (n, live) in rows.iter_mut().enumerate() {
        let sample = Sample { p, m, n };
        if sample.output().acts(&row) && row.rescale != 0.0 {
            let phi = f64::from(row.rescale);
            live.f_scale = (phi * sample.deviations() + 1.0 - phi) as f32;
        }
        if row.flags & row::THRESHOLD != 0 {
            let quantile = sample.quantile(live);
            let bounded = quantile.max(1.0).min(f64::from(row.threshold_max)) as f32;
            let s = if quantile.is_nan() { f32::NAN } else { bounded };
            (live.clip, live.x0_scale) = (live.clip.min(s), 1.0 / s);
        }
        norms[n] = sample.norms(live);
    }
    if p.batch == 1 {
        let mean = |i: usize| norms.iter().map(|n| n[i]).sum::<f64>() / b as f64;
        norms = vec![[mean(0), mean(1)]; b];
    }
    for (live, [z, eps]) in rows.iter_mut().zip(norms) {
        if row.flags & row::SNR != 0 {
            let score = f64::from(row.x.eps).abs();
            let ratio = f64::from(row.snr_ratio) * z / (score * eps);
            // A network that diverged must not be taken for a step of no size.
            let ratio = if eps.is_infinite() { f64::NAN } else { ratio };
            let e = 2.0 * f64::from(row.snr_factor) * ratio * ratio;
            live.x.eps = (f64::from(row.x.eps) * e) as f32;
            live.x.z0 = (f64::from(row.x.z0) * e.sqrt()) as f32;
            live.x.z1 = (f64::from(row.x.z1) * e.sqrt()) as f32;
        }
    }
    let words = bytemuck::cast_slice::<Row, f32>(&rows);
    assert_eq!(words.len(), b * WORDS);
    m.numbers[5] = words.iter().map(|w| f64::from(*w)).collect();
}

/// One sample of the batch.
struct Sample<'a> {
    p: &'a Params,
    m: &'a Memory,
    n: usize,
}

impl Sample<'_> {
    fn output(&self) -> Output<'_> {
        Output {
            f: &self.m.numbers[1],
            run: &self.m.words[3],
            b: self.p.b as usize,
            cf: self.p.cf as usize,
            hw: self.p.hw as usize,
            guided: self.p.guided == 1,
        }
    }

    fn numel(&self) -> usize {
        (self.p.c * self.p.hw) as usize
    }

    /// Channel and pixel of each element.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.numel()).map(|e| (e / self.p.hw as usize, e % self.p.hw as usize))
    }

    /// The deviation of the conditional output over that of the guided one.
    fn deviations(&self) -> f64 {
        let output = self.output();
        let deviation = |value: &dyn Fn(usize, usize) -> f64| {
            // Relative to the first, so that equal elements deviate by exactly nothing.
            let values: Vec<f64> = self.places().map(|(k, i)| value(k, i) - value(0, 0)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt()
        };
        deviation(&|k, i| output.at(self.n, k, i)) / deviation(&|k, i| output.mixed(self.n, k, i))
    }

    fn predicted(&self, live: &Row) -> impl Iterator<Item = (f64, f64)> + '_ {
        let live = *live;
        let first = self.n * self.numel();
        self.places().enumerate().map(move |(e, (k, i))| {
            let pair = self.output().pair(&live, self.n, k, i);
            x0_and_eps(&live, self.m.numbers[0][first + e], pair)
        })
    }

    /// The quantile of |x0|, NaN if one of them is.
    fn quantile(&self, live: &Row) -> f64 {
        let mut sizes: Vec<f64> = self.predicted(live).map(|(x0, _)| x0.abs()).collect();
        if sizes.iter().any(|v| v.is_nan()) {
            return f64::NAN;
        }
        sizes.sort_by(f64::total_cmp);
        let at = live.threshold_rank as usize;
        match f64::from(live.threshold_part) {
            0.0 => sizes[at],
            part => sizes[at] * (1.0 - part) + sizes[at + 1] * part,
        }
    }

    /// Of the first draw and of eps.
    fn norms(&self, live: &Row) -> [f64; 2] {
        let p = self.p;
        let source = noise::Params {
            b: p.b,
            numel: p.c * p.hw,
            mode: p.mode,
            threads: p.threads,
            calls: p.calls,
            per_sample: 0,
        };
        let (run, draws, name) = (&self.m.words[3], &self.m.numbers[4], names(live)[0]);
        let noise = self.places().enumerate().map(|(e, (k, i))| {
            let learned = live.flags & row::LEARNED != 0;
            let variance = |k| log_scale(live, self.output().at(self.n, k, i)).exp();
            let scale = if learned { variance(p.c as usize + k) } else { 1.0 };
            scale * draw(&source, run, draws, name, (self.n, e))
        });
        let uses = live.x.z0 != 0.0;
        let z = if uses { noise.map(|z| z * z).sum::<f64>() } else { 0.0 };
        let eps: f64 = self.predicted(live).map(|(_, eps)| eps * eps).sum();
        [z.sqrt(), eps.sqrt()]
    }
}
