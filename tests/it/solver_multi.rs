//! Multistep and chain solvers against diffusers (tests/golden/make_multi.py), on Gaussian data
//! where the solution is known, and their contracts.

use serde::Deserialize;
use unnoise::noise::torch_cpu;
use unnoise::solver::{
    Interpreter, Network, Options, SchedulerConfig, SolverInfo, Term, Trajectory, record,
};

#[derive(Deserialize)]
struct Golden {
    elements: Vec<usize>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: serde_json::Value,
    steps: usize,
    seed: u64,
    tau: Option<f64>,
    sum: f64,
    sum_abs: f64,
    elements: Vec<f64>,
}

fn config(class: &str, keys: &str) -> SchedulerConfig {
    let text = format!("{{\"_class_name\": \"{class}\"{keys}}}");
    SchedulerConfig::parse(&text, "scheduler_config.json").unwrap()
}

/// diffusers rounds alpha_bar and sigmas to f32, which leaves 3e-4 of 1 - alpha_bar at the first
/// timestep. Most results do not depend on it that much; where x grows or follows sigma_min, they
/// do.
const RTOL: f64 = 1e-4;
const WORST: f64 = 1.2e-3;

#[test]
fn multistep_trajectories_end_where_those_of_diffusers_end() {
    const NUMEL: usize = 4 * 3 * 8 * 8;
    let golden: Golden = serde_json::from_str(include_str!("../golden/multi.json")).unwrap();
    assert!(golden.cases.len() > 250);
    let (mut wrong, mut loose) = (Vec::new(), 0);
    for case in &golden.cases {
        let name = format!("{} {} steps {:?}", case.config, case.steps, case.tau);
        let config = SchedulerConfig::parse(&case.config.to_string(), "golden").unwrap();
        let solver = SolverInfo::of(&config).unwrap().name;
        let options = Options { eta: case.tau, ..Options::new(solver, case.steps) };
        let trajectory = record(&config, &options, Network::default()).expect(&name);
        let draws = torch_cpu(case.seed, trajectory.draws, 1, NUMEL, 0..1);
        let network = |x: &[f64], t: f64| x.iter().map(|x| x * t / (t + 1.0)).collect();
        let x: Vec<f64> = Interpreter::new(&trajectory).samples(4).run(NUMEL, network, |d, z| {
            let from = d.index as usize * NUMEL;
            z.iter_mut().zip(&draws[from..]).for_each(|(z, d)| *z = f64::from(*d));
        });

        let mean_abs = case.sum_abs / NUMEL as f64;
        let mut worst = (0.0, String::new());
        let mut check = |what: String, expected: f64, found: f64, scale: f64| {
            let error = (expected - found).abs() / scale;
            assert!(error.is_finite(), "{name}: {what}: expected {expected}, found {found}");
            if error > worst.0 {
                worst = (error, format!("{name}: {what}: expected {expected}, found {found}"));
            }
        };
        check("sum".into(), case.sum, x.iter().sum(), case.sum_abs);
        check("sum of |x|".into(), case.sum_abs, x.iter().map(|v| v.abs()).sum(), case.sum_abs);
        for (&e, &expected) in golden.elements.iter().zip(&case.elements) {
            check(format!("element {e}"), expected, x[e], expected.abs().max(mean_abs));
        }
        if worst.0 > RTOL {
            loose += 1;
        }
        if worst.0 > WORST {
            wrong.push(format!("{:.1e} {}", worst.0, worst.1));
        }
    }
    let cases = golden.cases.len();
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(loose * 10 < cases, "{loose} of {cases} are further off than {RTOL}");
}

/// Networks below are D(x, sigma) of data N(0, s^2).
const EXACT: Network = Network::DENOISER;
const S: f64 = 0.5;

/// What each draw contributes to the final x: the network is linear.
fn gains(trajectory: &Trajectory, s: f64) -> Vec<f64> {
    let denoise = |x: &[f64], sigma: f64| -> Vec<f64> {
        x.iter().map(|x| s * s / (s * s + sigma * sigma) * x).collect()
    };
    Interpreter::new(trajectory).run(trajectory.draws, denoise, |draw, z| {
        z.fill(0.0);
        z[draw.index as usize] = 1.0;
    })
}

