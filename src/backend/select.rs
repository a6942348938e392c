//! Which device: what `--device` means, and what it opens here.

use super::cpu::Cpu;
use super::cuda::Cuda;
use super::wgpu::{AdapterInfo, Adapters, Wgpu};
use super::{Backend, Settings};
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

/// A device as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceSpec {
    /// A GPU if there is one, else the processor.
    Auto,
    Cpu,
    /// The given adapter, or the best.
    Wgpu(Option<usize>),
    /// The given device, or the first.
    Cuda(Option<usize>),
}

/// As `--device` takes it.
impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceSpec::Auto => write!(f, "auto"),
            DeviceSpec::Cpu => write!(f, "cpu"),
            DeviceSpec::Wgpu(None) => write!(f, "wgpu"),
            DeviceSpec::Wgpu(Some(index)) => write!(f, "wgpu:{index}"),
            DeviceSpec::Cuda(None) => write!(f, "cuda"),
            DeviceSpec::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number.parse().ok())),
            None => (text, None),
        };
        match (kind, number) {
            ("auto", None) => Ok(DeviceSpec::Auto),
            ("cpu", None) => Ok(DeviceSpec::Cpu),
            ("wgpu", None | Some(Some(_))) => Ok(DeviceSpec::Wgpu(number.flatten())),
            ("cuda", None | Some(Some(_))) => Ok(DeviceSpec::Cuda(number.flatten())),
            _ => Err(Error::invalid(
                "--device",
                "auto, cpu, wgpu, wgpu:N, cuda or cuda:N",
                format!("'{text}'"),
                "see `unnoise devices` for the devices of this machine",
            )),
        }
    }
}

/// An open device.
pub struct Selected {
    pub backend: Box<dyn Backend>,
    /// One line: what was chosen, and why.
    pub reason: String,
}

/// Opens what `spec` asks for; it remembers and measures nothing.
///
/// # Errors
/// `Error::Invalid` if there is no such device, `Error::Device` if it does not open.
pub fn open(spec: &DeviceSpec) -> Result<Selected> {
    open_with(spec, &Settings::default())
}

/// The same with settings.
pub fn open_with(spec: &DeviceSpec, settings: &Settings) -> Result<Selected> {
    match spec {
        DeviceSpec::Cpu => Ok(cpu("asked for with --device cpu")),
        DeviceSpec::Wgpu(index) => {
            let backend = Wgpu::open_with(&Adapters::find(), *index, settings)?;
            let why = match index {
                Some(_) => "asked for by its number",
                None if backend.adapter().software => "the only adapter, a software driver",
                None => "the best adapter",
            };
            let reason = format!("device: {}, {why}", backend.adapter().words());
            Ok(Selected { backend: Box::new(backend), reason })
        }
        DeviceSpec::Cuda(index) => {
            let backend = Cuda::open_with(*index, settings)?;
            let reason = format!("device: {}, asked for with --device cuda", backend.device());
            Ok(Selected { backend: Box::new(backend), reason })
        }
        DeviceSpec::Auto => auto(&Adapters::find(), settings),
    }
}

fn cpu(why: &str) -> Selected {
    let backend = Cpu;
    Selected { reason: format!("device: {}, {why}", backend.device()), backend: Box::new(backend) }
}

/// What `--device auto` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auto {
    /// N of `wgpu:N`; none for the processor.
    pub adapter: Option<usize>,
    /// `the best GPU`.
    pub why: String,
}

impl Auto {
    /// The choice among `adapters`; none of them is opened.
    pub fn of(adapters: &[AdapterInfo]) -> Auto {
        let Some(gpu) = best_gpu(adapters) else {
            let why = match adapters.iter().find(|a| a.software) {
                Some(a) => format!("no GPU found; {} is a software driver", a.words()),
                None => "no GPU found".to_string(),
            };
            return Auto { adapter: None, why };
        };
        Auto { adapter: Some(gpu.index), why: "the best GPU".to_string() }
    }
}

/// The best GPU if it opens, else the processor.
fn auto(adapters: &Adapters, settings: &Settings) -> Result<Selected> {
    let Auto { adapter, why } = Auto::of(&adapters.infos);
    let Some(index) = adapter else { return Ok(cpu(&why)) };
    match Wgpu::open_with(adapters, adapter, settings) {
        Ok(backend) => {
            let reason = format!("device: {}, {why}", adapters.infos[index].words());
            Ok(Selected { backend: Box::new(backend), reason })
        }
        Err(error) => Ok(cpu(&format!("the GPU does not open: {error}"))),
    }
}

/// Discrete before integrated before virtual; never a software driver.
fn best_gpu(adapters: &[AdapterInfo]) -> Option<&AdapterInfo> {
    let usable = adapters.iter().filter(|a| a.immediates);
    let gpus = usable.filter(|a| ["discrete", "integrated", "virtual"].contains(&a.device_type));
    gpus.min_by_key(|a| Reverse(a.rank()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_spelt_as_documented() {
        let spelt = [
            ("auto", DeviceSpec::Auto),
            ("cpu", DeviceSpec::Cpu),
            ("wgpu", DeviceSpec::Wgpu(None)),
            ("wgpu:3", DeviceSpec::Wgpu(Some(3))),
            ("cuda", DeviceSpec::Cuda(None)),
            ("cuda:0", DeviceSpec::Cuda(Some(0))),
        ];
        for (text, spec) in spelt {
            assert_eq!(text.parse::<DeviceSpec>().unwrap(), spec);
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn other_devices_are_refused_with_the_words_there_are() {
        for text in ["", "gpu", "wgpu:", "wgpu:-1", "wgpu:x", "cpu:0", "auto:1", "WGPU", "wgpu:1:2"]
        {
            let message = text.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(message.contains("wgpu:N") && message.contains(text), "{message}");
        }
    }

    #[test]
    fn a_cuda_device_that_is_not_there_is_refused_with_what_can_be_used() {
        let error = open(&DeviceSpec::Cuda(Some(99))).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--device wgpu"), "{error}");
    }
}
