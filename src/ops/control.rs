//! What a row knows only after its evaluation: `live[sample]` is the row of the cursor with
//!
//! ```text
//! f_scale  = rescale std(C) / std(F) + 1 - rescale        (if GUIDE, in a guided run)
//! s        = min(max(quantile of |x0|, 1), threshold_max)    (if THRESHOLD)
//!            clip' = min(clip, s),  x0_scale = 1 / s
//! x.eps    = e x.eps,  x.z0 and x.z1 times sqrt(e)        (if SNR)
//!            e = 2 factor (ratio |z0| / |x.eps eps|)^2
//! ```
//!
//! in this order, each over the elements of a sample: Lin et al. 2023 (arXiv:2305.08891), eq. 15
//! and 16; Saharia et al. 2022 (arXiv:2205.11487), section 2.3; Song et al. 2021
//! (arXiv:2011.13456), Alg. 4 and 5. The quantile is exact: the element of rank `threshold_rank`
//! plus `threshold_part` of the way to the next. The norms are means over the batch if `batch`. A
//! NaN among the elements, a norm that is infinite and the deviation of one element alone make what
//! follows from them NaN, so that a network which diverged is seen.
//!
//! In a row of adaptive steps (`times` is bound) all of it follows from how far the sample has
//! come, which its row keeps, and from the norm of the error of its step: see [`layout`]. The row
//! of the sample then holds the update of this row, and c_in of the next; `times` what the network
//! is told there; and x, after the samples, the steps that were accepted and rejected and lambda.
//!
//! Sums run in a fixed order. `run` and `draws` are those of `solver_step`.

mod adapt;
mod cases;
pub mod layout;

use self::adapt::{Numbers, Progress};
use super::noise::{self, Generator};
use super::output::Output;
use super::row::{self, HISTORY, Mix, Row};
use super::{Arg, Buffers, Case, Cursor, Op, Span, params, words};
use rayon::prelude::*;

params! {
    /// `b` samples, state `[b, c, hw]`, f `[n, hw, cf]` with n = 2 b if `guided` else b. The
    /// numbers of adaptive steps follow the table's rows from row `adaptive` on.
    pub struct Params {
        pub b: u32,
        pub c: u32,
        pub cf: u32,
        pub hw: u32,
        pub guided: u32,
        pub depth: u32,
        pub mode: u32,
        pub threads: u32,
        pub calls: u32,
        pub batch: u32,
        pub adaptive: u32,
    }
}

/// What one evaluation gave.
struct Evaluation<'a> {
    x: &'a [f32],
    output: Output<'a>,
    generator: Generator<'a>,
    numel: usize,
    saved: &'a [f32],
    history: &'a [f32],
    depth: usize,
    /// In a row of adaptive steps.
    numbers: Option<Numbers<'a>>,
}

/// What is known of a sample before the sums of the batch are: its row, how far it had come, and
/// its own sums.
#[derive(Clone, Copy)]
struct Known {
    row: Row,
    before: Progress,
    sums: [f64; 2],
}

