//! One evaluation of a network as a program of two rows: the first sets the state to the input
//! (as a host-made draw), the second replaces it with the network's output.

use super::hash_weights::HashWeights;
use std::sync::atomic::AtomicBool;
use unnoise::backend::{Backend, Observer, RunInputs, WeightSource};
use unnoise::graph::Graph;
use unnoise::ops::solver_step::run_words;
use unnoise::program::{NoiseMode, Options, Program, TABLE_BYTES};
use unnoise::solver::{Draw, Eval, Expr, Guidance, Prediction, Row, Term, Trajectory};
use unnoise::tensor::DType;

/// What to evaluate.
pub struct Evaluation<'a> {
    pub graph: &'a Graph,
    pub weights: &'a dyn WeightSource,
    /// `[C, H, W]`.
    pub state: [usize; 3],
    pub time: f64,
    /// One a sample; empty for an unconditional network.
    pub labels: &'a [u32],
    /// `[B, C, H, W]`.
    pub x: &'a [f32],
    pub storage: DType,
    pub fuse: bool,
    pub hoist: bool,
}

impl<'a> Evaluation<'a> {
    /// Of a network that reads `state` alone, with weights made by hash, as it runs by default.
    pub fn hashed(graph: &'a Graph, state: [usize; 3], time: f64, x: &'a [f32]) -> Self {
        Evaluation {
            graph,
            weights: &HashWeights,
            state,
            time,
            labels: &[],
            x,
            storage: DType::F32,
            fuse: true,
            hoist: true,
        }
    }
}

impl Evaluation<'_> {
    fn batch(&self) -> usize {
        self.x.len() / self.state.iter().product::<usize>()
    }

    /// The unique labels, in order.
    fn unique(&self) -> Vec<u32> {
        let mut labels = self.labels.to_vec();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    pub fn program(&self) -> Program {
        let options = Options {
            storage: self.storage,
            batch: self.batch(),
            state: self.state,
            guided: false,
            labels: self.unique(),
            texts: Vec::new(),
            noise: NoiseMode::Table,
            hoist: self.hoist,
            fuse: self.fuse,
            trace: false,
            table_bytes: TABLE_BYTES,
            projection: Default::default(),
        };
        Program::build(self.graph, &trajectory(self.time), &options)
    }

    /// F, or its first C channels, `[B, C, H, W]`.
    pub fn run(&self, backend: &dyn Backend) -> Vec<f32> {
        let program = self.program();
        let mut session = backend.prepare(&program, self.weights).expect("prepare");
        let unique = self.unique();
        let position = |l: &u32| unique.iter().position(|u| u == l).unwrap() as u32;
        let condition = match self.labels {
            [] => vec![0; self.batch()],
            labels => labels.iter().map(position).collect(),
        };
        let run = vec![0; run_words(self.batch())];
        let inputs = RunInputs { run, condition, draws: self.x.to_vec(), ..Default::default() };
        let mut out = vec![f32::NAN; program.output_len];
        let stop = AtomicBool::new(false);
        let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
        let stats = session.run(&inputs, &mut observer, &mut out).expect("run");
        assert_eq!(stats.readbacks, 1);
        out
    }
}

fn trajectory(time: f64) -> Trajectory {
    let identity = Prediction {
        c_in: 1.0,
        x0_x: 0.0,
        x0_f: 1.0,
        clip: None,
        threshold: None,
        eps_x: 0.0,
        eps_f: 0.0,
        eps_x0: 0.0,
    };
    let row = |eval, x, draws| Row { eval, x, draws, ..Row::default() };
    let draw = Draw { step: 0, stream: 0, index: 0 };
    let eval =
        Eval { time: 0, prediction: identity, log_variance: None, guidance: Guidance::default() };
    Trajectory {
        times: vec![time],
        rows: vec![
            row(None, Expr::from(Term::Noise(0)), vec![draw]),
            row(Some(eval), Expr::from(Term::X0), vec![]),
        ],
        draws: 1,
        ..Trajectory::default()
    }
}

/// |a - b| / |b| over all elements.
pub fn relative_l2(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let sum = |v: &mut dyn Iterator<Item = f64>| v.map(|d| d * d).sum::<f64>().sqrt();
    let pairs = || found.iter().zip(expected).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    sum(&mut pairs().map(|(a, b)| a - b)) / sum(&mut pairs().map(|(_, b)| b))
}
