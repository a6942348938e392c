//! NVIDIA GPUs by CUDA: kernels compiled at run time, a body of the loop as one captured graph.
//!
//! Nothing of CUDA is needed to build, or to start: the driver and the compiler are looked for when
//! a device is asked for.

pub mod compile;
mod device;
mod kernels;
pub mod launch;
pub mod layout;
mod memory;
mod prepare;
mod run;

pub use device::DeviceInfo;

use crate::backend::work::Work;
use crate::backend::{Backend, Session, Settings, WeightSource};
use crate::error::Result;
use crate::program::Program;
use crate::tensor::DType;
use cudarc::driver::{CudaContext, CudaStream};
use device::failed;
use kernels::Kernels;
use prepare::Gpu;
use std::sync::Arc;

/// A CUDA device.
pub struct Cuda {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    info: DeviceInfo,
    kernels: Kernels,
}

impl Cuda {
    /// Opens device `index`, or the first.
    ///
    /// # Errors
    /// `Error::Invalid` without a driver, without such a device, or with one too old;
    /// `Error::Device` if it does not open.
    pub fn open_with(index: Option<usize>, settings: &Settings) -> Result<Cuda> {
        let (context, info) = device::open(index)?;
        let name = format!("cuda:{}", info.index);
        // SAFETY: every buffer is this backend's own, which orders all work by one stream; events
        // of the crate's own would not be allowed inside a capture.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(|e| failed(&name, "cannot make a stream", e))?;
        let folder = settings.cache.as_deref();
        let kernels = Kernels::new(context.clone(), name, info.capability, folder);
        Ok(Cuda { context, stream, info, kernels })
    }

    /// What the device is.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }
}

impl Backend for Cuda {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn device(&self) -> String {
        let DeviceInfo { name, capability, driver, .. } = &self.info;
        format!("{name} (CUDA {driver}, sm_{capability})")
    }

    fn supports(&self, dtype: DType) -> bool {
        match dtype {
            DType::F32 | DType::U32 | DType::F16 => true,
            DType::BF16 => self.info.capability >= 80,
        }
    }

    fn preferred(&self) -> DType {
        DType::F16
    }

    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>> {
        let name = format!("cuda:{}", self.info.index);
        let bound = self.context.bind_to_thread();
        bound.map_err(|e| failed(&name, "cannot be used here", e))?;
        let gpu = Gpu {
            context: &self.context,
            stream: &self.stream,
            name: &name,
            kernels: &self.kernels,
            facts: self.info.facts(),
        };
        let choose = |work: &Work| Ok(work.classes());
        Ok(Box::new(prepare::prepare(&gpu, program, weights, choose)?))
    }
}
