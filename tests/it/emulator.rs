//! The emulator runs right kernels rightly, and catches wrong ones: each of tests/emulator/seeded
//! is right as it is and has its bugs by name.

use super::device;
use super::emulated::{self, Build, Content, Job, Launch, SCHEDULES, address};
use std::path::Path;
use unnoise::backend::source::cuda_unit;

/// A seeded kernel, what it is given, and what it must give.
struct Seeded {
    file: &'static str,
    /// The first address is that of `Advance`, or of a cursor.
    buffers: Vec<Content>,
    addresses: Vec<(u32, u64)>,
    params: Vec<u32>,
    /// Numbers of the buffers of `Args`, and of those of `Control` behind the cursor.
    args: Vec<usize>,
    control: [u64; 4],
    blocks: u32,
    shared: u32,
    times: usize,
    /// The last of `args` holds this.
    expected: Vec<f32>,
}

/// Small whole numbers, whose products and sums are exact in any order.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7 + i / 5) % 13) as f32 - 6.0).collect()
}

fn halves(values: &[f32]) -> Content {
    let half = |v: &f32| half::f16::from_f32(*v).to_le_bytes();
    Content::Given(values.iter().flat_map(half).collect())
}

fn words(values: &[u32]) -> Content {
    Content::Given(bytemuck::cast_slice(values).to_vec())
}

fn floats(values: &[f32]) -> Content {
    Content::Given(bytemuck::cast_slice(values).to_vec())
}

fn product() -> Seeded {
    let (m, n, k) = (100, 72, 160);
    let (x, w) = (numbers(m * k), numbers(k * n));
    let dot = |i: usize| (0..k).map(|j| x[i / n * k + j] * w[j * n + i % n]).sum::<f32>();
    Seeded {
        file: "product",
        buffers: vec![halves(&x), halves(&w), Content::Unset(4 * (m * n) as u64), words(&[0, 0])],
        addresses: Vec::new(),
        params: vec![m as u32, n as u32, k as u32],
        args: vec![0, 1, 2],
        control: [address(3, 0), 0, 0, 0],
        blocks: 4,
        shared: 4 * 2 * 64 * 32 * 2,
        times: 1,
        expected: (0..m * n).map(dot).collect(),
    }
}

fn reduction() -> Seeded {
    let rows = 7;
    let x = numbers(rows * 256);
    Seeded {
        file: "reduction",
        buffers: vec![floats(&x), Content::Unset(4 * rows as u64), words(&[0, 0])],
        addresses: Vec::new(),
        params: vec![rows as u32],
        args: vec![0, 1],
        control: [address(2, 0), 0, 0, 0],
        blocks: rows as u32,
        shared: 4 * (256 + 8),
        times: 1,
        expected: x.chunks(256).map(|row| row.iter().sum()).collect(),
    }
}

/// Three rows of a program that splits a sum among five workgroups.
fn split() -> Seeded {
    let (n, splits, rows) = (200, 5, 3);
    let x = numbers(splits * n);
    let sum = |i: usize| (0..splits).map(|s| x[s * n + i % n]).sum::<f32>();
    let times = address(5, 0);
    Seeded {
        file: "split",
        buffers: vec![
            floats(&x),
            Content::Unset(4 * (rows * n) as u64),
            words(&[0, 0, 0, rows as u32, times as u32, (times >> 32) as u32, 0, 0]),
            Content::Scratch(4 * (splits * 256) as u64),
            Content::Counters(4),
            words(&[0, 0, 0]),
        ],
        addresses: vec![(2, 16)],
        params: vec![n as u32, splits as u32],
        args: vec![0, 1],
        control: [address(2, 0), address(2, 0), address(3, 0), address(4, 0)],
        blocks: splits as u32,
        shared: 4,
        times: rows,
        expected: (0..rows * n).map(sum).collect(),
    }
}

