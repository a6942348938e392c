//! Programs and trajectories in print, against tests/it/snapshots: what changes them is seen. To
//! take a change, run the tests with INSTA_UPDATE=always and read the difference.

use insta::assert_snapshot;
use unnoise::model::Model;
use unnoise::program::{self, NoiseMode, Program, TABLE_BYTES};
use unnoise::solver::{Network, Options, SchedulerConfig, Trajectory, record};
use unnoise::tensor::DType;

/// The program of the exact model, a solver and its steps.
fn program(solver: &str, steps: usize) -> Program {
    let model = Model::open("mixture").unwrap();
    let network = Network { denoiser: true, ..Network::default() };
    let config = model.scheduler().unwrap();
    let trajectory = record(&config, &Options::new(solver, steps), network).unwrap();
    let options = program::Options {
        storage: DType::F32,
        batch: 2,
        state: model.state,
        guided: false,
        labels: vec![],
        texts: Vec::new(),
        noise: NoiseMode::Philox,
        hoist: true,
        fuse: true,
        trace: false,
        table_bytes: TABLE_BYTES,
        projection: Default::default(),
    };
    Program::build(&model.graph, &trajectory, &options)
}

#[test]
fn programs_are_as_printed() {
    let cases = [("ddim", 3), ("dpmpp-2m", 4), ("heun", 3), ("pc", 2), ("ode-rk45", 2)];
    for (solver, steps) in cases {
        assert_snapshot!(format!("program-{solver}"), program(solver, steps));
    }
}

/// Under the configuration of a Stable Diffusion, or that of a flow.
fn trajectory(solver: &str, steps: usize) -> Trajectory {
    let text = match solver {
        "flow-euler" => r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}"#,
        _ => {
            r#"{"_class_name": "DDIMScheduler", "clip_sample": false, "beta_start": 0.00085,
                "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}"#
        }
    };
    let config = SchedulerConfig::parse(text, "scheduler_config.json").unwrap();
    record(&config, &Options::new(solver, steps), Network::default()).unwrap()
}

#[test]
fn trajectories_are_as_printed() {
    let cases = [
        ("ddim", 4),
        ("ddpm", 4),
        ("pndm", 4),
        ("dpmpp-2m", 4),
        ("dpmpp-sde", 3),
        ("unipc", 4),
        ("heun", 3),
        ("euler-ancestral", 4),
        ("pc", 2),
        ("ode-rk45", 2),
        ("flow-euler", 4),
    ];
    for (solver, steps) in cases {
        assert_snapshot!(format!("trajectory-{solver}"), trajectory(solver, steps));
    }
}
