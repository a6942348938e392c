//! Pictures of plans, read back as the programs that show them do; and the flags that ask for them.

use super::binary::Place;
use super::inspect::models;
use roxmltree::{Document, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use unnoise::model::Model;
use unnoise::picture;
use unnoise::sampler::{Inspection, Request, inspect};

fn planned(model: &Model, fuse: bool) -> Inspection {
    let solver = Some("ddim".to_string());
    let request = Request { solver, steps: Some(3), fuse, ..Request::default() };
    inspect(model, &request, None).unwrap()
}

/// What an SVG shows of one class.
fn shown<'a>(svg: &'a Document<'a>, class: &'a str) -> Vec<Node<'a, 'a>> {
    svg.descendants().filter(|node| node.attribute("class") == Some(class)).collect()
}

fn number(node: Node, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

fn title(node: Node) -> String {
    node.first_element_child().and_then(|title| title.text()).unwrap().to_string()
}

/// x, y, width and height of a rectangle.
fn frame(node: Node) -> [f64; 4] {
    ["x", "y", "width", "height"].map(|name| number(node, name))
}

/// Checks that everything is within the picture, letters being as wide as those of a monospaced
/// font.
fn check_bounds(svg: &Document) {
    let [w, h] = ["width", "height"].map(|name| number(svg.root_element(), name));
    for text in svg.descendants().filter(|node| node.has_tag_name("text")) {
        let (x, y) = (number(text, "x"), number(text, "y"));
        let said = text.text().unwrap_or_default();
        let long = said.chars().count() as f64 * number(text, "font-size") * 0.61;
        let start = match text.attribute("text-anchor").unwrap() {
            "start" => x,
            "middle" => x - long / 2.0,
            _ => x - long,
        };
        let within = start >= 0.0 && start + long <= w && (8.0..=h).contains(&y);
        assert!(within, "'{said}' from {start} to {} of {w}", start + long);
    }
    for node in svg.descendants().filter(|node| node.attribute("x").is_some()) {
        let Some(width) = node.attribute("width") else { continue };
        assert!(number(node, "x") + width.parse::<f64>().unwrap() <= w + 0.1);
        assert!(number(node, "y") + number(node, "height") <= h + 0.1);
    }
}

/// Checks that no two of some rectangles have more than a border in common.
fn check_apart(frames: &[[f64; 4]]) {
    let apart = |a: f64, aw: f64, b: f64, bw: f64| a + aw <= b + 0.15 || b + bw <= a + 0.15;
    for (i, [x, y, w, h]) in frames.iter().enumerate() {
        for [x2, y2, w2, h2] in &frames[..i] {
            let apart = apart(*x, *w, *x2, *w2) || apart(*y, *h, *y2, *h2);
            assert!(apart, "{:?} and {:?}", [x, y, w, h], [x2, y2, w2, h2]);
        }
    }
}

/// How many edges the layers have, and how many the launches of the prologue and a step.
fn edges(found: &Inspection) -> [usize; 2] {
    let layers = found.graph.iter().map(|layer| layer.inputs.len()).sum();
    let rows = found.plan[..found.launches_hoisted].iter().chain(&found.plan[found.step.clone()]);
    [layers, rows.map(|row| row.reads.len()).sum()]
}

#[test]
fn the_graph_has_every_layer_before_and_every_launch_after() {
    for (i, model) in models().iter().enumerate() {
        let found = planned(model, i % 3 != 2);
        let text = picture::graph(&found);
        let svg = Document::parse(&text).unwrap();
        check_bounds(&svg);
        let titles = |class| -> Vec<String> { shown(&svg, class).into_iter().map(title).collect() };
        let layers = found.graph.iter().map(|layer| format!("{} {}", layer.layer, layer.name));
        assert_eq!(titles("layer"), layers.collect::<Vec<_>>(), "{}", model.name);
        let hoisted = &found.plan[..found.launches_hoisted];
        let launches = hoisted.iter().chain(&found.plan[found.step.clone()]);
        let launches = launches.map(|row| format!("{} {}", row.kernel, row.layer));
        assert_eq!(titles("launch"), launches.collect::<Vec<_>>(), "{}", model.name);
        assert_eq!(titles("edge").len(), edges(&found).iter().sum::<usize>(), "{}", model.name);
        let frames = ["layer", "launch"].map(|class| shown(&svg, class)).concat();
        check_apart(&frames.into_iter().map(frame).collect::<Vec<_>>());
        // A launch of several layers says which.
        let mut words = BTreeMap::<&str, usize>::new();
        let texts = svg.descendants().filter(|node| node.has_tag_name("text"));
        texts.filter_map(|node| node.text()).for_each(|t| *words.entry(t).or_default() += 1);
        for layer in found.plan[found.step.clone()].iter().filter(|row| row.layers.len() > 1) {
            assert!(layer.layers.iter().all(|name| words[name.as_str()] > 1), "{}", layer.layer);
        }
    }
}

/// A line of a .dot without what stands in quotes, and whether quotes are closed.
fn unquoted(line: &str) -> (String, bool) {
    let (mut text, mut quoted, mut escaped) = (String::new(), false, false);
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted => text.push(c),
            _ => {}
        }
    }
    (text, !quoted)
}

