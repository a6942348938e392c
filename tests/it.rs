//! The one integration binary.

#[path = "it/adm.rs"]
mod adm;
#[path = "it/bench.rs"]
mod bench;
#[allow(dead_code)] // the bench says more
#[path = "../benches/models/mod.rs"]
mod bench_models;
#[path = "../benches/random_weights.rs"]
mod bench_weights;
#[path = "it/binary.rs"]
mod binary;
#[path = "it/browser.rs"]
mod browser;
#[path = "it/case_program.rs"]
mod case_program;
#[path = "it/catalogue.rs"]
mod catalogue;
#[path = "it/cli.rs"]
mod cli;
#[path = "it/cli_edit.rs"]
mod cli_edit;
#[path = "it/cli_eval.rs"]
mod cli_eval;
#[path = "it/cli_files.rs"]
mod cli_files;
#[path = "it/cli_solvers.rs"]
mod cli_solvers;
#[path = "it/cli_tune.rs"]
mod cli_tune;
#[path = "it/compare.rs"]
mod compare;
#[path = "it/cuda.rs"]
mod cuda;
#[path = "it/cuda_driver.rs"]
mod cuda_driver;
#[path = "it/cuda_replay.rs"]
mod cuda_replay;
#[path = "it/decoder.rs"]
mod decoder;
#[path = "it/device.rs"]
mod device;
#[path = "it/device_adaptive.rs"]
mod device_adaptive;
#[path = "it/device_catalogue.rs"]
mod device_catalogue;
#[path = "it/device_solver.rs"]
mod device_solver;
#[path = "it/devices.rs"]
mod devices;
#[path = "it/dit.rs"]
mod dit;
#[path = "it/edit.rs"]
mod edit;
#[path = "it/edm.rs"]
mod edm;
#[path = "it/edm_files.rs"]
mod edm_files;
#[path = "it/emulated/mod.rs"]
mod emulated;
#[path = "it/emulator.rs"]
mod emulator;
#[path = "it/evaluate.rs"]
mod evaluate;
#[path = "it/features.rs"]
mod features;
#[path = "it/files.rs"]
mod files;
#[path = "it/golden.rs"]
mod golden;
#[path = "it/hash_weights.rs"]
mod hash_weights;
#[path = "it/inspect.rs"]
mod inspect;
#[path = "it/kernels/mod.rs"]
mod kernels;
#[path = "it/levels.rs"]
mod levels;
#[path = "it/metrics.rs"]
mod metrics;
#[path = "it/mixture.rs"]
mod mixture;
#[path = "it/model.rs"]
mod model;
#[path = "it/models.rs"]
mod models;
#[path = "it/ncsnpp.rs"]
mod ncsnpp;
#[path = "it/noise.rs"]
mod noise;
#[path = "it/odd_values.rs"]
mod odd_values;
#[path = "it/ops.rs"]
mod ops;
#[path = "it/oracle.rs"]
mod oracle;
#[path = "it/output.rs"]
mod output;
#[path = "it/parity.rs"]
mod parity;
#[path = "it/persistent.rs"]
mod persistent;
#[path = "it/philox.rs"]
mod philox;
#[path = "it/picture.rs"]
mod picture;
#[path = "it/plan.rs"]
mod plan;
#[path = "it/plan_fold.rs"]
mod plan_fold;
#[path = "it/plan_load.rs"]
mod plan_load;
#[path = "it/precision.rs"]
mod precision;
#[path = "it/profile.rs"]
mod profile;
#[path = "it/profile_example.rs"]
mod profile_example;
#[path = "it/profile_page.rs"]
mod profile_page;
#[path = "it/profile_trace.rs"]
mod profile_trace;
#[path = "it/programs.rs"]
mod programs;
#[path = "it/published.rs"]
mod published;
#[path = "it/races.rs"]
mod races;
#[path = "it/roofline.rs"]
mod roofline;
#[path = "it/says.rs"]
mod says;
#[path = "it/scheduler_config.rs"]
mod scheduler_config;
#[path = "it/shaders.rs"]
mod shaders;
#[path = "it/sheet.rs"]
mod sheet;
#[path = "it/snapshots.rs"]
mod snapshots;
#[path = "it/solver.rs"]
mod solver;
#[path = "it/solver_adaptive.rs"]
mod solver_adaptive;
#[path = "it/solver_dpm.rs"]
mod solver_dpm;
#[path = "it/solver_dpm_forms.rs"]
mod solver_dpm_forms;
#[path = "it/solver_multi.rs"]
mod solver_multi;
#[path = "it/solver_score.rs"]
mod solver_score;
#[path = "it/solver_sigma.rs"]
mod solver_sigma;
#[path = "it/solver_sigma_theory.rs"]
mod solver_sigma_theory;
#[path = "it/text.rs"]
mod text;
#[path = "it/tidy.rs"]
mod tidy;
#[path = "it/tint.rs"]
mod tint;
#[path = "it/unet1d.rs"]
mod unet1d;
#[path = "it/weights.rs"]
mod weights;
#[path = "it/wgpu.rs"]
mod wgpu;
