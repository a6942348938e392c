//! What `inspect` tells of a plan: which layers a launch computes, how fast it could be, and where
//! its values lie.

use super::bench_models::{NAMES, Subject};
use super::binary::Place;
use insta::assert_snapshot;
use std::fs;
use unnoise::backend::roofline::{Bound, Kept, Peak};
use unnoise::backend::tune::Identity;
use unnoise::graph::{Graph, Layer, NodeId};
use unnoise::model::Model;
use unnoise::plan::ALIGN;
use unnoise::program::{Domain, Launch, NoiseMode, Options, Program, TABLE_BYTES};
use unnoise::sampler::{Inspection, Precision, Request, inspect};
use unnoise::solver::{self, Network};
use unnoise::tensor::DType;

const NETWORKS: &str = "tests/golden/network";
const COMBINATIONS: [(bool, bool); 4] =
    [(false, false), (false, true), (true, false), (true, true)];

/// The built-in models and those of tests/golden/network.
pub fn models() -> Vec<Model> {
    let folders = fs::read_dir(NETWORKS).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    let folders = folders.iter().map(|path| Model::open(path.to_str().unwrap()).unwrap());
    Model::builtin_names().map(|name| Model::open(name).unwrap()).chain(folders).collect()
}

fn planned(model: &Model, (fuse, hoist): (bool, bool)) -> Inspection {
    let solver = Some("ddim".to_string());
    let request = Request { solver, steps: Some(3), fuse, hoist, ..Request::default() };
    inspect(model, &request, None).unwrap()
}

/// Two samples in three steps of ddim.
fn program(graph: &Graph, state: [usize; 3], labels: &[u32], combination: (bool, bool)) -> Program {
    let scheduler = Model::open("ddpm-cifar10").unwrap().scheduler().unwrap();
    let options = solver::Options::new("ddim", 3);
    let trajectory = solver::record(&scheduler, &options, Network::default()).unwrap();
    let options = Options {
        storage: DType::F32,
        batch: 2,
        state,
        guided: false,
        labels: labels.to_vec(),
        texts: Vec::new(),
        noise: NoiseMode::Philox,
        fuse: combination.0,
        hoist: combination.1,
        trace: false,
        table_bytes: TABLE_BYTES,
        projection: Default::default(),
    };
    Program::build(graph, &trajectory, &options)
}

/// The nodes that the output depends on.
fn used(graph: &Graph) -> Vec<bool> {
    let mut used = vec![false; graph.nodes.len()];
    used[graph.output.0] = true;
    for id in (0..graph.nodes.len()).rev() {
        if used[id] {
            graph.nodes[id].inputs.iter().for_each(|input| used[input.0] = true);
        }
    }
    used
}

/// Checks that the launches compute every layer, each after what it reads.
fn check_covers(name: &str, graph: &Graph, program: &Program, combination: (bool, bool)) {
    let launches: Vec<&Launch> = program.prologue.iter().chain(program.step()).collect();
    let mut times = vec![0; graph.nodes.len()];
    for launch in &launches {
        let NodeIds { nodes, own } = node_ids(graph, launch);
        assert!(nodes.is_sorted_by(|a, b| a < b), "{name}: {nodes:?} of {}", launch.layer);
        assert_eq!(nodes.is_empty(), launch.layer == Program::SOLVER, "{name}: {}", launch.layer);
        assert!(nodes.is_empty() || own, "{name}: {} is not of {nodes:?}", launch.layer);
        for node in nodes {
            for input in &graph.node(node).inputs {
                let behind = matches!(graph.node(*input).layer, Layer::Attention { .. });
                let known = times[input.0] > 0 || launch.covers.nodes.contains(input);
                // What follows an attention of one head may be multiplied into its values.
                assert!(known || behind, "{name}: {} lacks {}", launch.layer, input.0);
            }
        }
        launch.covers.nodes.iter().for_each(|node| times[node.0] += 1);
    }
    for (id, (times, used)) in times.iter().zip(used(graph)).enumerate() {
        let node = &graph.nodes[id];
        match combination.0 {
            false => assert_eq!(*times, 1, "{name}: {} in plain layers", node.name),
            // Two maps may be joined by all who read them; nothing else is computed twice.
            true if *times > 1 => assert_eq!(node.layer, Layer::Concat, "{name}: {}", node.name),
            true => assert!(*times == 1 || !used, "{name}: nobody computes {}", node.name),
        }
    }
    let hoisted = |launch: &&Launch| launch.covers.domain != Domain::Sample;
    assert!(
        program.prologue.iter().all(|l| hoisted(&l)),
        "{name}: a prologue that reads the state"
    );
    assert!(!program.step().iter().any(|l| hoisted(&l)), "{name}: a table in the loop");
    assert!(combination.1 || program.prologue.is_empty(), "{name}: hoisted unasked");
}

