//! The exact model: its denoiser against closed forms and Monte Carlo, its samples against its
//! distribution, its files and flags.

use super::binary::Place;
use super::device;
use super::evaluate::Evaluation;
use super::says::assert_says;
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::AtomicBool;
use tempfile::{TempDir, tempdir};
use unnoise::backend::{Backend, Observer, cpu::Cpu};
use unnoise::model::{Mixture, Model};
use unnoise::noise::TorchCpu;
use unnoise::sampler::{Request, Sampler, Samples};
use unnoise::tensor::DType;

fn mixture() -> Mixture {
    Model::open("mixture").unwrap().mixture.unwrap()
}

/// Standard normal numbers.
fn normals(seed: u64, n: usize) -> Vec<f64> {
    let mut z = vec![0.0; n];
    TorchCpu::new(seed).randn(&mut z);
    z.into_iter().map(f64::from).collect()
}

/// Exact samples.
fn exact(mixture: &Mixture, seed: u64, n: usize) -> Vec<Vec<f64>> {
    let d = mixture.dimensions();
    let z = normals(seed, n * (d + 1));
    // The distribution function of a normal number is uniform.
    let uniform = |z: f64| 0.5 * (1.0 + libm::erf(z / std::f64::consts::SQRT_2));
    z.chunks(d + 1).map(|z| mixture.draw(uniform(z[0]), &z[1..])).collect()
}

/// A folder with this mixture.
fn folder(config: &Value) -> TempDir {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let schedule = json!({"_class_name": "EDMEulerScheduler", "clip_sample": false});
    fs::write(dir.path().join("scheduler_config.json"), schedule.to_string()).unwrap();
    dir
}

fn three_dimensions() -> Value {
    json!({
        "_class_name": "GaussianMixture", "dimensions": 3, "weights": [1, 3],
        "means": [[1.0, -0.5, 0.0], [-1.0, 0.5, 2.0]], "deviations": [[0.1, 0.2, 0.3], 0.5],
    })
}

fn sample(model: &Model, request: &Request, backend: &dyn Backend) -> Samples {
    let mut sampler = Sampler::compile(model, request, backend).unwrap();
    let indices: Vec<usize> = (0..request.count).collect();
    let stop = AtomicBool::new(false);
    sampler.sample(&indices, &mut Observer { stop: &stop, rows_done: &mut |_| {} }).unwrap()
}

fn on(schedule: &str) -> Model {
    let mut model = Model::open("mixture").unwrap();
    model.set_schedule(schedule).unwrap();
    model
}

/// `D = mu + s^2 / (s^2 + sigma^2) (x - mu)` of one Gaussian.
#[test]
fn a_single_gaussian_is_denoised_linearly() {
    let (mean, s) = ([0.5, -2.0], [0.3, 4.0]);
    let one =
        Mixture { weights: vec![1.0], means: vec![mean.to_vec()], deviations: vec![s.to_vec()] };
    for sigma in [1e-4_f64, 0.1, 1.0, 50.0] {
        let x = [1.5, 3.0];
        for (j, found) in one.denoise(&x, sigma).into_iter().enumerate() {
            let expected = mean[j] + s[j] * s[j] / (s[j] * s[j] + sigma * sigma) * (x[j] - mean[j]);
            assert!((found - expected).abs() < 1e-12, "{found} for {expected} at {sigma}");
        }
    }
}

/// E[x0 | x] by drawing x0 and weighing each draw by how likely it makes x; five standard errors.
#[test]
fn the_denoiser_is_the_posterior_mean() {
    let mixture = mixture();
    let draws = exact(&mixture, 3, 200_000);
    for (x, sigma) in
        [([0.3, 0.1], 0.4), ([-0.9, 0.6], 0.25), ([2.0, -1.0], 2.0), ([0.0, 0.5], 1.0)]
    {
        let square = |a: &[f64]| (a[0] - x[0]).powi(2) + (a[1] - x[1]).powi(2);
        let weight = |a: &Vec<f64>| (-0.5 * square(a) / (sigma * sigma)).exp();
        let weights: Vec<f64> = draws.iter().map(weight).collect();
        let total: f64 = weights.iter().sum();
        let exact = mixture.denoise(&x, sigma);
        for j in 0..2 {
            let sum: f64 = draws.iter().zip(&weights).map(|(a, w)| w * a[j]).sum();
            let estimate = sum / total;
            let spread = |(a, w): (&Vec<f64>, &f64)| (w * (a[j] - estimate)).powi(2);
            let error = draws.iter().zip(&weights).map(spread).sum::<f64>().sqrt() / total;
            let off = (exact[j] - estimate).abs();
            assert!(off < 5.0 * error, "{x:?} at {sigma}: {} for {estimate}", exact[j]);
            assert!(error < 0.01, "the estimate says nothing: {error}");
        }
    }
}

