//! `unnoise devices`: what there is to run on, which of it `--device auto` takes, and what was
//! measured of it.

mod measure;
mod words;

use super::args::DevicesArgs;
use super::{print, print_json, say, session};
use measure::Rooflines;
use serde::Serialize;
use unnoise::backend::cpu::Processor;
use unnoise::backend::cuda::{self, DeviceInfo};
use unnoise::backend::roofline::Kept;
use unnoise::backend::select::{Auto, DeviceSpec};
use unnoise::backend::timeline::Clock;
use unnoise::backend::tune::{self, Identity};
use unnoise::backend::wgpu::{self, AdapterInfo};
use unnoise::error::Result;

/// What a device says of itself: `backend` tells which it is.
#[derive(Serialize)]
#[serde(untagged)]
enum Info {
    Wgpu(AdapterInfo),
    Cuda(DeviceInfo),
    Cpu(Processor),
}

impl Info {
    fn spec(&self) -> DeviceSpec {
        match self {
            Info::Wgpu(adapter) => DeviceSpec::Wgpu(Some(adapter.index)),
            Info::Cuda(device) => DeviceSpec::Cuda(Some(device.index)),
            Info::Cpu(_) => DeviceSpec::Cpu,
        }
    }

    fn identity(&self) -> Identity {
        match self {
            Info::Wgpu(adapter) => adapter.identity(),
            Info::Cuda(device) => device.identity(),
            Info::Cpu(processor) => processor.identity(),
        }
    }

    fn clock(&self) -> Option<Clock> {
        match self {
            Info::Wgpu(adapter) => adapter.clock(),
            Info::Cuda(device) => Some(device.clock()),
            Info::Cpu(_) => Some(Clock::Host),
        }
    }

    fn is_software(&self) -> bool {
        matches!(self, Info::Wgpu(adapter) if adapter.software)
    }
}

/// An element of `devices --json`.
#[derive(Serialize)]
struct Listed {
    /// What `--device` takes.
    device: String,
    #[serde(flatten)]
    info: Info,
    /// How a profile times launches.
    clock: Option<Clock>,
    /// Whether `--device auto` takes it, and why.
    auto: bool,
    auto_reason: Option<String>,
    /// What it does at most, where that was measured.
    peak: Option<Kept>,
}

impl Listed {
    fn new(info: Info, auto: &Auto, peak: Option<Kept>) -> Listed {
        let taken = auto.adapter.map_or(DeviceSpec::Cpu, |index| DeviceSpec::Wgpu(Some(index)));
        let auto = (info.spec() == taken).then(|| auto.why.clone());
        Listed {
            device: info.spec().to_string(),
            clock: info.clock(),
            auto: auto.is_some(),
            auto_reason: auto,
            peak,
            info,
        }
    }
}

pub fn run(args: &DevicesArgs) -> Result<()> {
    let named = args.device.as_deref().map(str::parse).transpose()?;
    let (adapters, cuda) = (wgpu::adapters(), cuda::devices());
    let auto = Auto::of(&adapters);
    let (gpus, no_cuda) = match cuda {
        Ok(gpus) => (gpus, None),
        Err(why) => (Vec::new(), Some(why.to_string())),
    };
    let infos = adapters.into_iter().map(Info::Wgpu).chain(gpus.into_iter().map(Info::Cuda));
    let infos: Vec<Info> = infos.chain([Info::Cpu(Processor::find())]).collect();
    let mut rooflines = Rooflines::new(tune::folder());
    if args.measure {
        let stop = session::stop_on_ctrl_c(false)?;
        match named {
            Some(spec) => rooflines.measure(&spec, &stop)?,
            None => rooflines.measure_all(infos.iter().map(Info::spec), &stop)?,
        }
    }
    let listed = infos.into_iter().map(|info| {
        let peak = rooflines.of(&info.identity());
        Listed::new(info, &auto, peak)
    });
    let listed: Vec<Listed> = listed.collect();
    rooflines.notes.iter().for_each(|note| say(&format!("note: {note}")));
    match args.list.json {
        true => print_json(&listed),
        false => print(&words::of(&listed, no_cuda.as_deref())),
    }
}
