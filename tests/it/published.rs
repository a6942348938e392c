//! Sums that the authors of diffusers publish with its scheduler tests, and configurations as the
//! repositories of well-known models have them.

use crate::says::assert_says;
use serde::Deserialize;
use serde_json::Value;
use unnoise::noise::torch_cpu;
use unnoise::solver::{
    Interpreter, Network, Options, Row, SchedulerConfig, SolverInfo, Term, Trajectory, record,
};

#[derive(Deserialize)]
struct Case {
    config: Value,
    steps: usize,
    #[serde(rename = "loop")]
    form: Loop,
    sum_abs: f64,
}

/// How a test of theirs goes through the timesteps.
#[derive(Deserialize, PartialEq)]
enum Loop {
    /// As a pipeline does.
    Plain,
    /// The network's scaled input takes the place of x.
    Overwritten,
    /// The network is given x as it is, which does not start at the deviation of the noise.
    Unscaled,
}

impl Loop {
    /// The table of such a loop.
    fn apply(&self, mut trajectory: Trajectory) -> Trajectory {
        let mut rows = Vec::new();
        for mut row in trajectory.rows {
            if let Some(eval) = row.eval.as_mut().filter(|_| *self != Loop::Plain) {
                let scale = std::mem::replace(&mut eval.prediction.c_in, 1.0);
                if *self == Loop::Overwritten {
                    rows.push(Row { x: scale * Term::X, ..Row::default() });
                }
            }
            rows.push(row);
        }
        if *self == Loop::Unscaled {
            rows[0].x = 1.0 * Term::Noise(0);
        }
        trajectory.rows = rows;
        trajectory
    }
}

const SAMPLES: usize = 4;
const NUMEL: usize = SAMPLES * 3 * 8 * 8;

/// The final x of the network x t / (t + 1), from x[b, c, h, w] = (((c 8 + h) 8 + w) 4 + b) / 768.
fn run(trajectory: &Trajectory) -> Vec<f64> {
    let draws = torch_cpu(0, trajectory.draws - 1, 1, NUMEL, 0..1);
    let place = |i: usize| (i % (NUMEL / SAMPLES) * SAMPLES + i / (NUMEL / SAMPLES)) as f64;
    let network = |x: &[f64], t: f64| x.iter().map(|x| x * t / (t + 1.0)).collect();
    Interpreter::new(trajectory).samples(SAMPLES).run(NUMEL, network, |draw, z| {
        for (i, z) in z.iter_mut().enumerate() {
            *z = match (draw.index as usize).checked_sub(1) {
                None => place(i) / NUMEL as f64,
                Some(drawn) => draws[drawn * NUMEL + i].into(),
            };
        }
    })
}

/// Published are 4 decimals of a computation in f32, whose 1 - alpha_bar is off by up to 3e-4 at
/// the first timesteps; it shows where x falls by orders of magnitude.
const RTOL: f64 = 5e-4;
const DECIMALS: f64 = 6e-5;

