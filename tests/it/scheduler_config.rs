//! Scheduler configurations and solver options: what is read, and the message of each bad input.

use serde_json::{Value, json};
use unnoise::error::{Error, Result};
use unnoise::solver::{
    Coordinates, Keys, Network, Options, PredictionType, Process, SchedulerClass, SchedulerConfig,
    Setting, Sigmas, record,
};

fn with(learned_variance: bool) -> Network {
    Network { learned_variance, ..Network::default() }
}

const FILE: &str = "m/scheduler_config.json";

fn parse(keys: &str) -> Result<SchedulerConfig> {
    of("DDPMScheduler", keys)
}

fn of(class: &str, keys: &str) -> Result<SchedulerConfig> {
    SchedulerConfig::parse(&format!("{{\"_class_name\": \"{class}\"{keys}}}"), FILE)
}

/// Holds that the message is `file: key: expected ..., found ...; action`.
fn says(error: Error, key: &str, expected: &str, found: &str) {
    let message = error.to_string();
    assert_eq!(error.exit_code(), 2, "{message}");
    assert!(message.starts_with(&format!("{FILE}: {key}: expected ")), "{message}");
    let (before, after) = message.split_once(", found ").unwrap();
    assert!(before.contains(expected), "{message}");
    assert!(after.starts_with(found), "{message}");
    assert!(after.split_once("; ").is_some_and(|(_, action)| !action.is_empty()), "{message}");
}

fn options(solver: &str, steps: usize) -> Options {
    Options { clipped_eps: true, ..Options::new(solver, steps) }
}

