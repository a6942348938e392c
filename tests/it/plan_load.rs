//! What precedes a matrix product happens while it loads: each pattern, and that it changes
//! nothing.

use super::evaluate::{Evaluation, relative_l2};
use super::{device, hash_weights};
use unnoise::graph::{Frequencies, Graph, GraphBuilder, Layer, NodeId, Shape};
use unnoise::ops::{Act, Call};
use unnoise::plan::{Head, Kernel, Options, Plan, Sizes, StateOnLoad, Tail};
use unnoise::program::Program;
use unnoise::tensor::DType;

/// A graph that grows from a map of 8 channels, 6 x 6.
struct Net {
    g: GraphBuilder,
    x: NodeId,
}

impl Net {
    fn new() -> Net {
        let mut g = GraphBuilder::new();
        let x = g.state(Shape::Map { h: 6, w: 6, c: 2 }, 1.0, 0.0);
        let x = g.conv2d("conv_in", x, 8, 3, 1, (1, 1)).unwrap();
        Net { g, x }
    }
    fn conv(&mut self, name: &str, x: NodeId, out: usize) -> NodeId {
        self.g.conv2d(name, x, out, 3, 1, (1, 1)).unwrap()
    }
    fn norm(&mut self, name: &str, x: NodeId) -> NodeId {
        let h = self.g.group_norm(name, x, 4, 1e-5).unwrap();
        self.g.activation(&format!("{name}.silu"), h, Act::Silu)
    }
    /// A residual block with a time embedding; scales and shifts by it, or adds it.
    fn block(&mut self, name: &str, x: NodeId, out: usize, scales: bool) -> NodeId {
        let part = |p: &str| format!("{name}.{p}");
        let h = self.norm(&part("norm1"), x);
        let mut h = self.conv(&part("conv1"), h, out);
        let time = self.g.time_embedding(
            &part("time"),
            8,
            true,
            Frequencies::Exponential { max_period: 1e4, shift: 0.0 },
        );
        if scales {
            let row = self.g.linear(&part("time.linear"), time, 2 * out, true);
            h = self.g.group_norm(&part("norm2"), h, 4, 1e-5).unwrap();
            h = self.g.scale_shift(&part("time.scale"), h, row);
            h = self.g.activation(&part("silu2"), h, Act::Silu);
        } else {
            let row = self.g.linear(&part("time.linear"), time, out, true);
            h = self.g.add(&part("time.add"), h, row, 1.0).unwrap();
            h = self.norm(&part("norm2"), h);
        }
        let mut skip = x;
        if self.g.shape(x).channels() != out {
            skip = self.g.conv2d(&part("shortcut"), x, out, 1, 1, (0, 0)).unwrap();
        }
        let h = self.conv(&part("conv2"), h, out);
        self.g.add(&part("residual"), h, skip, 1.0).unwrap()
    }
    fn attention(&mut self, name: &str, x: NodeId) -> NodeId {
        let part = |p: &str| format!("{name}.{p}");
        let h = self.g.group_norm(&part("norm"), x, 4, 1e-5).unwrap();
        let c = self.g.shape(x).channels();
        let qkv = ["to_q", "to_k", "to_v"].map(|to| self.g.linear(&part(to), h, c, to != "to_k"));
        let h = self.g.attention(&part("attention"), qkv, 2, 0.5);
        let h = self.g.linear(&part("to_out"), h, c, true);
        self.g.add(&part("residual"), h, x, 1.0).unwrap()
    }
    /// Cross attention over the pixels of `context`, and a gated feed-forward layer.
    fn transformer(&mut self, name: &str, x: NodeId, context: NodeId) -> NodeId {
        let part = |p: &str| format!("{name}.{p}");
        let c = self.g.shape(x).channels();
        let h = self.g.layer_norm(&part("norm1"), x, 1e-5);
        let q = self.g.linear(&part("to_q"), h, c, false);
        let [k, v] = ["to_k", "to_v"].map(|to| self.g.linear(&part(to), context, c, false));
        let h = self.g.attention(&part("attention"), [q, k, v], 2, 0.5);
        let h = self.g.linear(&part("to_out"), h, c, true);
        let x = self.g.add(&part("add1"), h, x, 1.0).unwrap();
        let h = self.g.layer_norm(&part("norm2"), x, 1e-5);
        let h = self.g.linear(&part("ff.in"), h, 8 * c, true);
        let h = self.g.geglu(&part("ff.gate"), h).unwrap();
        let h = self.g.linear(&part("ff.out"), h, c, true);
        self.g.add(&part("add2"), h, x, 1.0).unwrap()
    }
    fn finish(mut self, y: NodeId) -> Graph {
        let y = self.conv("conv_out", y, 2);
        self.g.finish(y)
    }
}

