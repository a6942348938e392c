//! Kernels and blocks at the sizes of real networks, each a small graph that is planned like any
//! other: what is measured is what the plan makes of it, fused or not.

use unnoise::error::Result;
use unnoise::graph::{Graph, GraphBuilder, NodeId, Shape};
use unnoise::ops::Act;
use unnoise::program::{Launch, NoiseMode, Options, Program, TABLE_BYTES};
use unnoise::solver::{Draw, Eval, Expr, Guidance, Prediction, Row, Term, Trajectory};
use unnoise::tensor::DType;

/// What comes before and after the measured layers is this narrow.
const STATE: usize = 4;

/// One thing to measure.
pub struct Kernel {
    /// The op, or `block`.
    pub bench: &'static str,
    pub case: String,
    graph: Graph,
    state: [usize; 3],
    batch: usize,
    guided: bool,
    fuse: bool,
}

impl Kernel {
    /// Its program: one row, one evaluation.
    pub fn program(&self, storage: DType) -> Program {
        let options = Options {
            storage,
            batch: self.batch,
            state: self.state,
            guided: self.guided,
            labels: Vec::new(),
            texts: Vec::new(),
            noise: NoiseMode::Philox,
            hoist: true,
            fuse: self.fuse,
            trace: false,
            table_bytes: TABLE_BYTES,
            projection: Default::default(),
        };
        Program::build(&self.graph, &one_row(), &options)
    }

    /// Whether a launch of the program is part of it.
    pub fn has(&self, launch: &Launch) -> bool {
        match self.bench {
            "solver_step" => launch.layer == Program::SOLVER,
            _ => launch.layer.starts_with("bench"),
        }
    }
}

/// DDPM's update: both predictions and noise.
fn one_row() -> Trajectory {
    let prediction = Prediction {
        c_in: 1.0,
        x0_x: 1.25,
        x0_f: -0.75,
        clip: Some(1.0),
        threshold: None,
        eps_x: 0.0,
        eps_f: 1.0,
        eps_x0: 0.0,
    };
    let eval = Eval { time: 0, prediction, log_variance: None, guidance: Guidance::default() };
    let x = 0.25 * Term::X + 0.5 * Term::X0 + 0.5 * Term::Noise(0);
    let draws = vec![Draw { step: 0, stream: 0, index: 0 }];
    Trajectory {
        times: vec![500.0],
        rows: vec![Row { eval: Some(eval), x: x + Expr::zero(), draws, ..Row::default() }],
        draws: 1,
        ..Trajectory::default()
    }
}

/// A square map of `side` and `channels` channels.
#[derive(Clone, Copy)]
struct Map {
    side: usize,
    channels: usize,
}

/// `layers`, whose names begin with `bench`, between two narrow pointwise layers.
fn between(
    bench: &'static str,
    case: String,
    fuse: bool,
    map: Map,
    layers: impl Fn(&mut GraphBuilder, NodeId) -> Result<NodeId>,
) -> Kernel {
    let mut b = GraphBuilder::new();
    let Map { side, channels } = map;
    let x = b.state(Shape::Map { h: side, w: side, c: STATE }, 1.0, 0.0);
    let x = b.linear("in", x, channels, true);
    let y = layers(&mut b, x).expect("the shapes fit");
    let y = b.linear("out", y, STATE, true);
    let state = [STATE, side, side];
    Kernel { bench, case, graph: b.finish(y), state, batch: 1, guided: false, fuse }
}

fn conv2d(network: &str, map: Map, out: usize) -> Kernel {
    let Map { side, channels } = map;
    let case = format!("{network} 3x3 {channels}->{out} at {side}x{side}");
    between("conv2d", case, true, map, |b, x| b.conv2d("bench", x, out, 3, 1, (1, 1)))
}

fn linear(network: &str, map: Map, out: usize) -> Kernel {
    let Map { side, channels } = map;
    let case = format!("{network} {channels}->{out} at {side}x{side}");
    between("linear", case, true, map, |b, x| Ok(b.linear("bench", x, out, true)))
}

fn attention(network: &str, map: Map, heads: usize) -> Kernel {
    let Map { side, channels } = map;
    let case = format!("{network} {heads} of {} at {side}x{side}", channels / heads);
    let scale = ((channels / heads) as f32).sqrt().recip();
    between("attention", case, true, map, |b, x| {
        let qkv = ["in.q", "in.k", "in.v"].map(|name| b.linear(name, x, channels, true));
        Ok(b.attention("bench", qkv, heads, scale))
    })
}

/// Not fused: a norm that another kernel took in is measured with that one.
fn group_norm(network: &str, map: Map, groups: usize) -> Kernel {
    let Map { side, channels } = map;
    let case = format!("{network} {channels} in {groups} at {side}x{side}");
    between("group_norm", case, false, map, |b, x| b.group_norm("bench", x, groups, 1e-5))
}

fn solver_step(network: &str, state: [usize; 3], batch: usize, guided: bool) -> Kernel {
    let mut b = GraphBuilder::new();
    let [c, h, w] = state;
    let x = b.state(Shape::Map { h, w, c }, 1.0, 0.0);
    let y = b.linear("out", x, c, true);
    let words = if guided { ", guided" } else { "" };
    let case = format!("{network} {batch}x{c}x{h}x{w}{words}");
    let graph = b.finish(y);
    Kernel { bench: "solver_step", case, graph, state, batch, guided, fuse: true }
}

