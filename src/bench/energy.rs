//! Energy and clocks of NVIDIA GPUs, by the library that their driver brings along (NVML). It is
//! loaded when asked for.

use crate::backend::Hardware;
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::error::NvmlError;
use serde::Serialize;
use std::time::Instant;

/// The library's names: that of a driver alone, then that of a toolkit.
const LIBRARIES: &[&str] =
    if cfg!(windows) { &["nvml.dll"] } else { &["libnvidia-ml.so.1", "libnvidia-ml.so"] };

/// Clocks of a GPU in MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Clocks {
    pub graphics_mhz: Option<u32>,
    pub memory_mhz: Option<u32>,
}

/// A GPU at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub clocks: Clocks,
    /// Since the driver was loaded.
    millijoules: Option<u64>,
    at: Instant,
}

/// What a GPU spent between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spent {
    pub joules: f64,
    pub seconds: f64,
}

impl Spent {
    /// None where the device has no counter of energy.
    pub fn between(before: &Reading, after: &Reading) -> Option<Spent> {
        let millijoules = after.millijoules?.checked_sub(before.millijoules?)?;
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        Some(Spent { joules: millijoules as f64 / 1e3, seconds })
    }

    /// Mean power.
    pub fn watts(&self) -> f64 {
        self.joules / self.seconds
    }
}

/// Reads the counters of one GPU.
pub struct Meter {
    nvml: Nvml,
    index: u32,
    /// Its name and driver, as NVML has them.
    pub name: String,
    pub driver: String,
    /// Why it counts no energy, if it does not.
    pub no_energy: Option<String>,
}

impl Meter {
    /// Finds the GPU that is `device`: by its place on the PCI bus, or by its name if only one has
    /// it.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn open(device: &Hardware) -> Result<Meter, String> {
        if device.software || device.driver.is_none() {
            return Err(format!("NVML counts the energy of GPUs, not of {}", device.name));
        }
        let nvml = load()?;
        let index = find(&nvml, device)?;
        let known = |e: NvmlError| format!("NVML does not know its device {index}: {e}");
        let gpu = nvml.device_by_index(index).map_err(known)?;
        let name = gpu.name().map_err(known)?;
        let energy = gpu.total_energy_consumption().err();
        let no_energy = energy.map(|e| format!("{name} has no counter of energy: {e}"));
        let driver = nvml.sys_driver_version().map_err(known)?;
        Ok(Meter { nvml, index, name, driver, no_energy })
    }

    /// Reads clocks and energy; what the device does not tell is `None`.
    pub fn read(&self) -> Reading {
        let gpu = self.nvml.device_by_index(self.index).ok();
        let clock = |clock| gpu.as_ref().and_then(|gpu| gpu.clock_info(clock).ok());
        let clocks =
            Clocks { graphics_mhz: clock(Clock::Graphics), memory_mhz: clock(Clock::Memory) };
        let millijoules = gpu.as_ref().and_then(|gpu| gpu.total_energy_consumption().ok());
        Reading { clocks, millijoules, at: Instant::now() }
    }
}

fn load() -> Result<Nvml, String> {
    let mut why = String::new();
    for library in LIBRARIES {
        match Nvml::builder().lib_path(library.as_ref()).init() {
            Ok(nvml) => return Ok(nvml),
            Err(NvmlError::LibloadingError(_)) => {
                why = format!("no NVML ({}) on this machine", LIBRARIES[0]);
            }
            Err(e) => return Err(format!("NVML does not start: {e}")),
        }
    }
    Err(why)
}

fn find(nvml: &Nvml, device: &Hardware) -> Result<u32, String> {
    let count = nvml.device_count().map_err(|e| format!("NVML counts no device: {e}"))?;
    let all = (0..count).filter_map(|i| Some((i, nvml.device_by_index(i).ok()?)));
    if let Some(wanted) = device.pci.as_deref() {
        let mut all = all;
        let found = all.find(|(_, gpu)| {
            gpu.pci_info().is_ok_and(|at| place(wanted) == Some([at.domain, at.bus, at.device]))
        });
        return found.map(|(i, _)| i).ok_or_else(|| format!("NVML has no device at {wanted}"));
    }
    let named = all.filter(|(_, gpu)| gpu.name().is_ok_and(|name| name == device.name));
    match named.map(|(i, _)| i).collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        [] => Err(format!("NVML has no {}", device.name)),
        ref some => {
            Err(format!("NVML has {} of {}: which one is not known", some.len(), device.name))
        }
    }
}

/// Domain, bus and device of `0000:65:00.0`, all hexadecimal; the function does not matter.
fn place(text: &str) -> Option<[u32; 3]> {
    let parts: Option<Vec<u32>> =
        text.split('.').next()?.split(':').map(|part| u32::from_str_radix(part, 16).ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn places_are_hexadecimal_with_or_without_a_function() {
        assert_eq!(place("0000:65:00.0"), Some([0, 0x65, 0]));
        assert_eq!(place("00000001:0a:1f"), Some([1, 10, 31]));
        for bad in ["", "65:00.0", "0000:xx:00", "0:1:2:3"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }

    #[test]
    fn energy_is_a_difference_of_counters() {
        let clocks = Clocks { graphics_mhz: None, memory_mhz: None };
        let at = Instant::now();
        let before = Reading { clocks, millijoules: Some(5_000), at };
        let later = at + Duration::from_secs(2);
        let after = Reading { millijoules: Some(65_000), at: later, ..before };
        let spent = Spent::between(&before, &after).unwrap();
        assert_eq!((spent.joules, spent.seconds, spent.watts()), (60.0, 2.0, 30.0));
        // A counter that was reset, and none.
        assert_eq!(Spent::between(&after, &before), None);
        assert_eq!(Spent::between(&before, &Reading { millijoules: None, ..after }), None);
    }

    #[test]
    fn what_is_no_gpu_has_no_meter() {
        let cpu = Hardware { name: "CPU".to_string(), ..Hardware::default() };
        let software = Hardware { software: true, driver: Some("1".to_string()), ..cpu.clone() };
        for device in [cpu, software] {
            assert!(Meter::open(&device).is_err_and(|why| why.contains("not of CPU")));
        }
    }
}
