//! What there is to run on: the driver and its devices.

use crate::backend::source::{self, Language};
use crate::backend::timeline::Clock;
use crate::backend::tune::Identity;
use crate::error::{Error, Result};
use crate::ops::Facts;
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use cudarc::driver::{CudaContext, DriverError, result};
use serde::Serialize;
use std::sync::Arc;

/// The oldest driver that this build speaks to: 12.0.
const OLDEST_DRIVER: i32 = 12000;
/// The oldest compute capability whose kernels this build has.
const OLDEST_DEVICE: u32 = 75;

/// A CUDA device of this machine, as `unnoise devices` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// N of `cuda:N`.
    pub index: usize,
    pub name: String,
    /// `cuda`.
    pub backend: &'static str,
    /// The CUDA version of the driver, `13.0`.
    pub driver: String,
    /// `domain:bus:device`, in hexadecimal, where the driver tells.
    pub pci: Option<String>,
    /// Major version times ten, plus minor.
    pub capability: u32,
    /// Streaming multiprocessors.
    pub processors: u32,
    /// Products of `mma.sync` that kernels use, `16x8x16 f16 f32`: rows x columns x depth,
    /// operands, sums.
    pub matrices: &'static [&'static str],
    pub memory_bytes: u64,
    /// Workgroup memory that one workgroup may ask for.
    pub workgroup_memory_bytes: u32,
}

impl DeviceInfo {
    /// How a profile times launches on it.
    pub fn clock(&self) -> Clock {
        Clock::Events
    }

    /// What measurements of the device hold for.
    pub fn identity(&self) -> Identity {
        Identity {
            adapter: self.name.clone(),
            driver: format!("CUDA {}", self.driver),
            sources: source::fingerprint(Language::Cuda),
        }
    }

    /// What decides which tiles it can run.
    pub fn facts(&self) -> Facts {
        Facts {
            workgroup_bytes: self.workgroup_memory_bytes,
            threads: 1024,
            mma: if self.capability >= 80 { 80 } else { 75 },
            processors: self.processors,
            last_reduces: true,
            ..Facts::LEAST
        }
    }
}

/// The driver's words for an error at work.
pub(super) fn failed(device: &str, doing: &str, error: DriverError) -> Error {
    let name = error.error_string().map(|text| text.to_string_lossy().into_owned());
    let what = format!("{doing}: {}", name.unwrap_or_else(|_| format!("{error:?}")));
    Error::device(device, what, "start again, with a smaller --batch if memory is short")
}

fn absent(found: impl Into<String>, action: &str) -> Error {
    Error::invalid("--device cuda", "an NVIDIA GPU with its driver", found, action)
}

/// Whether the driver's library is there; nothing may be called before.
fn driver() -> Result<String> {
    // SAFETY: loads NVIDIA's library, whose initialiser is its own; nothing of it is called.
    if !unsafe { sys::is_culib_present() } {
        let action = "install the NVIDIA driver, or use --device wgpu";
        return Err(absent("no CUDA driver on this machine", action));
    }
    match older_than(OLDEST_DRIVER) {
        (_, Some(found)) => Err(absent(found, "update the NVIDIA driver")),
        (version, None) => Ok(version),
    }
}

/// The version of CUDA that the driver, which is there, speaks, and that it is older than `least`
/// in words, if it is. Versions as CUDA numbers them: 12030 is 12.3.
pub(super) fn older_than(least: i32) -> (String, Option<String>) {
    let mut version = 0;
    // SAFETY: an integer to be written, alive for the call.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    let words = format!("{}.{}", version / 1000, version % 1000 / 10);
    let older = status.is_err() || version < least;
    let found = older.then(|| format!("a driver of CUDA {words}"));
    (words, found)
}

/// Makes `context` this thread's.
pub(super) fn bind(context: &CudaContext, device: &str) -> Result<()> {
    context.bind_to_thread().map_err(|e| failed(device, "cannot be used here", e))
}

/// How many devices there are.
fn count() -> Result<usize> {
    let count = result::init().and_then(|()| result::device::get_count());
    Ok(count.map_err(|_| absent("a driver that finds no GPU", "use --device wgpu"))? as usize)
}

/// The devices of this machine. None of them is opened.
///
/// # Errors
/// `Error::Invalid` that says why there is none.
pub fn devices() -> Result<Vec<DeviceInfo>> {
    let driver = driver()?;
    let describe = |index| {
        describe(index, &driver).map_err(|e| failed(&format!("cuda:{index}"), "cannot ask", e))
    };
    (0..count()?).map(describe).collect()
}

/// Opens device `index`, or the first.
///
/// # Errors
/// `Error::Invalid` if there is no driver, no such device, or one too old; `Error::Device` if it
/// does not open.
pub(super) fn open(index: Option<usize>) -> Result<(Arc<CudaContext>, DeviceInfo)> {
    let (driver, count, index) = (driver()?, count()?, index.unwrap_or(0));
    if index >= count {
        let action = "see `unnoise devices`, or use --device wgpu";
        return Err(absent(format!("no device {index}, but {count} in all"), action));
    }
    let name = format!("cuda:{index}");
    let info = describe(index, &driver).map_err(|e| failed(&name, "cannot ask", e))?;
    if info.capability < OLDEST_DEVICE {
        let found = format!("{}, compute capability {}", info.name, info.capability);
        return Err(absent(found, "use --device wgpu: kernels need 7.5 or later"));
    }
    let context = CudaContext::new(index).map_err(|e| failed(&name, "cannot open", e))?;
    Ok((context, info))
}

fn describe(index: usize, driver: &str) -> Result<DeviceInfo, DriverError> {
    let device = result::device::get(index as i32)?;
    // SAFETY: the device is one that the driver gave.
    let ask = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let major = ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let processors = ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let shared = ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
    let at = [
        Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID,
        Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID,
        Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID,
    ];
    // One that does not tell can be found by its name.
    let at: Option<Vec<i32>> = at.into_iter().map(|attribute| ask(attribute).ok()).collect();
    let pci = at.map(|at| format!("{:04x}:{:02x}:{:02x}", at[0], at[1], at[2]));
    Ok(DeviceInfo {
        index,
        pci,
        name: result::device::get_name(device)?,
        backend: "cuda",
        driver: driver.to_string(),
        capability: (10 * major + minor) as u32,
        processors: processors as u32,
        matrices: match major {
            ..8 => &["16x8x8 f16 f32"],
            _ => &["16x8x16 f16 f32", "16x8x16 bf16 f32"],
        },
        // SAFETY: as above.
        memory_bytes: unsafe { result::device::total_mem(device) }? as u64,
        workgroup_memory_bytes: shared as u32,
    })
}

/// For a kernel that is not in the cache.
pub(super) fn no_compiler() -> Error {
    Error::invalid(
        "--device cuda",
        "NVRTC (libnvrtc), to compile kernels",
        "none",
        "install the CUDA toolkit, or `pip install nvidia-cuda-nvrtc` and name its folder in \
         LD_LIBRARY_PATH",
    )
}