/// The end of a network and the step with it: `conv(silu(norm(x)))` to a state of `c` channels.
fn conv_step(network: &str, Map { side, channels }: Map, c: usize, groups: usize) -> Kernel {
    let mut b = GraphBuilder::new();
    let x = b.state(Shape::Map { h: side, w: side, c }, 1.0, 0.0);
    let mut h = b.linear("in", x, channels, true);
    h = b.group_norm("norm", h, groups, 1e-5).expect("the groups fit");
    h = b.activation("silu", h, Act::Silu);
    let y = b.conv2d("bench", h, c, 3, 1, (1, 1)).expect("the shapes fit");
    let case = format!("{network} 3x3 {channels}->{c} at {side}x{side}");
    let (graph, state) = (b.finish(y), [c, side, side]);
    Kernel { bench: "conv_step", case, graph, state, batch: 1, guided: false, fuse: true }
}

/// `x + conv(silu(norm(conv(silu(norm(x))))))`, followed by a norm: in a network the statistics of
/// its output are the block's to make, as those of its input were another's.
fn res_block(network: &str, map: Map, groups: usize, fuse: bool) -> Kernel {
    let Map { side, channels } = map;
    between("block", named(network, "ResBlock", map, fuse), fuse, map, |b, x| {
        let mut h = x;
        for half in [1, 2] {
            h = b.group_norm(&format!("bench.norm{half}"), h, groups, 1e-5)?;
            h = b.activation(&format!("bench.silu{half}"), h, Act::Silu);
            h = b.conv2d(&format!("bench.conv{half}"), h, channels, 3, 1, (1, 1))?;
        }
        let y = b.add("bench.residual", h, x, 1.0)?;
        debug_assert_eq!(b.shape(y).pixels(), side * side);
        b.group_norm("out.norm", y, groups, 1e-5)
    })
}

/// Norm, self-attention of one head, projection and residual, followed by a norm likewise.
fn attention_block(network: &str, map: Map, groups: usize, fuse: bool) -> Kernel {
    let channels = map.channels;
    let scale = (channels as f32).sqrt().recip();
    between("block", named(network, "attention", map, fuse), fuse, map, |b, x| {
        let h = b.group_norm("bench.norm", x, groups, 1e-5)?;
        let qkv = ["bench.q", "bench.k", "bench.v"].map(|name| b.linear(name, h, channels, true));
        let h = b.attention("bench.attention", qkv, 1, scale);
        let h = b.linear("bench.out", h, channels, true);
        let y = b.add("bench.residual", h, x, 1.0)?;
        b.group_norm("out.norm", y, groups, 1e-5)
    })
}

fn named(network: &str, block: &str, map: Map, fuse: bool) -> String {
    let Map { side, channels } = map;
    let plan = if fuse { "fused" } else { "no-fuse" };
    format!("{network} {block} {channels} at {side}x{side}, {plan}")
}

/// Every kernel. SD1.5 is at 64 px: its latents are 8x8.
pub fn kernels() -> Vec<Kernel> {
    let map = |side, channels| Map { side, channels };
    vec![
        res_block("ddpm", map(32, 128), 32, true),
        res_block("ddpm", map(32, 128), 32, false),
        attention_block("ddpm", map(16, 256), 32, true),
        attention_block("ddpm", map(16, 256), 32, false),
        conv2d("digits", map(32, 16), 16),
        conv2d("digits", map(16, 32), 32),
        conv2d("digits", map(8, 64), 64),
        conv2d("digits", map(4, 96), 96),
        conv2d("ddpm", map(32, 3), 128),
        conv2d("ddpm", map(32, 128), 128),
        conv2d("ddpm", map(32, 128), 3),
        conv2d("ddpm", map(32, 384), 128),
        conv2d("ddpm", map(16, 256), 256),
        conv2d("ddpm", map(8, 256), 256),
        conv2d("ddpm", map(4, 256), 256),
        conv2d("sd15", map(8, 320), 320),
        conv2d("sd15", map(4, 640), 640),
        conv2d("sd15", map(2, 1280), 1280),
        conv_step("ddpm", map(32, 128), 3, 32),
        conv_step("sd15", map(64, 320), 4, 32),
        linear("digits", map(4, 96), 96),
        linear("ddpm", map(16, 256), 256),
        linear("sd15", map(8, 320), 320),
        linear("sd15", map(8, 320), 2560),
        linear("sd15", map(2, 1280), 1280),
        attention("digits", map(4, 96), 6),
        attention("ddpm", map(16, 256), 1),
        attention("sd15", map(8, 320), 8),
        attention("sd15", map(32, 320), 8),
        group_norm("ddpm", map(32, 128), 32),
        group_norm("ddpm", map(8, 256), 32),
        group_norm("sd15", map(8, 320), 32),
        solver_step("digits", [1, 32, 32], 64, true),
        solver_step("ddpm", [3, 32, 32], 1, false),
        solver_step("sd15", [4, 64, 64], 1, true),
        // 64 MiB: no cache holds it.
        solver_step("large", [4, 256, 256], 64, false),
    ]
}
