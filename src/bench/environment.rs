//! Where a measurement was made: without it a time says nothing.

use super::energy::Meter;
use crate::backend::Hardware;
use jiff::Timestamp;
use serde::Serialize;
use std::thread;
use sysinfo::{CpuRefreshKind, RefreshKind, System};

/// The git revision that this was built from, with `-dirty` if files differed; `unknown` where
/// there was no git.
pub const REVISION: &str = env!("UNNOISE_REVISION");

/// An NVIDIA GPU as NVML has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    pub name: String,
    /// The version of its driver.
    pub driver: String,
}

/// Machine, device and build.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Environment {
    /// Version of this crate.
    pub unnoise: &'static str,
    pub git: &'static str,
    /// UTC, to the second, as RFC 3339 has it.
    pub date: String,
    pub os: Option<String>,
    pub kernel: Option<String>,
    pub processor: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Threads that wanted a core in the last minute, in the mean, where the system tells.
    pub load: Option<f64>,
    /// The processor's clock now, where the system tells.
    pub processor_mhz: Option<u64>,
    pub device: String,
    pub driver: Option<String>,
    /// Whether the device is a driver that runs on the processor: its times are not a GPU's.
    pub software: bool,
    /// None where NVML does not have the device.
    pub nvml: Option<Gpu>,
    /// Why no energy is counted; none where it is.
    pub no_energy: Option<String>,
}

impl Environment {
    /// This machine, with `device`, whose meter was looked for.
    pub fn new(device: &Hardware, meter: &Result<Meter, String>) -> Environment {
        let of = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing().with_frequency());
        let system = System::new_with_specifics(of).ok();
        let processor = system.as_ref().and_then(|system| system.cpus().first());
        let gpu = |meter: &Meter| Gpu { name: meter.name.clone(), driver: meter.driver.clone() };
        Environment {
            unnoise: env!("CARGO_PKG_VERSION"),
            git: REVISION,
            date: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            os: System::long_os_version().ok(),
            kernel: System::kernel_version().ok(),
            processor: processor.map(|cpu| cpu.brand().trim().to_string()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            load: System::load_average().ok().map(|load| load.one),
            processor_mhz: processor.map(|cpu| cpu.frequency()).filter(|mhz| *mhz > 0),
            device: device.name.clone(),
            driver: device.driver.clone(),
            software: device.software,
            nvml: meter.as_ref().ok().map(gpu),
            no_energy: match meter {
                Ok(meter) => meter.no_energy.clone(),
                Err(why) => Some(why.clone()),
            },
        }
    }
}

impl Environment {
    /// Whether others want the cores that the measurement needs.
    pub fn busy(&self) -> bool {
        self.load.is_some_and(|load| load > self.cores as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_it_is() {
        let device = Hardware { name: "CPU, 2 threads".to_string(), ..Hardware::default() };
        let found = Environment::new(&device, &Err("no meter".to_string()));
        assert!(found.cores > 0 && found.date.ends_with('Z'), "{found:?}");
        assert!(found.date.parse::<Timestamp>().is_ok());
        assert!(!found.git.is_empty() && !found.git.contains('/'), "{}", found.git);
        assert_eq!(found.no_energy.as_deref(), Some("no meter"));
        for (load, busy) in [(None, false), (Some(0.5), false), (Some(1e6), true)] {
            assert_eq!(Environment { load, ..found.clone() }.busy(), busy, "{load:?}");
        }
        assert_eq!((found.device, found.nvml), (device.name, None));
    }
}
