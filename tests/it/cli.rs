//! The program as people and scripts run it: words, files and exit codes.

use super::binary::Place;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const CIFAR10: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/ddpm-cifar10");

/// A `.npy` file's shape and numbers.
pub fn npy(path: &Path) -> (Vec<u64>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
    (npy.shape().to_vec(), npy.into_vec().unwrap())
}

#[test]
fn devices_are_listed() {
    let place = Place::new();
    let list = place.run("devices --json").json();
    let all = list.as_array().unwrap();
    let (cpu, gpus): (Vec<_>, Vec<_>) = all.iter().partition(|device| device["backend"] == "cpu");
    assert_eq!(cpu.len(), 1, "{list}");
    let (cuda, wgpu): (Vec<_>, Vec<_>) =
        gpus.into_iter().partition(|device| device["backend"] == "cuda");
    for (devices, memory) in [(&cuda, "memory_bytes"), (&wgpu, "max_binding_bytes")] {
        for (i, device) in devices.iter().enumerate() {
            assert_eq!(device["index"], i);
            assert!(device[memory].as_u64().unwrap() > 0);
        }
    }
    let words = place.run("devices").stdout;
    assert!(words.contains("\ncpu  "), "{words}");
    // Either a row, or why there is none.
    let told = if cuda.is_empty() { "--device cuda: expected" } else { "cuda:0" };
    assert!(words.contains(told), "{words}");
}

#[test]
fn models_are_inspected_without_weights() {
    let place = Place::new();
    let expected = [
        "activation_bytes",
        "activation_lower_bound_bytes",
        "flops_per_eval",
        "launches_hoisted",
        "launches_per_step",
        "launches_split_k",
        "parameters",
        "weight_bytes",
    ];
    for (model, parameters) in [("digits", None), (CIFAR10, Some(35_746_307u64))] {
        let found = place.run(&format!("inspect {model} --json")).json();
        for key in expected {
            assert!(found[key].as_u64().is_some_and(|n| n > 0), "{model}: {key} {}", found[key]);
        }
        let (bytes, bound) = (&found["activation_bytes"], &found["activation_lower_bound_bytes"]);
        let ratio = bytes.as_f64().unwrap() / bound.as_f64().unwrap();
        assert!((1.0..=1.15).contains(&ratio), "{model}: {ratio:.3} x the bound of {bound}");
        if let Some(parameters) = parameters {
            assert_eq!(found["parameters"], parameters, "{model}");
        }
        assert!(!place.run(&format!("inspect {model}")).stdout.is_empty());
    }
}

#[test]
fn bad_input_is_named_and_ends_with_2() {
    let place = Place::new();
    fs::create_dir(place.path("dir.png")).unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("sample --steps 0", &["--steps", "from 1", "found 0"]),
        ("sample --steps -3", &["--steps", "found -3"]),
        ("sample --steps 1001", &["steps", "1000", "1001"]),
        ("sample --count 0", &["--count", "from 1", "found 0"]),
        ("sample --batch 0", &["--batch", "from 1", "found 0"]),
        ("sample --guidance NaN", &["--guidance", "finite", "found NaN"]),
        ("sample --guidance inf", &["--guidance", "finite", "found inf"]),
        ("sample --guidance -1", &["--guidance", "0 or more", "found -1"]),
        ("sample --eta nan", &["--eta", "finite", "found nan"]),
        ("sample --seed -1", &["--seed", "found -1"]),
        ("sample --shard 0/2", &["--shard", "from 1 to N", "found 0/2"]),
        ("sample --shard 3/2", &["--shard", "from 1 to N", "found 3/2"]),
        ("sample --shard 1/65", &["--shard", "at most 64 shards", "found 1/65"]),
        ("sample --class 11", &["--class", "digits", "found 11"]),
        ("sample --class three", &["--class", "a class number", "found three"]),
        ("sample --prompt cat", &["--prompt", "digits, which takes no text"]),
        ("sample --solver magic", &["solver", "magic", "ddim"]),
        ("sample --noise pink", &["noise", "torch-cpu", "pink"]),
        ("sample --precision f8", &["precision", "f16", "f8"]),
        ("sample --device tpu", &["device", "wgpu", "tpu"]),
        ("sample --device wgpu:99", &["wgpu:99"]),
        ("sample --device cuda:99", &["cuda", "use --device wgpu"]),
        ("sample nonsense", &["nonsense", "digits"]),
        ("sample --out dir.png", &["--out dir.png", "a folder of that name"]),
        ("sample --out missing/a.png", &["missing/a.png", "no such folder"]),
        ("sample --out a.gif", &["--out a.gif", "found .gif"]),
        ("sample --frobnicate", &["--frobnicate"]),
        ("bench --runs 0", &["--runs", "at least 1"]),
        ("profile --runs 0", &["--runs", "at least 1"]),
        ("profile --by phase", &["--by", "kernel, layer or step", "found phase"]),
        ("profile --timestamps often", &["--timestamps", "auto", "found often"]),
        ("profile --trace dir.json/a.json", &["--trace", "no such folder"]),
        ("profile --trace trace.html", &["--trace trace.html", "ends in .json", "found .html"]),
        ("profile --html dir.png", &["--html dir.png", "ends in .html"]),
        ("sample --guidance 1e39", &["--guidance"]),
        ("inspect --device gpu", &["--device", "cuda:N", "'gpu'"]),
        ("sample --out .png", &["--out .png", "only the extension"]),
        ("inspect --count 0", &["--count"]),
        ("", &["Usage"]),
        ("paint", &["paint"]),
    ];
    for (line, parts) in cases {
        let ran = place.run(line);
        assert_eq!(ran.code, 2, "unnoise {line}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "unnoise {line} wrote to stdout");
        for part in *parts {
            assert!(ran.stderr.contains(part), "unnoise {line}: no {part:?} in {}", ran.stderr);
        }
    }
    let refused = [
        ("--class 1", "unconditional"),
        ("--class all", "unconditional"),
        ("--guidance 2", "no null class"),
    ];
    for (flags, part) in refused {
        let ran = place.run(&format!("inspect {CIFAR10} {flags}"));
        assert_eq!(ran.code, 2, "{flags}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{flags}: {}", ran.stderr);
    }
    assert_eq!(place.names("."), ["dir.png"], "a refused command left files");
}

