//! The passes of a plan on graphs small enough to see through.

use unnoise::graph::{Frequencies, Graph, GraphBuilder, Layer, NodeId, Shape};
use unnoise::ops::Act;
use unnoise::plan::{Domain, Options, Plan, Sizes, Tail};

const SIZES: Sizes = Sizes { times: 10, conditions: 3, samples: 4 };

fn plan(graph: &Graph, hoist: bool, fuse: bool) -> Plan {
    Plan::new(
        graph,
        &Options { hoist, fuse, sizes: SIZES, table_bytes: 1 << 20, times_vary: false },
    )
}

/// The position of the kernel that computes layer `name` last.
fn find(plan: &Plan, name: &str) -> usize {
    let position = plan.kernels.iter().position(|k| k.name == name);
    position.unwrap_or_else(|| panic!("no kernel {name}"))
}

/// A map of 4 channels and a row for each time and condition.
struct Start {
    b: GraphBuilder,
    x: NodeId,
    row: NodeId,
}

fn start() -> Start {
    let mut b = GraphBuilder::new();
    let x = b.state(Shape::Map { h: 4, w: 4, c: 4 }, 1.0, 0.0);
    let time =
        b.time_embedding("time", 8, true, Frequencies::Exponential { max_period: 1e4, shift: 0.0 });
    let time = b.linear("time.linear", time, 4, true);
    let class = b.class_embedding("class", 5, 4);
    let row = b.add("embedding", time, class, 1.0).unwrap();
    Start { b, x, row }
}

fn conv(b: &mut GraphBuilder, name: &str, x: NodeId) -> NodeId {
    b.conv2d(name, x, 4, 3, 1, (1, 1)).unwrap()
}

#[test]
fn each_value_leaves_as_far_as_it_can() {
    let Start { mut b, x, row } = start();
    let y = b.add("y", x, row, 1.0).unwrap();
    let graph = b.finish(y);
    let hoisted = plan(&graph, true, false);
    let domain = |name| hoisted.kernels[find(&hoisted, name)].domain;
    assert_eq!(domain("time"), Domain::Time);
    assert_eq!(domain("time.linear"), Domain::Time);
    assert_eq!(domain("class"), Domain::Condition);
    assert_eq!(domain("embedding"), Domain::TimeCondition);
    assert_eq!(domain("y"), Domain::Sample);
    assert_eq!(Domain::TimeCondition.rows(SIZES), 30);
    let plain = plan(&graph, false, false);
    assert!(plain.kernels.iter().all(|k| k.domain == Domain::Sample));

    // 30 rows of 4 channels in f32 are 480 bytes.
    for (table_bytes, expected) in [(480, Domain::TimeCondition), (479, Domain::Sample)] {
        let times_vary = false;
        let options = Options { hoist: true, fuse: false, sizes: SIZES, table_bytes, times_vary };
        let plan = Plan::new(&graph, &options);
        assert_eq!(plan.kernels[find(&plan, "embedding")].domain, expected);
        assert_eq!(plan.kernels[find(&plan, "class")].domain, Domain::Condition);
    }
}

#[test]
fn a_convolution_takes_row_residual_scale_and_activation() {
    let Start { mut b, x, row } = start();
    let h = conv(&mut b, "conv", x);
    let h = b.add("time add", h, row, 1.0).unwrap();
    let h = b.add("residual", h, x, 0.5).unwrap();
    let h = b.activation("silu", h, Act::Silu);
    let graph = b.finish(h);
    let fused = plan(&graph, true, true);
    let kernel = &fused.kernels[fused.output];
    assert!(matches!(kernel.layer, Layer::Conv2d { .. }));
    let (input, row) = (find(&fused, "input"), find(&fused, "embedding"));
    let expected =
        Tail { row: Some(row), residual: Some(input), scale: 0.5, act: Act::Silu, ..Tail::NONE };
    assert_eq!(kernel.tail, expected);
    assert_eq!(fused.kernels.len(), graph.nodes.len() - 3);
}

#[test]
fn a_norm_takes_scale_shift_and_activation() {
    let Start { mut b, x, row } = start();
    let row = b.linear("project", row, 8, true);
    let h = b.group_norm("norm", x, 2, 1e-5).unwrap();
    let h = b.scale_shift("scale_shift", h, row);
    let h = b.activation("gelu", h, Act::Gelu);
    let fused = plan(&b.finish(h), true, true);
    let kernel = &fused.kernels[fused.output];
    assert!(matches!(kernel.layer, Layer::GroupNorm { .. }));
    let row = find(&fused, "project");
    let expected = Tail { scale_shift: Some(row), act: Act::Gelu, ..Tail::NONE };
    assert_eq!(kernel.tail, expected);
}

#[test]
fn what_cannot_fuse_stays() {
    // Another reader of the convolution.
    let Start { mut b, x, .. } = start();
    let h = conv(&mut b, "conv", x);
    let act = b.activation("act", h, Act::Silu);
    let y = b.add("y", act, h, 1.0).unwrap();
    let fused = plan(&b.finish(y), true, true);
    assert_eq!(fused.kernels[find(&fused, "conv")].tail, Tail::NONE);
    find(&fused, "act");

    // An activation does not commute with what comes after it.
    let Start { mut b, x, .. } = start();
    let h = conv(&mut b, "conv", x);
    let h = b.activation("act", h, Act::Silu);
    let y = b.add("y", h, x, 1.0).unwrap();
    let fused = plan(&b.finish(y), true, true);
    let tail = fused.kernels[find(&fused, "conv")].tail;
    assert_eq!(tail, Tail { act: Act::Silu, ..Tail::NONE });
    assert!(matches!(fused.kernels[fused.output].layer, Layer::Add { .. }));

    // A row for each time has no place in a product for each time and condition.
    let Start { b, row, .. } = start();
    let fused = plan(&b.finish(row), true, true);
    assert_eq!(fused.kernels[find(&fused, "time.linear")].tail, Tail::NONE);
    assert!(matches!(fused.kernels[find(&fused, "embedding")].layer, Layer::Add { .. }));
}

#[test]
fn of_two_branches_the_later_takes_the_earlier() {
    let Start { mut b, x, .. } = start();
    let shortcut = b.conv2d("shortcut", x, 4, 1, 1, (0, 0)).unwrap();
    let h = conv(&mut b, "conv", x);
    let y = b.add("y", h, shortcut, 1.0).unwrap();
    let fused = plan(&b.finish(y), true, true);
    let kernel = &fused.kernels[fused.output];
    assert_eq!(kernel.name, "conv");
    let shortcut = kernel.tail.shortcut.expect("the 1x1 convolution");
    assert_eq!(shortcut.inputs, (find(&fused, "input"), None));
}
