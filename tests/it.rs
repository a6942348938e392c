//! The one integration binary.

#[path = "it/case_program.rs"]
mod case_program;
#[path = "it/cli.rs"]
mod cli;
#[path = "it/device.rs"]
mod device;
#[path = "it/evaluate.rs"]
mod evaluate;
#[path = "it/golden.rs"]
mod golden;
#[path = "it/hash_weights.rs"]
mod hash_weights;
#[path = "it/interpreter.rs"]
mod interpreter;
#[path = "it/model.rs"]
mod model;
#[path = "it/noise.rs"]
mod noise;
#[path = "it/ops.rs"]
mod ops;
#[path = "it/oracle.rs"]
mod oracle;
#[path = "it/output.rs"]
mod output;
#[path = "it/parity.rs"]
mod parity;
#[path = "it/philox.rs"]
mod philox;
#[path = "it/plan.rs"]
mod plan;
#[path = "it/programs.rs"]
mod programs;
#[path = "it/says.rs"]
mod says;
#[path = "it/scheduler_config.rs"]
mod scheduler_config;
#[path = "it/shaders.rs"]
mod shaders;
#[path = "it/solver.rs"]
mod solver;
#[path = "it/tidy.rs"]
mod tidy;
#[path = "it/weights.rs"]
mod weights;
#[path = "it/wgpu.rs"]
mod wgpu;
