//! Every op once more, as its equation reads: plain loops, f64 throughout, nothing shared with the
//! library's arithmetic.

use unnoise::ops::row::{self, Row};
use unnoise::ops::{self, Call, Case, CaseArg, Cursor, RowMap};
use unnoise::tensor::DType;

/// The buffers of a case; absent ones are empty.
pub struct Memory {
    pub numbers: Vec<Vec<f64>>,
    pub words: Vec<Vec<u32>>,
    /// The rows of a trajectory are f32 bits and words mixed: kept as they are.
    rows: Vec<Row>,
    cursor: Cursor,
}

impl Memory {
    /// The case's content, rounded to f16 where it would be stored so.
    fn new(case: &Case, storage: DType) -> Memory {
        let round = |v: &f32| match storage {
            DType::F16 => half::f16::from_f32(*v).to_f64(),
            DType::BF16 => half::bf16::from_f32(*v).to_f64(),
            _ => f64::from(*v),
        };
        let mut memory = Memory {
            numbers: vec![Vec::new(); case.args.len()],
            words: vec![Vec::new(); case.args.len()],
            rows: Vec::new(),
            cursor: case.cursor,
        };
        for (i, arg) in case.args.iter().enumerate() {
            match arg {
                CaseArg::Absent => {}
                CaseArg::Data(v) => memory.numbers[i] = v.iter().map(round).collect(),
                CaseArg::F32(v) => {
                    memory.numbers[i] = v.iter().map(|v| f64::from(*v)).collect();
                    if takes_rows(case, i) {
                        let size = v.len() / row::WORDS;
                        memory.rows = v
                            .chunks_exact(row::WORDS)
                            .map(|w| bytemuck::pod_read_unaligned(bytemuck::cast_slice(w)))
                            .collect();
                        assert_eq!(memory.rows.len(), size);
                    }
                }
                CaseArg::U32(v) => memory.words[i] = v.clone(),
                CaseArg::Output | CaseArg::OutputF32 => {
                    memory.numbers[i] = vec![f64::NAN; case.call.elements(i)];
                }
            }
        }
        memory
    }

    fn has(&self, arg: usize) -> bool {
        !self.numbers[arg].is_empty()
    }

    /// An addend that may be absent.
    fn or_zero(&self, arg: usize, i: usize) -> f64 {
        if self.has(arg) { self.numbers[arg][i] } else { 0.0 }
    }

    fn row(&self, map: &RowMap, cond: usize, n: usize) -> usize {
        let condition = if map.cond == 0 { 0 } else { self.words[cond][n] };
        (map.time * self.cursor.time + map.cond * condition) as usize
            + n / map.div as usize % map.modulo as usize
    }

    /// The row of the trajectory that a sample reads.
    fn step(&self, per_sample: u32, sample: usize) -> Row {
        self.rows[if per_sample == 1 { sample } else { self.cursor.row as usize }]
    }
}

fn takes_rows(case: &Case, arg: usize) -> bool {
    case.call.args()[arg].name == "table" && case.call.name() != "embedding"
}

