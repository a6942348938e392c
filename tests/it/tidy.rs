//! The house rules that a compiler does not check: the direction of imports, the names of ops,
//! lengths, dead files, and words that must not be there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use unnoise::ops;

/// Rooms, and the rooms that each may name. An edge that is not here points upward.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("tensor", &[]),
    ("lock", &[]),
    ("beside", &["lock"]),
    // How configuration files are read.
    ("json", &["error"]),
    // A solver is scalars and rows: no tensor, no device, no model.
    ("solver", &["error", "json"]),
    ("ops", &["error", "tensor"]),
    // Generators on the host; the one on the device is an op.
    ("noise", &["error", "ops"]),
    // A graph names layers and shapes: no buffer, no batch.
    ("graph", &["error", "ops"]),
    ("plan", &["error", "tensor", "ops", "graph"]),
    ("program", &["error", "tensor", "ops", "graph", "plan", "solver"]),
    // A backend runs launches; it knows no plan, solver, schedule or model.
    ("backend", &["error", "beside", "lock", "tensor", "ops", "program"]),
    // Times of a run beside the work of its program.
    ("profile", &["error", "beside", "tensor", "program", "backend"]),
    // Times as such; a device is a name to ask NVML about.
    ("bench", &["error", "backend"]),
    // Weights are what a graph declares, packed as a program says, given to a backend.
    ("weights", &["error", "tensor", "graph", "program", "backend"]),
    // A model brings the configuration of its solver along.
    ("model", &["error", "json", "tensor", "ops", "graph", "weights", "solver"]),
    // Features of samples, and numbers about sets of them.
    ("features", &["error", "tensor", "program", "backend", "model"]),
    ("metrics", &["error", "beside"]),
    // The samples of a run are numbers and words here.
    ("output", &["error", "beside"]),
    // The facade ties the rooms together.
    (
        "sampler",
        &[
            "error", "tensor", "ops", "graph", "plan", "program", "solver", "noise", "backend",
            "profile", "weights", "model",
        ],
    ),
    // A plan is drawn from what the facade tells of it.
    ("picture", &["error", "beside", "sampler"]),
];

/// Where `unsafe` may stand: driver calls, mapped files, and the one call of `gemm`.
const UNSAFE: &[&str] =
    &["src/backend/wgpu/", "src/backend/cuda/", "src/weights", "src/ops/matrix.rs"];
/// Where the standard streams and exiting may.
const TALKING: &[&str] = &["src/main.rs", "src/cli/", "src/build.rs"];

const LONGEST_FILE: usize = 400;
const LONGEST_LINE: usize = 100;

/// One source file.
struct Source {
    /// From the root, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        self.path.ends_with(&format!(".{extension}"))
    }
    fn under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file of the repository: no build output, no hidden or foreign folder.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "shared", "venv"].contains(&&*name) {
                    folders.push(path);
                }
            } else if [".rs", ".wgsl", ".cu", ".cuh", ".hpp", ".cpp", ".py", ".sh"]
                .iter()
                .any(|e| name.ends_with(e))
            {
                let text = fs::read_to_string(&path).unwrap();
                let relative = path.strip_prefix(root()).unwrap().to_string_lossy();
                found.push(Source { path: relative.replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Rust files below `src`.
fn library() -> Vec<Source> {
    sources().into_iter().filter(|s| s.is("rs") && s.under(&["src/"])).collect()
}

/// Panics with every complaint at once.
fn report(rule: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{rule}\n  {}", complaints.join("\n  "));
}

/// Rust without comments and without what stands in quotes, line for line.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let rest = &chars[i..];
        let skip = match rest {
            ['/', '/', ..] => rest.iter().take_while(|&&c| c != '\n').count(),
            ['/', '*', ..] => block_comment(rest),
            ['r', '"', ..] | ['r', '#', '"', ..] if !word_before(&chars, i) => raw_string(rest),
            ['"', ..] => string(rest),
            ['\'', '\\', ..] => 3 + rest[3..].iter().take_while(|&&c| c != '\'').count(),
            ['\'', _, '\'', ..] => 2,
            _ => {
                out.push(chars[i]);
                i += 1;
                continue;
            }
        };
        let end = (i + skip.max(1)).min(chars.len());
        out.extend(chars[i..end].iter().filter(|&&c| c == '\n'));
        // The closing quote of a character is passed over with it.
        i = if chars[i] == '\'' { (end + 1).min(chars.len()) } else { end };
    }
    out
}

fn word_before(chars: &[char], i: usize) -> bool {
    i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_')
}

fn block_comment(rest: &[char]) -> usize {
    let close = rest[2..].windows(2).position(|w| w == ['*', '/']);
    close.map_or(rest.len(), |at| at + 4)
}

fn string(rest: &[char]) -> usize {
    let mut i = 1;
    while i < rest.len() && rest[i] != '"' {
        i += if rest[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    let mut close = vec!['"'];
    close.extend(vec!['#'; hashes]);
    let body = hashes + 2;
    let at = rest[body..].windows(close.len()).position(|w| w == close);
    at.map_or(rest.len(), |at| body + at + close.len())
}

/// The identifiers of a piece of code, each with the line it stands on.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(n, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').map(move |word| (n + 1, word))
    })
}

