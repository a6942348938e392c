//! Which generator the noise comes from, and the draws that the host makes.
//!
//! The engine's own generator and PyTorch's on CUDA count, so a device draws from them element by
//! element; PyTorch's on the CPU is serial, so the host draws for the whole run.

mod torch_cpu;
mod torch_cuda;

pub use torch_cpu::{TorchCpu, torch_cpu};
pub use torch_cuda::{CudaLayout, TorchCuda};

use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// The generator that `--noise` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoiseKind {
    /// Philox4x32-10 counted by (element, step, stream, sample).
    #[default]
    Native,
    /// `torch.randn` with a CPU generator.
    TorchCpu,
    /// `torch.randn` with a CUDA generator.
    TorchCuda(TorchCuda),
}

impl FromStr for NoiseKind {
    type Err = Error;

    /// `native`, `torch-cpu`, `torch-cuda`, `torch-cuda:SMS` or `torch-cuda:SMSxTHREADS`.
    fn from_str(text: &str) -> Result<NoiseKind, Error> {
        match text.split_once(':') {
            None if text == "native" => Ok(NoiseKind::Native),
            None if text == "torch-cpu" => Ok(NoiseKind::TorchCpu),
            None if text == "torch-cuda" => Ok(NoiseKind::TorchCuda(TorchCuda::default())),
            Some(("torch-cuda", gpu)) => TorchCuda::parse(gpu).map(NoiseKind::TorchCuda),
            _ => Err(Error::invalid(
                "--noise",
                "native, torch-cpu, torch-cuda or torch-cuda:SMS",
                format!("{text:?}"),
                "choose one of these",
            )),
        }
    }
}

impl fmt::Display for NoiseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoiseKind::Native => f.write_str("native"),
            NoiseKind::TorchCpu => f.write_str("torch-cpu"),
            NoiseKind::TorchCuda(gpu) => write!(f, "torch-cuda:{gpu}"),
        }
    }
}