/// What the case's buffers hold after the op.
pub fn run(case: &Case, storage: DType) -> Vec<Vec<f64>> {
    let mut m = Memory::new(case, storage);
    match &case.call {
        Call::Activation(p) => activation(p, &mut m),
        Call::Add(p) => add(p, &mut m),
        Call::Attention(p) => product::attention(p, &mut m),
        Call::BlendTiles(p) => tiles::blend_tiles(p, &mut m),
        Call::Combine(p) => solver::combine(p, &mut m),
        Call::Concat(p) => concat(p, &mut m),
        Call::Control(p) => control::control(p, &mut m),
        Call::Conv2d(p) => product::conv2d(p, &mut m),
        Call::ConvStep(p) => conv_step(p, &mut m),
        Call::Divide(p) => fir::divide(p, &mut m),
        Call::Embedding(p) => embedding(p, &mut m),
        Call::FirResample(p) => fir::fir_resample(p, &mut m),
        Call::Geglu(p) => geglu(p, &mut m),
        Call::GroupNorm(p) => group_norm(p, &mut m),
        Call::Guidance(p) => solver::guidance(p, &mut m),
        Call::Interpolate(p) => window::interpolate(p, &mut m),
        Call::LatentTile(p) => tiles::latent_tile(p, &mut m),
        Call::Linear(p) => product::linear(p, &mut m),
        Call::Mixture(p) => mixture(p, &mut m),
        Call::ModelInput(p) => {
            let input =
                Input { states: p.b, gain: p.scale, shift: p.offset, per_sample: p.per_sample };
            m.numbers[2] = input.of(&m, p.n as usize, p.c as usize, p.hw as usize);
        }
        Call::MatrixMultiplyAdd(p) => matrix_multiply_add(p, &mut m),
        Call::Multiply(p) => multiply(p, &mut m),
        Call::MultiplyAdd(p) => multiply_add(p, &mut m),
        Call::Noise(p) => solver::noise(p, &mut m),
        Call::PictureTile(p) => tiles::picture_tile(p, &mut m),
        Call::Pool(p) => window::pool(p, &mut m),
        Call::Predict(p) => solver::predict(p, &mut m),
        Call::Replace(p) => solver::replace(p, &mut m),
        Call::Resample(p) => resample(p, &mut m),
        Call::ScaleShift(p) => scale_shift(p, &mut m),
        Call::SolverStep(p) => solver::solver_step(p, &mut m),
        Call::TimeEmbedding(p) => time_embedding(p, &mut m),
        Call::Trace(p) => {
            let (n, at) = (p.n as usize, m.cursor.row as usize * p.n as usize);
            let x = m.numbers[0].clone();
            m.numbers[1][at..at + n].copy_from_slice(&x);
        }
        Call::Unpatchify(p) => window::unpatchify(p, &mut m),
    }
    m.numbers
}

pub(super) fn act(act: u32, x: f64) -> f64 {
    match act {
        0 => x,
        1 => x / (1.0 + (-x).exp()),
        2 => 0.5 * x * libm::erfc(-x / std::f64::consts::SQRT_2),
        3 => x.max(0.0),
        4 => x * x.exp().ln_1p().tanh(),
        5 => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        }
        6 => x / (1.0 + (-1.702 * x).exp()),
        other => panic!("activation {other}"),
    }
}

fn matrix_multiply_add(p: &ops::matrix_multiply_add::Params, m: &mut Memory) {
    use ops::matrix_multiply_add::{CHAIN, DEPTH, SIDE, SUMS};
    for i in 0..p.n as usize * SUMS {
        let (row, column) = (i % SUMS / SIDE, i % SIDE);
        let term = |k| m.numbers[0][row * DEPTH + k] * m.numbers[1][k * SIDE + column];
        let product: f64 = (0..DEPTH).map(term).sum();
        m.numbers[2][i] = product * (p.rounds as usize * CHAIN) as f64;
    }
}

fn multiply_add(p: &ops::multiply_add::Params, m: &mut Memory) {
    for i in 0..p.n as usize * ops::multiply_add::WIDTH {
        let steps = 0..p.rounds as usize * ops::multiply_add::CHAIN;
        let step = |v: f64, _| f64::from(p.a) * v + f64::from(p.b);
        m.numbers[1][i] = steps.fold(m.numbers[0][i], step);
    }
}

fn activation(p: &ops::activation::Params, m: &mut Memory) {
    let c = p.c as usize;
    for n in 0..p.n as usize {
        let row = m.row(&p.map, 1, n);
        for k in 0..c {
            m.numbers[2][n * c + k] = act(p.act, m.numbers[0][row * c + k]);
        }
    }
}

fn add(p: &ops::add::Params, m: &mut Memory) {
    let (hw, c) = (p.hw as usize, p.c as usize);
    for i in 0..p.n as usize * hw {
        let (n, pixel) = (i / hw, i % hw);
        let a = m.row(&p.a_map, 2, n) * hw + pixel;
        let b = m.row(&p.b_map, 2, n);
        let b = if p.broadcast == 1 { b } else { b * hw + pixel };
        for k in 0..c {
            let sum = m.numbers[0][a * c + k] + m.numbers[1][b * c + k];
            m.numbers[3][i * c + k] = sum * f64::from(p.scale);
        }
    }
}

fn concat(p: &ops::concat::Params, m: &mut Memory) {
    let (ca, cb) = (p.ca as usize, p.cb as usize);
    for i in 0..p.n as usize {
        for k in 0..ca + cb {
            m.numbers[2][i * (ca + cb) + k] =
                if k < ca { m.numbers[0][i * ca + k] } else { m.numbers[1][i * cb + k - ca] };
        }
    }
}

