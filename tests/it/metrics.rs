//! Metrics against numpy and scipy (tests/golden/make_eval.py), and that parts make the whole.

use super::golden;
use super::says::assert_says;
use proptest::prelude::*;
use serde_json::Value;
use tempfile::tempdir;
use unnoise::metrics::{
    KEPT, NEIGHBOURS, SPLITS, Space, Statistics, frechet_distance, kernel_distance, precision,
    recall,
};
use xxhash_rust::xxh3::xxh3_64;

fn space(features: usize, classes: usize) -> Space {
    let (name, fingerprint) = ("a space".into(), "f".into());
    Space { name, fingerprint, canonical: false, features, classes }
}

fn numbers(value: &Value) -> Vec<Vec<f32>> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Statistics of rows of features, with logits or without classes.
fn of(features: &[Vec<f32>], logits: &[Vec<f32>]) -> Statistics {
    let classes = logits.first().map_or(0, Vec::len);
    let mut found = Statistics::new(space(features[0].len(), classes), [1, 2, 2]);
    for (i, row) in features.iter().enumerate() {
        let logits = logits.get(i).map(Vec::as_slice).unwrap_or_default();
        found.add(&[row, logits].concat()).unwrap();
    }
    found
}

#[test]
fn metrics_agree_with_numpy() {
    let golden = golden::json("eval/metrics.json");
    let [x, y, logits] = ["x", "y", "logits"].map(|key| numbers(&golden[key]));
    let (a, b) = (of(&x, &[]), of(&y, &[]));
    let close = |key: &str, found: f64, tolerance: f64| {
        let expected = golden[key].as_f64().unwrap();
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(error < tolerance, "{key}: {found}, not {expected}");
    };
    for (i, found) in a.mean().iter().enumerate() {
        assert!((found - golden["mean"][i].as_f64().unwrap()).abs() < 1e-6);
    }
    for i in 0..12 {
        for j in 0..12 {
            let expected = golden["covariance"][i][j].as_f64().unwrap();
            let found = a.covariance(i, j);
            assert!((found - expected).abs() < 1e-5, "{i}, {j}: {found}, not {expected}");
        }
    }
    close("frechet", frechet_distance(&a, &b).unwrap(), 1e-6);
    close("frechet_of_few", frechet_distance(&of(&x[..8], &[]), &b).unwrap(), 1e-4);
    close("inception_score", of(&x, &logits).score(), 1e-9);
    let kernel = kernel_distance(a.rows(), b.rows(), 0).unwrap();
    assert_eq!((kernel.subsets, kernel.deviation), (1, None));
    close("kernel_distance", kernel.mean, 1e-9);
    close("precision", precision(a.rows(), b.rows()).unwrap(), 1e-12);
    close("recall", recall(a.rows(), b.rows()).unwrap(), 1e-12);
}

#[test]
fn the_published_score_is_a_mean_over_ten_parts() {
    let rows = |i: u64| row(i).split_at(3).0.to_vec();
    let mut parts = vec![Vec::new(); SPLITS];
    for i in 0..300 {
        let hash = xxh3_64(bytemuck::cast_slice(&rows(i)));
        parts[(hash % SPLITS as u64) as usize].push(i);
    }
    let score = |numbers: &Vec<u64>| part(numbers.iter().copied(), 7).score();
    let scores: Vec<f64> = parts.iter().map(score).collect();
    let mean = scores.iter().sum::<f64>() / 10.0;
    let deviation = (scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / 10.0).sqrt();
    let (found, spread) = part(0..300, 64).split_score().unwrap();
    assert!((found - mean).abs() < 1e-12 && (spread - deviation).abs() < 1e-12);
    assert!(deviation > 0.0 && mean != part(0..300, 64).score());
    assert_eq!(part(0..9, 64).split_score(), None);
}

#[test]
fn a_set_is_at_no_distance_from_itself() {
    let golden = golden::json("eval/metrics.json");
    let a = of(&numbers(&golden["x"]), &[]);
    assert!(frechet_distance(&a, &a).unwrap() < 1e-6);
    assert_eq!(precision(a.rows(), a.rows()), Some(1.0));
    assert_eq!(recall(a.rows(), a.rows()), Some(1.0));
}

