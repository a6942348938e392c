//! Runs a trajectory on the host, with a plain closure as the network: what the table says, nothing
//! else. It is the reference of every backend, and the way to try a solver on a function of one's
//! own.
//!
//! The exact denoiser of a unit Gaussian, x0 = alpha x, sampled with 10 steps of DDIM:
//!
//! ```
//! use unnoise::solver::{Interpreter, Network, Options, SchedulerConfig, record};
//!
//! # fn main() -> unnoise::error::Result<()> {
//! let text = r#"{"_class_name": "DDIMScheduler", "prediction_type": "sample"}"#;
//! let config = SchedulerConfig::parse(text, "scheduler_config.json")?;
//! let trajectory = record(&config, &Options::new("ddim", 10), Network::default())?;
//! let alpha_bar = config.schedule().alpha_bar;
//!
//! let network = |x: &[f64], t: f64| -> Vec<f64> {
//!     x.iter().map(|x| alpha_bar[t as usize].sqrt() * x).collect()
//! };
//! let noise = |_draw, z: &mut [f64]| z.copy_from_slice(&[0.3, -0.8]);
//! let x = Interpreter::new(&trajectory).run(2, network, noise);
//! assert_eq!(x.len(), 2);
//! # Ok(())
//! # }
//! ```

mod sample;

use super::{
    Adaptive, Draw, Expr, Known, Progress, Projection, Reduce, Row, Snr, Stage, StepError, Term,
    Trajectory,
};
use num_traits::Float;
use sample::{Reading, Sample, norm};

/// The number types that a trajectory can be run in.
pub trait Real: Float + std::iter::Sum {
    /// Rounds a coefficient.
    fn of(value: f64) -> Self;
    /// The value in f64.
    fn wide(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }
    fn wide(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    fn of(value: f64) -> f64 {
        value
    }
    fn wide(self) -> f64 {
        self
    }
}

/// The known data of a run, for all of its samples.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// y, as long as the state.
    pub data: &'a [f64],
    /// m of [`Projection::Mask`], `[H, W]` of each sample; else not read.
    pub mask: &'a [f64],
    pub projection: Projection,
    /// `[C, H, W]` of a sample.
    pub shape: [usize; 3],
}

/// A trajectory about to be run.
#[derive(Clone, Copy, Debug)]
pub struct Interpreter<'a> {
    trajectory: &'a Trajectory,
    samples: usize,
    given: Option<Given<'a>>,
}

impl<'a> Interpreter<'a> {
    /// A run of one sample.
    pub fn new(trajectory: &'a Trajectory) -> Interpreter<'a> {
        Interpreter { trajectory, samples: 1, given: None }
    }

    /// The state is a batch of `samples`, one after another. It matters to norms and quantiles.
    pub fn samples(self, samples: usize) -> Interpreter<'a> {
        Interpreter { samples: samples.max(1), ..self }
    }