/// The nodes of a launch, and whether the one that it is named after is among them.
struct NodeIds {
    nodes: Vec<NodeId>,
    own: bool,
}

fn node_ids(graph: &Graph, launch: &Launch) -> NodeIds {
    let nodes = launch.covers.nodes.clone();
    let named = launch.layer.split('+').next().unwrap();
    let own = nodes.iter().any(|node| graph.node(*node).name == named);
    NodeIds { nodes, own }
}

#[test]
fn every_layer_is_computed_by_a_launch() {
    for combination in COMBINATIONS {
        for model in models() {
            let labels: &[u32] = if model.classes.is_some() { &[0, 1] } else { &[] };
            let program = program(&model.graph, model.state, labels, combination);
            check_covers(&model.name, &model.graph, &program, combination);
        }
        for name in NAMES {
            let subject = Subject::open(name, name != "ddpm-cifar10");
            let program = program(&subject.graph, subject.state, &subject.labels, combination);
            check_covers(name, &subject.graph, &program, combination);
        }
    }
}

#[test]
fn rows_of_a_plan_name_their_layers() {
    for (model, combination) in models().iter().zip(COMBINATIONS.into_iter().cycle()) {
        let found = planned(model, combination);
        assert_eq!(found.graph.len(), found.layers);
        assert_eq!(found.step.len(), found.launches_per_step);
        for (at, row) in found.plan.iter().enumerate() {
            let names: Vec<_> = row.nodes.iter().map(|id| &found.graph[*id].name).collect();
            assert_eq!(names, row.layers.iter().collect::<Vec<_>>());
            assert_eq!(row.hoisted.is_some(), at < found.launches_hoisted, "{}", row.layer);
            assert!(row.reads.iter().all(|read| *read < at), "{}: {:?}", row.layer, row.reads);
            assert!(row.floor_us.is_none() && row.bound.is_none());
        }
        assert_eq!((found.step_floor_us, found.run_floor_us), (None, None));
    }
    let found = planned(&Model::open("digits").unwrap(), (true, true));
    let row = |layer: &str| found.plan.iter().find(|row| row.layer == layer).unwrap();
    let conv2 = row("down_blocks.1.resnets.0.conv2");
    let parts = ["norm2", "nonlinearity2", "conv_shortcut", "conv2", "residual"];
    assert_eq!(conv2.layers, parts.map(|part| format!("down_blocks.1.resnets.0.{part}")));
    assert_eq!(conv2.shape, [16, 16, 32]);
    assert_eq!(row("time_proj").hoisted, Some("time"));
    assert_eq!(row("class_embedding").hoisted, Some("condition"));
    assert_eq!(row("time_embedding.class").hoisted, Some("time and condition"));
    // What it adds, the value that it normalises on load, and the map of the shortcut.
    let reads: Vec<_> = conv2.reads.iter().map(|at| found.plan[*at].layer.as_str()).collect();
    assert_eq!(reads, ["down_blocks.0.downsamplers.0.conv", "down_blocks.1.resnets.0.conv1"]);
}

fn peak(gbps: f64, gflops_f32: f64, launch_us: f64) -> Peak {
    let (gflops_f16, gflops_matrix_f16, gflops_matrix_bf16) = (None, Some(1e5), None);
    let spread = 0.0;
    Peak { gbps, gflops_f32, gflops_f16, gflops_matrix_f16, gflops_matrix_bf16, launch_us, spread }
}