/// The network of a model, on every backend, fused or not, hoisted or not.
#[test]
fn the_network_is_the_denoiser() {
    let dir = folder(&three_dimensions());
    for model in [Model::open("mixture"), Model::open(dir.path().to_str().unwrap())] {
        let model = model.unwrap();
        let mixture = model.mixture.clone().unwrap();
        let d = mixture.dimensions();
        for sigma in [0.01, 0.5, 20.0_f32] {
            let x: Vec<f32> =
                normals(7, 33 * d).iter().map(|z| (1.0 + sigma) * *z as f32).collect();
            let expected = x.chunks(d).flat_map(|x| {
                let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
                mixture.denoise(&x, f64::from(sigma))
            });
            let expected: Vec<f64> = expected.collect();
            for (backend, plain) in
                device::backends().into_iter().flat_map(|b| [(b, false), (b, true)])
            {
                let evaluation = Evaluation {
                    graph: &model.graph,
                    weights: &model.weights().unwrap(),
                    state: model.state,
                    time: f64::from(sigma),
                    labels: &[],
                    x: &x,
                    storage: DType::F32,
                    fuse: !plain,
                    hoist: !plain,
                };
                for (found, expected) in evaluation.run(backend).into_iter().zip(&expected) {
                    let off = (f64::from(found) - expected).abs();
                    let what = format!("{} {d} at {sigma}", backend.name());
                    assert!(off < 2e-5 * (1.0 + expected.abs()), "{what}: {found} {expected}");
                }
            }
        }
    }
}

fn energy_distance(x: &[Vec<f64>], y: &[Vec<f64>]) -> f64 {
    let distance =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    let all = |x: &[Vec<f64>], y: &[Vec<f64>]| -> f64 {
        x.iter().map(|a| y.iter().map(|b| distance(a, b)).sum::<f64>()).sum()
    };
    let (n, m) = (x.len() as f64, y.len() as f64);
    2.0 * all(x, y) / (n * m) - all(x, x) / (n * (n - 1.0)) - all(y, y) / (m * (m - 1.0))
}

/// Mean and covariance within five standard errors, energy distance within four times what exact
/// samples have by chance; the solvers' own error at so many steps is far below.
#[test]
fn samples_have_the_distribution_of_the_mixture() {
    const N: usize = 2000;
    let mixture = mixture();
    let truth = exact(&mixture, 1, N);
    let chance = (2..8).map(|seed| energy_distance(&exact(&mixture, seed, N), &truth).powi(2));
    let chance = (chance.sum::<f64>() / 6.0).sqrt();
    for backend in device::backends() {
        for (solver, schedule, steps) in [
            ("ddim", "linear", 200),
            ("ddpm", "linear", 250),
            ("euler", "edm", 200),
            ("euler-ancestral", "edm", 200),
            ("analytic-ddpm", "linear", 200),
            ("dpmpp-1-sde", "edm", 200),
            ("dpmpp-2m-sde", "edm", 80),
            ("dpmpp-3m-sde", "edm", 80),
            ("dpmpp-2s-sde", "edm", 200),
            ("dpmpp-sde", "edm", 60),
            ("dpmpp-2s-ancestral", "edm", 80),
            ("dpm2-ancestral", "edm", 80),
            ("er-sde", "edm", 80),
            ("sa-solver", "edm", 80),
            ("restart", "edm", 60),
            ("euler-maruyama", "vp", 300),
            ("euler-maruyama", "sub-vp", 300),
            ("reverse-diffusion", "ve", 300),
            ("ncsnv2", "edm", 60),
        ] {
            let request = Request {
                solver: Some(solver.into()),
                steps: Some(steps),
                count: N,
                seed: 11,
                ..Request::default()
            };
            let found = sample(&on(schedule), &request, backend);
            let x: Vec<Vec<f64>> =
                found.data.chunks(2).map(|x| vec![f64::from(x[0]), f64::from(x[1])]).collect();
            let what = format!("{solver} on {}", backend.name());
            let root = (N as f64).sqrt();
            for i in 0..2 {
                let mean = x.iter().map(|x| x[i]).sum::<f64>() / N as f64;
                let error = (mean - mixture.mean()[i]).abs();
                assert!(error < 5.0 * mixture.covariance(i, i).sqrt() / root, "{what}: {mean}");
                for j in 0..2 {
                    let products: Vec<f64> = x.iter().map(|x| x[i] * x[j]).collect();
                    let mean = products.iter().sum::<f64>() / N as f64;
                    let variance = products.iter().map(|p| (p - mean).powi(2)).sum::<f64>();
                    let error = (mean - mixture.covariance(i, j)).abs();
                    let standard = variance.sqrt() / N as f64;
                    assert!(error < 5.0 * standard, "{what}: covariance {i} {j} is {mean}");
                }
            }
            let energy = energy_distance(&x, &truth);
            assert!(energy < 4.0 * chance, "{what}: energy distance {energy}, {chance} by chance");
        }
    }
    // The measure sees what it should: a mixture a little wider.
    let wider: Vec<Vec<f64>> = truth.iter().map(|x| x.iter().map(|x| 1.15 * x).collect()).collect();
    assert!(energy_distance(&wider, &exact(&mixture, 9, N)) > 4.0 * chance);
}