    /// What rows with [`Row::known`] replace.
    pub fn given(self, given: Given<'a>) -> Interpreter<'a> {
        Interpreter { given: Some(given), ..self }
    }

    /// The final x of `len` elements. `network(input, time)` gives its output F for its input (the
    /// state times c_in): `len` elements, or twice as many where it has a variance, each sample's
    /// prediction followed by its variance. `noise(draw, z)` fills z with the standard normal noise
    /// of that draw; [`Draw::index`] counts as a serial generator would, from the initial noise,
    /// draw 0, on.
    ///
    /// # Panics
    /// If the network's output has another length.
    pub fn run<R: Real>(
        &self,
        len: usize,
        mut network: impl FnMut(&[R], f64) -> Vec<R>,
        noise: impl FnMut(Draw, &mut [R]),
    ) -> Vec<R> {
        self.run_guided(len, 1.0, |x, time, _| network(x, time), noise)
    }

    /// The same with classifier-free guidance of weight `w`; `network(input, time, conditional)` is
    /// asked twice for each evaluation unless w is 1.
    ///
    /// # Panics
    /// If the network's output has another length.
    pub fn run_guided<R: Real>(
        &self,
        len: usize,
        w: f64,
        network: impl FnMut(&[R], f64, bool) -> Vec<R>,
        noise: impl FnMut(Draw, &mut [R]),
    ) -> Vec<R> {
        self.run_reporting(len, w, network, noise).0
    }

    /// The same, and how far each sample has come in an adaptive trajectory: the steps that it
    /// took, and with [`Adaptive::arrived`] whether the budget was enough. In such a trajectory the
    /// network is asked for one sample at a time, as each has a time of its own.
    ///
    /// # Panics
    /// If the network's output has another length.
    pub fn run_reporting<R: Real>(
        &self,
        len: usize,
        w: f64,
        mut network: impl FnMut(&[R], f64, bool) -> Vec<R>,
        mut noise: impl FnMut(Draw, &mut [R]),
    ) -> (Vec<R>, Vec<Progress>) {
        let numel = len / self.samples;
        let start = self.trajectory.adaptive.as_ref().map_or(Progress::default(), Adaptive::start);
        let mut samples: Vec<_> = (0..self.samples).map(|_| Sample::new(numel, start)).collect();
        for row in &self.trajectory.rows {
            samples.iter_mut().for_each(|sample| sample.noise.clear());
            for draw in &row.draws {
                let mut z = vec![R::zero(); len];
                noise(*draw, &mut z);
                let each = samples.iter_mut().zip(z.chunks(numel));
                each.for_each(|(sample, z)| sample.noise.push(z.to_vec()));
            }
            let mut ask = |x: &[R], time: f64| {
                let conditional = network(x, time, true);
                (conditional, (w != 1.0).then(|| network(x, time, false)))
            };
            match row.stage {
                Some(stage) => self.stage_row(stage, w, &mut samples, &mut ask),
                None => self.row(row, w, &mut samples, &mut ask),
            }
            if let Some(known) = &row.known {
                self.replace(known, &mut samples, &mut noise);
            }
        }
        let progress = samples.iter().map(|sample| sample.progress).collect();
        (samples.into_iter().flat_map(|sample| sample.x).collect(), progress)
    }

    /// A row whose coefficients are known before the run.
    fn row<R: Real>(
        &self,
        row: &Row,
        w: f64,
        samples: &mut [Sample<R>],
        ask: &mut impl FnMut(&[R], f64) -> (Vec<R>, Option<Vec<R>>),
    ) {
        if let Some(eval) = &row.eval {
            let (prediction, guidance) = (eval.prediction, eval.guidance);
            let reading = Reading { prediction, guidance, log_variance: eval.log_variance, w };
            let input: Vec<R> = samples.iter().flat_map(|s| s.input(&prediction)).collect();
            let (f, u) = ask(&input, self.trajectory.times[eval.time]);
            let wide = width(&f, input.len(), eval.log_variance.is_some());
            let numel = wide * input.len() / samples.len();
            for (i, sample) in samples.iter_mut().enumerate() {
                let of = |output: &[R]| output[i * numel..][..numel].to_vec();
                sample.evaluate(&reading, &of(&f), u.as_deref().map(of).as_deref());
            }
        }
        let sizes = row.snr.map(|snr| self.step_sizes(&snr, &row.x, samples));
        for (i, sample) in samples.iter_mut().enumerate() {
            sample.update(row, sizes.as_ref().map(|sizes| sizes[i]), self.trajectory.history);
        }
    }

    /// Replaces the known part of each sample.
    fn replace<R: Real>(
        &self,
        known: &Known,
        samples: &mut [Sample<R>],
        noise: &mut impl FnMut(Draw, &mut [R]),
    ) {
        let given = self.given.as_ref().expect("a run that reads known data is given them");
        let numel = samples[0].x.len();
        let mut z = vec![R::zero(); numel * samples.len()];
        known.draw.into_iter().for_each(|draw| noise(draw, &mut z));
        let (alpha, sigma) = (R::of(known.alpha), R::of(known.sigma));
        let [_, h, w] = given.shape;
        for (n, sample) in samples.iter_mut().enumerate() {
            let at = |i: usize| n * numel + i;
            let to = |i: usize| alpha * R::of(given.data[at(i)]) + sigma * z[at(i)];
            match given.projection {
                _ if known.whole => (0..numel).for_each(|i| sample.x[i] = to(i)),
                Projection::Mask => (0..numel).for_each(|i| {
                    let mask = R::of(given.mask[n * h * w + i % (h * w)]);
                    sample.x[i] = mask * sample.x[i] + (R::one() - mask) * to(i);
                }),
                projection => projection.groups(given.shape).iter().for_each(|group| {
                    let count = R::of(group.len() as f64);
                    let mean = group.iter().map(|&i| to(i) - sample.x[i]).sum::<R>() / count;
                    group.iter().for_each(|&i| sample.x[i] = sample.x[i] + mean);
                }),
            }
        }
    }

    /// A row whose coefficients follow from the progress of each sample.
    fn stage_row<R: Real>(
        &self,
        stage: Stage,
        w: f64,
        samples: &mut [Sample<R>],
        ask: &mut impl FnMut(&[R], f64) -> (Vec<R>, Option<Vec<R>>),
    ) {
        let adaptive = self.trajectory.adaptive.as_ref();
        let adaptive = adaptive.expect("rows with a stage belong to an adaptive trajectory");
        for sample in samples.iter_mut() {
            let level = adaptive.level(stage, &sample.progress);
            let (prediction, guidance) = adaptive.read(level);
            let reading = Reading { prediction, guidance, log_variance: None, w };
            let input: Vec<R> = sample.input(&prediction).collect();
            let (f, u) = ask(&input, adaptive.model.time(level));
            width(&f, input.len(), false);
            sample.evaluate(&reading, &f, u.as_deref());
        }
        let before: Vec<_> = samples.iter().map(|sample| sample.progress).collect();
        if stage == Stage::Step(adaptive.method.rows() - 1) {
            let norms = self.error_norms(adaptive, samples);
            for (sample, norm) in samples.iter_mut().zip(norms) {
                sample.progress = adaptive.advance(norm, &sample.progress);
            }
        }
        for (sample, before) in samples.iter_mut().zip(&before) {
            let update = adaptive.row(stage, before, &sample.progress);
            let row = Row { x: update.x, saved: update.saved, push: update.push, ..Row::default() };
            sample.update(&row, None, self.trajectory.history);
        }
    }

    /// The norm of each sample's [`StepError`]; over a batch, that of the error of all its
    /// elements.
    fn error_norms<R: Real>(&self, adaptive: &Adaptive, samples: &[Sample<R>]) -> Vec<f64> {
        let mean_square = |sample: &Sample<R>| {
            let StepError { e, a, b } = adaptive.error(&sample.progress);
            let (e, a, b) = (sample.value(&e), sample.value(&a), sample.value(&b));
            let ratio = |i: usize| e[i].wide() / adaptive.scale(a[i].wide(), b[i].wide());
            (0..e.len()).map(|i| ratio(i).powi(2)).sum::<f64>() / e.len() as f64
        };
        let mut squares: Vec<f64> = samples.iter().map(mean_square).collect();
        self.reduce(&mut squares);
        squares.into_iter().map(f64::sqrt).collect()
    }

    /// The step size of each sample, see [`Snr`].
    fn step_sizes<R: Real>(&self, snr: &Snr, update: &Expr, samples: &[Sample<R>]) -> Vec<f64> {
        let mut z: Vec<f64> = samples.iter().map(|sample| norm(&sample.noise[0])).collect();
        let mut g: Vec<f64> = samples.iter().map(|sample| norm(&sample.eps)).collect();
        self.reduce(&mut z);
        self.reduce(&mut g);
        let score = update.coefficient(Term::Eps).abs();
        let size = |(z, g): (&f64, &f64)| 2.0 * snr.factor * (snr.ratio * z / (score * g)).powi(2);
        z.iter().zip(&g).map(size).collect()
    }

    /// One value for each sample, or their mean for all.
    fn reduce(&self, values: &mut [f64]) {
        if self.trajectory.reduce == Reduce::Batch {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values.fill(mean);
        }
    }
}

/// Whether the output holds one prediction for each input, or a prediction and a variance.
fn width<R>(output: &[R], input: usize, variance: bool) -> usize {
    let wide = output.len() / input;
    let least = if variance { 2 } else { 1 };
    assert!(output.len() == wide * input && (least..=2).contains(&wide), "the network's output");
    wide
}
