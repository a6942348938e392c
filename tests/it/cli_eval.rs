//! `unnoise eval`: figures, files, words and exit codes.

use super::binary::Place;
use super::cli::npy;
use super::golden;
use image::GrayImage;
use serde_json::Value;
use std::fs;
use unnoise::metrics::Statistics;

/// 100 digits that nothing was trained on, u8 [N, 32, 32, 1].
fn digits() -> String {
    golden::path("eval/digits.npz").display().to_string()
}

fn distance(found: &Value) -> f64 {
    found["frechet_distance"].as_f64().unwrap_or_else(|| panic!("no distance in {found}"))
}

fn share(found: &Value, key: &str) -> f64 {
    found[key].as_f64().unwrap_or_else(|| panic!("no {key} in {found}"))
}

#[test]
fn held_out_digits_are_nearer_than_samples_and_samples_than_noise() {
    let place = Place::new();
    let sample = "sample digits --count 100 --steps 12 --device cpu --out samples/";
    assert_eq!(place.run(sample).code, 0);
    fs::create_dir(place.path("noise")).unwrap();
    for i in 0..100_u32 {
        let byte =
            |x: u32, y: u32| ((i * 1024 + y * 32 + x).wrapping_mul(2_654_435_761) >> 19) as u8;
        let noise = GrayImage::from_fn(32, 32, |x, y| image::Luma([byte(x, y)]));
        noise.save(place.path("noise").join(format!("{i:06}.png"))).unwrap();
    }
    let eval = |what: &str| place.run(&format!("eval {what} --device cpu --json")).json();
    let (real, drawn, noise) = (eval(&digits()), eval("samples"), eval("noise"));
    assert!(distance(&real) < 0.7 * distance(&drawn), "{real} {drawn}");
    assert!(distance(&drawn) < 0.2 * distance(&noise), "{drawn} {noise}");
    assert!(share(&real, "precision") > 0.9 && share(&noise, "precision") < 0.1);
    assert!(share(&real, "classifier_score") > share(&noise, "classifier_score"));
    assert!(share(&real, "kernel_distance") < share(&drawn, "kernel_distance"));
    for (key, value) in [("features", "digits-classifier"), ("reference", "held-out digits")] {
        assert_eq!(real[key], value);
    }
    assert_eq!((&real["samples"], &real["reference_samples"]), (&100.into(), &2000.into()));
    assert!(real["fid"].is_null() && real["inception_score"].is_null(), "{real}");
    let words = place.run(&format!("eval {} --device cpu", digits())).stdout;
    for part in ["against 2000 of held-out digits", "Frechet distance in digits-classifier"] {
        assert!(words.contains(part), "no {part:?} in {words}");
    }
    assert!(!words.contains("FID") && !words.contains("Inception"), "{words}");
}

