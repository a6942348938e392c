//! What is measured and compiled, and kept from one start to the next: `tune`, `--no-tune`, and the
//! files of the cache.

use super::binary::{Place, Ran};
use super::{device, golden};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A model of a few kernels, each small.
fn model() -> String {
    golden::path("network").join("one-block").display().to_string()
}

/// A place with a cache, where there is an adapter to keep something of.
fn place() -> Option<Place> {
    device::wgpu().map(|_| Place::with_cache())
}

/// The command line of `verb` for one sample on the adapter, with `flags`.
fn line(verb: &str, flags: &str) -> String {
    format!("{verb} {} --count 1 --device wgpu {flags}", model())
}

fn sample(place: &Place, flags: &str) -> Ran {
    let ran = place.run(&line("sample", &format!("--steps 1 --out a.npy {flags}")));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

/// The file of the cache whose name ends so.
fn kept(place: &Place, ending: &str) -> Option<PathBuf> {
    let names = place.names("cache").into_iter().filter(|name| name.ends_with(ending));
    let names: Vec<_> = names.collect();
    assert!(names.len() <= 1, "{names:?}");
    names.first().map(|name| place.path("cache").join(name))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn tune_keeps_what_sample_then_takes() {
    let Some(place) = place() else { return };
    let tuned = place.run(&line("tune", "--steps 1 --json"));
    let found = tuned.json();
    assert!(found["wall_ms"].as_f64().unwrap() > 0.0);
    assert_eq!((&found["backend"], &found["count"]), (&"wgpu".into(), &1.into()));
    let classes = found["classes"].as_array().unwrap();
    assert!(!classes.is_empty());
    for class in classes {
        assert_eq!(keys(class), ["candidates", "chosen", "class", "launches", "origin"]);
        assert!(class["launches"].as_u64().unwrap() > 0, "{class}");
        let candidates = class["candidates"].as_array().unwrap();
        assert!(candidates.iter().any(|timed| timed["tile"] == class["chosen"]), "{class}");
        for timed in candidates {
            assert_eq!(keys(timed), ["ms", "tile"]);
            assert_eq!(keys(&timed["tile"]), ["columns", "method", "rows", "splits"]);
            assert!(timed["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{timed}");
        }
        // What has no other candidate was measured, but not chosen for its time.
        let origin = if candidates.len() > 1 { "measured" } else { "default" };
        assert_eq!(class["origin"], origin, "{class}");
    }
    let file = kept(&place, ".json").expect("the times are kept");
    let content = fs::read_to_string(&file).unwrap();
    let table: Value = serde_json::from_str(&content).unwrap();
    assert_eq!(keys(&table), ["classes", "for", "format"]);
    assert_eq!(table["classes"].as_object().unwrap().len(), classes.len());

    let said = sample(&place, "").stderr;
    assert!(!said.contains("measured"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), content, "nothing was measured anew");
}

#[test]
fn a_run_measures_what_it_has_no_times_of() {
    let Some(place) = place() else { return };
    let said = sample(&place, "").stderr;
    let file = kept(&place, ".json").expect("the times are kept");
    assert!(said.contains("note: measured "), "{said}");
    assert!(said.contains(&file.display().to_string()), "{said}");
}

#[test]
fn no_tune_neither_measures_nor_reads() {
    let Some(place) = place() else { return };
    let said = sample(&place, "--no-tune").stderr;
    assert!(!said.contains("measured"), "{said}");
    assert_eq!(kept(&place, ".json"), None);
    assert!(kept(&place, ".bin").is_some() || !said.contains("vulkan"), "kernels are kept: {said}");

    sample(&place, "");
    let file = kept(&place, ".json").expect("the times are kept");
    fs::write(&file, "{").unwrap();
    let said = sample(&place, "--no-tune").stderr;
    assert!(!said.contains("ignored"), "a file that is not read is not judged: {said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{");
    assert!(sample(&place, "").stderr.contains("measured tiles are ignored"));
}

/// A sample without tuning; whether the driver was given what it compiled before, and what was
/// said.
fn compiled(place: &Place) -> (bool, String) {
    let ran = sample(place, "--no-tune --json");
    let cached = ran.json()["compile_cached"].as_bool().unwrap();
    assert_eq!(ran.stderr.contains("with kernels of an earlier start"), cached, "{}", ran.stderr);
    (cached, ran.stderr)
}

#[test]
fn compiled_kernels_are_kept_for_the_next_start() {
    let Some(place) = place() else { return };
    assert!(!compiled(&place).0, "nothing was there");
    // Only Vulkan lets a program keep them.
    let Some(file) = kept(&place, ".bin") else { return };
    let (cached, said) = compiled(&place);
    assert!(cached && !said.contains("note"), "{said}");

    let good = fs::read(&file).unwrap();
    // What another device's driver made: whole by its hash, of no use here.
    let foreign = b"what another driver compiled".to_vec();
    let hash = xxhash_rust::xxh3::xxh3_128(&foreign).to_le_bytes();
    let foreign = [&good[..8], hash.as_slice(), foreign.as_slice()].concat();
    let bad = [
        (good[..good.len() / 2].to_vec(), "it is damaged"),
        (Vec::new(), "it is damaged"),
        (foreign, "it is of another device or version"),
    ];
    for (content, why) in bad {
        fs::write(&file, content).unwrap();
        let (cached, said) = compiled(&place);
        let note = format!("note: {}: compiled kernels are ignored: {why}", file.display());
        assert!(!cached && said.contains(&note), "{said}");
        let (cached, said) = compiled(&place);
        assert!(cached && !said.contains("note"), "the file was replaced: {said}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_a_note() {
    let Some(place) = place() else { return };
    fs::write(place.path("cache"), "a file where the folder should be").unwrap();
    let (cached, said) = compiled(&place);
    assert!(!cached && (said.contains("are not kept") || !said.contains("vulkan")), "{said}");
}

#[test]
fn a_device_without_a_choice_has_nothing_to_tune() {
    let ran = Place::new().run("tune --device cpu --count 1 --steps 1");
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    for part in ["--device", "a choice of tiles", "--device wgpu:N"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}