fn variance(trajectory: &Trajectory) -> f64 {
    gains(trajectory, S).iter().map(|gain| gain * gain).sum()
}

fn recorded(class: &str, keys: &str, solver: &str, steps: usize) -> Trajectory {
    record(&config(class, keys), &Options::new(solver, steps), EXACT).unwrap()
}

/// The orders between pairs of runs, each of twice the steps.
fn orders(errors: &[f64]) -> Vec<f64> {
    errors.windows(2).map(|pair| (pair[0] / pair[1]).log2()).collect()
}

/// From sigma_max to sigma_min evenly in lambda, x / sqrt(alpha^2 s^2 + sigma^2) stays as it is. s
/// is near sigma_min, 0.01, and where the leading error does not vanish: that of DEIS, of order 3,
/// is a derivative whose integral is 0 for s = 0.02, and so is UniPC's, in x0, near s = 0.01.
/// UniPC-p is of order p + 1 by its corrector, whatever B(h) is.
#[test]
fn multistep_solvers_converge_with_their_order() {
    let deis =
        |p: usize| ("DEISMultistepScheduler", "deis", format!(r#""solver_order": {p}"#), p, 0.005);
    let unipc = |p: usize, kind: &str, x0: bool| {
        let keys = format!(
            r#""solver_order": {p}, "solver_type": "{kind}", "predict_x0": {x0},
            "final_sigmas_type": "sigma_min""#
        );
        ("UniPCMultistepScheduler", "unipc", keys, p + 1, 0.02)
    };
    let mut cases: Vec<_> = (1..=3).map(deis).collect();
    for p in 1..=3 {
        for kind in ["bh1", "bh2"] {
            cases.extend([unipc(p, kind, true), unipc(p, kind, false)]);
        }
    }
    for (class, solver, keys, expected, s) in cases {
        let keys =
            format!(r#", "use_exponential_sigmas": true, "lower_order_final": false, {keys}"#);
        let error = |steps: usize| {
            let trajectory = recorded(class, &keys, solver, steps);
            let (first, last) = (trajectory.times[0], trajectory.times[steps - 1]);
            let deviation = |sigma: f64| ((s * s + sigma * sigma) / (1.0 + sigma * sigma)).sqrt();
            let exact = deviation(last) / deviation(first);
            (gains(&trajectory, s)[0] / exact - 1.0).abs()
        };
        let errors: Vec<f64> = [80, 160, 320, 640].into_iter().map(error).collect();
        let observed = orders(&errors);
        let close = (observed[2] - expected as f64).abs() < 0.2;
        assert!(close, "{class} {keys}: order {expected}, observed {observed:?} {errors:?}");
    }
}

/// The weights of pseudo numerical methods are those of equal steps, which leaves second order
/// where the steps change smoothly: PNDM's schedule here starts at some noise, as sigma near 0 goes
/// like the root of t.
#[test]
fn pseudo_numerical_solvers_converge_with_order_two() {
    let rest = (1..3200).map(|i| 1e-4 + 4e-3 * f64::from(i) / 3200.0);
    let betas: Vec<f64> = [0.1].into_iter().chain(rest).collect();
    let (class, keys) = ("PNDMScheduler", format!(r#", "trained_betas": {betas:?}"#));
    let keys = format!(r#", "num_train_timesteps": 3200{keys}"#);
    let alpha_bar = config(class, &keys).schedule().alpha_bar;
    for solver in ["pndm", "plms"] {
        let error = |steps: usize| {
            let trajectory = recorded(class, &keys, solver, steps);
            let deviation = |t: usize| (alpha_bar[t] * S * S + 1.0 - alpha_bar[t]).sqrt();
            let exact = deviation(0) / deviation((steps - 1) * (3200 / steps));
            (gains(&trajectory, S)[0] / exact - 1.0).abs()
        };
        let errors = [25, 50, 100, 200].map(error);
        let observed = orders(&errors);
        assert!((observed[2] - 2.0).abs() < 0.2, "{solver}: {observed:?} {errors:?}");
    }
    let error = |steps: usize| {
        let trajectory = recorded("IPNDMScheduler", "", "ipndm", steps);
        (gains(&trajectory, S)[0] / S - 1.0).abs()
    };
    let errors = [200, 400, 800, 1600].map(error);
    let observed = orders(&errors);
    assert!((observed[2] - 2.0).abs() < 0.2, "ipndm: {observed:?} {errors:?}");
}

/// Inversion is the ODE upwards.
#[test]
fn ddim_inversion_converges_to_the_ode_with_order_one() {
    let class = "DDIMInverseScheduler";
    let keys = r#", "clip_sample": false, "set_alpha_to_one": false"#;
    let alpha_bar = config(class, keys).schedule().alpha_bar;
    let error = |steps: usize| {
        let trajectory = recorded(class, keys, "ddim-inversion", steps);
        let deviation = |t: usize| (alpha_bar[t] * S * S + 1.0 - alpha_bar[t]).sqrt();
        let exact = deviation((steps - 1) * (1000 / steps)) / deviation(0);
        (gains(&trajectory, S)[0] / exact - 1.0).abs()
    };
    let observed = orders(&[25, 50, 100, 200].map(error));
    assert!(observed.iter().all(|order| (0.8..1.2).contains(order)), "{observed:?}");
}

/// For Gaussian data the reverse transitions are Gaussian, and the analytic variance is theirs:
/// over any subsequence the next to last x has the variance of the forward process, and the last,
/// which is a mean, that of E[x0 | x].
#[test]
fn analytic_variance_is_exact_for_gaussian_data() {
    let keys = r#", "clip_sample": false"#;
    let trained = config("DDPMScheduler", keys);
    let alpha_bar = trained.schedule().alpha_bar;
    let g = |a: &f64| (1.0 - a) / (a * S * S + 1.0 - a);
    let gamma: Vec<f64> = alpha_bar.iter().map(g).collect();
    for steps in [2, 10, 100] {
        let mut options = Options::new("analytic-ddpm", steps);
        let by_hand = [("sigma_data", serde_json::json!(S)), ("gamma", serde_json::json!(gamma))];
        for set in [None].into_iter().chain(by_hand.map(Some)) {
            options.set.extend(set.clone().map(|(key, value)| (key.to_string(), value)));
            let found = variance(&record(&trained, &options, EXACT).unwrap());
            let (first, last) = (alpha_bar[(steps - 1) * (1000 / steps)], alpha_bar[0]);
            let expected = (S * S).powi(2) * last / (last * S * S + 1.0 - last);
            // What x_T, of variance 1, has more than the forward process has there.
            let more = first * (1.0 - S * S);
            let error = (found - expected).abs();
            assert!(error < 1e-9 + more, "{steps} {set:?}: {found}, {expected}, {more}");
        }
    }
}

/// The variance of the final x against that of the data comes with the weak order: 1, or 2 with a
/// line or more through the predictions.
#[test]
fn sde_solvers_reach_the_variance_of_the_data() {
    let sa_solver = |order: usize, kind: &str| {
        let keys = format!(
            r#", "use_exponential_sigmas": true, "predictor_order": {order},
            "corrector_order": {order}, "algorithm_type": "{kind}""#
        );
        ("SASolverScheduler", keys, "sa-solver", order.min(2))
    };
    let er_sde = |solver: &'static str, order: usize| {
        let keys = r#", "use_karras_sigmas": true"#.to_string();
        ("EulerDiscreteScheduler", keys, solver, order)
    };
    let mut cases = vec![er_sde("er-sde-1", 1), er_sde("er-sde-2", 2), er_sde("er-sde", 2)];
    for order in [1, 2, 3] {
        cases.extend([sa_solver(order, "data_prediction"), sa_solver(order, "noise_prediction")]);
    }
    for (class, keys, solver, expected) in cases {
        let error = |steps: usize| {
            let trajectory = recorded(class, &keys, solver, steps);
            let sigma = trajectory.times[trajectory.times.len() - 1];
            // SA-Solver ends at sigma_min, ER-SDE with the mean of the data given x there.
            let end = match solver {
                "sa-solver" => (S * S + sigma * sigma) / (1.0 + sigma * sigma),
                _ => S.powi(4) / (S * S + sigma * sigma),
            };
            (variance(&trajectory) / end - 1.0).abs()
        };
        let errors = [80, 160, 320, 640].map(error);
        let observed = orders(&errors);
        let close = (observed[2] - expected as f64).abs() < 0.2;
        assert!(close, "{solver} {keys}: order {expected}, observed {observed:?} {errors:?}");
    }
}

/// Network evaluations of a whole run.
#[test]
fn evaluations_are_those_that_the_papers_count() {
    for (class, solver, steps, nfe) in [
        ("PNDMScheduler", "pndm", 10, 19),
        ("PNDMScheduler", "pndm", 4, 13),
        ("PNDMScheduler", "plms", 10, 11),
        ("PNDMScheduler", "plms", 1, 1),
        ("IPNDMScheduler", "ipndm", 10, 10),
        ("DEISMultistepScheduler", "deis-3", 10, 10),
        ("UniPCMultistepScheduler", "unipc-3", 10, 10),
        ("SASolverScheduler", "sa-solver", 10, 10),
        ("EulerDiscreteScheduler", "er-sde", 10, 10),
        ("DDIMScheduler", "ddim-inversion", 10, 10),
        ("DDPMScheduler", "analytic-ddpm", 10, 10),
    ] {
        let trajectory =
            record(&config(class, ""), &Options::new(solver, steps), Network::default()).unwrap();
        assert_eq!(trajectory.nfe(), nfe, "{solver}, {steps} steps");
        assert!(trajectory.history <= 9, "{solver}: {}", trajectory.history);
        let first = &trajectory.rows[0];
        assert!(first.eval.is_none() && first.x.coefficient(Term::Noise(0)) != 0.0, "{solver}");
    }
}

/// What cannot be is said with what could be.
#[test]
fn combinations_that_no_solver_serves_are_named() {
    for (class, keys, solver, steps, words) in [
        ("PNDMScheduler", "", "pndm", 3, "at least 4"),
        ("EDMEulerScheduler", "", "plms", 10, "ipndm"),
        ("DEISMultistepScheduler", r#", "solver_order": 4"#, "deis", 10, "1..=3"),
        ("UniPCMultistepScheduler", r#", "solver_order": 0"#, "unipc", 10, "1..=3"),
        ("SASolverScheduler", r#", "predictor_order": 5"#, "sa-solver", 10, "1..=4"),
        ("FlowMatchEulerDiscreteScheduler", "", "deis", 10, "pure noise"),
        ("DDPMScheduler", r#", "variance_type": "learned""#, "ddpm", 10, "learned_range"),
        ("DDPMScheduler", r#", "prediction_type": "sample""#, "ddim-inversion", 10, "alpha_to_one"),
    ] {
        let text = format!("{{\"_class_name\": \"{class}\"{keys}}}");
        let options = Options::new(solver, steps);
        let error = SchedulerConfig::parse(&text, "scheduler_config.json")
            .and_then(|config| record(&config, &options, Network::default()))
            .unwrap_err();
        assert!(error.to_string().contains(words), "{solver}: {error}");
    }
    let mut options = Options::new("analytic-ddpm", 10);
    options.set.insert("gamma".into(), serde_json::json!([0.5, 0.5]));
    let error = record(&config("DDPMScheduler", ""), &options, Network::default()).unwrap_err();
    assert!(error.to_string().contains("2 values"), "{error}");
    let options = Options { eta: Some(0.5), ..Options::new("unipc", 10) };
    let error = record(&config("DDPMScheduler", ""), &options, Network::default()).unwrap_err();
    assert!(error.to_string().contains("unipc, whose noise is fixed"), "{error}");
}

/// Solvers that know levels only sample any process: in many steps the final x has the deviation of
/// the data, but for the smallest noise of the training.
#[test]
fn solvers_take_the_levels_of_any_process() {
    const FIRST_ORDER: [&str; 3] = ["ddpm", "ddim", "er-sde-1"];
    const HIGHER: [&str; 7] =
        ["analytic-ddpm", "deis-3", "unipc", "unipc-3", "sa-solver", "ipndm", "er-sde"];
    for class in [
        "DDIMScheduler",
        "EDMEulerScheduler",
        "ScoreSdeVeScheduler",
        "ScoreSdeVpScheduler",
        "ScoreSdeSubVpScheduler",
        "IPNDMScheduler",
        "FlowMatchEulerDiscreteScheduler",
    ] {
        let keys = if class == "DDIMScheduler" { r#", "clip_sample": false"# } else { "" };
        for solver in FIRST_ORDER.into_iter().chain(HIGHER) {
            let tolerance = if FIRST_ORDER.contains(&solver) { 0.02 } else { 2e-3 };
            let error = (variance(&recorded(class, keys, solver, 400)).sqrt() / S - 1.0).abs();
            assert!(error < tolerance, "{class} {solver}: {error}");
        }
    }
}

/// A flow's velocity, told 1000 t, from pure noise on: no solver in x0 divides by its alpha of 0.
#[test]
fn solvers_start_a_flow_at_pure_noise() {
    let velocity = |x: &[f64], time: f64| {
        let (alpha, sigma) = (1.0 - time / 1000.0, time / 1000.0);
        let x0 = alpha * S * S / ((alpha * S).powi(2) + sigma * sigma);
        x.iter().map(|x| (x - alpha * x0 * x) / sigma - x0 * x).collect()
    };
    let flow = config("FlowMatchEulerDiscreteScheduler", "");
    for solver in ["ddim", "unipc", "unipc-3", "sa-solver"] {
        let options = Options { eta: Some(0.0), ..Options::new(solver, 400) };
        let trajectory = record(&flow, &options, Network::default()).unwrap();
        let run = Interpreter::new(&trajectory);
        let x = run.run(1, velocity, |draw, z| z.fill(f64::from(u8::from(draw.index == 0))))[0];
        assert!((x / S - 1.0).abs() < 0.01, "{solver}: {x}");
    }
}

/// Means of |x| that the authors of diffusers have published in their own tests: the state
/// x_i = i / 768 counted through [height, width, channel, batch] with the batch fastest, 10 steps.
#[test]
fn published_means_come_out() {
    let x: Vec<f64> = (0..768)
        .map(|i| {
            let (b, c, h, w) = (i / 192, i / 64 % 3, i / 8 % 8, i % 8);
            f64::from(((c * 8 + h) * 8 + w) * 4 + b) / 768.0
        })
        .collect();
    let draws = torch_cpu(0, 11, 1, 768, 0..1);
    let karras = r#", "use_karras_sigmas": true, "final_sigmas_type": "sigma_min""#;
    for (class, keys, mean) in [
        ("DDIMScheduler", "", 0.223967),
        ("PNDMScheduler", "", 0.2580),
        ("PNDMScheduler", r#", "prediction_type": "v_prediction""#, 0.0878),
        ("PNDMScheduler", r#", "set_alpha_to_one": true, "beta_start": 0.01"#, 0.2995),
        ("PNDMScheduler", r#", "set_alpha_to_one": false, "beta_start": 0.01"#, 0.2434),
        ("DEISMultistepScheduler", "", 0.23916),
        ("DEISMultistepScheduler", r#", "prediction_type": "v_prediction""#, 0.091),
        ("UniPCMultistepScheduler", r#", "final_sigmas_type": "sigma_min""#, 0.2464),
        ("UniPCMultistepScheduler", karras, 0.2925),
        ("SASolverScheduler", r#", "num_train_timesteps": 1100"#, 0.43931546),
    ] {
        let config = config(class, keys);
        let options = Options::new(SolverInfo::of(&config).unwrap().name, 10);
        let trajectory = record(&config, &options, Network::default()).unwrap();
        let network = |x: &[f64], t: f64| x.iter().map(|x| x * t / (t + 1.0)).collect();
        let found =
            Interpreter::new(&trajectory).samples(4).run(768, network, |draw, z| match (draw.index
                as usize)
                .checked_sub(1)
            {
                None => z.copy_from_slice(&x),
                Some(later) => {
                    let drawn = draws[later * 768..].iter().map(|z| f64::from(*z));
                    z.iter_mut().zip(drawn).for_each(|(z, drawn)| *z = drawn);
                }
            });
        let found = found.iter().map(|x| x.abs()).sum::<f64>() / 768.0;
        assert!((found - mean).abs() < 1e-3, "{class} {keys}: expected {mean}, found {found}");
    }
}