#[test]
fn numbers_are_read_in_the_range_that_is_named() {
    let place = Place::new();
    let run = |line: &str| {
        let ran = place.run(line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.json()
    };
    assert_eq!(place.run("sample --count 8 --steps 2 --device cpu --out a.npy").code, 0);
    let (_, samples) = npy(&place.path("a.npy"));
    let unit: Vec<f32> = samples.iter().map(|v| (v + 1.0) / 2.0).collect();
    unnoise::output::save_array(&place.path("unit.npy"), &unit, &[8, 1, 32, 32]).unwrap();
    let whole = distance(&run("eval a.npy --device cpu --json"));
    let unit = distance(&run("eval unit.npy --range 0,1 --device cpu --json"));
    let misread = distance(&run("eval unit.npy --device cpu --json"));
    // A value that lies between two bytes may become the other one.
    assert!((unit - whole).abs() < 1e-2 * whole, "{unit} {whole}");
    assert!(misread > 2.0 * whole, "{misread} {whole}");
}

#[test]
fn shards_make_the_statistics_of_the_whole() {
    let place = Place::new();
    let sample = "sample --count 20 --steps 2 --device cpu --batch 4";
    assert_eq!(place.run(&format!("{sample} --out whole.npy")).code, 0);
    let mut parts = Vec::new();
    for i in 1..=3 {
        let ran = place.run(&format!("{sample} --shard {i}/3 --out part{i}/"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let stats = format!("part{i}.safetensors");
        let line = format!("eval part{i} --device cpu --write-stats {stats}");
        assert_eq!(place.run(&line).code, 0);
        parts.push(stats);
    }
    let stats = |what: &str, out: &str| {
        let line = format!("eval {what} --device cpu --json --write-stats {out}.safetensors");
        let found = place.run(&line).json();
        let bytes = fs::read(place.path(&format!("{out}.safetensors"))).unwrap();
        (distance(&found).to_bits(), Statistics::parse(out, &bytes).unwrap(), bytes)
    };
    let whole = stats("whole.npy", "whole");
    assert_eq!(whole.1.count, 20);
    for order in [[0, 1, 2], [2, 0, 1]] {
        let named = order.map(|i| parts[i].clone()).join(" ");
        assert!(stats(&named, "merged") == whole, "merged as {order:?}");
    }
    // Statistics and samples together, and no device where there is nothing to do on one.
    assert!(stats(&format!("part2 {} part3", parts[0]), "mixed") == whole);
    let ran = place.run(&format!("eval {} --json", parts.join(" "))).json();
    assert!(ran["device"].is_null() && distance(&ran).to_bits() == whole.0);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let place = Place::new();
    GrayImage::new(16, 16).save(place.path("small.png")).unwrap();
    image::RgbImage::new(32, 28).save(place.path("rgb.png")).unwrap();
    GrayImage::new(32, 32).save(place.path("one.png")).unwrap();
    fs::create_dir(place.path("empty")).unwrap();
    fs::create_dir(place.path("mixed")).unwrap();
    GrayImage::new(32, 32).save(place.path("mixed/a.png")).unwrap();
    GrayImage::new(16, 32).save(place.path("mixed/b.png")).unwrap();
    fs::write(place.path("broken.npz"), "PK").unwrap();
    let classifier = golden::spec("eval/classifier");
    let other = format!("eval {} --features {classifier}", digits());
    let cases: &[(&str, &[&str])] = &[
        ("eval", &["SAMPLES"]),
        ("eval missing", &["missing", "a folder of samples"]),
        ("eval missing.npy", &["missing.npy", "cannot read"]),
        ("eval empty", &["empty: expected a folder of samples", "none of them"]),
        ("eval small.png", &["small.png: samples for digits-classifier", "[1, 16, 16]"]),
        ("eval rgb.png", &["rgb.png", "[1, 32, 32]", "found [C, H, W] [3, 28, 32]"]),
        ("eval mixed", &["b.png", "[1, 32, 32]", "found [1, 32, 16]"]),
        ("eval broken.npz", &["broken.npz: expected a whole .npz file"]),
        ("eval one.png", &["samples: expected 2 or more", "found 1"]),
        ("eval one.png --features nothing", &["--features nothing", "digits-classifier"]),
        ("eval one.png --inception a.pth", &["a.pth"]),
        ("eval one.png --inception a --features b", &["cannot be used with"]),
        ("eval one.png --device tpu", &["--device", "tpu"]),
        ("eval one.png --range 1,0", &["--range", "LOW < HIGH", "found 1,0"]),
        ("eval one.png --range 0,inf", &["--range", "LOW < HIGH", "found 0,inf"]),
        ("eval one.png --range 1", &["--range", "LOW < HIGH", "write --range 0,1"]),
        ("eval one.png --batch 0", &["--batch", "found 0"]),
        ("eval one.png --reference empty", &["--reference empty", "none of them"]),
        ("eval one.png --write-stats a.npy", &["--write-stats a.npy", "ends in .safetensors"]),
        (&other, &["digits.npz", "samples for classifier", "[2, 16, 16]"]),
    ];
    for (line, parts) in cases {
        let device = if line.contains("--device") { "" } else { " --device cpu" };
        let ran = place.run(&format!("{line}{device}"));
        assert_eq!(ran.code, 2, "unnoise {line}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "unnoise {line} wrote to stdout");
        for part in *parts {
            assert!(ran.stderr.contains(part), "unnoise {line}: no {part:?} in {}", ran.stderr);
        }
    }
}

#[test]
fn another_network_asks_for_another_reference() {
    let place = Place::new();
    let classifier = golden::spec("eval/classifier");
    let array = |name: &str, seed: u32| {
        let value = |i: u32| (i.wrapping_mul(seed).wrapping_mul(2_654_435_761) >> 8) as f32;
        let data: Vec<f32> = (1..=20 * 512).map(|i| value(i) / 8_388_608.0 - 1.0).collect();
        unnoise::output::save_array(&place.path(name), &data, &[20, 2, 16, 16]).unwrap();
    };
    array("a.npy", 1);
    array("b.npy", 7);
    let line = format!("--features {classifier} --device cpu");
    let alone = place.run(&format!("eval a.npy {line} --json --write-stats a.safetensors"));
    assert!(alone.stderr.contains("no --reference"), "{}", alone.stderr);
    let alone = alone.json();
    assert!(alone["frechet_distance"].is_null() && alone["precision"].is_null());
    assert!(share(&alone, "classifier_score") >= 1.0);
    let found = place.run(&format!("eval b.npy {line} --reference a.safetensors --json")).json();
    assert!(distance(&found) > 0.0 && found["features"] == "classifier");
    assert!(found["reference"] == "a.safetensors");
    let own = place.run("eval a.safetensors --reference a.safetensors --json").json();
    assert!(distance(&own) < 1e-6, "{own}");
    let mixed = place.run(&format!("eval {} --device cpu --reference a.safetensors", digits()));
    assert_eq!(mixed.code, 2);
    assert!(mixed.stderr.contains("make both with one network"), "{}", mixed.stderr);
}
