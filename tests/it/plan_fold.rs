//! The projection behind an attention of one head joins that of its values: where it does, where it
//! does not, and that it changes nothing.

use super::evaluate::{Evaluation, relative_l2};
use super::{device, hash_weights};
use unnoise::backend::{WeightSource, packed};
use unnoise::graph::{Graph, GraphBuilder, NodeId, ParamId, Shape};
use unnoise::ops::Act;
use unnoise::plan::{Kernel, Options, Plan, Sizes, Tail};
use unnoise::program::{Pack, Param, Piece, Source};
use unnoise::tensor::DType;

/// An attention of 8 channels with one head, and what may be else about it.
#[derive(Clone, Copy)]
struct Attention {
    heads: usize,
    /// Biases of the projections of q, k and v, and of the one behind.
    biases: [bool; 2],
    /// Of the attention's result, and of the values.
    acts: [Act; 2],
    /// Whether the residual is the values, or the attention's result.
    reads: [bool; 2],
    /// Of the projection behind.
    out: usize,
}

const PLAIN: Attention =
    Attention { heads: 1, biases: [true; 2], acts: [Act::None; 2], reads: [false; 2], out: 8 };

impl Attention {
    /// Over `x` with keys and values of `context`; a residual, rescaled.
    fn layers(self, g: &mut GraphBuilder, name: &str, x: NodeId, context: [NodeId; 2]) -> NodeId {
        let part = |p: &str| format!("{name}.{p}");
        let sources = [x, context[0], context[1]];
        let [q, k, mut v] = [0, 1, 2].map(|i| {
            let to = part(["to_q", "to_k", "to_v"][i]);
            g.linear(&to, sources[i], 8, self.biases[0])
        });
        if self.acts[1] != Act::None {
            v = g.activation(&part("values"), v, self.acts[1]);
        }
        let attended = g.attention(&part("attention"), [q, k, v], self.heads, 0.4);
        let mut h = attended;
        if self.acts[0] != Act::None {
            h = g.activation(&part("act"), h, self.acts[0]);
        }
        let h = g.linear(&part("to_out"), h, self.out, self.biases[1]);
        let residual = match self.reads {
            [true, _] => v,
            [_, true] => attended,
            _ => x,
        };
        if self.out != 8 {
            return h;
        }
        g.add(&part("residual"), h, residual, 0.75).unwrap()
    }
}

/// A convolution to 8 channels of 6 x 6, `layers`, a norm and a convolution.
fn graph(layers: impl Fn(&mut GraphBuilder, NodeId) -> NodeId) -> Graph {
    let mut g = GraphBuilder::new();
    let x = g.state(Shape::Map { h: 6, w: 6, c: 2 }, 1.0, 0.0);
    let x = g.conv2d("conv_in", x, 8, 3, 1, (1, 1)).unwrap();
    let y = layers(&mut g, x);
    let y = g.group_norm("norm_out", y, 4, 1e-5).unwrap();
    let y = g.conv2d("conv_out", y, 2, 3, 1, (1, 1)).unwrap();
    g.finish(y)
}

/// Self-attention over a normalised map.
fn of_one_map(attention: Attention) -> Graph {
    graph(|g, x| {
        let x = g.group_norm("norm", x, 4, 1e-5).unwrap();
        attention.layers(g, "self", x, [x, x])
    })
}

fn plan(graph: &Graph, fuse: bool) -> Plan {
    let sizes = Sizes { times: 3, conditions: 1, samples: 2 };
    let options = Options { hoist: true, fuse, sizes, table_bytes: 1 << 20, times_vary: false };
    Plan::new(graph, &options)
}

/// The names of the kernels from the first convolution to the last.
fn names(plan: &Plan) -> Vec<&str> {
    let edges = ["input", "conv_in", "conv_out"];
    plan.kernels.iter().map(|k| k.name.as_str()).filter(|name| !edges.contains(name)).collect()
}

fn kernel<'a>(plan: &'a Plan, name: &str) -> &'a Kernel {
    plan.kernels.iter().find(|k| k.name == name).unwrap_or_else(|| panic!("no kernel {name}"))
}

/// The names of a layer's weight and bias.
fn parameters(graph: &Graph, layer: Option<(ParamId, Option<ParamId>)>) -> Vec<&str> {
    let ids = layer.into_iter().flat_map(|(weight, bias)| [Some(weight), bias]);
    ids.flatten().map(|id| graph.param(id).name.as_str()).collect()
}