#[test]
fn samples_are_written_in_every_form() {
    let place = Place::new();
    for out in ["a.png", "a.npy", "a.safetensors", "a"] {
        let line = format!("sample --count 2 --steps 2 --device cpu --json --out {out}");
        let found = place.run(&line).json();
        for (key, value) in [("model", "digits"), ("backend", "cpu"), ("out", out)] {
            assert_eq!(found[key], value, "{key}");
        }
        for (key, value) in [("steps", 2), ("nfe", 2), ("count", 2), ("batch", 2), ("seed", 0)] {
            assert_eq!(found[key], value, "{key}");
        }
        assert_eq!(found["readbacks"], 1);
        for key in ["launches_per_step", "wall_ms", "step_ms", "compile_ms"] {
            assert!(found[key].as_f64().is_some_and(|n| n > 0.0), "{key} is {}", found[key]);
        }
        for key in ["device", "precision", "solver", "submits", "launches_hoisted", "encode_ms"] {
            assert!(!found[key].is_null(), "{key} is missing");
        }
    }
    assert_eq!(place.names("."), ["a", "a.npy", "a.png", "a.safetensors"]);
    assert_eq!(place.names("a"), ["000000.png", "000001.png", "manifest.json"]);

    let (shape, data) = npy(&place.path("a.npy"));
    assert_eq!(shape, [2, 1, 32, 32]);
    let bytes = fs::read(place.path("a.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let samples = tensors.tensor("samples").unwrap();
    assert!(bytemuck::pod_collect_to_vec::<u8, f32>(samples.data()) == data);
    let single = image::open(place.path("a/000001.png")).unwrap().into_luma8();
    for (pixel, value) in single.iter().zip(&data[32 * 32..]) {
        let expected = ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round();
        assert!((f32::from(*pixel) - expected).abs() <= 1.0, "{pixel} for {value}");
    }
    let grid = image::open(place.path("a.png")).unwrap();
    assert!(grid.width() > 2 * 64 && grid.height() > 64, "{} x {}", grid.width(), grid.height());
}

#[test]
fn the_picture_is_named_after_the_model() {
    let place = Place::new();
    let ran = place.run("sample --count 1 --steps 1 --device cpu --class 3");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("digits.png: 1 sample of digits"), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 1);
    assert_eq!(place.names("."), ["digits.png"]);
}

/// A full disk, and a reader that is gone, under stderr: the samples count, the words do not.
#[cfg(target_os = "linux")]
#[test]
fn stderr_that_takes_nothing_ends_no_run() {
    let place = Place::new();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    let line = "sample --count 1 --steps 1 --device cpu --json --out a.npy";
    for stderr in [Stdio::from(full()), Stdio::from(gone)] {
        let output = place.command(line).stderr(stderr).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        fs::remove_file(place.path("a.npy")).unwrap();
    }
    let refused = place.command("sample --steps 0").stderr(full()).status().unwrap();
    assert_eq!(refused.code(), Some(2));
    let unheard = place.command("solvers").stdout(full()).status().unwrap();
    assert_eq!(unheard.code(), Some(1), "a result that nobody has is a failure");
}

#[test]
fn a_folder_is_resumed_and_guarded() {
    let place = Place::new();
    let line = "sample --count 4 --batch 2 --steps 2 --device cpu --out run";
    assert_eq!(place.run(line).code, 0);
    let before = fs::read(place.path("run/000002.png")).unwrap();
    fs::remove_file(place.path("run/000002.png")).unwrap();
    let ran = place.run(line);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("3 of 4 samples are there already"), "{}", ran.stderr);
    let after = image::load_from_memory(&fs::read(place.path("run/000002.png")).unwrap()).unwrap();
    let before = image::load_from_memory(&before).unwrap();
    for (a, b) in after.into_luma8().iter().zip(before.into_luma8().iter()) {
        assert!(a.abs_diff(*b) <= 1, "the sample drawn again is another one");
    }
    assert_eq!(place.value("run/manifest.json")["identity"]["seed"], 0);

    let other = place.run(&format!("{line} --seed 1"));
    assert_eq!(other.code, 2, "{}", other.stderr);
    for part in ["manifest.json: seed", "expected 1", "found 0"] {
        assert!(other.stderr.contains(part), "{}", other.stderr);
    }
}

