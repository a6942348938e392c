//! Random trajectories of every term and option, on every backend against the host's interpreter in
//! f64, with a network that both can compute.

use super::hash_weights::{HashWeights, values};
use super::{device, evaluate::relative_l2};
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Backend, Observer, RunInputs};
use unnoise::graph::{Frequencies, GraphBuilder};
use unnoise::graph::{Graph, Shape};
use unnoise::ops::Act;
use unnoise::ops::philox::{normal_pair, philox4x32_10};
use unnoise::program::{Input, NoiseMode, Options, Program, Source, TABLE_BYTES};
use unnoise::solver::{
    Draw, Eval, Expr, Given, Guidance, Interpreter, Known, Prediction, Projection, Reduce, Row,
    Snr, Term, Threshold, Trajectory,
};
use unnoise::tensor::DType;

pub const SEED: u64 = 0x1_0000_0007;

/// `F = silu(W (c_in x) + b + class)`, one pixel at a time.
pub struct Network {
    pub c: usize,
    pub cf: usize,
    pub hw: [usize; 2],
}

impl Network {
    fn graph(&self) -> Graph {
        let [h, w] = self.hw;
        let mut g = GraphBuilder::new();
        let x = g.state(Shape::Map { h, w, c: self.c }, 1.0, 0.0);
        let y = g.linear("mix", x, self.cf, true);
        let class = g.class_embedding("class", 2, self.cf);
        let time = g.time_embedding(
            "time",
            2,
            false,
            Frequencies::Exponential { max_period: 100.0, shift: 0.0 },
        );
        let time = g.linear("time", time, self.cf, false);
        let y = g.add("classed", y, class, 1.0).unwrap();
        let y = g.add("timed", y, time, 1.0).unwrap();
        let y = g.activation("act", y, Act::Silu);
        g.finish(y)
    }

    pub fn numel(&self) -> usize {
        self.c * self.hw[0] * self.hw[1]
    }

    /// The same in f64 for samples `[c, hw]`, each sample's output as `[cf, hw]`.
    pub fn host(&self, input: &[f64], time: f64, class: usize) -> Vec<f64> {
        let (c, cf, hw) = (self.c, self.cf, self.hw[0] * self.hw[1]);
        let weight = values("mix.weight", &[cf, c]);
        let bias = values("mix.bias", &[cf]);
        let classes = values("class.weight", &[2, cf]);
        let times = values("time.weight", &[cf, 2]);
        let mut f = Vec::new();
        for x in input.chunks(c * hw) {
            for (k, i) in (0..cf).flat_map(|k| (0..hw).map(move |i| (k, i))) {
                let mixed = (0..c).map(|j| f64::from(weight[k * c + j]) * x[j * hw + i]);
                let row = f64::from(bias[k]) + f64::from(classes[class * cf + k]);
                let clock =
                    f64::from(times[2 * k]) * time.sin() + f64::from(times[2 * k + 1]) * time.cos();
                let y = mixed.sum::<f64>() + row + clock;
                f.push(y / (1.0 + (-y).exp()));
            }
        }
        f
    }
}

/// Steele, Lea & Flood 2014.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 33) as usize % n
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.below(1 << 20) as f64 / f64::from(1 << 20)
    }
}

/// What one random run is.
#[derive(Debug)]
pub struct Run {
    pub trajectory: Trajectory,
    pub batch: usize,
    pub w: Option<f64>,
    pub table: bool,
    pub fuse: bool,
    pub projection: Projection,
}

/// Rows that read what there is to read: a ring of `depth`, the draws of before, a saved copy.
struct Writer {
    dice: Dice,
    depth: usize,
    learned: bool,
    pushes: usize,
    draws: Vec<Draw>,
}

impl Writer {
    fn expr(&mut self, terms: &[Term]) -> Expr {
        let chosen = terms.iter().filter(|_| !self.dice.one_in(3)).copied().collect::<Vec<_>>();
        let size = 1.0 / (1.0 + chosen.len() as f64).sqrt();
        chosen.iter().fold(Expr::zero(), |sum, t| sum + self.dice.between(-size, size) * *t)
    }

    fn guidance(&mut self) -> Guidance {
        Guidance {
            on: !self.dice.one_in(4),
            rescale: if self.dice.one_in(3) { 0.7 } else { 0.0 },
            unconditional_eps: self.dice.one_in(3),
        }
    }

    fn eval(&mut self) -> Eval {
        let d = &mut self.dice;
        let prediction = Prediction {
            c_in: d.between(0.3, 1.0),
            x0_x: d.between(0.5, 1.5),
            x0_f: d.between(-2.0, 2.0),
            clip: d.one_in(3).then_some(1.25),
            threshold: d.one_in(3).then(|| Threshold { quantile: d.between(0.5, 1.0), max: 1.5 }),
            eps_x: d.between(-1.0, 1.0),
            eps_f: d.between(0.5, 1.0),
            eps_x0: if d.one_in(2) { d.between(-1.0, 1.0) } else { 0.0 },
        };
        let time = d.below(3);
        let mut guidance = self.guidance();
        guidance.unconditional_eps &= guidance.on;
        let log_variance = (self.learned && self.dice.one_in(2)).then_some((-0.6, -0.5));
        Eval { time, prediction, log_variance, guidance }
    }