fn plan(graph: &Graph, hoist: bool) -> Plan {
    let sizes = Sizes { times: 3, conditions: 1, samples: 2 };
    Plan::new(graph, &Options { hoist, fuse: true, sizes, table_bytes: 1 << 20, times_vary: false })
}

/// The names of the kernels of the loop, but for the state and the first and last convolution.
fn names(plan: &Plan) -> Vec<&str> {
    let edges = ["input", "conv_in", "conv_out"];
    let inner = plan.kernels.iter().filter(|k| !k.hoisted() && !edges.contains(&&*k.name));
    inner.map(|k| k.name.as_str()).collect()
}

fn kernel<'a>(plan: &'a Plan, name: &str) -> &'a Kernel {
    plan.kernels.iter().find(|k| k.name == name).unwrap_or_else(|| panic!("no kernel {name}"))
}

#[test]
fn a_residual_block_is_two_kernels() {
    for scales in [false, true] {
        let mut net = Net::new();
        let y = net.block("block", net.x, 8, scales);
        let plan = plan(&net.finish(y), true);
        assert_eq!(names(&plan), ["block.conv1", "block.conv2"]);
        let [one, two] = ["block.conv1", "block.conv2"].map(|name| kernel(&plan, name));
        let norms = [one, two].map(|k| k.head.norm.expect("a norm on load"));
        assert_eq!([one, two].map(|k| k.head.act), [Act::Silu; 2]);
        assert_eq!(norms.map(|n| n.scale_shift.is_some()), [false, scales]);
        assert_eq!(one.tail.row.is_some(), !scales);
        assert!(one.tail.moments && !two.tail.moments && two.tail.residual.is_some());
        assert!(kernel(&plan, "conv_in").tail.moments);
    }
}

#[test]
fn two_joined_maps_are_normalised_and_shortened_where_they_lie() {
    let mut net = Net::new();
    let skip = net.block("down", net.x, 12, false);
    let h = net.block("mid", skip, 12, false);
    let h = net.g.concat("concat", h, skip).unwrap();
    let y = net.block("up", h, 8, false);
    let plan = plan(&net.finish(y), true);
    let blocks = ["down.conv1", "down.conv2", "mid.conv1", "mid.conv2", "up.conv1", "up.conv2"];
    assert_eq!(names(&plan), blocks);
    let [one, two] = ["up.conv1", "up.conv2"].map(|name| kernel(&plan, name));
    let inputs = one.inputs.iter().map(|i| plan.kernels[*i].name.as_str()).collect::<Vec<_>>();
    assert_eq!(inputs, ["mid.conv2", "down.conv2"]);
    let shortcut = two.tail.shortcut.expect("a shortcut");
    assert_eq!((shortcut.inputs.0, shortcut.inputs.1), (one.inputs[0], Some(one.inputs[1])));
    assert_eq!(two.tail.residual, None);
    assert!(one.inputs.iter().all(|i| plan.kernels[*i].tail.moments));
}