/// The rooms that follow each `prefix` (`crate::`), also in braces: `crate::{error::Result, ops}`.
fn rooms_named(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    let first = |path: &str| -> String {
        path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.insert(first(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    rooms.insert(first(&group[start..i]));
                    start = i + 1;
                }
                _ => {}
            }
            if c == '}' && start == i + 1 {
                break;
            }
        }
    }
    rooms.remove("");
    rooms
}

/// `src/ops/conv2d.rs` is in room `ops`, `src/error.rs` in `error`.
fn room(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

#[test]
fn imports_point_one_way() {
    let known: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let mut complaints = Vec::new();
    for source in library() {
        let from = room(&source.path);
        if ["main", "cli", "lib", "build"].contains(&from) {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == from) else {
            complaints.push(format!("{}: room {from} is not in the table", source.path));
            continue;
        };
        // Unit tests may set up whatever they need.
        let shipped = source.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for to in rooms_named(&code(shipped), "crate::") {
            if known.contains(&*to) && to != from && !allowed.contains(&&*to) {
                complaints.push(format!("{}: {from} must not name {to}", source.path));
            }
        }
    }
    report("imports point from later rooms to earlier ones", complaints);
}

#[test]
fn the_table_of_rooms_has_no_cycle() {
    // Each room may only name rooms above it, so that the table itself is an order.
    for (i, (room, allowed)) in ROOMS.iter().enumerate() {
        for name in *allowed {
            assert!(ROOMS[..i].iter().any(|(r, _)| r == name), "{room} names {name} below it");
        }
    }
}

#[test]
fn an_op_is_one_word_everywhere() {
    let mut complaints = Vec::new();
    let names = |folder: &str, extension: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
        let paths = entries.map(|e| e.path());
        let of_kind = paths.filter(|p| p.extension().is_some_and(|e| e == extension));
        of_kind.map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    let (rust, cuda) = (names("src/ops", "rs"), names("kernels", "cu"));
    let shaders = names("shaders", "wgsl");
    for name in ops::NAMES {
        if !rust.contains(*name) {
            complaints.push(format!("src/ops/{name}.rs is missing"));
        }
        if !shaders.contains(*name) {
            complaints.push(format!("shaders/{name}.wgsl is missing"));
        }
        if !cuda.is_empty() && !cuda.contains(*name) {
            complaints.push(format!("kernels/{name}.cu is missing"));
        }
    }
    for name in shaders.iter().chain(&cuda) {
        if !ops::NAMES.contains(&name.as_str()) {
            complaints.push(format!("{name}: a kernel without an op in src/ops"));
        }
    }
    report("op, shader and kernel carry one name", complaints);
}

#[test]
fn files_and_lines_are_short() {
    let mut complaints = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            complaints.push(format!("{}: {lines} lines of {LONGEST_FILE}", source.path));
        }
        if source.is("rs") {
            for (n, line) in source.text.lines().enumerate() {
                let columns = line.chars().count();
                if columns > LONGEST_LINE {
                    complaints.push(format!("{}:{}: {columns} columns", source.path, n + 1));
                }
            }
        }
    }
    report("files and lines have a limit", complaints);
}