impl Evaluation<'_> {
    /// The factor of the guided output of a sample.
    fn f_scale(&self, row: &Row, sample: usize) -> f32 {
        let pair = |i| self.output.pair(row, sample, i);
        let conditional = deviation(self.numel, |i| pair(i)[0]);
        let guided = deviation(self.numel, |i| self.output.guided(sample, pair(i)));
        (f64::from(row.rescale) * conditional / guided + 1.0 - f64::from(row.rescale)) as f32
    }

    /// (x0, eps) of element `i`.
    fn predict(&self, row: &Row, sample: usize, i: usize) -> (f32, f32) {
        row.predict(self.x[sample * self.numel + i], self.output.outputs(row, sample, i))
    }

    /// The bound of a sample's |x0|.
    fn threshold(&self, row: &Row, sample: usize) -> f32 {
        let size = |i| self.predict(row, sample, i).0.abs();
        let mut sizes: Vec<f32> = (0..self.numel).map(size).collect();
        if sizes.iter().any(|v| v.is_nan()) {
            return f32::NAN;
        }
        let rank = row.threshold_rank as usize;
        let (_, low, above) = sizes.select_nth_unstable_by(rank, f32::total_cmp);
        let low = *low;
        let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
        let part = row.threshold_part;
        let quantile = if part == 0.0 { low } else { low + part * (high - low) };
        quantile.max(1.0).min(row.threshold_max)
    }

    /// The norms of a sample's first draw and of its eps.
    fn norms(&self, row: &Row, sample: usize) -> [f64; 2] {
        let mut z = vec![0.0; self.numel];
        if let Some(draw) = row.draws()[0] {
            self.generator.fill(draw, sample, &mut z);
        }
        let mut squares = [0.0; 2];
        for (i, z) in z.iter().enumerate() {
            let z = self.output.noise_scale(row, sample, i) * z;
            let eps = self.predict(row, sample, i).1;
            squares[0] += f64::from(z).powi(2);
            squares[1] += f64::from(eps).powi(2);
        }
        squares.map(f64::sqrt)
    }

    /// The mean square of a step's error.
    fn error(&self, numbers: &Numbers, row: &Row, sample: usize, before: &Progress) -> f64 {
        let error = numbers.error(before);
        let square = |i: usize| {
            let at = sample * self.numel + i;
            let eps = self.predict(row, sample, i).1;
            let mixed = |mix: &Mix| {
                let past = |j: usize| match mix.h[j] {
                    0.0 => 0.0,
                    c => {
                        let ring = (row.ring as usize + self.depth - 1 - j) % self.depth;
                        c * self.history[ring * self.x.len() + at]
                    }
                };
                let own = mix.x * self.x[at] + mix.eps * eps + mix.saved * self.saved[at];
                own + (0..self.depth.min(HISTORY)).map(past).sum::<f32>()
            };
            let scale = numbers.scale(mixed(&error.a), mixed(&error.b));
            (f64::from(mixed(&error.e)) / scale).powi(2)
        };
        (0..self.numel).map(square).sum::<f64>() / self.numel as f64
    }

    /// What a sample's elements tell; `kept` is the row that it had.
    fn know(&self, row: &Row, kept: &Row, sample: usize) -> Known {
        let (mut live, mut before) = (*row, Progress::of(kept));
        match self.numbers {
            Some(numbers) if row.stage == layout::INIT => before = numbers.start(),
            Some(numbers) => numbers.read(&mut live, &before),
            None => {}
        }
        let mut known = Known { row: live, before, sums: [0.0; 2] };
        if self.output.f.is_empty() {
            return known;
        }
        let live = &mut known.row;
        if row.rescale != 0.0 && self.output.guided && live.has(row::GUIDE) {
            live.f_scale = self.f_scale(live, sample);
        }
        if row.has(row::THRESHOLD) {
            let s = self.threshold(live, sample);
            (live.clip, live.x0_scale) = (live.clip.min(s), 1.0 / s);
        }
        known.sums = match self.numbers {
            Some(numbers) if numbers.decides(row) => {
                [self.error(&numbers, live, sample, &before), 0.0]
            }
            _ if row.has(row::SNR) => self.norms(live, sample),
            _ => [0.0; 2],
        };
        known
    }
}

/// The sample's row once the sums are known, and what the network is told in the row after it.
fn finish(known: Known, numbers: &Numbers, next: &Row) -> (Row, Option<f32>) {
    let Known { mut row, before, sums } = known;
    let decides = numbers.decides(&row);
    let after = if decides { numbers.advance(sums[0].sqrt(), &before) } else { before };
    numbers.update(&mut row, &before, &after);
    let input = (next.stage != 0).then(|| numbers.input(next.stage, &after));
    if let Some((_, c_in)) = input {
        row.c_in = c_in;
    }
    after.write(&mut row);
    (row, input.map(|(time, _)| time))
}

/// The root of the sum of squares about the mean.
fn deviation(n: usize, value: impl Fn(usize) -> f32) -> f64 {
    // Against the first element, so that equal elements deviate by nothing at all.
    let value = |i| f64::from(value(i)) - f64::from(value(0));
    let mean = (0..n).map(value).sum::<f64>() / n as f64;
    (0..n).map(|i| (value(i) - mean).powi(2)).sum::<f64>().sqrt()
}

/// Gives the update of x the step size that follows from the norms.
fn take_step(row: &mut Row, [z, eps]: [f64; 2]) {
    let ratio = f64::from(row.snr_ratio) * z / (f64::from(row.x.eps).abs() * eps);
    let ratio = if z.is_finite() && eps.is_finite() { ratio } else { f64::NAN };
    let root = f64::from(2.0 * row.snr_factor).sqrt() * ratio;
    row.x.eps = (f64::from(row.x.eps) * root * root) as f32;
    row.x.z0 = (f64::from(row.x.z0) * root) as f32;
    row.x.z1 = (f64::from(row.x.z1) * root) as f32;
}

fn row_of(words: &[f32]) -> Row {
    bytemuck::pod_read_unaligned(bytemuck::cast_slice(words))
}

