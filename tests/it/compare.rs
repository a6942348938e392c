//! `solvers --compare` and the pictures of the exact model.

use super::binary::Place;
use super::says::assert_says;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use unnoise::backend::cpu::Cpu;
use unnoise::model::Model;
use unnoise::sampler::{Compared, Comparison, compare};

fn compared(schedule: &str, solvers: &[&str], nfe: &[usize]) -> Compared {
    let mut model = Model::open("mixture").unwrap();
    model.set_schedule(schedule).unwrap();
    let comparison = Comparison {
        solvers: solvers.iter().map(|name| name.to_string()).collect(),
        nfe: nfe.to_vec(),
        count: 256,
        seed: 5,
    };
    let stop = AtomicBool::new(false);
    compare(&model, &comparison, &Cpu, &stop, &mut |_, _, _| {}).unwrap()
}

/// Twice the evaluations, half the error of a method of order 1 and a quarter of one of order 2.
#[test]
fn errors_fall_as_the_order_says() {
    let compared = compared("edm", &["euler", "heun"], &[128, 256]);
    for (solver, order) in [("euler", 1.0), ("heun", 2.0)] {
        let runs: Vec<_> = compared.measured.iter().filter(|m| m.solver == solver).collect();
        let [a, b] = runs[..] else { panic!("{solver}: {} runs", runs.len()) };
        let observed = (a.error / b.error).log2() / (b.nfe as f64 / a.nfe as f64).log2();
        assert!((observed - order).abs() < 0.3, "{solver}: order {observed}");
        assert!(b.error < 0.02, "{solver}: {}", b.error);
    }
    assert!(compared.skipped.is_empty());
}

#[test]
fn budgets_are_kept_and_gaps_are_named() {
    let edm = compared("edm", &["heun", "lcm"], &[1, 2, 8]);
    let runs: Vec<_> = edm.measured.iter().map(|m| (m.solver, m.budget, m.nfe)).collect();
    assert_eq!(runs, [("heun", 1, 1), ("heun", 2, 1), ("heun", 8, 7)]);
    assert_eq!(edm.skipped.len(), 3);
    assert!(edm.skipped.iter().all(|s| s.solver == "lcm" && s.why.contains("EDMEulerScheduler")));
}

#[test]
fn adaptive_steps_are_listed_with_what_they_spent() {
    let edm = compared("edm", &["ode-rk45", "dpm-adaptive"], &[16, 512]);
    let runs: Vec<_> = edm.measured.iter().map(|m| (m.solver, m.budget)).collect();
    assert_eq!(runs, [("ode-rk45", 512), ("dpm-adaptive", 512)]);
    for run in &edm.measured {
        assert!((16..256).contains(&run.nfe), "{run:?}");
        assert!(run.error < 0.05, "{run:?}");
    }
    assert_eq!(edm.skipped.len(), 2);
    assert!(edm.skipped.iter().all(|s| s.budget == 16 && s.why.contains("256 of 256 samples")));
}

/// Every solver, on every schedule that it runs on, but for Langevin dynamics at a single level.
#[test]
fn no_solver_goes_astray() {
    let inversions = ["ddim-inversion", "dpm-solver-inversion"];
    for schedule in ["edm", "linear", "ve", "vp"] {
        let all = Comparison::all_solvers();
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        let compared = compared(schedule, &names, &[16, 128]);
        for run in compared.measured.iter().filter(|run| run.steps > 1) {
            assert!(!inversions.contains(&run.solver), "{run:?}");
            let most = if run.budget == 128 { 0.2 } else { 50.0 };
            assert!(run.error < most, "{schedule}: {run:?}");
        }
        let late = compared.skipped.iter().filter(|s| s.why.contains("holds"));
        assert_eq!(late.count(), 0, "{schedule}: {:?}", compared.skipped);
    }
}

/// A chain of few steps is off, one of many is as good as exact samples.
#[test]
fn energy_distances_reach_the_noise() {
    let compared = compared("linear", &["ddpm"], &[4, 250]);
    let [few, many] = &compared.measured[..] else { panic!("{:?}", compared.skipped) };
    assert!(few.error > 4.0 * compared.noise_floor, "{few:?}, floor {}", compared.noise_floor);
    assert!(many.error < 2.0 * compared.noise_floor, "{many:?}, floor {}", compared.noise_floor);
}