#[test]
fn published_sums_are_reached() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/published.json")).unwrap();
    assert!(cases.len() > 70);
    let mut wrong = Vec::new();
    for case in &cases {
        let text = case.config.to_string();
        let config = SchedulerConfig::parse(&text, "published").unwrap();
        let mut options = Options::new(SolverInfo::of(&config).unwrap().name, case.steps);
        if config.class.name == "TCDScheduler" {
            options.eta = Some(0.0);
        }
        let trajectory = record(&config, &options, Network::default())
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let sum: f64 = run(&case.form.apply(trajectory)).iter().map(|x| x.abs()).sum();
        let close = (sum - case.sum_abs).abs() <= RTOL * case.sum_abs + DECIMALS;
        if !close {
            wrong.push(format!("{text}, {} steps: {} found {sum}", case.steps, case.sum_abs));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// What the repository of a model says, the solver it asks for, and whether its network predicts a
/// variance.
const MODELS: &[(&str, &str, bool, &str)] = &[
    (
        "Stable Diffusion 1.5",
        "pndm",
        false,
        r#"{"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000,
        "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1,
        "trained_betas": null, "clip_sample": false}"#,
    ),
    (
        "Stable Diffusion 2.1",
        "ddim",
        false,
        r#"{"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false,
        "num_train_timesteps": 1000, "prediction_type": "v_prediction", "set_alpha_to_one": false,
        "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null}"#,
    ),
    (
        "Stable Diffusion XL",
        "euler",
        false,
        r#"{"_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0",
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
        "clip_sample": false, "interpolation_type": "linear", "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": false,
        "skip_prk_steps": true, "steps_offset": 1, "timestep_spacing": "leading",
        "trained_betas": null, "use_karras_sigmas": false}"#,
    ),
    (
        "SDXL Turbo",
        "euler-ancestral",
        false,
        r#"{"_class_name": "EulerAncestralDiscreteScheduler", "_diffusers_version": "0.24.0.dev0",
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
        "clip_sample": false, "interpolation_type": "linear", "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": false,
        "sigma_max": null, "sigma_min": null, "skip_prk_steps": true, "steps_offset": 1,
        "timestep_spacing": "trailing", "timestep_type": "discrete", "trained_betas": null,
        "use_karras_sigmas": false}"#,
    ),
    (
        "LCM Dreamshaper",
        "lcm",
        false,
        r#"{"_class_name": "LCMScheduler", "_diffusers_version": "0.22.0.dev0",
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "clip_sample": true, "clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.995,
        "num_train_timesteps": 1000, "original_inference_steps": 50, "prediction_type": "epsilon",
        "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "set_alpha_to_one": true,
        "steps_offset": 0, "thresholding": false, "timestep_spacing": "leading",
        "trained_betas": null}"#,
    ),
    (
        "Stable Diffusion 3",
        "flow-euler",
        false,
        r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.29.0.dev0",
        "num_train_timesteps": 1000, "shift": 3.0}"#,
    ),
    (
        "FLUX.1 schnell",
        "flow-euler",
        false,
        r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.30.0.dev0",
        "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15,
        "num_train_timesteps": 1000, "shift": 1.0, "use_dynamic_shifting": false}"#,
    ),
    (
        "DDPM of CIFAR-10",
        "ddpm",
        false,
        r#"{"_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.02,
        "beta_schedule": "linear", "beta_start": 0.0001, "clip_sample": true,
        "num_train_timesteps": 1000, "trained_betas": null, "variance_type": "fixed_large"}"#,
    ),
    (
        "NCSN++ of CelebA-HQ",
        "pc",
        false,
        r#"{"_class_name": "ScoreSdeVeScheduler", "_diffusers_version": "0.1.3",
        "correct_steps": 1, "num_train_timesteps": 2000, "sampling_eps": 1e-05, "sigma_max": 1348,
        "sigma_min": 0.01, "snr": 0.15}"#,
    ),
    (
        "DeepFloyd IF",
        "ddpm",
        true,
        r#"{"_class_name": "DDPMScheduler", "_diffusers_version": "0.16.0.dev0", "beta_end": 0.02,
        "beta_schedule": "squaredcos_cap_v2", "beta_start": 0.0001, "clip_sample": true,
        "clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.95, "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "sample_max_value": 1.5, "thresholding": true,
        "trained_betas": null, "variance_type": "learned_range"}"#,
    ),
    (
        "PixArt-alpha",
        "dpmpp-2m",
        false,
        r#"{"_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.22.0.dev0",
        "algorithm_type": "dpmsolver++", "beta_end": 0.02, "beta_schedule": "linear",
        "beta_start": 0.0001, "dynamic_thresholding_ratio": 0.995, "euler_at_final": false,
        "lambda_min_clipped": -Infinity, "lower_order_final": true, "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "sample_max_value": 1.0, "solver_order": 2,
        "solver_type": "midpoint", "steps_offset": 0, "thresholding": false,
        "timestep_spacing": "linspace", "trained_betas": null, "use_karras_sigmas": false,
        "use_lu_lambdas": false, "variance_type": null}"#,
    ),
    (
        "a pipeline with a seed of its own",
        "dpmpp-sde",
        false,
        r#"{"_class_name": "DPMSolverSDEScheduler", "_diffusers_version": "0.42.1",
        "noise_sampler_seed": 0, "num_train_timesteps": 1100}"#,
    ),
    (
        "consistency model of ImageNet 64",
        "consistency",
        false,
        r#"{"_class_name": "CMStochasticIterativeScheduler", "_diffusers_version": "0.18.0.dev0",
        "clip_denoised": true, "num_train_timesteps": 40, "rho": 7.0, "s_noise": 1.0,
        "sigma_data": 0.5, "sigma_max": 80.0, "sigma_min": 0.002}"#,
    ),
];

#[test]
fn configurations_of_well_known_models_run() {
    for (model, solver, learned_variance, text) in MODELS {
        let config = SchedulerConfig::parse(text, model).unwrap();
        assert_eq!(SolverInfo::of(&config).unwrap().name, *solver, "{model}");
        let network = Network { learned_variance: *learned_variance, ..Network::default() };
        let trajectory = record(&config, &Options::new(solver, 20), network)
            .unwrap_or_else(|error| panic!("{model}: {error}"));
        let draws = torch_cpu(0, trajectory.draws, 1, 12, 0..1);
        let output = |x: &[f64], _: f64| -> Vec<f64> {
            let f = x.iter().map(|x| 0.9 * x);
            if *learned_variance { f.chain(x.iter().copied()).collect() } else { f.collect() }
        };
        let x: Vec<f64> = Interpreter::new(&trajectory).run(12, output, |draw, z| {
            let from = draw.index as usize * 12;
            z.iter_mut().zip(&draws[from..]).for_each(|(z, d)| *z = f64::from(*d));
        });
        assert!(x.iter().all(|x| x.is_finite()), "{model}: {x:?}");
    }
    let video = r#"{"_class_name": "CogVideoXDDIMScheduler", "snr_shift_scale": 3.0}"#;
    let refused = SchedulerConfig::parse(video, "CogVideoX").map_err(|error| error.to_string());
    assert_says(refused, &["CogVideoX: _class_name", "DDIMScheduler", "CogVideoXDDIMScheduler"]);
}