#[test]
fn too_few_and_strange_sets_are_refused_or_have_no_figure() {
    let rows: Vec<Vec<f32>> = (0..NEIGHBOURS).map(|i| vec![i as f32, 1.0]).collect();
    let (one, few) = (of(&rows[..1], &[]), of(&rows, &[]));
    let frechet = |a, b| frechet_distance(a, b).map_err(|e| e.to_string());
    assert_says(frechet(&one, &few), &["samples: expected 2 or more", "found 1"]);
    assert_says(frechet(&few, &one), &["reference: expected 2 or more", "found 1"]);
    assert_eq!(precision(few.rows(), few.rows()), None);
    assert_eq!(kernel_distance(one.rows(), few.rows(), 0), None);
    let mut other = few.clone();
    other.space.fingerprint = "g".into();
    assert_says(frechet(&few, &other), &["features of a space (f)", "those of a space (g)"]);
    let mut shaped = few.clone();
    shaped.shape = [3, 2, 2];
    let merged = few.clone().merge(shaped).map_err(|e| e.to_string());
    assert_says(merged, &["[1, 2, 2]", "[3, 2, 2]"]);
    let large = few.clone().add(&[40000.0, 0.0]).map_err(|e| e.to_string());
    assert_says(large, &["below 32768", "40000"]);
}

/// Rows that are told by a number each, 3 features and 2 logits.
fn row(n: u64) -> [f32; 5] {
    let mut z = n;
    [(); 5].map(|()| {
        z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((z >> 40) as f32 / 1e6 - 8.0) * 1.7
    })
}

fn part(numbers: impl Iterator<Item = u64>, batch: usize) -> Statistics {
    let mut found = Statistics::new(space(3, 2), [1, 2, 2]);
    let rows: Vec<f32> = numbers.flat_map(row).collect();
    rows.chunks(5 * batch).for_each(|rows| found.add(rows).unwrap());
    found
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn shards_in_any_order_are_the_whole(
        cuts in proptest::array::uniform2(0_u64..200),
        batches in proptest::array::uniform4(1_usize..50),
        order in Just(vec![0_usize, 1, 2]).prop_shuffle(),
    ) {
        let (a, b) = (cuts[0].min(cuts[1]), cuts[0].max(cuts[1]));
        let ranges = [0..a, a..b, b..200];
        let mut merged = Statistics::new(space(3, 2), [1, 2, 2]);
        for i in order {
            merged.merge(part(ranges[i].clone(), batches[i])).unwrap();
        }
        let whole = part((0..200).rev(), batches[3]);
        prop_assert!(merged == whole);
        let reference = part(500..600, 64);
        let bits = |s: &Statistics| frechet_distance(s, &reference).unwrap().to_bits();
        prop_assert_eq!(bits(&merged), bits(&whole));
    }
}

#[test]
fn rows_beyond_the_bound_are_a_choice_that_shards_agree_on() {
    let n = KEPT as u64 + 500;
    let whole = part(0..n, 1000);
    assert_eq!(whole.rows().len(), KEPT);
    let mut merged = part(7000..n, 300);
    merged.merge(part(0..7000, 700)).unwrap();
    assert!(merged == whole);
}

#[test]
fn statistics_are_read_as_they_were_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let written = part(0..50, 8);
    written.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(Statistics::are_in(&bytes));
    assert!(Statistics::parse("a", &bytes).unwrap() == written);

    let cut = &bytes[..bytes.len() - 1];
    let parse = |bytes: &[u8]| Statistics::parse("a", bytes).map_err(|e| e.to_string());
    assert_says(parse(cut), &["a: expected whole statistics", "write the file again"]);
    let samples = golden::path("eval/classifier/model.safetensors");
    let samples = std::fs::read(samples).unwrap();
    assert!(!Statistics::are_in(&samples));
    assert_says(parse(&samples), &["no unnoise.statistics in the metadata"]);
    let text = String::from_utf8_lossy(&bytes).find("version").unwrap();
    let mut newer = bytes.clone();
    let at = newer[text..].iter().position(|b| *b == b'2').unwrap();
    newer[text + at] = b'9';
    assert_says(parse(&newer), &["statistics of version 2", "found 9"]);
}
