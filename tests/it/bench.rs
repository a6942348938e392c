//! `unnoise bench` as a process: sweeps, rounds, baselines, energy.

use super::binary::{Place, Ran};
use super::{cli, device, emulated};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

const QUICK: &str = "bench mixture --device cpu --count 1 --warmup 0";

/// The object of one configuration.
const KEYS: [&str; 42] = [
    "ablation",
    "backend",
    "batch",
    "clocks_after",
    "clocks_before",
    "cold_ms",
    "compile_cached",
    "compile_ms",
    "count",
    "device",
    "encode_ms",
    "guidance",
    "host_ms",
    "images_per_s",
    "joules_per_sample",
    "mean_ms",
    "mean_watts",
    "min_ms",
    "model",
    "nfe",
    "notes",
    "p50_interval_ms",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "precision",
    "ratio",
    "runs",
    "samples_ms",
    "sd_ms",
    "seed",
    "solver",
    "stable",
    "step_ms",
    "steps",
    "warmup_runs",
    // Of the environment.
    "cores",
    "date",
    "git",
    "os",
    "processor",
    "software",
];

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is no list: {value}"))
}

#[test]
fn one_configuration_has_its_times_and_where_they_are_from() {
    let place = Place::new();
    let found = place.run("bench --steps 2 --device cpu --runs 7 --json").json();
    for key in &KEYS[..36] {
        assert!(found.get(key).is_some(), "{key} is missing in {:?}", keys(&found));
    }
    for key in &KEYS[36..] {
        let told = &found["environment"][key];
        assert!(!told.is_null(), "the environment does not say {key}: {told}");
    }
    let number = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key}"));
    let times: Vec<f64> =
        list(&found, "samples_ms").iter().map(|time| time.as_f64().unwrap()).collect();
    assert_eq!((times.len(), &found["runs"]), (7, &json!(7)));
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!((number("p50_ms"), number("min_ms")), (sorted[3], sorted[0]));
    let interval = &found["p50_interval_ms"];
    assert_eq!((&interval["low"], &interval["high"]), (&json!(sorted[0]), &json!(sorted[6])));
    assert!((number("mean_ms") - times.iter().sum::<f64>() / 7.0).abs() < 1e-9);
    assert!(number("warmup_runs") >= 8.0 && found["stable"].is_boolean());
    assert!(number("cold_ms") > number("compile_ms"));
    // A processor has no counter that NVML could read.
    assert!(found["joules_per_sample"].is_null());
    assert!(found["environment"]["no_energy"].as_str().unwrap().contains("not of CPU"));
}

#[test]
fn a_sweep_is_one_table_one_object_and_one_picture() {
    let place = Place::new();
    let line = "bench --device cpu --steps 2,3 --batch 1,2 --solver ddim,ddpm --precision f32,f16 \
                --runs 2 --warmup 0 --out sweep.png";
    let ran = place.run(&format!("{line} --json"));
    let found = ran.json();
    let (results, refused) = (list(&found, "results"), list(&found, "refused"));
    assert_eq!((results.len(), refused.len()), (8, 8), "{}", ran.stderr);
    let one = place.run("bench --device cpu --steps 2 --runs 2 --warmup 0 --json").json();
    let expected: Vec<_> = keys(&one).into_iter().filter(|key| *key != "environment").collect();
    for result in results {
        assert_eq!(keys(result), expected);
        assert_eq!(result["count"], result["batch"]);
        // Both are of a process of its own.
        assert!(result["cold_ms"].as_f64() > result["compile_ms"].as_f64(), "{result}");
    }
    let asked = |r: &Value| [&r["solver"], &r["steps"], &r["batch"]].map(Value::to_string);
    assert_eq!(asked(&results[1]), ["\"ddim\"", "2", "2"]);
    assert_eq!(asked(&results[6]), ["\"ddpm\"", "3", "1"]);
    assert_eq!(refused[0]["precision"], "f16");
    assert!(refused[0]["reason"].as_str().unwrap().contains("can store"));
    let picture = image::open(place.path("sweep.png")).unwrap();
    assert!(picture.width() > 1200 && picture.height() > 600);

    let words = place.run(&line.replace(" --out sweep.png", " --no-cold"));
    assert_eq!(words.code, 0, "{}", words.stderr);
    assert!(words.stdout.contains("solver  steps  batch  precision  compile ms  p50 ms"));
    assert!(words.stdout.contains("left out\nddim, 2 steps, batch 1, f16: --precision"));
    assert_eq!(place.names("."), ["sweep.png"]);
}