#[test]
fn a_run_does_not_go_on_with_another_model_of_the_same_name() {
    let place = Place::new();
    let files = ["config.json", "unnoise.json", "diffusion_pytorch_model.safetensors"];
    let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits"));
    fs::create_dir(place.path("mine")).unwrap();
    for file in files {
        fs::copy(from.join(file), place.path("mine").join(file)).unwrap();
    }
    let scheduler = "scheduler_config.json";
    fs::copy(from.join("scheduler").join(scheduler), place.path("mine").join(scheduler)).unwrap();
    let line = "sample mine --count 1 --steps 1 --device cpu --out run";
    assert_eq!(place.run(line).code, 0);
    assert_eq!(place.run(line).code, 0, "the same model goes on");
    let weights = place.path("mine/diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 0x80; // the sign of one weight
    fs::write(&weights, bytes).unwrap();
    let ran = place.run(line);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("manifest.json: fingerprint: expected"), "{}", ran.stderr);
}

#[test]
fn shards_together_are_the_whole_run() {
    let place = Place::new();
    let line = "sample --count 5 --batch 2 --steps 2 --device cpu";
    assert_eq!(place.run(&format!("{line} --out whole/")).code, 0);
    let ran = place.run(&format!("{line} --out part.npy --shard 1/2"));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("one of 2 shards"), "{}", ran.stderr);

    // At the same time into one folder; then nothing is left to draw.
    let start = |shard| {
        let mut command = place.command(&format!("{line} --out run/ --shard {shard}/2"));
        command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    };
    fs::create_dir(place.path("run")).unwrap();
    for mut child in [start(1), start(2)] {
        assert!(child.wait().unwrap().success());
    }
    let ran = place.run(&format!("{line} --out run/"));
    assert!(ran.stderr.contains("5 of 5 samples are there already"), "{}", ran.stderr);
    for name in place.names("whole").iter().filter(|n| n.ends_with(".png")) {
        let pixels = |folder: &str| image::open(place.path(folder).join(name)).unwrap();
        let (one, part) = (pixels("whole").into_luma8(), pixels("run").into_luma8());
        let close = one.iter().zip(part.iter()).all(|(a, b)| a.abs_diff(*b) <= 1);
        assert!(close, "{name} differs between a shard and the whole");
    }
}

#[test]
fn bench_measures() {
    let place = Place::new();
    let line = "bench --steps 2 --device cpu --runs 2 --warmup 0 --json";
    let found = place.run(line).json();
    assert_eq!(found["count"], 1);
    let time = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key} is missing"));
    for key in ["cold_ms", "p50_ms", "step_ms", "images_per_s"] {
        assert!(time(key) > 0.0, "{key} is {}", time(key));
    }
    assert!(time("p50_ms") <= time("p90_ms") && time("p90_ms") <= time("p99_ms"));
    assert!(time("cold_ms") >= time("step_ms") && time("host_ms") >= time("encode_ms"));
}

/// Sends Ctrl-C once `ready` says so, and waits for the end.
#[cfg(unix)]
pub fn interrupt(mut child: Child, mut ready: impl FnMut(&mut Child) -> bool) -> (i32, Duration) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !ready(&mut child) {
        assert!(Instant::now() < deadline, "the run never came to its middle");
        assert!(child.try_wait().unwrap().is_none(), "the run ended before its middle");
        thread::sleep(Duration::from_millis(5));
    }
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let sent = Instant::now();
    (child.wait().unwrap().code().unwrap_or(-1), sent.elapsed())
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_no_file() {
    let place = Place::new();
    let line = "sample --count 64 --steps 1000 --device cpu --out a.png";
    let mut child = place.command(line).stderr(Stdio::piped()).spawn().unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    // Sampling follows compiling.
    let (code, took) =
        interrupt(child, |_| words.next().is_some_and(|l| l.unwrap().starts_with("compiled")));
    assert_eq!(code, 130);
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    assert_eq!(place.names("."), [""; 0]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_finished_samples_of_a_folder() {
    let place = Place::new();
    let line = "sample --count 64 --batch 1 --steps 20 --device cpu --out run";
    let child = place.command(line).stderr(Stdio::null()).spawn().unwrap();
    let first = place.path("run/000000.png");
    let (code, _) = interrupt(child, |_| first.is_file());
    assert_eq!(code, 130);
    let names = place.names("run");
    assert!(names.len() < 65, "the run was over before it was stopped");
    let manifest = place.value("run/manifest.json");
    let listed: Vec<&str> =
        manifest["samples"].as_array().unwrap().iter().filter_map(|s| s["file"].as_str()).collect();
    assert_eq!(listed, names[..names.len() - 1], "the manifest lists what is there");
}