#[test]
fn unsafe_and_printing_have_their_places() {
    let talking = ["println", "eprintln", "print", "eprint", "dbg"];
    let mut complaints = Vec::new();
    for source in library() {
        let code = code(&source.text);
        for (line, word) in words(&code) {
            if word == "unsafe" && !source.under(UNSAFE) {
                complaints.push(format!("{}:{line}: unsafe", source.path));
            }
            let text = code.lines().nth(line - 1).unwrap_or_default();
            // These panic where a stream cannot be written.
            let panics = talking.contains(&word) && text.contains(&format!("{word}!"));
            let talks = ["stdout", "stderr"].contains(&word) || text.contains("process::exit");
            if panics || (talks && !source.under(TALKING)) {
                complaints.push(format!("{}:{line}: {text}", source.path));
            }
        }
    }
    report("unsafe, printing and exiting have their places", complaints);
}

#[test]
fn tests_start_the_program_in_one_place() {
    let starts = ["CARGO", "BIN_EXE"].join("_");
    let found = sources().into_iter().filter(|s| s.is("rs") && s.text.contains(&starts));
    let places: Vec<String> = found.map(|s| s.path).collect();
    assert_eq!(places, ["tests/it/binary.rs"], "elsewhere it may find the cache of its user");
}

#[test]
fn every_file_is_reached_by_a_mod_line() {
    let mut reached = BTreeSet::new();
    let mut open: Vec<PathBuf> = ["src/lib.rs", "src/main.rs", "src/build.rs", "tests/it.rs"]
        .iter()
        .map(PathBuf::from)
        .collect();
    while let Some(file) = open.pop() {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        let code = code(&text);
        let folder = module_folder(&file);
        for (n, line) in code.lines().enumerate() {
            let declared = line.trim().strip_suffix(';').and_then(|l| l.rsplit_once("mod "));
            let Some((before, name)) = declared else { continue };
            if !before.is_empty() && !before.starts_with("pub") {
                continue;
            }
            let above = text.lines().nth(n.wrapping_sub(1)).unwrap_or_default();
            let given = above.trim().strip_prefix("#[path = \"").and_then(|p| p.split('"').next());
            let candidates = match given {
                Some(path) => vec![file.parent().unwrap().join(path)],
                None => vec![folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")],
            };
            open.extend(candidates.into_iter().filter(|p| root().join(p).is_file()));
        }
        reached.insert(file.to_string_lossy().replace('\\', "/"));
    }
    let all = sources().into_iter().filter(|s| s.is("rs") && s.under(&["src/", "tests/it/"]));
    let dead = all.map(|s| s.path).filter(|path| !reached.contains(path)).collect();
    report("a file that no mod line names is dead", dead);
}

/// Where the modules declared in `file` lie.
fn module_folder(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap();
    match file.file_stem().unwrap().to_str() {
        Some("lib" | "main" | "mod") => folder.to_path_buf(),
        _ => folder.join(file.file_stem().unwrap()),
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let stubs = ["todo", "unimplemented"].map(|name| [name, "!("].concat());
    let mut complaints = Vec::new();
    for source in sources() {
        for (n, line) in source.text.lines().enumerate() {
            if marks.iter().chain(&stubs).any(|word| line.contains(word)) {
                complaints.push(format!("{}:{}: {}", source.path, n + 1, line.trim()));
            }
        }
    }
    report("work is done or it is an issue, not a note in the source", complaints);
}

#[test]
fn the_scanners_see_code_and_only_code() {
    let text = "a /* b */ \"c\\\" d\" 'e' '\\n' // f\nr#\"g \" h\"# i<'j> r\"k\" l";
    let seen: Vec<&str> = code(text).leak().split_whitespace().collect();
    assert_eq!(seen, ["a", "i<'j>", "l"]);
    assert_eq!(code("\"a\nb\" c\n/*\n*/ d").lines().count(), 4);

    let text =
        "use crate::error::Result; use crate::{ops::{Act, Op}, graph, plan::Plan}; crate::a()";
    let named: Vec<String> = rooms_named(text, "crate::").into_iter().collect();
    assert_eq!(named, ["a", "error", "graph", "ops", "plan"]);
    assert_eq!(room("src/backend/wgpu/mod.rs"), "backend");
    assert_eq!(room("src/error.rs"), "error");
}
