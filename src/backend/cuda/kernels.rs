//! Compiled kernels: from the folder of an earlier start, or from the compiler, then loaded.

use super::compile::{Compiler, Target};
use super::device::{DeviceInfo, failed, no_compiler};
use super::launch::Compiled;
use crate::backend::grid::Constants;
use crate::backend::kept::{content, framed};
use crate::backend::source::{self, Variant};
use crate::backend::tune::replace;
use crate::error::{Error, Result};
use crate::lock::locked;
use crate::ops::Call;
use cudarc::driver::sys::cudaError_enum as Status;
use cudarc::driver::{CudaContext, DriverError, result, sys};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use xxhash_rust::xxh3::xxh3_128;

/// The kernels that a device has.
pub(super) struct Kernels {
    context: Arc<CudaContext>,
    device: String,
    /// Its CUDA version.
    driver: String,
    target: Target,
    /// Folder of what was compiled before.
    folder: Option<PathBuf>,
    made: Mutex<HashMap<Variant, Arc<Kernel>>>,
    /// What is wrong with the folder, told once.
    note: Mutex<Option<String>>,
}

/// One loaded kernel.
pub(super) struct Kernel {
    pub function: sys::CUfunction,
    /// Whether an earlier start compiled it.
    pub kept: bool,
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

/// `<hash of source and architecture>-<version of the compiler>.cubin`.
fn file_name(key: u128, compiler: &Compiler) -> String {
    let (major, minor) = compiler.version;
    format!("{key:032x}-{major}.{minor}.cubin")
}

/// What any compiler made of a source, for a machine that has none.
fn files_of(folder: &Path, key: u128) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of_key = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&format!("{key:032x}-")) && name.ends_with(".cubin")
    };
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(of_key).collect();
    files.sort();
    files
}

/// Machine code, and whether an earlier start compiled it.
struct Image {
    code: Vec<u8>,
    kept: bool,
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
        context: &Arc<CudaContext>,
        device: &str,
        info: &DeviceInfo,
        cache: Option<&Path>,
    ) -> Kernels {
        Kernels {
            context: context.clone(),
            device: device.to_string(),
            driver: info.driver.clone(),
            target: Target::of(info.capability),
            folder: cache.map(|folder| folder.join("cuda")),
            made: Mutex::default(),
            note: Mutex::default(),
        }
    }

    /// What is wrong with the folder, if that was not told before.
    pub fn note(&self) -> Option<String> {
        locked(&self.note).take()
    }

    /// The kernel of a variant.
    pub fn one(&self, variant: &Variant, call: &Call) -> Result<Arc<Kernel>> {
        if let Some(kernel) = locked(&self.made).get(variant) {
            return Ok(kernel.clone());
        }
        Ok(self.all(&[(variant.clone(), *call)])?.remove(0))
    }

    /// The kernel of each variant; missing ones are compiled on all cores.
    pub fn all(&self, variants: &[(Variant, Call)]) -> Result<Vec<Arc<Kernel>>> {
        let wanted: HashMap<&Variant, &Call> = {
            let made = locked(&self.made);
            let missing = variants.iter().filter(|(variant, _)| !made.contains_key(variant));
            missing.map(|(variant, call)| (variant, call)).collect()
        };
        let images = wanted.into_par_iter().map(|(variant, call)| {
            let image = self.image(variant.op, &source::cuda(variant, call)?)?;
            Ok((variant.clone(), image))
        });
        for (variant, image) in images.collect::<Result<Vec<_>>>()? {
            let kernel = Arc::new(self.load(variant.op, &image)?);
            locked(&self.made).insert(variant, kernel);
        }
        let made = locked(&self.made);
        Ok(variants.iter().map(|(variant, _)| made[variant].clone()).collect())
    }

    /// One kernel for jobs of all these variants, kernels/common/persistent.cuh.
    pub fn persistent(&self, variants: &[(Variant, Call)]) -> Result<Arc<Kernel>> {
        let (name, text) = (source::PERSISTENT_ENTRY, source::cuda_persistent(variants, None)?);
        Ok(Arc::new(self.load(name, &self.image(name, &text)?)?))
    }

    /// The machine code of a source, kept from before or compiled. A file that cannot be used or
    /// written costs the next start its time, and is a note.
    fn image(&self, name: &str, text: &str) -> Result<Image> {
        let key = xxh3_128(format!("{} {text}", self.target.name()).as_bytes());
        let found = Compiler::find();
        let kept = self.folder.as_ref().and_then(|folder| match &found {
            Some(compiler) => self.read(&folder.join(file_name(key, compiler))),
            None => files_of(folder, key).iter().find_map(|file| self.read(file)),
        });
        if let Some(code) = kept {
            return Ok(Image { code, kept: true });
        }
        let compiler = found.ok_or_else(no_compiler)?;
        let code = compiler.compile(name, text, self.target)?.image;
        if let Some(folder) = &self.folder {
            let file = folder.join(file_name(key, &compiler));
            if let Err(e) = replace(&file, &framed(&code)) {
                self.noted(&file, "compiled kernels are not kept", &e.to_string());
            }
        }
        Ok(Image { code, kept: false })
    }

    /// What a file holds, if there is one and it is whole.
    fn read(&self, file: &Path) -> Option<Vec<u8>> {
        let why = match fs::read(file) {
            Ok(bytes) => match content(&bytes) {
                Some(code) => return Some(code.to_vec()),
                None => "it is damaged".to_string(),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => e.to_string(),
        };
        self.noted(file, "a compiled kernel is ignored", &why);
        None
    }

    fn noted(&self, file: &Path, what: &str, why: &str) {
        let note = format!("{}: {what}: {why}", file.display());
        locked(&self.note).get_or_insert(note);
    }

    /// The error of machine code that the driver does not take.
    fn unloadable(&self, op: &str, error: DriverError) -> Error {
        let foreign = [
            Status::CUDA_ERROR_INVALID_IMAGE,
            Status::CUDA_ERROR_NO_BINARY_FOR_GPU,
            Status::CUDA_ERROR_INVALID_PTX,
            Status::CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
        ];
        if !foreign.contains(&error.0) {
            return failed(&self.device, &format!("cannot load kernel {op}"), error);
        }
        let compiler = Compiler::find().map_or("absent".to_string(), |found| {
            format!("of CUDA {}.{}", found.version.0, found.version.1)
        });
        Error::invalid(
            "--device cuda",
            format!("kernels that the driver, of CUDA {}, can load", self.driver),
            format!("{error:?}; the compiler (NVRTC) is {compiler}"),
            "update the NVIDIA driver, or install an NVRTC that is no newer than it: `pip install \
             nvidia-cuda-nvrtc-cu12`",
        )
    }

    fn load(&self, op: &str, image: &Image) -> Result<Kernel> {
        let wrong = |e| failed(&self.device, &format!("cannot load kernel {op}"), e);
        self.context.bind_to_thread().map_err(wrong)?;
        let name = |suffix: &str| CString::new(format!("{op}{suffix}")).unwrap_or_default();
        // SAFETY: a whole cubin, or PTX with its final zero, as NVRTC wrote it: just now, or into a
        // file whose hash was compared.
        let module = unsafe { result::module::load_data(image.code.as_ptr().cast()) };
        let module = module.map_err(|e| self.unloadable(op, e))?;
        let context = self.context.clone();
        let (function, facts) = (std::ptr::null_mut(), Default::default());
        let mut kernel = Kernel { function, kept: image.kept, facts, module, context };
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