/// The first combination is refused before there is a device.
#[test]
fn a_refusal_does_not_hide_the_device() {
    let place = Place::new();
    let line = "bench --device cpu --steps 5000,2 --runs 2 --warmup 0 --no-cold --json";
    let found = place.run(line).json();
    let told = |of: &Value| of["device"].as_str().unwrap().to_string();
    assert!(told(&found["environment"]).starts_with("CPU, "));
    assert_eq!(told(&found["environment"]), told(&list(&found, "results")[0]));
    assert!(list(&found, "refused")[0]["reason"].as_str().unwrap().contains("found 5000"));
}

#[test]
fn what_cannot_be_measured_at_all_is_bad_input() {
    let place = Place::new();
    fs::write(place.path("cut.json"), r#"{"model": "dig"#).unwrap();
    fs::write(place.path("other.json"), r#"{"name": "something else"}"#).unwrap();
    let cases = [
        ("bench --device cpu --precision f16,bf16", "all refused"),
        ("bench --device cpu --steps 2,x", "--steps: expected a whole number"),
        ("bench --device cpu --steps 2,2", "each once"),
        ("bench --device cpu --solver ddim,nothing", "nothing"),
        ("bench --device cpu --ablate everything", "--ablate"),
        ("bench --device cpu --steps 2 --interleave", "two or more"),
        ("bench --device cpu --steps 2,3 --out a.gif", "--out a.gif"),
        ("bench --device cpu --steps 2 --baseline none.json", "none.json: cannot read"),
        ("bench --device cpu --steps 2 --baseline cut.json", "its beginning only"),
        ("bench --device cpu --steps 2 --baseline other.json", "missing field"),
        ("bench --device cpu --steps 2 --threshold 5%", "--baseline"),
        // The lists are those of bench.
        ("sample --device cpu --steps 2,3", "--steps: expected a whole number"),
        ("inspect --batch 1,2", "--batch: expected a whole number"),
    ];
    for (line, part) in cases {
        let ran = place.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{line}: {}", ran.stderr);
    }
    assert_eq!(place.names("."), ["cut.json", "other.json"]);
}

#[test]
fn ablations_are_measured_in_turn() {
    let place = Place::new();
    let line = "bench --device cpu --steps 2 --ablate fuse,hoist --runs 12 --warmup 1 --no-cold";
    let found = place.run(&format!("{line} --json")).json();
    assert_eq!(found["interleaved"], true);
    let results = list(&found, "results");
    let ablations: Vec<&Value> = results.iter().map(|result| &result["ablation"]).collect();
    assert_eq!(ablations, ["none", "no-fuse", "no-hoist"]);
    for result in results {
        assert_eq!(list(result, "samples_ms").len(), 12);
        assert!(result["cold_ms"].is_null(), "it was left out");
        let (value, interval) = (&result["ratio"]["value"], &result["ratio"]["interval"]);
        assert!(interval["low"].as_f64() <= value.as_f64(), "{value} in {interval}");
        assert!(value.as_f64() <= interval["high"].as_f64(), "{value} in {interval}");
    }
    assert_eq!(results[0]["ratio"]["value"], 1.0);

    let swept = format!("{QUICK} --steps 2,4 --runs 3 --interleave --json");
    let found = place.run(&swept).json();
    let results = list(&found, "results");
    assert_eq!(list(&results[1], "samples_ms").len(), 4, "two a round");
    assert!(results[1]["ratio"]["interval"].is_null(), "two rounds are not enough for one");
}

/// The times of a run of `bench --json`, each made `by` times as long.
fn doctored(place: &Place, from: &str, to: &str, by: f64) {
    let mut value = place.value(from);
    let scale = |time: &mut Value| *time = json!(time.as_f64().unwrap() * by);
    let scaled = |result: &mut Value| {
        result["samples_ms"].as_array_mut().unwrap().iter_mut().for_each(scale);
    };
    match value.get_mut("results") {
        Some(results) => results.as_array_mut().unwrap().iter_mut().for_each(scaled),
        None => scaled(&mut value),
    }
    fs::write(place.path(to), value.to_string()).unwrap();
}

#[test]
fn a_regression_against_a_baseline_is_found() {
    let place = Place::new();
    let line = format!("{QUICK} --steps 2 --runs 20 --json");
    fs::write(place.path("now.json"), place.run(&line).stdout).unwrap();
    // A machine that tests run on may be a few times slower than it just was.
    for (by, code, verdict) in [(0.01, 1, "slower"), (1.0, 0, "same"), (100.0, 0, "faster")] {
        doctored(&place, "now.json", "before.json", by);
        let ran = place.run(&format!("{line} --baseline before.json --threshold 900%"));
        assert_eq!(ran.code, code, "{by}: {}{}", ran.stdout, ran.stderr);
        let value: Value = serde_json::from_str(&ran.stdout).unwrap();
        let compared = &list(&value, "baseline")[0];
        assert_eq!(compared["verdict"], verdict, "{compared}");
        let ratio = &compared["ratio"];
        assert!(ratio["interval"]["low"].as_f64() <= ratio["value"].as_f64());
        assert_eq!(compared["differs"], json!([]), "it is the same program on the same machine");
    }
    doctored(&place, "now.json", "before.json", 0.01);
    let words = place.run(&format!("{QUICK} --steps 2 --runs 20 --baseline before.json"));
    assert!(words.code == 1 && words.stdout.contains("SLOWER"), "{}", words.stdout);
    let few = place.run(&format!("{QUICK} --steps 2 --runs 3 --baseline before.json"));
    assert!(few.code == 0 && few.stdout.contains("unclear"), "{}", few.stdout);

    let mut foreign = place.value("now.json");
    foreign["environment"]["git"] = json!("another");
    foreign["steps"] = json!(3);
    fs::write(place.path("before.json"), foreign.to_string()).unwrap();
    let other = place.run(&format!("{line} --baseline before.json"));
    assert_eq!((other.code, other.stdout.as_str()), (2, ""), "{}", other.stderr);
    assert!(other.stderr.contains("--baseline: expected a configuration"), "{}", other.stderr);
    foreign["steps"] = json!(2);
    foreign["samples_ms"] = json!([1e6, 1e6, 1e6, 1e6, 1e6, 1e6]);
    fs::write(place.path("before.json"), foreign.to_string()).unwrap();
    let other = place.run(&format!("{line} --baseline before.json"));
    assert!(other.stderr.contains("since the baseline: git: another, now"), "{}", other.stderr);
}

#[test]
fn a_sweep_is_compared_configuration_by_configuration() {
    let place = Place::new();
    let line = format!("{QUICK} --runs 8 --json --no-cold --solver");
    let before = place.run(&format!("{line} euler,heun --steps 2,4"));
    fs::write(place.path("now.json"), before.stdout).unwrap();
    doctored(&place, "now.json", "before.json", 1e6);
    let ran = place.run(&format!("{line} heun,lms --steps 4 --baseline before.json"));
    let found = ran.json();
    let compared = list(&found, "baseline");
    assert_eq!(compared.len(), 1, "{}", ran.stderr);
    assert_eq!((&compared[0]["solver"], &compared[0]["steps"]), (&json!("heun"), &json!(4)));
    assert!(ran.stderr.contains("the baseline does not have lms"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_measurement_and_the_process_that_starts_cold() {
    let place = Place::new();
    let stopped = |line: &str, sign: &str| {
        let mut child = place.command(line).stderr(Stdio::piped()).spawn().unwrap();
        let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = |_: &mut _| words.next().is_some_and(|l| l.unwrap().starts_with(sign));
        let (code, took) = cli::interrupt(child, ready);
        assert_eq!(code, 130);
        assert!(took < Duration::from_secs(10), "it took {took:?}");
    };
    stopped("bench --device cpu --steps 1000 --count 64", "compiled");
    // This one is in its cold start then, which takes as long.
    let marked = "bench --device cpu --steps 1000,999 --count 64 --seed 271828";
    stopped(marked, "1 of 2");
    #[cfg(target_os = "linux")]
    {
        let of = |entry: std::io::Result<fs::DirEntry>| {
            fs::read(entry.ok()?.path().join("cmdline")).ok()
        };
        let lines = fs::read_dir("/proc").unwrap().filter_map(of);
        let left = lines.filter(|l| String::from_utf8_lossy(l).contains("271828")).count();
        assert_eq!(left, 0, "a cold start outlived the one who asked for it");
    }
    assert_eq!(place.names("."), [""; 0]);
}

/// A GPU that is none, with a stand-in for NVML that knows two of its name.
fn with_nvml(line: &str, environment: &[(&str, &str)]) -> Option<Ran> {
    if !device::emulator() {
        return None;
    }
    let place = Place::with_cache();
    let folders = [emulated::stand_ins(), emulated::nvml()].map(|made| made.unwrap());
    let mut command = place.command(line);
    command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap());
    command.envs(environment.iter().copied());
    Some(Ran::of(&mut command))
}

/// The second of them is the first of NVML's: they are told apart by their place on the bus.
#[test]
fn energy_and_clocks_are_those_of_the_device_that_runs() {
    let line = "bench mixture --no-tune --steps 2 --runs 3 --warmup 0 --json --precision f32";
    let two = ("EMULATED_DEVICES", "2");
    for (device, watts, mhz) in [("cuda:0", 250.0, 1410), ("cuda:1", 20.0, 210)] {
        let line = format!("{line} --device {device} --count 2");
        let Some(ran) = with_nvml(&line, &[two]) else { return };
        let found = ran.json();
        let number = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key}: {found}"));
        // The counter has a resolution of a millijoule.
        assert!((number("mean_watts") / watts - 1.0).abs() < 0.1, "{device}: {found}");
        let seconds = 1e-3 * number("mean_ms");
        let joules = number("joules_per_sample") * 2.0;
        assert!(joules > 0.9 * watts * seconds, "{joules} J in {seconds} s");
        let clocks = &found["clocks_before"];
        assert_eq!(
            (&clocks["graphics_mhz"], found["clocks_after"].is_null()),
            (&json!(mhz), false)
        );
        let nvml = &found["environment"]["nvml"];
        assert_eq!(
            (&nvml["driver"], &nvml["name"]),
            (&json!("580.00.01"), &json!("CUDA on the processor"))
        );
        assert!(found["environment"]["no_energy"].is_null());
    }
    // Of those that run in turn nobody knows who spent what.
    let line = format!("{line} --device cuda --no-cold").replace("--steps 2", "--steps 2,3");
    let Some(ran) = with_nvml(&format!("{line} --interleave"), &[]) else { return };
    let found = ran.json();
    assert!(list(&found, "results").iter().all(|r| r["joules_per_sample"].is_null()));
}

#[test]
fn a_device_without_a_counter_says_so() {
    let line = "bench mixture --no-tune --steps 2 --runs 3 --warmup 0 --json --device cuda";
    let Some(ran) = with_nvml(line, &[("EMULATED_ENERGY", "0")]) else { return };
    let found = ran.json();
    assert!(found["joules_per_sample"].is_null() && found["mean_watts"].is_null());
    assert_eq!(found["clocks_after"]["memory_mhz"], 1593);
    let why = found["environment"]["no_energy"].as_str().unwrap();
    assert!(why.contains("has no counter of energy"), "{why}");
}
