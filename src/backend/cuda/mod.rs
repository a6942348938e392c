//! NVIDIA GPUs by CUDA: kernels compiled at run time, a body of the loop as one captured graph.
//!
//! Nothing of CUDA is needed to build, or to start: the driver and the compiler are looked for when
//! a device is asked for.

pub mod compile;
mod device;
mod flight;
mod gpu;
mod graph;
pub mod jobs;
mod kernels;
pub mod launch;
pub mod layout;
mod measure;
mod memory;
mod persistent;
mod prepare;
mod replay;
mod run;
mod stamps;

pub use device::{DeviceInfo, devices};
pub use replay::{Replay, Way};

use crate::backend::tune::{Identity, Tuning};
use crate::backend::{Backend, Hardware, Room, Session, Settings, WeightSource};
use crate::error::Result;
use crate::program::Program;
use crate::tensor::DType;
use device::bind;
use gpu::Gpu;

/// An open CUDA device.
pub struct Cuda {
    gpu: Gpu,
    tuning: Tuning,
}

impl Cuda {
    /// Opens device `index`, or the first.
    ///
    /// # Errors
    /// `Error::Invalid` without a driver, without such a device, with one too old, or if it is to
    /// be used in a way that it does not know; `Error::Device` if it does not open.
    pub fn open_with(index: Option<usize>, settings: &Settings) -> Result<Cuda> {
        let way = Way::of_environment()?;
        let gpu = Gpu::open(index, way, settings.cache.as_deref())?;
        Ok(Cuda { gpu, tuning: settings.tuning.clone() })
    }

    /// The same device and its compiled kernels with another choice of tiles.
    pub fn with_tuning(&self, tuning: Tuning) -> Cuda {
        Cuda { gpu: self.gpu.clone(), tuning }
    }

    /// What the device is.
    pub fn info(&self) -> &DeviceInfo {
        &self.gpu.info
    }
}

impl Backend for Cuda {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn device(&self) -> String {
        let DeviceInfo { name, capability, driver, .. } = self.info();
        format!("{name} (CUDA {driver}, sm_{capability})")
    }

    fn identity(&self) -> Identity {
        self.info().identity()
    }

    fn hardware(&self) -> Hardware {
        let DeviceInfo { name, driver, pci, .. } = self.info().clone();
        Hardware { name, driver: Some(format!("CUDA {driver}")), pci, software: false }
    }

    fn supports(&self, dtype: DType) -> bool {
        match dtype {
            DType::F32 | DType::U32 | DType::F16 => true,
            DType::BF16 => self.info().capability >= 80,
        }
    }

    fn preferred(&self) -> DType {
        DType::F16
    }

    fn room(&self) -> Result<Option<Room>> {
        memory::room(&self.gpu.context, &self.gpu.name).map(Some)
    }

    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>> {
        bind(&self.gpu.context, &self.gpu.name)?;
        Ok(Box::new(prepare::prepare(&self.gpu, &self.tuning, program, weights)?))
    }
}