/// Nine buffers: a residual keeps the second convolution to eight.
#[test]
fn what_would_bind_too_many_buffers_stays_apart() {
    let mut net = Net::new();
    let h = net.block("down", net.x, 8, true);
    let h = net.g.concat("concat", h, net.x).unwrap();
    let class = net.g.class_embedding("class", 3, 16);
    let n = net.norm("norm1", h);
    let n = net.conv("conv1", n, 8);
    let n = net.g.group_norm("norm2", n, 4, 1e-5).unwrap();
    let n = net.g.scale_shift("scale", n, class);
    let skip = net.g.conv2d("shortcut", h, 8, 1, 1, (0, 0)).unwrap();
    let n = net.conv("conv2", n, 8);
    let y = net.g.add("y", n, skip, 1.0).unwrap();
    let plan = plan(&net.finish(y), true);
    let last = kernel(&plan, "conv2");
    assert_eq!((last.tail.shortcut, last.tail.residual.is_some()), (None, true));
    assert!(last.head.norm.is_some());
    assert_eq!(kernel(&plan, "shortcut").inputs.len(), 2);
}

#[test]
fn an_attention_is_three_kernels_and_a_cross_attention_four() {
    let mut net = Net::new();
    let y = net.attention("self", net.x);
    let y = net.transformer("cross", y, net.x);
    let plan = plan(&net.finish(y), true);
    let expected = [
        "self.to_q+to_k+to_v",
        "self.attention",
        "self.to_out",
        "cross.to_q",
        "cross.to_k+to_v",
        "cross.attention",
        "cross.to_out",
        "cross.ff.in",
        "cross.ff.out",
    ];
    assert_eq!(names(&plan), expected);
    let packed = kernel(&plan, "self.to_q+to_k+to_v");
    assert_eq!((packed.shape.channels(), packed.beside.len()), (24, 2));
    assert!(packed.head.norm.is_some_and(|n| n.groups == Some(4)));
    let feed_forward = kernel(&plan, "cross.ff.in");
    assert!(feed_forward.tail.gate && feed_forward.head.norm.is_some_and(|n| n.groups.is_none()));
    assert_eq!(feed_forward.shape.channels(), 32);
}

#[test]
fn a_map_is_enlarged_as_it_is_loaded() {
    let mut net = Net::new();
    let h = net.norm("norm", net.x);
    let h = net.g.upsample("up", h).unwrap();
    let h = net.conv("conv", h, 8);
    let y = net.g.conv2d("down", h, 8, 3, 2, (1, 1)).unwrap();
    let plan = plan(&net.finish(y), true);
    assert_eq!(names(&plan), ["conv", "down"]);
    let head = kernel(&plan, "conv").head;
    assert_eq!((head.up, head.act, head.norm.is_some()), (2, Act::Silu, true));
}

#[test]
fn what_cannot_be_loaded_through_stays() {
    // Another reader of the norm.
    let mut net = Net::new();
    let n = net.norm("norm", net.x);
    let h = net.conv("conv", n, 8);
    let y = net.g.add("y", h, n, 1.0).unwrap();
    let shared = plan(&net.finish(y), true);
    assert_eq!(names(&shared), ["norm", "conv"]);
    assert_eq!(kernel(&shared, "conv").head, Head::NONE);
    assert!(!kernel(&shared, "conv_in").tail.moments);

    // The state is no kernel's result that could be measured.
    let mut g = GraphBuilder::new();
    let x = g.state(Shape::Map { h: 4, w: 4, c: 4 }, 1.0, 0.0);
    let h = g.group_norm("norm", x, 2, 1e-5).unwrap();
    let y = g.conv2d("conv", h, 4, 3, 1, (1, 1)).unwrap();
    let state = plan(&g.finish(y), true);
    assert_eq!(kernel(&state, "conv").head, Head::NONE);
    assert_eq!(kernel(&state, "norm").tail, Tail::NONE);

    // Too many tiles to merge in every workgroup.
    let mut g = GraphBuilder::new();
    let x = g.state(Shape::Map { h: 72, w: 72, c: 2 }, 1.0, 0.0);
    let x = g.conv2d("conv_in", x, 4, 3, 1, (1, 1)).unwrap();
    let h = g.group_norm("norm", x, 2, 1e-5).unwrap();
    let y = g.conv2d("conv", h, 4, 3, 1, (1, 1)).unwrap();
    let large = plan(&g.finish(y), true);
    assert_eq!(kernel(&large, "conv").head, Head::NONE);
}