/// A mixture fits every process.
#[test]
fn every_schedule_leads_to_data() {
    let names = ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"];
    for schedule in names.into_iter().chain(["vp", "sub-vp", "ve", "edm", "flow"]) {
        let steps = Some(60);
        let solver = Some("euler".to_string());
        let request = Request { solver, steps, count: 400, ..Request::default() };
        let x = sample(&on(schedule), &request, &Cpu).data;
        let square = x.iter().map(|x| f64::from(x * x)).sum::<f64>() / x.len() as f64;
        // sigma_data is 0.49; the mean square of 800 numbers is good to a tenth.
        assert!((0.2..0.29).contains(&square), "{schedule}: mean square {square}");
    }
    let set = |model: &str, name: &str| {
        Model::open(model).unwrap().set_schedule(name).map_err(|e| e.to_string())
    };
    assert_says(set("mixture", "cosine"), &["--schedule", "squaredcos_cap_v2", "cosine"]);
    assert_says(set("digits", "edm"), &["--schedule", "fits every schedule", "digits"]);
}

/// A trace ends in the samples, begins with noise of the first level, and changes nothing.
#[test]
fn a_trace_is_the_way_of_the_samples() {
    for backend in device::backends() {
        for fuse in [true, false] {
            let steps = Some(5);
            let request = Request { steps, count: 7, fuse, trace: true, ..Request::default() };
            let model = Model::open("mixture").unwrap();
            let traced = sample(&model, &request, backend);
            let plain = sample(&model, &Request { trace: false, ..request }, backend);
            assert_eq!(traced.data, plain.data);
            assert!(plain.trace.is_empty());
            let rows: Vec<&[f32]> = traced.trace.chunks(14).collect();
            assert_eq!(rows.last().unwrap(), &traced.data);
            let size = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt() / 14_f32.sqrt();
            assert!((10.0..30.0).contains(&size(rows[0])), "{}", size(rows[0]));
            assert!(rows.windows(2).all(|pair| pair[0] != pair[1]), "a row left no mark");
            assert_eq!((traced.stats.readbacks, rows.len()), (1, 6));
        }
    }
    let request = Request { count: 1 << 22, trace: true, ..Request::default() };
    let model = Model::open("mixture").unwrap();
    let compiled = Sampler::compile(&model, &request, &Cpu).map(|_| ());
    assert_says(compiled.map_err(|e| e.to_string()), &["--trace", "lower --count"]);
}

#[test]
fn a_mixture_of_ones_own_is_opened() {
    let dir = folder(&three_dimensions());
    let model = Model::open(dir.path().to_str().unwrap()).unwrap();
    let mixture = model.mixture.clone().unwrap();
    assert_eq!((model.state, mixture.weights.as_slice()), ([3, 1, 1], &[0.25, 0.75][..]));
    assert_eq!(mixture.deviations, [vec![0.1, 0.2, 0.3], vec![0.5; 3]]);
    assert_eq!(mixture.mean(), [-0.5, 0.25, 1.5]);
    let request = Request { steps: Some(80), count: 3000, ..Request::default() };
    let x = sample(&model, &request, &Cpu).data;
    for j in 0..3 {
        let mean = x.chunks(3).map(|x| f64::from(x[j])).sum::<f64>() / 3000.0;
        let error = (mixture.covariance(j, j) / 3000.0).sqrt();
        assert!((mean - mixture.mean()[j]).abs() < 5.0 * error, "{j}: {mean}");
    }
}

/// A point of three numbers is no picture of one pixel.
#[test]
fn points_are_written_as_numbers() {
    let (dir, place) = (folder(&three_dimensions()), Place::new());
    let line = format!("sample {} --count 2 --steps 3 --device cpu", dir.path().display());
    let ran = place.run(&format!("{line} --out points/"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(place.names("points"), ["000000.npy", "000001.npy", "manifest.json"]);
    // More shards than pictures have by default: points are thousands.
    let line = "sample mixture --steps 2 --device cpu --shard 1/100 --out shard/";
    assert_eq!(place.run(line).code, 0);
}

#[test]
fn what_is_no_mixture_is_told() {
    let open = |key: &str, value: Value| {
        let mut config = three_dimensions();
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().remove(key)),
            value => config[key] = value,
        }
        let dir = folder(&config);
        Model::open(dir.path().to_str().unwrap()).map(|_| ()).map_err(|e| e.to_string())
    };
    let cases = [
        ("means", json!([[1.0, 2.0]]), "3 finite numbers"),
        ("means", json!([]), "1 to 1024 means"),
        ("means", Value::Null, "no such key"),
        ("deviations", json!(0.0), "a number above 0"),
        ("deviations", json!([1.0, -1.0]), "2 of them"),
        ("deviations", json!([[1.0, 1.0], [1.0, 1.0]]), "2 lists of 3"),
        ("weights", json!([1.0]), "2 numbers above 0"),
        ("weights", json!([1.0, 0.0]), "2 numbers above 0"),
        ("dimensions", json!(0), "an integer from 1"),
        ("sigma", json!(1), "only the keys"),
    ];
    for (key, value, expected) in cases {
        assert_says(open(key, value), &[&format!("config.json: {key}"), expected]);
    }
}