fn embedding(p: &ops::embedding::Params, m: &mut Memory) {
    let (c, per) = (p.c as usize, p.per as usize);
    for n in 0..p.n as usize * per {
        let label = m.words[1][m.row(&p.map, 2, n / per) * per + n % per] as usize;
        for k in 0..c {
            m.numbers[3][n * c + k] = m.numbers[0][label * c + k];
        }
    }
}

fn geglu(p: &ops::geglu::Params, m: &mut Memory) {
    let c = p.c as usize;
    for (i, k) in (0..p.n as usize).flat_map(|i| (0..c).map(move |k| (i, k))) {
        let row = &m.numbers[0][i * 2 * c..][..2 * c];
        m.numbers[1][i * c + k] = row[k] * act(2, row[c + k]);
    }
}

fn group_norm(p: &ops::group_norm::Params, m: &mut Memory) {
    let (hw, c) = (p.hw as usize, p.c as usize);
    let size = c / p.groups as usize;
    for n in 0..p.n as usize {
        for g in 0..p.groups as usize {
            let places: Vec<usize> = (0..hw)
                .flat_map(|i| (0..size).map(move |k| (n * hw + i) * c + g * size + k))
                .collect();
            let count = places.len() as f64;
            let mean = places.iter().map(|i| m.numbers[0][*i]).sum::<f64>() / count;
            let square = |i: &usize| (m.numbers[0][*i] - mean).powi(2);
            let variance = places.iter().map(square).sum::<f64>() / count;
            for i in places {
                let k = i % c;
                let h = (m.numbers[0][i] - mean) / (variance + f64::from(p.eps)).sqrt();
                let mut h = h * m.numbers[1][k] + m.numbers[2][k];
                if m.has(3) {
                    let row = m.row(&p.map, 4, n) * 2 * c;
                    h = h * (1.0 + m.numbers[3][row + k]) + m.numbers[3][row + c + k];
                }
                m.numbers[5][i] = act(p.act, h);
            }
        }
    }
}

/// Bayes' rule for each component, its evidence relative to the largest.
fn mixture(p: &ops::mixture::Params, m: &mut Memory) {
    let d = p.d as usize;
    for n in 0..p.n as usize {
        let sigma2 = m.numbers[1][m.row(&p.map, 3, n)].powi(2);
        let x = m.numbers[0][n * d..][..d].to_vec();
        let components: Vec<&[f64]> = m.numbers[2].chunks(1 + 2 * d).collect();
        let log_evidence = |c: &&[f64]| {
            let mahalanobis = |j: usize| (x[j] - c[1 + j]).powi(2) / (c[1 + d + j] + sigma2);
            let volume = |j: usize| (c[1 + d + j] + sigma2).ln();
            c[0] - (0..d).map(|j| mahalanobis(j) + volume(j)).sum::<f64>() / 2.0
        };
        let logs: Vec<f64> = components.iter().map(log_evidence).collect();
        let posterior_mean = |j: usize| {
            let sums = components.iter().zip(&logs).map(|(c, log)| {
                let evidence = (log - logs.iter().fold(f64::MIN, |a, b| a.max(*b))).exp();
                let (mean, s2) = (c[1 + j], c[1 + d + j]);
                let posterior = (mean * sigma2 + x[j] * s2) / (s2 + sigma2);
                (evidence, evidence * posterior)
            });
            let (total, weighted) = sums.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
            weighted / total
        };
        let y: Vec<f64> = (0..d).map(posterior_mean).collect();
        m.numbers[4][n * d..][..d].copy_from_slice(&y);
    }
}

/// A convolution, then a step whose network output is what that gave.
fn conv_step(p: &ops::conv_step::Params, m: &mut Memory) {
    let part = |args: usize, pairs: &[(usize, usize)]| {
        let mut part = Memory {
            numbers: vec![Vec::new(); args],
            words: vec![Vec::new(); args],
            rows: m.rows.clone(),
            cursor: m.cursor,
        };
        for (from, to) in pairs {
            part.numbers[*to] = m.numbers[*from].clone();
            part.words[*to] = m.words[*from].clone();
        }
        part
    };
    let mut conv = part(11, &[(0, 0), (1, 2), (2, 3), (3, 4)]);
    let mut step = part(7, &[(4, 0), (5, 2), (6, 3), (7, 4), (8, 5), (9, 6)]);
    product::conv2d(&p.conv, &mut conv);
    step.numbers[1] = conv.numbers.remove(10);
    solver::solver_step(&p.step, &mut step);
    for (from, to) in [(0, 4), (5, 8), (6, 9)] {
        m.numbers[to] = step.numbers[from].clone();
    }
}