#[test]
fn dot_files_declare_what_edges_name() {
    for (i, model) in models().iter().enumerate() {
        let found = planned(model, i % 3 != 2);
        let text = picture::dot(&found);
        let (mut depth, mut nodes, mut drawn) = (0i32, BTreeSet::new(), [0; 2]);
        for line in text.lines() {
            let (code, closed) = unquoted(line);
            assert!(closed, "{line}");
            depth += code.matches('{').count() as i32 - code.matches('}').count() as i32;
            assert!(depth >= 0, "{line}");
            let words: Vec<&str> = code.split_whitespace().collect();
            match words[..] {
                [from, "->", to, ..] => {
                    assert!(nodes.contains(from) && nodes.contains(to), "{line}");
                    assert_eq!(from[..1], to[..1], "an edge between the two clusters");
                    assert!(line.contains("[label=\""), "{line}");
                    drawn[usize::from(from.starts_with('a'))] += 1;
                }
                [name, ..] if depth == 2 && name.starts_with(['a', 'b']) => {
                    assert!(nodes.insert(name.to_string()), "{name} twice");
                }
                _ => {}
            }
        }
        assert_eq!(depth, 0);
        assert_eq!(drawn, edges(&found), "{}", model.name);
        let launches = found.launches_hoisted + found.launches_per_step;
        assert_eq!(nodes.len(), found.layers + launches, "{}", model.name);
        for cluster in ["cluster_before", "cluster_after"] {
            assert_eq!(text.matches(cluster).count(), 1);
        }
        // Once as a layer; a launch that computes it names it again.
        for layer in &found.graph {
            let node = format!("[label=\"{} {}\\l", layer.layer, layer.name);
            assert!(text.contains(&node), "{node}");
        }
    }
}

