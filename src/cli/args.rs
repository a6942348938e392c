//! What was typed. Nothing here looks at a file or a device.

use super::edit::EditArgs;
use super::eval::EvalArgs;
use super::sheet::SheetArgs;
use clap::{ArgAction, Parser, Subcommand};
use std::path::PathBuf;

/// Samples from diffusion models: the whole trajectory runs on the device.
#[derive(Debug, Parser)]
#[command(name = "unnoise", version, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Draw samples and write them to a picture, an array file or a folder
    Sample(SampleArgs),
    /// Measure cold and warm latency, time a step and images a second
    Bench(BenchArgs),
    /// Measure how far samples are from a reference, in the features of a classifier
    Eval(EvalArgs),
    /// Draw models, solvers and budgets of evaluations on one page, each with its distance
    Sheet(SheetArgs),
    /// Time every kernel of every step
    Profile(ProfileArgs),
    /// Show layers, parameters and plan; needs no weights and runs nothing on a device
    Inspect(InspectArgs),
    /// List the solvers, or compare them on a model whose solution is known
    Solvers(SolversArgs),
    /// Measure the tiles of a model's kernels on the device and keep the fastest
    Tune(TuneArgs),
    /// List the devices with their limits and features, or measure what they do at most
    Devices(DevicesArgs),
}

#[derive(Debug, clap::Args)]
pub struct SampleArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Where to write: .png is a labelled grid, .npy and .safetensors are f32 [N, C, H, W], a
    /// folder is one file a sample and goes on where it was left [default: MODEL.png]
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Bring back the state after each step: drawn as ways into a mixture's .png, or written as
    /// [rows, N, C, H, W] to an .npy
    #[arg(long)]
    pub trace: bool,
    #[command(flatten)]
    pub edit: EditArgs,
}

/// What is said below the flags of `bench`.
const LISTS: &str = "\
--steps, --batch, --solver and --precision take lists here, joined by commas: every combination
is measured. With --batch the count is the batch, if none is given.";

#[derive(Debug, clap::Args)]
#[command(after_help = LISTS)]
pub struct BenchArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Warm runs to measure [default: 10; in turn: 20]
    #[arg(long, value_name = "N")]
    pub runs: Option<usize>,
    /// Warm runs before them that are not counted [default: until runs are stable]
    #[arg(long, value_name = "N")]
    pub warmup: Option<usize>,
    /// Measure plans without a part beside the whole, in turn: fuse, hoist, tune
    #[arg(long, value_name = "PART,PART,..")]
    pub ablate: Option<String>,
    /// Measure the combinations in turn and not one after another, so that drift cancels
    #[arg(long)]
    pub interleave: bool,
    /// Leave out cold starts, for which a sweep starts a process each
    #[arg(long)]
    pub no_cold: bool,
    /// Compare with what `bench --json` wrote earlier; exit code 1 if something is slower
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// How much slower than the baseline is allowed
    #[arg(long, value_name = "SHARE", default_value = "5%", requires = "baseline")]
    #[arg(allow_hyphen_values = true)]
    pub threshold: String,
    /// Where to draw latency over steps or batches, a .png
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Only start cold with this combination and print its times: what a sweep starts itself with
    #[arg(long, hide = true)]
    pub cold_of: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Runs to time, and as many without timestamps beside them
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub runs: usize,
    /// What to add up by: kernel, layer or step, joined by commas
    #[arg(long, value_name = "VIEWS", default_value = "kernel,layer")]
    pub by: String,
    /// Lines of each table [default: 15, and every step]
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Where a wgpu adapter takes the time: auto, inside-passes (after each dispatch) or passes
    /// (a pass for each)
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub timestamps: String,
    /// Where to write a trace for Perfetto or chrome://tracing, a .json
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Where to write a page with timeline, roofline and tables, an .html
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct TuneArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
}

#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Refuse a plan that is larger than this device's memory: auto, cpu, wgpu, wgpu:N, cuda or
    /// cuda:N [default: ask no device]
    #[arg(long)]
    pub device: Option<String>,
    /// Draw which values lie where in memory, and when
    #[arg(long, value_name = "FILE.svg")]
    pub memory: Option<PathBuf>,
    /// Draw the graph before and after fusion
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Write the same for Graphviz
    #[arg(long, value_name = "FILE.dot")]
    pub dot: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct SolversArgs {
    #[command(flatten)]
    pub compare: CompareArgs,
    #[command(flatten)]
    pub list: ListArgs,
}

