//! Compiled kernels: from the folder of an earlier start, or from the compiler, then loaded.

use super::compile::{Compiler, Target};
use super::device::{compiler, failed};
use super::launch::Compiled;
use crate::backend::grid::Constants;
use crate::backend::kept::{content, framed};
use crate::backend::source::{self, Variant};
use crate::backend::tune::replace;
use crate::error::{Error, Result};
use crate::lock::locked;
use crate::ops::Call;
use cudarc::driver::{CudaContext, result, sys};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use xxhash_rust::xxh3::xxh3_128;

/// The kernels that a device has.
pub(super) struct Kernels {
    context: Arc<CudaContext>,
    device: String,
    target: Target,
    /// Folder of what was compiled before.
    folder: Option<PathBuf>,
    made: Mutex<HashMap<Variant, Arc<Kernel>>>,
}

/// One loaded kernel.
pub(super) struct Kernel {
    pub function: sys::CUfunction,
    facts: [u32; source::FACTS.len()],
    module: sys::CUmodule,
    context: Arc<CudaContext>,
}

// SAFETY: handles of the driver, which serialises what threads do with them; the context is shared
// by design and a module is unloaded once, by the last owner.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Drop for Kernel {
    fn drop(&mut self) {
        let bound = self.context.bind_to_thread();
        // SAFETY: loaded once and unloaded once; sessions that launch it hold it.
        let unloaded = bound.and_then(|()| unsafe { result::module::unload(self.module) });
        self.context.record_err(unloaded);
    }
}

impl Kernel {
    /// Threads of a workgroup.
    pub fn threads(&self) -> u32 {
        self.facts[0]
    }
}

impl Constants for Arc<Kernel> {
    fn threads(&self) -> u32 {
        self.facts[0]
    }
    fn constant(&self, name: &str) -> Result<u32> {
        let found = source::FACTS.iter().zip(self.facts).find(|(known, _)| **known == name);
        found.map(|(_, value)| value).ok_or_else(|| {
            let action = "this is an error in the program";
            Error::invalid(name, "a constant that kernels tell", "none", action)
        })
    }
}

impl Compiled for Arc<Kernel> {
    fn shared_bytes(&self) -> u32 {
        self.facts[1]
    }
}

impl Kernels {
    pub fn new(
        context: Arc<CudaContext>,
        device: String,
        capability: u32,
        folder: Option<&Path>,
    ) -> Kernels {
        let target = Target::of(capability);
        let folder = folder.map(|folder| folder.join("cuda"));
        Kernels { context, device, target, folder, made: Mutex::default() }
    }

    /// The kernel of each variant; missing ones are compiled on all cores.
    pub fn all(&self, variants: &[(Variant, Call)]) -> Result<Vec<Arc<Kernel>>> {
        let wanted: HashMap<&Variant, &Call> = {
            let made = locked(&self.made);
            let missing = variants.iter().filter(|(variant, _)| !made.contains_key(variant));
            missing.map(|(variant, call)| (variant, call)).collect()
        };
        let images = wanted
            .into_par_iter()
            .map(|(variant, call)| Ok((variant.clone(), self.image(variant, call)?)));
        let images = images.collect::<Result<Vec<_>>>()?;
        for (variant, image) in images {
            let kernel = Arc::new(self.load(variant.op, &image)?);
            locked(&self.made).insert(variant, kernel);
        }
        let made = locked(&self.made);
        Ok(variants.iter().map(|(variant, _)| made[variant].clone()).collect())
    }

    /// The machine code of a variant, kept from before or compiled. A file that cannot be written
    /// costs the next start its time, and nothing else.
    fn image(&self, variant: &Variant, call: &Call) -> Result<Vec<u8>> {
        let text = source::cuda(variant, call)?;
        let key = xxh3_128(format!("{} {text}", self.target.name()).as_bytes());
        let file = self.folder.as_ref().map(|folder| folder.join(format!("{key:032x}.cubin")));
        let kept = file.as_ref().and_then(|file| std::fs::read(file).ok());
        if let Some(image) = kept.and_then(|file| content(&file).map(<[u8]>::to_vec)) {
            return Ok(image);
        }
        let compiler: Compiler = compiler()?;
        let image = compiler.compile(variant.op, &text, self.target)?.image;
        if let Some(file) = file {
            let _ = replace(&file, &framed(&image));
        }
        Ok(image)
    }

    fn load(&self, op: &str, image: &[u8]) -> Result<Kernel> {
        let wrong = |e| failed(&self.device, &format!("cannot load kernel {op}"), e);
        self.context.bind_to_thread().map_err(wrong)?;
        let name = |suffix: &str| CString::new(format!("{op}{suffix}")).unwrap_or_default();
        // SAFETY: a whole cubin, or PTX with its final zero, as NVRTC wrote it.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) }.map_err(wrong)?;
        let context = self.context.clone();
        let mut kernel =
            Kernel { function: std::ptr::null_mut(), facts: Default::default(), module, context };
        // SAFETY: the module is loaded, and `kernel` unloads it whatever follows.
        unsafe {
            kernel.function = result::module::get_function(module, name("")).map_err(wrong)?;
            let (at, _) = result::module::get_global(module, name("_facts")).map_err(wrong)?;
            result::memcpy_dtoh_sync(&mut kernel.facts, at).map_err(wrong)?;
            let shared = kernel.facts[1] as i32;
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            result::function::set_function_attribute(kernel.function, most, shared)
                .map_err(wrong)?;
        }
        Ok(kernel)
    }
}