#[test]
fn floors_are_those_of_the_measured_device() {
    let peak = peak(100.0, 1000.0, 2.0);
    let model = Model::open("digits").unwrap();
    let request = Request { steps: Some(3), ..Request::default() };
    let found = inspect(&model, &request, Some(&peak)).unwrap();
    let mut bounds = Vec::new();
    for row in &found.plan {
        let (us, bound) = (row.floor_us.unwrap(), row.bound.unwrap());
        let by = [row.flops as f64 / 1e6, row.bytes as f64 / 1e5, 2.0];
        assert!((us - by.into_iter().fold(0.0, f64::max)).abs() < 1e-9 * us, "{row:?}");
        let at = [Bound::Compute, Bound::Memory, Bound::Launch].iter().position(|b| *b == bound);
        assert!((by[at.unwrap()] - us).abs() < 1e-9 * us, "{row:?}");
        bounds.push(bound);
    }
    assert!(bounds.contains(&Bound::Compute) && bounds.contains(&Bound::Launch));
    let sum = |rows: &[unnoise::sampler::LaunchRow]| -> f64 {
        rows.iter().map(|row| row.floor_us.unwrap()).sum()
    };
    let step = sum(&found.plan[found.step.clone()]);
    assert_eq!(found.step_floor_us, Some(step));
    // Initial noise is a row of its own.
    let update = found.plan.iter().find(|row| row.part == "update").unwrap().floor_us.unwrap();
    let run = sum(&found.plan[..found.launches_hoisted]) + 3.0 * step + update;
    assert!((found.run_floor_us.unwrap() - run).abs() < 1e-9 * run);
    let words = found.to_string();
    assert!(words.contains(&format!("floor        {step:.1} us a step")), "{words}");
    assert!(words.contains("floor us  bound"), "{words}");
    let unknown = inspect(&model, &request, None).unwrap().to_string();
    assert!(unknown.contains("unnoise devices --measure"), "{unknown}");
    assert!(!unknown.contains("floor us"), "{unknown}");
}

/// A product in f16 may be as fast as matrix units are, whatever else is computed in f32.
#[test]
fn floors_of_products_are_those_of_matrix_units() {
    let model = Model::open("ddpm-cifar10").unwrap();
    let request = Request { precision: Precision::F16, steps: Some(2), ..Request::default() };
    let found = inspect(&model, &request, Some(&peak(1e6, 10.0, 0.0))).unwrap();
    let floor = |layer: &str| {
        let row = found.plan.iter().find(|row| row.layer == layer).unwrap();
        (row.flops as f64 / 1e3 / row.floor_us.unwrap(), row.bound.unwrap())
    };
    let (product, bound) = floor("mid_block.resnets.0.conv1");
    assert!((product - 1e5).abs() < 1.0 && bound == Bound::Compute, "{product} GFLOP/s");
    let (table, bound) = floor("time_embedding.linear_1");
    assert!((table - 10.0).abs() < 1e-6 && bound == Bound::Compute, "{table} GFLOP/s");
}

#[test]
fn the_device_that_was_measured_last_gives_the_floors() {
    let place = Place::with_cache();
    let found = place.run("inspect digits --json");
    assert!(found.json()["step_floor_us"].is_null() && !found.stderr.contains("floors"));
    let identity = Identity { adapter: "GPU".into(), driver: "1".into(), sources: "a".into() };
    assert_eq!(Kept::today(peak(9.0, 9.0, 9.0)).save(&place.path("cache"), &identity), None);
    let found = place.run("inspect digits --json");
    assert!(
        found.stderr.contains("floors are those of GPU (1), measured on 2"),
        "{}",
        found.stderr
    );
    let json = found.json();
    assert!(json["step_floor_us"].as_f64() > Some(9.0 * 49.0), "{}", json["step_floor_us"]);
    assert!(json["run_floor_us"].as_f64() > Some(9.0 * 49.0 * 50.0), "{}", json["run_floor_us"]);
    let row = &json["plan"][0];
    assert_eq!(
        (row["layers"][0].as_str(), row["hoisted"].as_str()),
        (Some("time_proj"), Some("time"))
    );
    assert!(row["floor_us"].as_f64() >= Some(9.0) && row["bound"].is_string(), "{row}");
}

