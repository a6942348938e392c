//! Trajectories of whole networks, with and without what the planner does.

use super::hash_weights::HashWeights;
use super::measure::{Device, Timed};
use unnoise::model::Model;
use unnoise::program::{NoiseMode, Options, Program, TABLE_BYTES};
use unnoise::solver::{self, Network};
use unnoise::tensor::DType;

/// Steps of a run, where that is no more than about [`SECONDS`].
const STEPS: usize = 10;
const SECONDS: f64 = 0.5;

/// What the planner may do.
#[derive(Clone, Copy)]
pub struct Ablation {
    /// As the command line has it; empty for the whole of it.
    pub flags: &'static str,
    pub fuse: bool,
    pub hoist: bool,
}

/// The plan as it is first: the others are compared with it.
pub const ABLATIONS: [Ablation; 4] = [
    Ablation { flags: "", fuse: true, hoist: true },
    Ablation { flags: "--no-hoist", fuse: true, hoist: false },
    Ablation { flags: "--no-fuse", fuse: false, hoist: true },
    Ablation { flags: "--no-fuse --no-hoist", fuse: false, hoist: false },
];

/// A built-in network under DDIM, one batch. Weights are random: no kernel is faster for others.
pub struct Subject {
    pub model: Model,
    pub batch: usize,
    pub steps: usize,
}

impl Subject {
    /// Takes as many steps as the device does in a short time: on a software driver a large
    /// network takes seconds for one.
    pub fn new(device: &Device, name: &str, batch: usize) -> Subject {
        let model = Model::open(name).unwrap_or_else(|e| panic!("{e}"));
        let one = Subject { model, batch, steps: 1 };
        let mut timed = one.timed(device, DType::F32, ABLATIONS[0]);
        timed.sample();
        let steps = (SECONDS / timed.sample()) as usize;
        Subject { steps: steps.clamp(1, STEPS), ..one }
    }

    /// The network evaluates a batch twice where it knows classes, as it would under guidance.
    pub fn program(&self, storage: DType, ablation: Ablation) -> Program {
        let scheduler = self.model.scheduler().unwrap_or_else(|e| panic!("{e}"));
        let options = solver::Options::new("ddim", self.steps);
        let trajectory = solver::record(&scheduler, &options, Network::default());
        let classes = self.model.classes.map_or(0, |classes| classes as u32);
        let options = Options {
            storage,
            batch: self.batch,
            state: self.model.state,
            guided: classes > 0,
            labels: (0..classes).collect(),
            texts: Vec::new(),
            noise: NoiseMode::Philox,
            hoist: ablation.hoist,
            fuse: ablation.fuse,
            trace: false,
            table_bytes: TABLE_BYTES,
            projection: Default::default(),
        };
        let trajectory = trajectory.unwrap_or_else(|e| panic!("{e}"));
        Program::build(&self.model.graph, &trajectory, &options)
    }

    /// The time of a step, what is hoisted counted in.
    pub fn timed(&self, device: &Device, storage: DType, ablation: Ablation) -> Timed {
        Timed::steps(device, &self.program(storage, ablation), &HashWeights, self.steps)
    }

    /// `digits, batch 8`.
    pub fn name(&self) -> String {
        format!("{}, batch {}", self.model.name, self.batch)
    }
}