/// The network's input is made where it is read, unless others read it too.
#[test]
fn the_first_convolution_reads_the_state() {
    let reads_state = |plan: &Plan| {
        let apart = plan.kernels.iter().any(|k| matches!(k.layer, Layer::State { .. }));
        let first = kernel(plan, "conv_in");
        assert_eq!(first.inputs.is_empty(), !apart);
        (first.head.state, apart)
    };
    let net = Net::new();
    let y = net.x;
    let shape = Shape::Map { h: 6, w: 6, c: 2 };
    let state = Some(StateOnLoad { shape, scale: 1.0, offset: 0.0 });
    assert_eq!(reads_state(&plan(&net.finish(y), true)), (state, false));
    let mut g = GraphBuilder::new();
    let x = g.state(shape, 2.0, -1.0);
    let h = g.conv2d("conv_in", x, 2, 3, 1, (1, 1)).unwrap();
    let y = g.add("residual", h, x, 1.0).unwrap();
    assert_eq!(reads_state(&plan(&g.finish(y), true)), (None, true));
}

/// Every pattern at once.
fn everything() -> Graph {
    let mut net = Net::new();
    let skip = net.block("down", net.x, 12, false);
    let h = net.g.conv2d("half", skip, 12, 3, 2, (1, 1)).unwrap();
    let h = net.block("mid", h, 16, true);
    let h = net.attention("self", h);
    let h = net.transformer("cross", h, h);
    let h = net.g.upsample("upsample", h).unwrap();
    let h = net.conv("upsample.conv", h, 12);
    let h = net.g.concat("concat", h, skip).unwrap();
    let h = net.block("up", h, 8, false);
    let y = net.norm("norm_out", h);
    net.finish(y)
}

#[test]
fn what_is_fused_computes_what_the_layers_compute() {
    let graph = everything();
    let x: Vec<f32> = hash_weights::values("x", &[3, 2, 6, 6]);
    let evaluation = |storage, fuse, hoist| Evaluation {
        storage,
        fuse,
        hoist,
        ..Evaluation::hashed(&graph, [2, 6, 6], 37.0, &x)
    };
    let truth = evaluation(DType::F32, false, false).run(device::backends()[0]);
    assert!(truth.iter().all(|v| v.is_finite()) && truth.iter().any(|v| v.abs() > 1e-3));
    for backend in device::backends() {
        for (storage, bound) in [(DType::F32, 1e-5), (DType::F16, 5e-3)] {
            for (fuse, hoist) in [(false, true), (true, false), (true, true)] {
                if !backend.supports(storage) {
                    continue;
                }
                let found = evaluation(storage, fuse, hoist).run(backend);
                let error = relative_l2(&found, &truth);
                let name = backend.name();
                assert!(error < bound, "{name} {storage} fuse {fuse} hoist {hoist}: {error:e}");
            }
        }
    }
}

/// A kernel that loads through a norm still is one launch, and binds what the contract allows.
#[test]
fn the_program_has_no_layer_left_that_could_be_loaded_through() {
    let graph = everything();
    let x = [0.0; 72];
    let program: Program = Evaluation::hashed(&graph, [2, 6, 6], 0.0, &x).program();
    let launches = program.bodies.iter().flat_map(|body| &body.launches);
    for launch in launches {
        let bound = launch.args.iter().flatten().count();
        assert!(bound <= unnoise::ops::MAX_BOUND, "{}: {bound} buffers", launch.layer);
        let alone = matches!(
            launch.call,
            Call::GroupNorm(_)
                | Call::Resample(_)
                | Call::Concat(_)
                | Call::Geglu(_)
                | Call::ModelInput(_)
        );
        assert!(!alone, "{} ({})", launch.layer, launch.call.name());
    }
}
