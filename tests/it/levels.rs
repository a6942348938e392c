//! The noise levels that a configuration visits against diffusers (tests/golden/make_levels.py).

use serde::Deserialize;
use serde_json::{Map, Value, json};
use unnoise::solver::{Level, Network, Options, SchedulerConfig, Setting, Sigmas};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    class: String,
    config: Map<String, Value>,
    steps: usize,
    /// The deviation of the initial noise.
    scale: f64,
    /// What the network is told at the first n levels.
    times: Vec<f64>,
    /// n + 1 of them; null is infinity.
    sigmas: Vec<Option<f64>>,
}

/// diffusers keeps betas and their product in f32: at the first timesteps 1 - alpha_bar cancels to
/// a relative 2e-4, and the capped betas of the cosine schedule leave 1 - beta as coarse.
const RTOL: f64 = 4e-4;

/// What that makes of a time that is interpolated in ln(sigma) or is its logarithm.
const TIME_ATOL: f64 = 0.1;

fn close(expected: f64, found: f64) -> bool {
    expected == found || (expected - found).abs() <= RTOL * expected.abs()
}

/// The noise as diffusers writes it: t of a flow, sigma / alpha of all others.
fn noise(case: &Case, level: &Level) -> f64 {
    let flow = case.class.starts_with("FlowMatch") || case.config.contains_key("use_flow_sigmas");
    if flow { level.sigma / (level.alpha + level.sigma) } else { level.ratio() }
}

fn config(case: &Case) -> SchedulerConfig {
    let mut file = case.config.clone();
    file.remove("mu");
    file.insert("_class_name".into(), json!(case.class));
    SchedulerConfig::parse(&Value::Object(file).to_string(), "golden").unwrap()
}

#[test]
fn levels_are_those_of_diffusers() {
    let golden: Golden = serde_json::from_str(include_str!("../golden/levels.json")).unwrap();
    assert!(golden.cases.len() > 500);
    let mut faults = Vec::new();
    for case in &golden.cases {
        let config = config(case);
        let mut options = Options::new("", case.steps);
        let mu = case.config.get("mu").map(|mu| ("mu".to_string(), mu.clone()));
        options.set.extend(mu);
        let setting = Setting::of(&config, &options, Network::default()).unwrap();
        let name = format!("{} {} {}", case.class, case.steps, json!(case.config));
        let mut check = |what: String, expected: f64, found: f64, same: bool| {
            if !same {
                faults.push(format!("{name}: {what}: expected {expected}, found {found}"));
            }
        };
        let (lengths, found) = (case.sigmas.len(), setting.levels.len());
        check("levels".into(), lengths as f64, found as f64, lengths == found);
        for (i, (expected, level)) in case.sigmas.iter().zip(&setting.levels).enumerate() {
            let expected = expected.unwrap_or(f64::INFINITY);
            // cos(pi / 2) is not quite 0.
            let found = Some(noise(case, level)).filter(|r| *r < 1e15).unwrap_or(f64::INFINITY);
            check(format!("sigma {i}"), expected, found, close(expected, found));
        }
        for (i, (&expected, level)) in case.times.iter().zip(&setting.levels).enumerate() {
            let exact = expected.fract() == 0.0 && level.time.fract() == 0.0;
            let near = (expected - level.time).abs() <= TIME_ATOL;
            // The DPM-Solver family rounds down, and f32 leaves ln(sigma) of the last timestep a
            // bit above or below what it was made of.
            let last = config.keys.num_train_timesteps as f64 - 1.0;
            let rounded = case.config.keys().any(|key| key.ends_with("_sigmas"))
                && level.time == last
                && expected == last - 1.0;
            let same = if exact { expected == level.time || rounded } else { near };
            check(format!("time {i}"), expected, level.time, same);
        }
        let scale = setting.initial_scale();
        check("scale".into(), case.scale, scale, close(case.scale, scale));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A class with its defaults.
fn plain(class: &str) -> SchedulerConfig {
    SchedulerConfig::parse(&json!({ "_class_name": class }).to_string(), "plain").unwrap()
}

/// The time that is told for a noise ratio is the inverse of the process's own ratio.
#[test]
fn a_level_of_its_own_is_found_again() {
    for class in [
        "EulerDiscreteScheduler",
        "EDMEulerScheduler",
        "ScoreSdeVpScheduler",
        "ScoreSdeSubVpScheduler",
        "IPNDMScheduler",
        "FlowMatchEulerDiscreteScheduler",
        "CMStochasticIterativeScheduler",
        "DEISMultistepScheduler",
    ] {
        let config = plain(class);
        let options = Options::new("", 10);
        let setting = Setting::of(&config, &options, Network::default()).unwrap();
        for level in &setting.levels[1..10] {
            let found = setting.level_of(level.ratio());
            for (expected, found) in
                [(level.time, found.time), (level.alpha, found.alpha), (level.sigma, found.sigma)]
            {
                let near = (expected - found).abs() < 1e-9 * expected.abs().max(1.0);
                assert!(near, "{class}: expected {level:?}, found {found}");
            }
        }
    }
}

/// `--sigmas` spaces the levels of every process from its largest noise to its smallest.
#[test]
fn another_spacing_is_taken_for_any_process() {
    for class in [
        "EulerDiscreteScheduler",
        "UniPCMultistepScheduler",
        "EDMEulerScheduler",
        "ScoreSdeVpScheduler",
        "FlowMatchEulerDiscreteScheduler",
        "IPNDMScheduler",
    ] {
        for (name, sigmas) in Sigmas::NAMES {
            let config = plain(class);
            let options = Options { sigmas: Some(*sigmas), ..Options::new("", 9) };
            let unbounded = class.starts_with("FlowMatch") || class == "IPNDMScheduler";
            let setting = Setting::of(&config, &options, Network::default());
            if *sigmas == Sigmas::AlignYourSteps && unbounded {
                let message = setting.unwrap_err().to_string();
                assert!(message.starts_with("--sigmas: expected one of karras"), "{message}");
                continue;
            }
            let setting = setting.unwrap();
            let levels = &setting.levels;
            assert_eq!(levels.len(), 10, "{class} {name}");
            let falls = |pair: &[Level]| pair[0].ratio() > pair[1].ratio();
            assert!(levels.windows(2).all(falls), "{class} {name}: {levels:?}");
            assert_eq!(levels[9].sigma, 0.0);
        }
    }
    let config = plain("EulerDiscreteScheduler");
    let options = Options { sigmas: Some(Sigmas::AlignYourSteps), ..Options::new("", 10) };
    let levels = Setting::of(&config, &options, Network::default()).unwrap().levels;
    let table = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0];
    for (level, expected) in levels.iter().zip(table) {
        assert!((level.ratio() - expected).abs() < 1e-12, "{level:?} {expected}");
    }
}