    fn draw(&mut self, step: usize, stream: usize) -> Draw {
        if stream == 1 && self.dice.one_in(2) {
            return self.draws[self.dice.below(self.draws.len())];
        }
        let draw =
            Draw { step: step as u32, stream: stream as u32, index: self.draws.len() as u32 };
        self.draws.push(draw);
        draw
    }

    fn known(&mut self, step: usize) -> Known {
        let noisy = !self.dice.one_in(3);
        Known {
            alpha: self.dice.between(0.2, 1.0),
            sigma: if noisy { self.dice.between(0.2, 1.0) } else { 0.0 },
            draw: noisy.then(|| self.draw(step, 2)),
            whole: self.dice.one_in(3),
        }
    }

    fn row(&mut self, step: usize) -> Row {
        let mut row = Row::default();
        let mut terms = vec![Term::X, Term::Saved];
        if step > 0 && !self.dice.one_in(5) {
            row.eval = Some(self.eval());
            terms.extend([Term::X0, Term::Eps]);
        }
        for stream in 0..self.dice.below(3).max(usize::from(step == 0)) {
            row.draws.push(self.draw(step, stream));
            terms.push(Term::Noise(stream));
        }
        terms.extend((0..self.pushes.min(self.depth)).map(Term::History));
        row.x = self.expr(&terms) + 0.7 * *terms.last().unwrap();
        row.saved = self.dice.one_in(2).then(|| self.expr(&terms));
        row.push = (self.depth > 0 && !self.dice.one_in(3)).then(|| self.expr(&terms));
        if row.eval.is_some() && !row.draws.is_empty() && self.dice.one_in(2) {
            row.snr = Some(Snr { ratio: 0.16, factor: 0.95 });
            row.x = row.x + 0.5 * Term::Eps - 0.1 * Term::Noise(0);
        }
        row.known = self.dice.one_in(4).then(|| self.known(step));
        self.pushes += usize::from(row.push.is_some());
        row
    }
}

fn random_run(seed: u64) -> (Network, Run) {
    let mut dice = Dice(seed);
    let c = 1 + dice.below(3);
    let learned = dice.one_in(3);
    let network = Network {
        c,
        cf: if learned { 2 * c } else { c },
        // One element alone has no deviation.
        hw: [2 + dice.below(5), 1 + dice.below(5)],
    };
    let (batch, table, fuse) = (1 + dice.below(4), dice.one_in(3), !dice.one_in(3));
    let w = (!dice.one_in(3)).then(|| dice.between(1.5, 5.0));
    let reduce = if dice.one_in(3) { Reduce::Batch } else { Reduce::Sample };
    let depth = dice.below(10);
    let [down, across] = network.hw;
    let divides = |side: &usize| down.is_multiple_of(*side) && across.is_multiple_of(*side);
    let side = (2..=down.min(across)).find(divides);
    let projection = match dice.below(3) {
        0 => Projection::Channels,
        1 => side.map_or(Projection::Mask, Projection::Squares),
        _ => Projection::Mask,
    };
    let mut writer = Writer { dice, depth, learned, pushes: 0, draws: Vec::new() };
    let rows: Vec<Row> = (0..14).map(|step| writer.row(step)).collect();
    let trajectory = Trajectory {
        times: vec![0.5, 1.25, 2.0],
        rows,
        history: depth,
        draws: writer.draws.len(),
        reduce,
        adaptive: None,
    };
    (network, Run { trajectory, batch, w, table, fuse, projection })
}

pub fn program(network: &Network, run: &Run) -> Program {
    let options = Options {
        storage: DType::F32,
        batch: run.batch,
        state: [network.c, network.hw[0], network.hw[1]],
        guided: run.w.is_some(),
        labels: vec![0, 1],
        texts: Vec::new(),
        noise: if run.table { NoiseMode::Table } else { NoiseMode::Philox },
        hoist: true,
        fuse: run.fuse,
        table_bytes: TABLE_BYTES,
        projection: run.projection,
        trace: false,
    };
    Program::build(&network.graph(), &run.trajectory, &options)
}

/// The draw by counting, as `noise` has it.
pub fn philox_draw(draw: Draw, sample: usize, z: &mut [f64]) {
    for (block, z) in z.chunks_mut(4).enumerate() {
        let counter = [block as u32, draw.step, draw.stream, sample as u32];
        let [a, b, c, d] = philox4x32_10(counter, [SEED as u32, (SEED >> 32) as u32]);
        let ((n0, n1), (n2, n3)) = (normal_pair([a, b]), normal_pair([c, d]));
        let normals = [n0, n1, n2, n3].map(f64::from);
        z.copy_from_slice(&normals[..z.len()]);
    }
}