impl Params {
    fn evaluation<'a>(
        &self,
        x: &'a [f32],
        [f, saved, history]: [&'a [f32]; 3],
        run: &'a [f32],
        draws: &'a [f32],
    ) -> Evaluation<'a> {
        let (b, c, cf, hw) = (self.b as usize, self.c as usize, self.cf as usize, self.hw as usize);
        let params = noise::Params {
            b: self.b,
            numel: self.c * self.hw,
            mode: self.mode,
            threads: self.threads,
            calls: self.calls,
            per_sample: 0,
        };
        Evaluation {
            x,
            output: Output { f, run: words(run), b, c, cf, hw, guided: self.guided != 0 },
            generator: Generator { params, run: words(run), draws },
            numel: c * hw,
            saved,
            history,
            depth: self.depth as usize,
            numbers: None,
        }
    }
}

impl Op for Params {
    const NAME: &'static str = "control";
    const ARGS: &'static [Arg] = &[
        Arg::update("x"),
        Arg::maybe("f"),
        Arg::read("table"),
        Arg::read("run"),
        Arg::maybe("draws"),
        Arg::update("live"),
        Arg::maybe("saved"),
        Arg::maybe("history"),
        Arg::maybe_update("times"),
    ];
    const FIELDS: &'static [(&'static str, usize)] = Params::OFFSETS;

    fn elements(&self, arg: usize) -> usize {
        match arg {
            1 => ((1 + self.guided) * self.b * self.hw * self.cf) as usize,
            2 => row::WORDS,
            3 => super::solver_step::run_words(self.b as usize),
            5 => row::WORDS * self.b as usize,
            7 => (self.depth * self.b * self.c * self.hw) as usize,
            8 => self.b as usize,
            _ => (self.b * self.c * self.hw) as usize,
        }
    }
    fn reach(&self, arg: usize, span: &Span) -> usize {
        match arg {
            0 if self.adaptive != 0 => self.elements(0) + layout::REPORT * self.b as usize,
            2 if self.adaptive != 0 => (self.adaptive as usize + layout::LEAST_ROWS) * row::WORDS,
            2 => span.rows * row::WORDS,
            4 => span.draws * self.elements(arg),
            _ => self.elements(arg),
        }
    }
    fn defines(&self) -> Vec<(&'static str, u32)> {
        // Threads without an element would only wait at every barrier.
        let threads = (self.c * self.hw).div_ceil(4).next_power_of_two();
        vec![("THREADS", threads.clamp(8, 256))]
    }
    fn flops(&self) -> u64 {
        50 * self.b as u64 * self.hw as u64 * self.c as u64
    }
    fn reference(&self, cursor: Cursor, buffers: &mut Buffers) {
        let [_, f, table, run, draws, _, saved, history, ..] = buffers.read;
        let [x, _, _, _, _, live, _, _, times, ..] = &mut buffers.write;
        let table: Vec<Row> = table.chunks_exact(row::WORDS).map(row_of).collect();
        let row = table[cursor.row as usize];
        let numbers =
            (!times.is_empty()).then(|| Numbers { rows: &table[self.adaptive as usize..] });
        let (state, report) = x.split_at_mut(self.elements(0));
        let evaluation = self.evaluation(state, [f, saved, history], run, draws);
        let evaluation = Evaluation { numbers, ..evaluation };
        let live = &mut live[..self.elements(5)];
        let kept: Vec<Row> = live.chunks_exact(row::WORDS).map(row_of).collect();
        let know = |(sample, kept)| evaluation.know(&row, kept, sample);
        let mut samples: Vec<Known> = kept.par_iter().enumerate().map(know).collect();
        if self.batch != 0 {
            let mean =
                |i: usize| samples.iter().map(|s| s.sums[i]).sum::<f64>() / samples.len() as f64;
            let mean = [mean(0), mean(1)];
            samples.iter_mut().for_each(|s| s.sums = mean);
        }
        for (sample, (known, live)) in samples.iter().zip(live.chunks_mut(row::WORDS)).enumerate() {
            let mut row = known.row;
            if let Some(numbers) = &numbers {
                let time;
                (row, time) = finish(*known, numbers, &table[cursor.row as usize + 1]);
                times[sample] = time.unwrap_or(times[sample]);
                let steps = [row.accepted as f32, row.rejected as f32, row.lambda];
                report[layout::REPORT * sample..][..layout::REPORT].copy_from_slice(&steps);
            } else if row.has(row::SNR) {
                take_step(&mut row, known.sums);
            }
            live.copy_from_slice(bytemuck::cast_slice(bytemuck::bytes_of(&row)));
        }
    }
    fn cases() -> Vec<Case> {
        cases::cases()
    }
}