/// Values that are alive together lie apart, and they are as many bytes as was said: the most that
/// are alive at a launch of a step are the lower bound, and the arenas end where values do.
fn check_memory(found: &Inspection) {
    let (name, memory) = (&found.model, &found.memory);
    let launches = found.launches_hoisted + found.launches_per_step;
    assert_eq!(memory.alive.len(), launches, "{name}");
    for (i, a) in memory.values.iter().enumerate() {
        assert!(a.first <= a.last && a.last < launches && a.bytes > 0, "{name}: {a:?}");
        assert!(a.offset + a.bytes <= memory.arenas[a.arena].bytes, "{name}: {a:?}");
        for b in &memory.values[..i] {
            let together = a.arena == b.arena && a.first <= b.last && b.first <= a.last;
            let apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
            assert!(!together || apart, "{name}: {a:?} and {b:?}");
        }
    }
    for (id, arena) in memory.arenas.iter().enumerate() {
        let tenants = || memory.values.iter().filter(|value| value.arena == id);
        let end = tenants().map(|value| value.offset + value.bytes.next_multiple_of(ALIGN)).max();
        assert_eq!(end, Some(arena.bytes), "{name}: arena {id}");
        let before = |first: usize| first < found.launches_hoisted;
        assert!(tenants().all(|value| before(value.first) == arena.hoisted), "{name}: arena {id}");
    }
    let all = |hoisted: bool| -> u64 {
        let part = memory.arenas.iter().filter(|arena| arena.hoisted == hoisted);
        part.map(|arena| arena.bytes).sum()
    };
    assert_eq!(all(false), found.activation_bytes, "{name}");
    assert_eq!(all(true), found.hoisted_bytes, "{name}");
    let alive = |at: usize| -> u64 {
        let here = memory.values.iter().filter(|v| v.first <= at && at <= v.last);
        let step = here.filter(|v| !memory.arenas[v.arena].hoisted);
        step.map(|value| value.bytes).sum()
    };
    let step: Vec<u64> = (found.launches_hoisted..launches).map(alive).collect();
    assert_eq!(step, memory.alive[found.launches_hoisted..], "{name}");
    assert_eq!(step.iter().max(), Some(&found.activation_lower_bound_bytes), "{name}");
}

#[test]
fn values_lie_where_and_when_the_program_has_them() {
    for model in models() {
        for combination in COMBINATIONS {
            check_memory(&planned(&model, combination));
        }
    }
    let digits = Model::open("digits").unwrap();
    for (count, precision) in [(8, Precision::F32), (3, Precision::F16)] {
        let request = Request { count, precision, steps: Some(2), ..Request::default() };
        check_memory(&inspect(&digits, &request, None).unwrap());
    }
    // Adaptive steps have a body more.
    let request = Request { solver: Some("ode-rk45".into()), ..Request::default() };
    check_memory(&inspect(&Model::open("mixture").unwrap(), &request, None).unwrap());
}

/// A step is what its solver makes it: a model's own number is for the solvers that it fits.
#[test]
fn a_level_of_langevin_dynamics_is_not_a_step() {
    let model = Model::open("digits-ve").unwrap();
    let steps = |solver: Option<&str>| {
        let request = Request { solver: solver.map(String::from), ..Request::default() };
        let found = inspect(&model, &request, None).unwrap();
        (found.steps, found.nfe)
    };
    assert_eq!(Some(steps(None).0), model.settings.steps);
    assert_eq!(steps(Some("langevin")), (10, 1000));
    assert_eq!(Some(steps(Some("euler")).0), model.settings.steps);
}

#[test]
fn plans_are_as_printed() {
    let model = Model::open(&format!("{NETWORKS}/class-table")).unwrap();
    let peak = peak(10.0, 100.0, 0.5);
    let request = Request { steps: Some(3), ..Request::default() };
    assert_snapshot!("inspect", inspect(&model, &request, Some(&peak)).unwrap());
}