/// The flags of `solvers --compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Measure the error of each solver over its network evaluations (NFE), on the device
    #[arg(long = "compare")]
    pub wanted: bool,
    /// A model whose exact solution is known: mixture, or a folder of one
    #[arg(long, default_value = "mixture", requires = "wanted")]
    pub model: String,
    /// Evaluations that a solver may spend on a sample [default: 4,8,16,32,64]
    #[arg(long, value_name = "N,N,..", requires = "wanted", allow_hyphen_values = true)]
    pub nfe: Option<String>,
    /// Solvers to compare [default: all]
    #[arg(long, value_name = "NAME,NAME,..", requires = "wanted")]
    pub solver: Option<String>,
    /// The built-in schedule to solve [default: the model's own]
    #[arg(long, value_name = "NAME", requires = "wanted")]
    pub schedule: Option<String>,
    /// Samples of each run [default: 4096]
    #[arg(long, value_name = "N", requires = "wanted", allow_hyphen_values = true)]
    pub count: Option<String>,
    /// Seed of the noise and of the exact samples
    #[arg(long, value_name = "N", default_value = "0", requires = "wanted")]
    pub seed: String,
    /// auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "auto", requires = "wanted")]
    pub device: String,
    /// Where to draw error over evaluations, a .png
    #[arg(long, value_name = "PATH", requires = "wanted")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct DevicesArgs {
    /// Measure what each device does at most, and keep it
    #[arg(long)]
    pub measure: bool,
    /// Measure this one only: auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, requires = "measure")]
    pub device: Option<String>,
    #[command(flatten)]
    pub list: ListArgs,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Print JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// The flags of a verb that runs on a device.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Take the default tile of each kernel; measure none and read none that were measured
    #[arg(long = "no-tune", action = ArgAction::SetFalse)]
    pub tune: bool,
}

/// The flags that every verb on a model shares.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    /// A built-in name, a folder in the layout of diffusers, or a .safetensors file
    #[arg(default_value = "digits")]
    pub model: String,
    /// auto, f32, f16 or bf16
    #[arg(long, default_value = "auto")]
    pub precision: String,
    /// See `unnoise solvers` [default: the model's own]
    #[arg(long, value_name = "NAME")]
    pub solver: Option<String>,
    /// The schedule of a model that fits all, such as mixture or EDM's: linear, scaled_linear,
    /// squaredcos_cap_v2, sigmoid, vp, sub-vp, ve, edm or flow [default: the model's own]
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<String>,
    /// Steps of the solver [default: the model's own]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub steps: Option<String>,
    /// Weight of classifier-free guidance [default: the model's own]
    #[arg(long, value_name = "W", allow_hyphen_values = true)]
    pub guidance: Option<String>,
    /// Noise that ddim puts back: 0 none, 1 as much as ddpm [default: the solver's own]
    #[arg(long, value_name = "ETA", allow_hyphen_values = true)]
    pub eta: Option<String>,
    /// Whether eps is made consistent with a clipped x0 [default: the model's own]
    #[arg(long, value_name = "BOOL")]
    pub clipped_eps: Option<bool>,
    #[command(flatten)]
    pub options: SolverArgs,
    /// `3`, `0,1,2` or `all`: sample i takes class i modulo the list [default: all]
    #[arg(long, value_name = "CLASSES", allow_hyphen_values = true)]
    pub class: Option<String>,
    /// What a text-conditional model is to draw; of several, sample i takes i modulo the list
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Vec<String>,
    /// What guidance leads away from [default: no words]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub negative_prompt: Option<String>,
    /// Leave the latents of a model with a decoder undecoded
    #[arg(long)]
    pub latents: bool,
    /// How a decoder cuts latents: auto (only what would take more than 2 GiB), off, or the side
    /// of a tile, such as 64
    #[arg(long, value_name = "TILES", default_value = "auto")]
    pub vae_tiles: String,
    /// Samples in all [default: 64; bench, profile, tune and inspect: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub count: Option<String>,
    /// Samples at a time [default: the count, at most 64]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub batch: Option<String>,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value = "0", allow_hyphen_values = true)]
    pub seed: String,
    /// native, torch-cpu or torch-cuda[:SMS]
    #[arg(long, default_value = "native")]
    pub noise: String,
    /// Run plain layers instead of fused kernels
    #[arg(long = "no-fuse", action = ArgAction::SetFalse)]
    pub fuse: bool,
    /// Compute again in each step what does not depend on the state
    #[arg(long = "no-hoist", action = ArgAction::SetFalse)]
    pub hoist: bool,
    /// Draw the I-th of N disjoint parts of the run, I from 1 to N
    #[arg(long, value_name = "I/N", default_value = "1/1", allow_hyphen_values = true)]
    pub shard: String,
    /// Print one JSON object on stdout, and words on stderr only
    #[arg(long)]
    pub json: bool,
}

/// What may be changed about a solver and its guidance.
#[derive(Clone, Debug, clap::Args)]
pub struct SolverArgs {
    /// Noise levels spaced otherwise: karras, exponential, polyexponential, beta or
    /// align-your-steps
    #[arg(long, value_name = "NAME")]
    pub sigmas: Option<String>,
    /// A key of scheduler_config.json for this run, such as solver_order=3; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,
    /// Bring guided outputs back to the deviation of conditional ones, from 0 (no) to 1 (fully)
    #[arg(long, value_name = "PHI", allow_hyphen_values = true)]
    pub guidance_rescale: Option<String>,
    /// Guide only where the noise level sigma lies above LOW and not above HIGH
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    pub guidance_interval: Option<String>,
    /// CFG++: guide x0 and put the unconditional noise back, with a guidance weight from 0 to 1
    #[arg(long)]
    pub cfg_plus_plus: bool,
}