/// How a network reads the state, the first buffer.
pub(super) struct Input {
    pub states: u32,
    pub gain: f32,
    pub shift: f32,
    pub per_sample: u32,
}

impl Input {
    /// The input of `n` samples, `[n, hw, c]`.
    pub fn of(&self, m: &Memory, n: usize, c: usize, hw: usize) -> Vec<f64> {
        let value = |at: usize| {
            let (sample, i, k) = (at / c / hw % self.states as usize, at / c % hw, at % c);
            let factor = f64::from(self.gain) * f64::from(m.step(self.per_sample, sample).c_in);
            factor * m.numbers[0][(sample * c + k) * hw + i] + f64::from(self.shift)
        };
        (0..n * hw * c).map(value).collect()
    }
}

fn resample(p: &ops::resample::Params, m: &mut Memory) {
    let (h, w, c) = (p.h as usize, p.w as usize, p.c as usize);
    let up = p.mode == ops::resample::Mode::Up as u32;
    let (ho, wo) = if up { (2 * h, 2 * w) } else { (h / 2, w / 2) };
    for n in 0..p.n as usize {
        for (y, x) in (0..ho).flat_map(|y| (0..wo).map(move |x| (y, x))) {
            for k in 0..c {
                let at = |y: usize, x: usize| m.numbers[0][((n * h + y) * w + x) * c + k];
                let corners = [(0, 0), (0, 1), (1, 0), (1, 1)];
                let mean =
                    || corners.iter().map(|(v, u)| at(2 * y + v, 2 * x + u)).sum::<f64>() / 4.0;
                let value = if up { at(y / 2, x / 2) } else { mean() };
                m.numbers[1][((n * ho + y) * wo + x) * c + k] = value;
            }
        }
    }
}

fn scale_shift(p: &ops::scale_shift::Params, m: &mut Memory) {
    let (hw, c) = (p.hw as usize, p.c as usize);
    for i in 0..p.n as usize * hw {
        let row = m.row(&p.map, 2, i / hw) * 2 * c;
        for k in 0..c {
            let (scale, shift) = (m.numbers[1][row + k], m.numbers[1][row + c + k]);
            m.numbers[3][i * c + k] = m.numbers[0][i * c + k] * (1.0 + scale) + shift;
        }
    }
}

fn multiply(p: &ops::multiply::Params, m: &mut Memory) {
    let (hw, c) = (p.hw as usize, p.c as usize);
    for i in 0..p.n as usize * hw * c {
        let row = m.row(&p.map, 2, i / c / hw);
        m.numbers[3][i] = m.numbers[0][i] * m.numbers[1][row * c + i % c];
    }
}

fn time_embedding(p: &ops::time_embedding::Params, m: &mut Memory) {
    let (dim, half) = (p.dim as usize, p.dim as usize / 2);
    for n in 0..p.n as usize {
        let t = m.numbers[0][m.row(&p.map, 2, n)];
        for k in 0..dim {
            let waves = if k < half { p.flip } else { 1 - p.flip };
            m.numbers[3][n * dim + k] = if k == 2 * half {
                0.0
            } else {
                // The op defines the angle as a product rounded to f32 at each step.
                let t = if p.log == 1 { t.ln() as f32 } else { t as f32 };
                let angle = f64::from(t * m.numbers[1][k % half] as f32 * p.scale);
                if waves == 1 { angle.cos() } else { angle.sin() }
            };
        }
    }
}

#[path = "oracle_control.rs"]
mod control;
#[path = "oracle_fir.rs"]
mod fir;
#[path = "oracle_product.rs"]
mod product;
#[path = "oracle_solver.rs"]
mod solver;
#[path = "oracle_tiles.rs"]
mod tiles;
#[path = "oracle_window.rs"]
mod window;
