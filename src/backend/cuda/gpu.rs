//! An open device: its context and stream, its kernels, and what was learnt of it.

use super::device::{self, DeviceInfo};
use super::graph::cannot_overlap;
use super::kernels::Kernels;
use super::prepare::prepare_on;
use super::replay::Way;
use crate::backend::alone::NoWeights;
use crate::backend::trial;
use crate::backend::tune::Tuner;
use crate::error::{Error, Result};
use crate::ops::{Facts, Method};
use crate::program::Program;
use crate::tensor::DType;
use cudarc::driver::{CudaContext, CudaStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A device and its stream.
#[derive(Clone)]
pub(super) struct Gpu {
    pub context: Arc<CudaContext>,
    pub stream: Arc<CudaStream>,
    pub info: Arc<DeviceInfo>,
    /// `cuda:0`, for messages.
    pub name: Arc<str>,
    pub kernels: Arc<Kernels>,
    pub tuner: Arc<Tuner>,
    pub way: Way,
    /// What is wrong with its products of f16 and of bf16, once they were tried.
    mma_faults: Arc<[OnceLock<Option<String>>; 2]>,
}

impl Gpu {
    /// Opens device `index`, or the first, to replay launches in this way; `cache` is the folder of
    /// what is remembered.
    pub fn open(index: Option<usize>, way: Way, cache: Option<&Path>) -> Result<Gpu> {
        let (context, info) = device::open(index)?;
        if let Some(found) = cannot_overlap(info.capability).filter(|_| way.overlap) {
            let expected = "compute capability 9.0 and a driver of CUDA 12.3, or later";
            let action = "unset UNNOISE_CUDA_OVERLAP";
            return Err(Error::invalid("launches that overlap", expected, found, action));
        }
        let name: Arc<str> = format!("cuda:{}", info.index).into();
        let wrong = |e| device::failed(&name, "cannot make a stream", e);
        // One stream, in whose order everything happens: nothing else has to wait for anything.
        // SAFETY: no slice of cudarc's own is used, whose events this leaves out.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(wrong)?;
        Ok(Gpu {
            kernels: Arc::new(Kernels::new(&context, &name, &info, cache)),
            tuner: Arc::new(Tuner::new(cache, info.identity())),
            way,
            context,
            stream,
            info: Arc::new(info),
            name,
            mma_faults: Arc::default(),
        })
    }

    /// What the device can do for `program`, and a note if its matrix units turned out to be wrong:
    /// they are tried once for each type of operand, when a program that could use them is
    /// prepared.
    pub fn facts(&self, program: &Program) -> Result<(Facts, Option<String>)> {
        let facts = self.info.facts();
        for (storage, known) in [DType::F16, DType::BF16].into_iter().zip(&*self.mma_faults) {
            if !program.slots.iter().any(|slot| slot.dtype == storage) {
                continue;
            }
            let fault = match known.get() {
                Some(fault) => fault,
                None => {
                    let fault = self.fault(&facts, storage)?;
                    known.get_or_init(|| fault)
                }
            };
            if let Some(fault) = fault {
                let note = format!("mma.sync of {storage} is not used on this device: {fault}");
                return Ok((Facts { mma: 0, ..facts }, Some(note)));
            }
        }
        Ok((facts, None))
    }

    /// What is wrong with products of `storage`, if anything is.
    fn fault(&self, facts: &Facts, storage: DType) -> Result<Option<String>> {
        trial::fault(facts, (Method::Mma, storage), |program, tuning| {
            Ok(Box::new(prepare_on(self, *facts, tuning, program, &NoWeights)?))
        })
    }
}