#[test]
fn a_self_attention_of_one_head_is_two_kernels() {
    let graph = graph(|g, x| {
        let h = g.group_norm("norm", x, 4, 1e-5).unwrap();
        let [q, k, v] = ["to_q", "to_k", "to_v"].map(|to| g.linear(to, h, 8, true));
        let h = g.attention("attention", [q, k, v], 1, 0.4);
        let h = g.linear("to_out", h, 8, true);
        g.add("residual", h, x, 0.5).unwrap()
    });
    let fused = plan(&graph, true);
    assert_eq!(names(&fused), ["to_q+to_k+to_v", "attention"]);
    let [qkv, attention] = ["to_q+to_k+to_v", "attention"].map(|name| kernel(&fused, name));
    assert_eq!(parameters(&graph, qkv.behind), ["to_out.weight", "to_out.bias"]);
    assert!(qkv.head.norm.is_some() && qkv.beside.len() == 2 && qkv.shape.channels() == 24);
    // What the projection did as it wrote, and the moments for the norm that follows.
    let residual = fused.kernels.iter().position(|k| k.name == "conv_in");
    assert_eq!(attention.tail, Tail { residual, scale: 0.5, moments: true, ..Tail::NONE });
    assert!(kernel(&fused, "conv_out").head.norm.is_some());

    let unfused = plan(&graph, false);
    let layers = ["norm", "to_q", "to_k", "to_v", "attention", "to_out", "residual", "norm_out"];
    assert_eq!(names(&unfused), layers);
    assert!(unfused.kernels.iter().all(|k| k.behind.is_none()));
}

#[test]
fn values_of_a_context_are_projected_for_it_too() {
    let graph = graph(|g, x| {
        let context = g.conv2d("context", x, 20, 3, 1, (1, 1)).unwrap();
        let y = PLAIN.layers(g, "cross", x, [context, context]);
        PLAIN.layers(g, "mixed", y, [y, context])
    });
    let plan = plan(&graph, true);
    let expected = [
        "context",
        "cross.to_q",
        "cross.to_k+to_v",
        "cross.attention",
        "mixed.to_q",
        "mixed.to_k",
        "mixed.to_v",
        "mixed.attention",
    ];
    assert_eq!(names(&plan), expected);
    for (values, out) in [("cross.to_k+to_v", "cross"), ("mixed.to_v", "mixed")] {
        let expected = [format!("{out}.to_out.weight"), format!("{out}.to_out.bias")];
        assert_eq!(parameters(&graph, kernel(&plan, values).behind), expected);
    }
}

#[test]
fn what_cannot_be_folded_stays() {
    let kept = [
        ("two heads", Attention { heads: 2, ..PLAIN }),
        ("an activation behind the attention", Attention { acts: [Act::Relu, Act::None], ..PLAIN }),
        ("an activation of the values", Attention { acts: [Act::None, Act::Relu], ..PLAIN }),
        ("values read elsewhere", Attention { reads: [true, false], ..PLAIN }),
        ("an attention read elsewhere", Attention { reads: [false, true], ..PLAIN }),
        ("another width", Attention { out: 12, ..PLAIN }),
    ];
    assert!(!names(&plan(&of_one_map(PLAIN), true)).contains(&"self.to_out"));
    for (what, attention) in kept {
        let plan = plan(&of_one_map(attention), true);
        assert!(names(&plan).contains(&"self.to_out"), "{what}: {:?}", names(&plan));
        assert!(plan.kernels.iter().all(|k| k.behind.is_none()), "{what}");
        let tail = kernel(&plan, "self.attention").tail;
        assert_eq!((tail.residual, tail.scale), (None, 1.0), "{what}");
    }
}

/// One evaluation of `graph` on `backend`.
fn evaluate(graph: &Graph, backend: usize, storage: DType, fuse: bool) -> Vec<f32> {
    let x: Vec<f32> = hash_weights::values("x", &[3, 2, 6, 6]);
    let evaluation = Evaluation::hashed(graph, [2, 6, 6], 37.0, &x);
    Evaluation { storage, fuse, ..evaluation }.run(device::backends()[backend])
}

/// A folded product sums in another order: the same up to rounding, not bit by bit.
#[test]
fn folded_projections_compute_what_the_layers_compute() {
    for biases in [[true, true], [false, true], [true, false], [false, false]] {
        let graph = graph(|g, x| {
            let one = Attention { biases, ..PLAIN };
            let h = g.group_norm("norm", x, 4, 1e-5).unwrap();
            let h = one.layers(g, "self", h, [h, h]);
            let context = g.conv2d("context", x, 12, 3, 2, (1, 1)).unwrap();
            let h = one.layers(g, "cross", h, [context, context]);
            one.layers(g, "mixed", h, [h, x])
        });
        let attentions = ["self.attention", "cross.attention", "mixed.attention"];
        let fused = plan(&graph, true);
        assert!(attentions.iter().all(|name| kernel(&fused, name).tail.residual.is_some()));
        let truth = evaluate(&graph, 0, DType::F32, false);
        for (i, backend) in device::backends().iter().enumerate() {
            for (storage, bound) in [(DType::F32, 1e-5), (DType::F16, 5e-3)] {
                if backend.supports(storage) {
                    let error = relative_l2(&evaluate(&graph, i, storage, true), &truth);
                    let name = backend.name();
                    assert!(error < bound, "{name} {storage} biases {biases:?}: {error:e}");
                }
            }
        }
    }
}