#[test]
fn a_bad_value_is_named_with_its_key() {
    for (keys, key, expected, found) in [
        (r#""beta_schedule": "cosine""#, "beta_schedule", "squaredcos_cap_v2", "\"cosine\""),
        (r#""beta_schedule": null"#, "beta_schedule", "one of linear, scaled_linear", "null"),
        (r#""prediction_type": "flow""#, "prediction_type", "epsilon, sample", "\"flow\""),
        (r#""variance_type": "small""#, "variance_type", "learned_range", "\"small\""),
        (r#""timestep_spacing": 3"#, "timestep_spacing", "leading, linspace, trailing", "3"),
        (r#""thresholding": "yes""#, "thresholding", "true or false", "\"yes\""),
        (
            r#""dynamic_thresholding_ratio": 1.5"#,
            "dynamic_thresholding_ratio",
            "from 0 to 1",
            "1.5",
        ),
        (r#""sample_max_value": Infinity"#, "sample_max_value", "above 0", "inf"),
        (r#""num_train_timesteps": 0"#, "num_train_timesteps", "1..=", "0"),
        (r#""num_train_timesteps": 1e18"#, "num_train_timesteps", "a whole number", "1e+18"),
        (r#""num_train_timesteps": 9000000"#, "num_train_timesteps", "1..=1000000", "9000000"),
        (r#""beta_start": -0.1"#, "beta_start", "above 0 and below 1", "-0.1"),
        (r#""beta_end": 1"#, "beta_end", "above 0 and below 1", "1"),
        (r#""beta_end": "0.02""#, "beta_end", "a number", "\"0.02\""),
        (r#""trained_betas": [0.1]"#, "trained_betas", "num_train_timesteps, 1000", "1"),
        (
            r#""num_train_timesteps": 2, "trained_betas": [0.1, 0]"#,
            "trained_betas",
            "above 0 and below 1",
            "0 at timestep 1",
        ),
        (
            r#""beta_end": 0.99"#,
            "beta_schedule",
            "alpha_bar falls from below 1 to above 0",
            "alpha_bar = 0 at timestep",
        ),
        (
            r#""num_train_timesteps": 2, "trained_betas": [1e-300, 0.1]"#,
            "trained_betas",
            "alpha_bar that falls from below 1",
            "alpha_bar = 1 at timestep 0",
        ),
        (r#""clip_sample": 1"#, "clip_sample", "true or false", "1"),
        (r#""clip_sample_range": 0"#, "clip_sample_range", "above 0", "0"),
        (r#""clip_sample_range": 1e39"#, "clip_sample_range", "the range of f32", "1000000"),
        (r#""clip_sample": true, "clip_sample": false"#, "clip_sample", "once", "true, then false"),
        (r#""steps_offset": -1"#, "steps_offset", "a whole number", "-1"),
        (
            r#""steps_offset": 18446744073709551615"#,
            "steps_offset",
            "below",
            "18446744073709551615",
        ),
    ] {
        says(parse(&format!(", {keys}")).unwrap_err(), key, expected, found);
    }
}

/// Keys of other classes than DDPM's.
#[test]
fn a_bad_value_of_any_class_is_named_with_its_key() {
    let (dpm, edm) = ("DPMSolverMultistepScheduler", "EDMEulerScheduler");
    for (class, keys, key, expected, found) in [
        (dpm, r#""solver_order": 4"#, "solver_order", "1..=3", "4"),
        (dpm, r#""algorithm_type": "euler""#, "algorithm_type", "dpmsolver++", "\"euler\""),
        (
            dpm,
            r#""algorithm_type": "data_prediction""#,
            "algorithm_type",
            "sde-",
            "data_prediction",
        ),
        (dpm, r#""algorithm_type": "dpmsolver""#, "final_sigmas_type", "sigma_min", "zero"),
        (dpm, r#""lambda_min_clipped": NaN"#, "lambda_min_clipped", "a number or", "NaN"),
        (dpm, r#""flow_shift": -Infinity"#, "flow_shift", "above 0", "-inf"),
        (
            dpm,
            r#""use_karras_sigmas": true, "use_beta_sigmas": true"#,
            "use_karras_sigmas",
            "false where another",
            "true, as use_beta_sigmas is",
        ),
        (
            dpm,
            r#""use_flow_sigmas": true, "use_lu_lambdas": true"#,
            "use_lu_lambdas",
            "false where use_flow_sigmas",
            "true",
        ),
        (
            dpm,
            r#""prediction_type": "flow_prediction""#,
            "prediction_type",
            "without use_flow_sigmas",
            "flow_prediction",
        ),
        ("UniPCMultistepScheduler", r#""solver_p": {}"#, "solver_p", "null", "{}"),
        ("UniPCMultistepScheduler", r#""disable_corrector": 0"#, "disable_corrector", "list", "0"),
        (
            "DPMSolverSDEScheduler",
            r#""noise_sampler_seed": 0.5"#,
            "noise_sampler_seed",
            "a whole number or null",
            "0.5",
        ),
        ("SASolverScheduler", r#""tau_func": "f""#, "tau_func", "null", "\"f\""),
        ("FlowMatchLCMScheduler", r#""scale_factors": [1]"#, "scale_factors", "null", "[1]"),
        ("FlowMatchEulerDiscreteScheduler", r#""shift": 0"#, "shift", "above 0", "0"),
        (
            "FlowMatchEulerDiscreteScheduler",
            r#""shift_terminal": 1.0"#,
            "shift_terminal",
            "below 1",
            "1",
        ),
        (edm, r#""sigma_min": 90"#, "sigma_max", "above sigma_min, 90", "80"),
        (edm, r#""sigma_min": null"#, "sigma_min", "a number", "null"),
        (edm, r#""prediction_type": "sample""#, "prediction_type", "v_prediction", "sample"),
        (edm, r#""rho": 0"#, "rho", "above 0", "0"),
        ("EulerDiscreteScheduler", r#""sigma_max": -1"#, "sigma_max", "above 0", "-1"),
        (
            "EulerDiscreteScheduler",
            r#""timestep_type": "edm""#,
            "timestep_type",
            "one of",
            "\"edm\"",
        ),
        ("ScoreSdeVpScheduler", r#""beta_max": 0.01"#, "beta_max", "from beta_min on", "0.01"),
        ("ScoreSdeVeScheduler", r#""sampling_eps": 1"#, "sampling_eps", "below 1", "1"),
        ("KarrasVeScheduler", r#""s_max": 0.01"#, "s_max", "from s_min on", "0.01"),
        (
            "LCMScheduler",
            r#""original_inference_steps": 0"#,
            "original_inference_steps",
            "1..",
            "0",
        ),
    ] {
        says(of(class, &format!(", {keys}")).unwrap_err(), key, expected, found);
    }
}

/// What diffusers writes loads: every class with all its defaults, Python's infinities, None where
/// a class takes it, and keys of other classes.
#[test]
fn what_diffusers_writes_is_read() {
    for class in SchedulerClass::all() {
        let mut file = class.defaults.clone();
        file.insert("_class_name".into(), json!(class.name));
        file.insert("_diffusers_version".into(), json!("0.42.1"));
        let whole = SchedulerConfig::parse(&Value::Object(file).to_string(), FILE).unwrap();
        assert_eq!(whole.keys, of(&class.name, "").unwrap().keys, "{}", class.name);
        let unread = ["solver_p", "tau_func", "scale_factors", "upscale_mode"];
        for key in class.defaults.keys().filter(|key| !unread.contains(&key.as_str())) {
            assert!(Keys::NAMES.contains(&key.as_str()), "{}: {key} has no meaning", class.name);
        }
        let (options, network) = (Options::new("", 10), Network::default());
        let setting = Setting::of(&whole, &options, network).unwrap();
        assert_eq!(setting.levels.len(), 11, "{}", class.name);
    }
    let keys = r#", "lambda_min_clipped": -Infinity, "use_karras_sigmas": null, "shift": 2,
        "trained_betas": null, "_note": "Infinity \" NaN""#;
    let config = of("DPMSolverMultistepScheduler", keys).unwrap();
    assert_eq!(config.keys.lambda_min_clipped, f64::NEG_INFINITY);
    assert!(!config.keys.use_karras_sigmas);
    // The class does not know this key: it is kept for a solver that does.
    assert_eq!(config.keys.shift, 1.0);
}

#[test]
fn a_process_is_that_of_its_configuration() {
    let setting = |class: &str, keys: &str, network: Network| {
        let config = of(class, keys).unwrap();
        let options = Options::new("", 10);
        let setting = Setting::of(&config, &options, network).unwrap();
        (setting.process.clone(), setting.model)
    };
    let plain = Network::default();
    let (process, model) = setting("EDMEulerScheduler", r#", "sigma_data": 0.25"#, plain);
    assert_eq!(process, Process::Edm { sigma_min: 0.002, sigma_max: 80.0, sigma_data: 0.25 });
    assert_eq!(model.coordinates, Coordinates::Edm { sigma_data: 0.25 });
    let (process, model) = setting("FlowMatchEulerDiscreteScheduler", "", plain);
    assert_eq!(process, Process::Flow { scale: 1000.0 });
    assert_eq!((model.coordinates, model.prediction), (Coordinates::Flow, PredictionType::Flow));
    let (process, model) = setting("ScoreSdeSubVpScheduler", "", plain);
    assert_eq!(process, Process::SubVariancePreserving { beta_min: 0.1, beta_max: 20.0 });
    assert_eq!(model.coordinates, Coordinates::SubVariancePreserving);
    let (_, model) = setting("CMStochasticIterativeScheduler", "", plain);
    assert_eq!(model.clip, Some(1.0));
    let (_, model) = setting("DDIMScheduler", "", Network { denoiser: true, ..plain });
    assert_eq!(model.coordinates, Coordinates::VarianceExploding);
    assert_eq!(model.prediction, PredictionType::Sample);
}

#[test]
fn an_unknown_class_or_key_is_named() {
    let message = of("UnCLIPScheduler", "").unwrap_err().to_string();
    for class in SchedulerClass::all() {
        assert!(message.contains(&class.name), "{message}");
    }
    assert!(message.contains("found \"UnCLIPScheduler\""), "{message}");
    let message = SchedulerConfig::parse("{}", FILE).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{FILE}: _class_name: expected")), "{message}");
    let message = parse(r#", "sigma_least": 1, "shifts": 2"#).unwrap_err().to_string();
    assert!(message.contains("also shifts, sigma_least"), "{message}");
    for (text, found) in [
        ("", "text that is not JSON"),
        ("[]", "[]"),
        ("{\"_class_name\": \"DDPMSch", "text that is not JSON"),
    ] {
        let message = SchedulerConfig::parse(text, FILE).unwrap_err().to_string();
        assert!(message.contains(&format!("found {found}")), "{message}");
        assert!(message.starts_with(&format!("{FILE}: expected a JSON object")), "{message}");
    }
}

#[test]
fn bad_options_are_named_with_what_is_expected() {
    let config = parse("").unwrap();
    let eta = |solver, eta| Options { eta: Some(eta), ..options(solver, 10) };
    for (options, what, expected, found) in [
        (options("no", 10), "--solver", "one of ddpm, analytic-ddpm, ddim", "\"no\""),
        (options("ddim", 0), "--steps", "1..=1000", "0"),
        (options("ddpm", 1001), "--steps", "1..=1000", "1001"),
        (eta("ddim", f64::NAN), "--eta", "from 0 to 1", "NaN"),
        (eta("ddim", -0.1), "--eta", "from 0 to 1", "-0.1"),
        (eta("ddim", 1.5), "--eta", "from 0 to 1", "1.5"),
        (
            Options { sigmas: Some(Sigmas::Karras), ..options("ddim", 10) },
            "--sigmas",
            "none with --solver ddim",
            "karras",
        ),
        (eta("ddpm", 0.5), "--eta", "0 with --solver ddpm", "0.5"),
    ] {
        let error = record(&config, &options, Network::default()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        assert!(message.starts_with(&format!("{what}: expected ")), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(&format!(", found {found}; ")), "{message}");
    }
}

#[test]
fn keys_set_by_hand_are_held_to_the_same_rules() {
    let config = parse("").unwrap();
    let with = |key: &str, value: Value| {
        let mut options = options("ddim", 10);
        options.set.insert(key.into(), value);
        record(&config, &options, Network::default())
    };
    let usual = record(&config, &options("ddim", 10), Network::default()).unwrap();
    assert_ne!(with("timestep_spacing", json!("trailing")).unwrap().times, usual.times);
    assert!(with("rho", json!(5)).is_ok());
    for (key, value, starts) in [
        ("rho", json!(-5), &*format!("{FILE}: rho: expected a number above 0")),
        ("timestep_spacing", json!("even"), "--set: timestep_spacing: expected one of leading"),
        ("shifts", json!(2), "--set shifts: expected a key of DDIMScheduler or DDPMScheduler"),
    ] {
        let message = with(key, value).unwrap_err().to_string();
        assert!(message.starts_with(starts), "{message}");
    }
}

/// A network of whole timesteps, a solver of whole timesteps in continuous time, and a shift that
/// nobody gave.
#[test]
fn a_time_that_is_not_there_is_an_error() {
    let edm = of("EDMEulerScheduler", "").unwrap();
    let message = record(&edm, &options("lcm", 10), Network::default()).unwrap_err().to_string();
    assert!(message.starts_with("--solver: expected one for a model in continuous"), "{message}");
    let dynamic = of("FlowMatchEulerDiscreteScheduler", r#", "use_dynamic_shifting": true"#);
    let mut by_hand = Options::new("", 10);
    let error = Setting::of(dynamic.as_ref().unwrap(), &by_hand, Network::default()).unwrap_err();
    says(error, "use_dynamic_shifting", "mu", "none");
    by_hand.set.insert("mu".into(), json!(0.5));
    assert!(Setting::of(&dynamic.unwrap(), &by_hand, Network::default()).is_ok());
}

#[test]
fn options_that_the_schedule_cannot_serve_name_its_key() {
    let offset = parse(r#", "steps_offset": 1"#).unwrap();
    let message =
        record(&offset, &options("ddim", 1000), Network::default()).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{FILE}: steps_offset: ")), "{message}");
    assert!(record(&offset, &options("ddim", 500), Network::default()).is_ok());

    let zero_snr = r#", "rescale_betas_zero_snr": true, "timestep_spacing": "#;
    let trailing = parse(&format!("{zero_snr}\"trailing\"")).unwrap();
    let message =
        record(&trailing, &options("ddim", 10), Network::default()).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{FILE}: prediction_type: ")), "{message}");
    let leading = parse(&format!("{zero_snr}\"leading\"")).unwrap();
    assert!(record(&leading, &options("ddim", 10), Network::default()).is_ok());
}

/// ddpm needs the variance that its configuration names; ddim leaves the network's variance alone.
#[test]
fn the_variance_type_must_fit_the_network() {
    for (name, learned) in [("fixed_small", true), ("fixed_large", true), ("learned_range", false)]
    {
        let config = parse(&format!(r#", "variance_type": "{name}""#)).unwrap();
        let message = record(&config, &options("ddpm", 10), with(learned)).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{FILE}: variance_type: ")), "{message}");
        assert!(message.contains(&format!("found {name}")), "{message}");
        let trajectory = record(&config, &options("ddim", 10), with(learned)).unwrap();
        let reads = |row: &unnoise::solver::Row| row.eval.is_some_and(|e| e.log_variance.is_some());
        assert!(!trajectory.rows.iter().any(reads));
    }
}
