//! Scheduler configurations and solver options: what is read, and the message of each bad input.

use unnoise::error::Error;
use unnoise::solver::{
    BetaSchedule, Options, PredictionType, SchedulerClass, SchedulerConfig, TimestepSpacing,
    VarianceType, record,
};

const FILE: &str = "m/scheduler_config.json";

fn parse(keys: &str) -> Result<SchedulerConfig, Error> {
    let text = format!("{{\"_class_name\": \"DDPMScheduler\"{keys}}}");
    SchedulerConfig::parse(&text, FILE)
}

fn options(solver: &str, steps: usize) -> Options {
    Options { solver: solver.into(), steps, eta: 0.0, clipped_eps: true }
}

#[test]
fn an_absent_key_has_its_default() {
    let config = SchedulerConfig::parse(
        r#"{"_class_name": "DDIMScheduler", "_diffusers_version": "0.1.1", "_new": 1}"#,
        FILE,
    );
    let expected = SchedulerConfig {
        origin: FILE.into(),
        class: SchedulerClass::Ddim,
        num_train_timesteps: 1000,
        beta_start: 1e-4,
        beta_end: 0.02,
        beta_schedule: BetaSchedule::Linear,
        trained_betas: None,
        rescale_betas_zero_snr: false,
        prediction_type: PredictionType::Epsilon,
        variance_type: VarianceType::FixedSmall,
        clip_sample: true,
        clip_sample_range: 1.0,
        timestep_spacing: TimestepSpacing::Leading,
        steps_offset: 0,
        set_alpha_to_one: true,
    };
    assert_eq!(config.unwrap(), expected);
}

#[test]
fn every_key_of_both_classes_is_read() {
    let text = r#"{"_class_name": "DDPMScheduler", "beta_end": 0.03, "beta_start": 0.001,
        "beta_schedule": "scaled_linear", "clip_sample": false, "clip_sample_range": 2,
        "steps_offset": 1,
        "dynamic_thresholding_ratio": 0.9, "num_train_timesteps": 2, "sample_max_value": 1.5,
        "prediction_type": "v_prediction", "rescale_betas_zero_snr": true, "thresholding": false,
        "timestep_spacing": "trailing", "trained_betas": [0.1, 0.2],
        "variance_type": "learned_range", "set_alpha_to_one": false}"#;
    let expected = SchedulerConfig {
        origin: FILE.into(),
        class: SchedulerClass::Ddpm,
        num_train_timesteps: 2,
        beta_start: 0.001,
        beta_end: 0.03,
        beta_schedule: BetaSchedule::ScaledLinear,
        trained_betas: Some(vec![0.1, 0.2]),
        rescale_betas_zero_snr: true,
        prediction_type: PredictionType::VPrediction,
        variance_type: VarianceType::LearnedRange,
        clip_sample: false,
        clip_sample_range: 2.0,
        timestep_spacing: TimestepSpacing::Trailing,
        steps_offset: 1,
        set_alpha_to_one: false,
    };
    assert_eq!(SchedulerConfig::parse(text, FILE).unwrap(), expected);
}

/// The message is `file: key: expected ..., found ...; action`.
#[test]
fn a_bad_value_is_named_with_its_key() {
    for (keys, key, expected, found) in [
        (r#""beta_schedule": "sigmoid""#, "beta_schedule", "squaredcos_cap_v2", "\"sigmoid\""),
        (r#""beta_schedule": null"#, "beta_schedule", "one of linear, scaled_linear", "null"),
        (r#""prediction_type": "flow""#, "prediction_type", "epsilon, sample", "\"flow\""),
        (r#""variance_type": "learned""#, "variance_type", "learned_range", "\"learned\""),
        (r#""timestep_spacing": 3"#, "timestep_spacing", "leading, linspace, trailing", "3"),
        (r#""thresholding": true"#, "thresholding", "false", "true"),
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
        let message = parse(&format!(", {keys}")).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{FILE}: {key}: expected ")), "{message}");
        let (before, after) = message.split_once(", found ").unwrap();
        assert!(before.contains(expected), "{message}");
        assert!(after.starts_with(found), "{message}");
        assert!(after.split_once("; ").is_some_and(|(_, action)| !action.is_empty()), "{message}");
    }
}

#[test]
fn an_unknown_class_or_key_is_named() {
    let message = SchedulerConfig::parse(r#"{"_class_name": "PNDMScheduler"}"#, FILE);
    let message = message.unwrap_err().to_string();
    assert!(message.contains("one of DDPMScheduler, DDIMScheduler"), "{message}");
    assert!(message.contains("found \"PNDMScheduler\""), "{message}");
    let message = SchedulerConfig::parse("{}", FILE).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{FILE}: _class_name: expected")), "{message}");
    let message = parse(r#", "sigma_min": 1, "shift": 2"#).unwrap_err().to_string();
    assert!(message.contains("shift, sigma_min"), "{message}");
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
    let eta = |solver, eta| Options { eta, ..options(solver, 10) };
    for (options, what, expected, found) in [
        (options("euler", 10), "--solver", "one of ddpm, ddim", "\"euler\""),
        (options("ddim", 0), "--steps", "1..=1000", "0"),
        (options("ddpm", 1001), "--steps", "1..=1000", "1001"),
        (eta("ddim", f64::NAN), "--eta", "from 0 to 1", "NaN"),
        (eta("ddim", -0.1), "--eta", "from 0 to 1", "-0.1"),
        (eta("ddim", 1.5), "--eta", "from 0 to 1", "1.5"),
        (eta("ddpm", 0.5), "--eta", "0 with --solver ddpm", "0.5"),
    ] {
        let error = record(&config, &options, false).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        assert!(message.starts_with(&format!("{what}: expected ")), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(&format!(", found {found}; ")), "{message}");
    }
}

#[test]
fn options_that_the_schedule_cannot_serve_name_its_key() {
    let offset = parse(r#", "steps_offset": 1"#).unwrap();
    let message = record(&offset, &options("ddim", 1000), false).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{FILE}: steps_offset: ")), "{message}");
    assert!(record(&offset, &options("ddim", 500), false).is_ok());

    let zero_snr = r#", "rescale_betas_zero_snr": true, "timestep_spacing": "#;
    let trailing = parse(&format!("{zero_snr}\"trailing\"")).unwrap();
    let message = record(&trailing, &options("ddim", 10), false).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{FILE}: prediction_type: ")), "{message}");
    let leading = parse(&format!("{zero_snr}\"leading\"")).unwrap();
    assert!(record(&leading, &options("ddim", 10), false).is_ok());
}

/// ddpm needs the variance that its configuration names; ddim leaves the network's variance alone.
#[test]
fn the_variance_type_must_fit_the_network() {
    for (name, learned) in [("fixed_small", true), ("fixed_large", true), ("learned_range", false)]
    {
        let config = parse(&format!(r#", "variance_type": "{name}""#)).unwrap();
        let message = record(&config, &options("ddpm", 10), learned).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{FILE}: variance_type: ")), "{message}");
        assert!(message.contains(&format!("found {name}")), "{message}");
        let trajectory = record(&config, &options("ddim", 10), learned).unwrap();
        let reads = |row: &unnoise::solver::Row| row.eval.is_some_and(|e| e.log_variance.is_some());
        assert!(!trajectory.rows.iter().any(reads));
    }
}