#[test]
fn both_parameters_of_a_product_are_asked_for() {
    let graph = of_one_map(PLAIN);
    let program = Evaluation::hashed(&graph, [2, 6, 6], 0.0, &[0.0; 72]).program();
    let pieces = program.slots.iter().filter_map(|slot| match &slot.source {
        Source::Weight { pieces, .. } => Some(pieces),
        _ => None,
    });
    let names =
        pieces.flatten().flat_map(|p| [Some(&p.param.name), p.left.as_ref().map(|l| &l.name)]);
    let mut asked: Vec<&str> = names.flatten().map(String::as_str).collect();
    let mut declared: Vec<&str> = graph.params.iter().map(|p| p.name.as_str()).collect();
    [&mut asked, &mut declared].into_iter().for_each(|names| names.sort_unstable());
    asked.dedup();
    assert_eq!(asked, declared);
}

/// `left` times the parameter `name`, from element `at` on.
fn product(left: [usize; 2], shape: &[usize], pack: Pack, at: usize) -> Piece {
    let left = Some(Param::new("out", &left));
    Piece { param: Param::new("values", shape), left, pack, at }
}

#[test]
fn a_product_is_packed_like_a_parameter() {
    let weights = &hash_weights::HashWeights;
    let (out, mid, cin, width) = (5, 70, 3, 12);
    let values = |name, shape: &[usize]| hash_weights::values(name, shape);
    let (left, right) = (values("out", &[out, mid]), values("values", &[mid, cin]));
    let piece = product([out, mid], &[mid, cin], Pack::Linear, 4);
    let bytes = packed(weights, &[piece], width, width * cin, DType::F32).unwrap();
    let found: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
    for (i, column) in (0..cin).flat_map(|i| (0..width).map(move |column| (i, column))) {
        let dot = |o: usize| -> f64 {
            let term = |m| f64::from(left[o * mid + m]) * f64::from(right[m * cin + i]);
            (0..mid).map(term).sum()
        };
        let inside = (4..4 + out).contains(&column);
        let expected = if inside { dot(column - 4) as f32 } else { 0.0 };
        assert_eq!(found[i * width + column], expected, "input {i}, column {column}");
    }

    let vector = product([out, mid], &[mid], Pack::Flat, 1);
    let bytes = packed(weights, &[vector], 1, 1 + out, DType::F32).unwrap();
    let found: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
    let bias = values("values", &[mid]);
    let term = |o: usize, m: usize| f64::from(left[o * mid + m]) * f64::from(bias[m]);
    let expected = (0..out).map(|o| (0..mid).map(|m| term(o, m)).sum::<f64>() as f32);
    assert_eq!(found, [0.0].into_iter().chain(expected).collect::<Vec<_>>());
}

#[test]
fn a_product_that_f16_cannot_hold_names_both_parameters() {
    struct Large;
    impl WeightSource for Large {
        fn values(&self, _: &str, shape: &[usize]) -> unnoise::error::Result<Vec<f32>> {
            Ok(vec![300.0; shape.iter().product()])
        }
    }
    let param = Param::new("queries", &[4, 4]);
    let single = Piece { param, left: None, pack: Pack::Linear, at: 0 };
    let pieces = [single, product([4, 4], &[4, 4], Pack::Linear, 4)];
    let refused = packed(&Large, &pieces, 8, 32, DType::F16).unwrap_err().to_string();
    for part in ["out times values", "65504", "360000", "--precision f32"] {
        assert!(refused.contains(part), "{refused:?} does not say {part:?}");
    }
    assert!(!refused.contains("queries"), "{refused:?}");
    packed(&Large, &pieces, 8, 32, DType::F32).unwrap();

    let unfit = product([4, 5], &[4, 4], Pack::Linear, 0);
    let refused = packed(&Large, &[unfit], 4, 16, DType::F32).unwrap_err().to_string();
    assert!(refused.contains("out: expected a matrix of 4 columns"), "{refused:?}");
}
