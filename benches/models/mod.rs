//! Networks of published sizes as graphs, for their times: weights are random, and names are our
//! own but for those of `ddpm-cifar10`. `benches/gpu/torch_networks.py` has the same in PyTorch.
//!
//! Where a graph cannot say what a network does, the nearest layer with the same work stands for
//! it, and [`Subject::differs`] says so.

mod dit;
mod edm;
mod sd15;

use unnoise::graph::{Frequencies, Graph, GraphBuilder, NodeId};
use unnoise::model::Model;
use unnoise::ops::Act;
use unnoise::program::{NoiseMode, Options, Program, TABLE_BYTES};
use unnoise::solver::{self, Network};
use unnoise::tensor::DType;

/// A network with the state that it denoises.
pub struct Subject {
    pub name: &'static str,
    pub graph: Graph,
    /// `[C, H, W]`
    pub state: [usize; 3],
    /// The class that every sample is of.
    pub labels: Vec<u32>,
    /// How the graph differs from what was published, in words; empty where it does not.
    pub differs: &'static str,
}

/// What is measured, the smallest first.
pub const NAMES: [&str; 4] = ["ddpm-cifar10", "edm-cifar10", "dit-xl-2", "sd15-unet"];

impl Subject {
    /// The network `name`; a `tiny` one has the same layers and hardly any channels.
    pub fn open(name: &str, tiny: bool) -> Subject {
        let (name, graph, state, labels, differs) = match name {
            "ddpm-cifar10" => {
                let model = Model::open(name).unwrap_or_else(|e| panic!("{e}"));
                (NAMES[0], model.graph, model.state, vec![], "")
            }
            "edm-cifar10" => (NAMES[1], edm::graph(tiny), [3, 32, 32], vec![], edm::DIFFERS),
            "dit-xl-2" => (NAMES[2], dit::graph(tiny), [4, 32, 32], vec![207], dit::DIFFERS),
            "sd15-unet" => (NAMES[3], sd15::graph(tiny), [4, 64, 64], vec![], sd15::DIFFERS),
            _ => panic!("no network {name}, but {}", NAMES.join(", ")),
        };
        Subject { name, graph, state, labels, differs }
    }

    /// DDIM in `steps` steps, an evaluation each, of `batch` samples.
    pub fn program(&self, storage: DType, batch: usize, steps: usize) -> Program {
        let scheduler = Model::open("ddpm-cifar10").and_then(|model| model.scheduler());
        let scheduler = scheduler.unwrap_or_else(|e| panic!("{e}"));
        let options = solver::Options::new("ddim", steps);
        let trajectory = solver::record(&scheduler, &options, Network::default());
        let options = Options {
            storage,
            batch,
            state: self.state,
            guided: false,
            labels: self.labels.clone(),
            texts: Vec::new(),
            noise: NoiseMode::Philox,
            hoist: true,
            fuse: true,
            trace: false,
            table_bytes: TABLE_BYTES,
            projection: Default::default(),
        };
        let trajectory = trajectory.unwrap_or_else(|e| panic!("{e}"));
        Program::build(&self.graph, &trajectory, &options)
    }
}

/// A graph that grows; every shape is known to fit.
struct Net(GraphBuilder);

impl Net {
    fn conv(&mut self, name: &str, x: NodeId, out: usize, k: usize, stride: usize) -> NodeId {
        let pad = if k == 3 { (1, 1) } else { (0, 0) };
        self.0.conv2d(name, x, out, k, stride, pad).expect("a map")
    }

    /// Group norm in 32 groups, or as many as leave each four channels.
    fn norm(&mut self, name: &str, x: NodeId, eps: f64) -> NodeId {
        let groups = (self.0.shape(x).channels() / 4).min(32);
        self.0.group_norm(name, x, groups, eps).expect("the groups fit")
    }

    fn silu(&mut self, name: &str, x: NodeId) -> NodeId {
        self.0.activation(name, x, Act::Silu)
    }

    fn add(&mut self, name: &str, a: NodeId, b: NodeId, scale: f32) -> NodeId {
        self.0.add(name, a, b, scale).expect("one shape")
    }

    /// A sinusoidal embedding of the time, then linear, SiLU, linear.
    fn time(&mut self, dim: usize, width: usize) -> NodeId {
        let t = self.0.time_embedding(
            "time",
            dim,
            true,
            Frequencies::Exponential { max_period: 10_000.0, shift: 0.0 },
        );
        let h = self.0.linear("time.linear_1", t, width, true);
        let h = self.silu("time.act", h);
        self.0.linear("time.linear_2", h, width, true)
    }

    /// Softmax attention of queries from x over keys and values from y.
    fn attention(&mut self, name: &str, [x, y]: [NodeId; 2], heads: usize, bias: bool) -> NodeId {
        let c = self.0.shape(x).channels();
        let part = |p: &str| format!("{name}.{p}");
        let q = self.0.linear(&part("to_q"), x, c, bias);
        let [k, v] = ["to_k", "to_v"].map(|to| self.0.linear(&part(to), y, c, bias));
        let scale = ((c / heads) as f32).sqrt().recip();
        let h = self.0.attention(&part("attention"), [q, k, v], heads, scale);
        self.0.linear(&part("to_out"), h, c, true)
    }
}