#[test]
fn memory_is_drawn_as_it_is_laid_out() {
    for model in models() {
        for fuse in [true, false] {
            let found = planned(&model, fuse);
            let text = picture::memory(&found);
            let svg = Document::parse(&text).unwrap();
            check_bounds(&svg);
            let [values, arenas] = ["value", "arena"].map(|class| shown(&svg, class));
            assert_eq!(values.len(), found.memory.values.len(), "{}", model.name);
            assert_eq!(arenas.len(), found.memory.arenas.len(), "{}", model.name);
            assert_eq!(shown(&svg, "alive").len(), found.memory.alive.len());
            let arenas: Vec<_> = arenas.into_iter().map(frame).collect();
            check_apart(&arenas);
            let frames: Vec<_> = values.iter().map(|node| frame(*node)).collect();
            check_apart(&frames);
            for (value, [x, y, w, h]) in found.memory.values.iter().zip(&frames) {
                let [ax, ay, aw, ah] = arenas[value.arena];
                assert!(*x >= ax - 0.05 && x + w <= ax + aw + 0.05, "{}", value.name);
                assert!(*y >= ay - 0.05 && y + h <= ay + ah + 0.05, "{}", value.name);
                let each = aw / found.memory.alive.len() as f64;
                assert!((w / each - (value.last - value.first + 1) as f64).abs() < 0.1);
            }
            // The highest bar of a step reaches the line of the bound.
            let bars = shown(&svg, "alive").into_iter().skip(found.launches_hoisted).map(frame);
            let top = bars.map(|[_, y, ..]| y).fold(f64::INFINITY, f64::min);
            let bound = shown(&svg, "bound")[0].attribute("d").unwrap().to_string();
            let line: f64 =
                bound.split('H').next().unwrap()[1..].split(' ').nth(1).unwrap().parse().unwrap();
            assert!((top - line).abs() < 0.2, "{}: {top} and {line}", model.name);
        }
    }
}

/// A folder may be named in any way that a disk allows.
#[test]
fn names_do_not_break_a_picture() {
    let place = Place::new();
    let name = "a<b>&\"c\\";
    fs::create_dir_all(place.path(name)).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/network/one-block/config.json");
    fs::copy(source, place.path(name).join("config.json")).unwrap();
    let found = planned(&Model::open(place.path(name).to_str().unwrap()).unwrap(), true);
    for text in [picture::graph(&found), picture::memory(&found)] {
        let svg = Document::parse(&text).unwrap();
        let mut texts = svg.descendants().filter_map(|node| node.text());
        assert!(texts.any(|text| text.contains(name)), "{text}");
    }
    let dot = picture::dot(&found);
    assert!(dot.starts_with("digraph \"a<b>&\\\"c\\\\\" {\n"), "{dot}");
}

#[test]
fn pictures_are_files_of_their_own() {
    let place = Place::new();
    let line = "inspect digits --memory m.svg --svg g.svg --dot g.dot";
    let found = place.run(&format!("{line} --json"));
    assert_eq!(found.json()["launches_per_step"], 49);
    for said in ["m.svg: values in memory", "g.svg: the graph", "g.dot: the same"] {
        assert!(found.stderr.contains(said), "{}", found.stderr);
    }
    let names = ["g.dot", "g.svg", "m.svg"];
    assert_eq!(place.names(""), names);
    let read = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    let digits = inspect(&Model::open("digits").unwrap(), &Request::default(), None).unwrap();
    let drawn = [picture::dot(&digits), picture::graph(&digits), picture::memory(&digits)];
    assert!(names.map(read) == drawn, "files are what the library draws");
    // Once more: each is replaced.
    assert_eq!(place.run(line).code, 0);
    assert_eq!(place.names(""), names);
}

#[test]
fn paths_that_cannot_be_written_are_refused_before_any_work() {
    let place = Place::new();
    fs::create_dir(place.path("dir.svg")).unwrap();
    let cases = [
        ("--memory a.png", "--memory a.png: expected a file that ends in .svg, found .png"),
        ("--svg a", "--svg a: expected a file that ends in .svg, found no extension"),
        ("--dot a.svg", "--dot a.svg: expected a file that ends in .dot or .gv, found .svg"),
        ("--svg dir.svg", "--svg dir.svg: expected a file, found a folder of that name"),
        ("--dot missing/a.dot", "--dot missing/a.dot: expected a path in an existing folder"),
        ("--memory a.svg --svg a.svg", "--svg a.svg: expected a file of its own"),
        ("--memory a.svg --svg ./a.svg", "expected a file of its own"),
    ];
    for (flags, expected) in cases {
        let ran = place.run(&format!("inspect digits {flags}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{flags}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{flags}: {}", ran.stderr);
    }
    assert_eq!(place.names(""), ["dir.svg"]);
}
