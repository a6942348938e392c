//! What the catalogue says of each solver is what the solver does.

use unnoise::solver::{
    GuidanceOptions, Network, Options, SOLVER_FAMILIES, SOLVERS, SchedulerConfig, find, record,
};

fn options(solver: &str, steps: usize) -> Options {
    Options::new(solver, steps)
}

fn config(keys: &str) -> SchedulerConfig {
    let text = format!("{{\"_class_name\": \"DDPMScheduler\"{keys}}}");
    SchedulerConfig::parse(&text, "scheduler_config.json").unwrap()
}

/// From the fewest steps that leave pndm more than its Runge-Kutta start; restart without repeats.
#[test]
fn solvers_evaluate_what_the_catalogue_says() {
    let config = config(r#", "clip_sample": false, "set_alpha_to_one": false"#);
    let names: Vec<_> = SOLVERS.iter().map(|s| s.name).collect();
    assert!(names.len() > 50, "{names:?}");
    for solver in SOLVERS.iter() {
        for steps in [4, 7, 50] {
            let mut options = options(solver.name, steps);
            if solver.name == "restart" {
                options.set.insert("restart".into(), serde_json::json!([]));
            }
            let trajectory = record(&config, &options, Network::default())
                .unwrap_or_else(|error| panic!("{}: {error}", solver.name));
            let expected = steps as i64 * i64::from(solver.nfe_per_step);
            let expected = expected + i64::from(solver.nfe_extra);
            assert_eq!(trajectory.nfe() as i64, expected, "{} in {steps} steps", solver.name);
        }
        assert!(SOLVER_FAMILIES.iter().any(|(word, _)| *word == solver.family), "{}", solver.name);
        assert!(!solver.reference.is_empty() && solver.order > 0, "{}", solver.name);
    }
}

/// What a solver does not follow is named, if it asks for something.
#[test]
fn keys_without_meaning_for_a_solver_are_named() {
    let unread = |text: &str, solver: &str| {
        let config = SchedulerConfig::parse(text, "scheduler_config.json").unwrap();
        config.unread(find(solver).unwrap())
    };
    let ddpm = r#"{"_class_name": "DDPMScheduler", "clip_sample": true, "clip_sample_range": 2.0,
        "thresholding": false, "variance_type": "fixed_large", "timestep_spacing": "leading"}"#;
    assert_eq!(unread(ddpm, "ddpm"), Vec::<String>::new());
    assert_eq!(unread(ddpm, "ddim"), Vec::<String>::new());
    assert_eq!(unread(ddpm, "pndm"), ["clip_sample", "clip_sample_range"]);
    assert_eq!(unread(ddpm, "dpmpp-2s"), ["clip_sample", "clip_sample_range", "timestep_spacing"],);
    let multistep = r#"{"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3,
        "use_karras_sigmas": true, "lower_order_final": true}"#;
    assert_eq!(unread(multistep, "dpmpp-3m"), Vec::<String>::new());
    assert_eq!(unread(multistep, "dpmpp-2m"), ["solver_order"]);
    assert_eq!(unread(multistep, "ddim"), ["solver_order", "use_karras_sigmas"]);
    let flow = r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}"#;
    assert_eq!(unread(flow, "dpmpp-2m"), Vec::<String>::new());
}

#[test]
fn noise_and_guidance_that_a_solver_has_not_are_refused() {
    let config = config(r#", "clip_sample": false, "set_alpha_to_one": false"#);
    let mut takes_eta = Vec::new();
    for solver in SOLVERS.iter() {
        let options = Options { eta: Some(0.5), ..options(solver.name, 7) };
        match record(&config, &options, Network::default()) {
            Ok(_) => takes_eta.push(solver.name),
            Err(error) => assert!(error.to_string().starts_with("--eta: "), "{error}"),
        }
        let guidance = GuidanceOptions { plus_plus: true, ..GuidanceOptions::default() };
        let options = Options { guidance, ..Options::new(solver.name, 7) };
        let recorded = record(&config, &options, Network::default());
        assert_eq!(recorded.is_ok(), solver.plus_plus, "{}", solver.name);
        if let Err(error) = recorded {
            let message = error.to_string();
            assert!(message.contains("--cfg-plus-plus: expected"), "{message}");
            assert!(message.contains("euler-ancestral") && message.contains(solver.name));
        }
    }
    takes_eta.sort_unstable();
    let expected = [
        "ddim",
        "dpm2-ancestral",
        "dpmpp-2m-sde",
        "dpmpp-2s-ancestral",
        "dpmpp-3m-sde",
        "dpmpp-sde",
        "euler-ancestral",
        "repaint",
        "sa-solver",
        "tcd",
    ];
    assert_eq!(takes_eta, expected);
}