/// The noise of all draws, `[draws, B, numel]`.
pub fn noise(network: &Network, run: &Run) -> Vec<f64> {
    let numel = network.numel();
    let mut z = vec![0.0; run.trajectory.draws * run.batch * numel];
    let rows = run.trajectory.rows.iter();
    let known = |row: &Row| row.known.and_then(|known| known.draw);
    let draws = rows.flat_map(|row| row.draws.iter().copied().chain(known(row)));
    for draw in draws {
        for sample in 0..run.batch {
            let at = (draw.index as usize * run.batch + sample) * numel;
            philox_draw(draw, sample, &mut z[at..at + numel]);
        }
    }
    z
}

/// Known data and masks of all samples.
fn given(network: &Network, run: &Run) -> [Vec<f32>; 2] {
    let data = values("known", &[run.batch, network.numel()]);
    let share = |i: usize| [0.0, 1.0, 0.25][i % 3];
    let mask = (0..run.batch * network.hw[0] * network.hw[1]).map(share).collect();
    [data, mask]
}

fn on_host(network: &Network, run: &Run) -> Vec<f64> {
    let z = noise(network, run);
    let n = run.batch * network.numel();
    let [data, mask] = given(network, run).map(|v| v.iter().map(|v| f64::from(*v)).collect());
    let (data, mask): (Vec<f64>, Vec<f64>) = (data, mask);
    let shape = [network.c, network.hw[0], network.hw[1]];
    let given = Given { data: &data, mask: &mask, projection: run.projection, shape };
    Interpreter::new(&run.trajectory).samples(run.batch).given(given).run_guided(
        n,
        run.w.unwrap_or(1.0),
        |x, time, conditional| network.host(x, time, usize::from(!conditional)),
        |draw, out| out.copy_from_slice(&z[draw.index as usize * n..][..n]),
    )
}

pub fn on_device(backend: &dyn Backend, network: &Network, run: &Run) -> Vec<f32> {
    let program = program(network, run);
    let mut session = backend.prepare(&program, &HashWeights).unwrap();
    let w = (run.w.unwrap_or(1.0) as f32).to_bits();
    let mut words = vec![SEED as u32, (SEED >> 32) as u32, 0, 0];
    words.extend((0..run.batch as u32).flat_map(|sample| [sample, w]));
    let mut condition = vec![0; run.batch];
    if run.w.is_some() {
        condition.extend(vec![1; run.batch]);
    }
    let draws = match run.table {
        true => noise(network, run).iter().map(|z| *z as f32).collect(),
        false => Vec::new(),
    };
    let [known, mask] = given(network, run);
    let reads = |input| program.slots.iter().any(|slot| slot.source == Source::Input(input));
    let known = if reads(Input::Known) { known } else { Vec::new() };
    let mask = if reads(Input::Mask) { mask } else { Vec::new() };
    let inputs = RunInputs { run: words, condition, draws, known, mask, images: Vec::new() };
    let (stop, mut out) = (AtomicBool::new(false), vec![f32::NAN; program.output_len]);
    let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
    let stats = session.run(&inputs, &mut observer, &mut out).unwrap();
    assert_eq!(stats.readbacks, 1);
    out
}

#[test]
fn random_trajectories_are_those_of_the_interpreter() {
    let mut wrong = Vec::new();
    for seed in 0..40 {
        let (network, run) = random_run(seed);
        let expected: Vec<f32> = on_host(&network, &run).iter().map(|v| *v as f32).collect();
        assert!(expected.iter().all(|v| v.is_finite()), "seed {seed}: {expected:?}");
        for backend in device::backends() {
            let error = relative_l2(&on_device(backend, &network, &run), &expected);
            // A NaN is wrong too.
            if error.is_nan() || error > 1e-5 {
                wrong.push(format!("seed {seed} on {}: relative L2 {error:e}", backend.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Launches of the solver in a body.
fn launches(program: &Program, body: usize) -> Vec<&'static str> {
    let launches = program.bodies[body].launches.iter();
    launches.filter(|l| l.layer.ends_with(Program::SOLVER)).map(|l| l.call.name()).collect()
}

#[test]
fn a_norm_costs_one_launch_where_it_is_asked_for() {
    let (network, mut run) = (0..)
        .map(random_run)
        .find(|(_, run)| run.fuse && run.trajectory.rows.iter().any(|row| row.snr.is_some()))
        .unwrap();
    run.trajectory.rows.iter_mut().for_each(|row| row.known = None);
    let with = program(&network, &run);
    with.validate().unwrap();
    assert_eq!(launches(&with, 1), ["solver_step"]);
    assert_eq!(launches(&with, 2), ["control", "solver_step"]);
    assert!(with.rows.iter().any(|row| row.body == 2));
    for row in &mut run.trajectory.rows {
        row.snr = None;
        if let Some(eval) = &mut row.eval {
            eval.prediction.threshold = None;
            eval.guidance.rescale = 0.0;
        }
    }
    let without = program(&network, &run);
    assert_eq!(without.bodies.len(), 2);
    assert!(without.slots.iter().all(|slot| slot.name != "live"));
}