/// Width, height, and how many pixels of a picture are near a colour.
fn picture(path: &Path, near: [u8; 3]) -> (u32, u32, usize) {
    let image = image::load_from_memory(&fs::read(path).unwrap()).unwrap().to_rgb8();
    let close = |p: &&image::Rgb<u8>| p.0.iter().zip(near).all(|(a, b)| a.abs_diff(b) < 24);
    (image.width(), image.height(), image.pixels().filter(close).count())
}

#[test]
fn a_comparison_is_printed_and_drawn() {
    let place = Place::new();
    let line = "solvers --compare --solver euler,euler-ancestral,lcm --nfe 8,4 --count 64";
    let json = place.run(&format!("{line} --device cpu --out solvers.png --json")).json();
    let measured = json["measured"].as_array().unwrap();
    let cells: Vec<_> =
        measured.iter().map(|m| (m["solver"].as_str().unwrap(), &m["budget"])).collect();
    assert_eq!(cells.len(), 4, "{json}");
    assert_eq!((cells[0].0, cells[0].1.as_u64()), ("euler", Some(4)));
    assert_eq!(json["skipped"].as_array().unwrap().len(), 2);
    // Two panels, the first curve of each in the first colour.
    let (width, height, ink) = picture(&place.path("solvers.png"), [31, 98, 168]);
    assert!(width > 1500 && height == 900, "{width} x {height}");
    assert!(ink > 300, "{ink} pixels of the curves");

    let ran = place.run(&format!("{line} --device cpu"));
    assert_eq!(ran.code, 0);
    for part in ["RMS distance", "NFE 4", "euler-ancestral", "sampling noise", "left out"] {
        assert!(ran.stdout.contains(part), "{}", ran.stdout);
    }
}

#[test]
fn a_cloud_shows_density_points_and_ways() {
    let place = Place::new();
    let json = place.run("sample mixture --steps 20 --device cpu --json").json();
    assert_eq!((json["count"].as_u64(), json["batch"].as_u64()), (Some(4096), Some(4096)));
    let orange = [214, 92, 24];
    let cloud = place.path("mixture.png");
    let (width, height, ink) = picture(&cloud, [24, 28, 44]);
    assert_eq!((width, height), (1080, 1120));
    assert!(ink > 800, "{ink} dark pixels");
    assert_eq!(picture(&cloud, orange).2, 0);
    let ran = place.run("sample mixture --steps 20 --device cpu --trace --count 100");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(picture(&cloud, orange).2 > 500);

    let line = "sample mixture --steps 3 --device cpu --count 5 --batch 2";
    let ran = place.run(&format!("{line} --trace --out way.npy"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let bytes = fs::read(place.path("way.npy")).unwrap();
    let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(npy.shape(), [4, 5, 2, 1, 1]);
    let way: Vec<f32> = npy.into_vec().unwrap();
    assert_eq!(place.run(&format!("{line} --out end.npy")).code, 0);
    let bytes = fs::read(place.path("end.npy")).unwrap();
    let end: Vec<f32> = npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap();
    assert_eq!(way[30..], end[..]);
}

#[test]
fn bad_comparisons_are_explained() {
    let place = Place::new();
    let says = |line: &str, parts: &[&str]| {
        let ran = place.run(line);
        assert_eq!(ran.code, 2, "{line}: {}", ran.stderr);
        assert_says(Err::<(), _>(ran.stderr), parts);
    };
    says("solvers --compare --nfe 4,0", &["--nfe", "4,0"]);
    says("solvers --compare --nfe many", &["--nfe", "joined by commas"]);
    says("solvers --compare --solver euler,elsewhere", &["--solver", "elsewhere"]);
    says("solvers --compare --count 1", &["--count", "2 or more"]);
    says("solvers --compare --out a.txt", &["--out a.txt", ".png"]);
    says("solvers --compare --model digits --device cpu", &["--model", "digits"]);
    says("solvers --compare --schedule cosine", &["--schedule", "edm"]);
    says("solvers --nfe 4", &["--compare"]);
    says("sample --schedule edm", &["--schedule", "digits"]);
    says("sample --trace --out a.png", &["--out a.png", ".npy"]);
    says("sample mixture --shard 1/2 --out a.png", &["--shard"]);
}