/// The kernel's result, with one of its bugs if it is named.
fn run(seeded: &Seeded, bug: &str, build: Build) -> Result<Vec<f32>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator/seeded");
    let path = folder.join(format!("{}.cu", seeded.file));
    let kernel = std::fs::read_to_string(&path).unwrap();
    let ptx = include_str!("../emulator/ptx.hpp");
    let common = cuda_unit(&[], Some(ptx)).unwrap();
    // Messages name the kernel's own lines.
    let define = if bug.is_empty() { String::new() } else { format!("#define {bug}\n") };
    let text = format!("{common}{define}#line 1 \"{}\"\n{kernel}", path.display());
    let unit = emulated::unit(build, &text, &[seeded.file.to_string()])?;
    let written = seeded.args[seeded.args.len() - 1];
    let job = Job {
        schedules: SCHEDULES.to_vec(),
        units: vec![unit],
        buffers: seeded.buffers.clone(),
        addresses: seeded.addresses.clone(),
        launches: vec![Launch {
            name: "seeded".into(),
            unit: 0,
            kernel: 0,
            blocks: seeded.blocks,
            shared: seeded.shared,
            together: false,
            params: bytemuck::cast_slice(&seeded.params).to_vec(),
            args: seeded.args.iter().map(|buffer| address(*buffer, 0)).collect(),
            control: seeded.control,
        }],
        order: vec![0; seeded.times],
        wanted: vec![written as u32],
    };
    Ok(bytemuck::pod_collect_to_vec(&job.run(build)?[0]))
}

/// What a bug is caught by.
enum Caught {
    Says(&'static str),
    /// It runs to its end, and the result is another.
    Wrong,
}
use Caught::{Says, Wrong};

const OVERFLOW: Caught = Says("heap-buffer-overflow");
const RACE: Caught = Says("data race");
const DIFFERS: Caught = Says("gives another result than forward");
const STRAY: Caught = Says("stray access");

fn check(seeded: Seeded, bugs: &[(&str, Build, Caught)]) {
    if !device::emulator() {
        return;
    }
    for build in [Build::Plain, Build::Address, Build::Thread] {
        let found = run(&seeded, "", build).unwrap_or_else(|e| panic!("{build:?}: {e}"));
        assert!(found == seeded.expected, "{build:?}: {} is wrong without a bug", seeded.file);
    }
    for (bug, build, caught) in bugs {
        let found = run(&seeded, bug, *build);
        let known = match (caught, &found) {
            (Says(words), Err(message)) => message.contains(words),
            (Wrong, Ok(values)) => *values != seeded.expected,
            _ => false,
        };
        let found = found.map(|v| v[..v.len().min(4)].to_vec());
        assert!(known, "{bug} under {build:?} is not caught as it should: {found:?}");
    }
}

#[test]
fn bugs_of_a_product_are_caught() {
    let bugs = [
        ("MISSING_WAIT", Build::Plain, Wrong),
        ("LEFT_COPY", Build::Plain, Says("a copy that nobody has waited for")),
        ("EARLY_REFILL", Build::Plain, Wrong),
        ("EARLY_REFILL", Build::Thread, RACE),
        ("WRONG_FRAGMENT", Build::Plain, Wrong),
        ("WRONG_TRANS", Build::Plain, Wrong),
        ("PAST_END", Build::Plain, STRAY),
        ("PAST_END", Build::Address, OVERFLOW),
    ];
    check(product(), &bugs);
}

#[test]
fn bugs_of_a_reduction_are_caught() {
    let bugs = [
        ("MISSING_BARRIER", Build::Plain, DIFFERS),
        ("MISSING_BARRIER", Build::Thread, RACE),
        ("DIVERGENT_BARRIER", Build::Plain, Says("divergent barrier")),
        ("EARLY_RETURN", Build::Plain, Says("deadlock")),
        ("HALF_WARP", Build::Plain, Says("wait in __shfl_xor_sync")),
        ("WRONG_MASK", Build::Plain, Says("not in its mask")),
        ("PAST_SHARED", Build::Plain, STRAY),
        ("PAST_SHARED", Build::Address, OVERFLOW),
        ("PAST_RESULT", Build::Plain, DIFFERS),
        ("PAST_RESULT", Build::Address, OVERFLOW),
    ];
    check(reduction(), &bugs);
}

#[test]
fn bugs_of_a_split_sum_are_caught() {
    let bugs = [
        ("NO_ARRIVE", Build::Plain, DIFFERS),
        ("NO_ARRIVE", Build::Thread, RACE),
        ("KEPT_COUNTER", Build::Plain, Says("counters are not zero")),
        ("STALE_CURSOR", Build::Plain, STRAY),
        ("STALE_CURSOR", Build::Thread, RACE),
        ("WRONG_PARAMS", Build::Plain, Says("Params.n")),
    ];
    check(split(), &bugs);
}
