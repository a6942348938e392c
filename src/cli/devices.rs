//! `unnoise devices`: what there is to run on.

use super::args::ListArgs;
use super::table::table;
use super::{print, print_json};
use serde::Serialize;
use unnoise::backend::cuda::{self, DeviceInfo};
use unnoise::backend::wgpu::{self, AdapterInfo};
use unnoise::error::Result;

const MIB: f64 = (1u64 << 20) as f64;

/// An element of `devices --json`: `backend` tells which.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed<'a> {
    Wgpu(&'a AdapterInfo),
    Cuda(&'a DeviceInfo),
}

pub fn run(args: &ListArgs) -> Result<()> {
    let (adapters, cuda) = (wgpu::adapters(), cuda::devices());
    let gpus = cuda.as_deref().unwrap_or_default();
    if args.json {
        let adapters = adapters.iter().map(Listed::Wgpu);
        return print_json(&adapters.chain(gpus.iter().map(Listed::Cuda)).collect::<Vec<_>>());
    }
    let head =
        ["--device", "name", "backend", "driver", "type", "f16", "subgroup", "matrix", "binding"];
    let mut lines = vec![head.map(String::from)];
    lines.extend(adapters.iter().map(line));
    let mut text = table(&lines);
    if adapters.is_empty() {
        text += "no GPU adapter; a Vulkan driver (mesa-vulkan-drivers on Debian) makes one\n";
    }
    match &cuda {
        Ok(gpus) => {
            let head = ["--device", "name", "driver", "capability", "processors", "memory"];
            let mut lines = vec![head.map(String::from)];
            lines.extend(gpus.iter().map(cuda_line));
            text += &format!("\n{}", table(&lines));
        }
        Err(why) => text += &format!("{why}\n"),
    }
    text += "limits and features in full: unnoise devices --json\n";
    print(&format!("{text}--device cpu is always there"))
}

fn cuda_line(device: &DeviceInfo) -> [String; 6] {
    [
        format!("cuda:{}", device.index),
        device.name.clone(),
        format!("CUDA {}", device.driver),
        format!("{}.{}", device.capability / 10, device.capability % 10),
        device.processors.to_string(),
        format!("{:.0} MiB", device.memory_bytes as f64 / MIB),
    ]
}

fn line(adapter: &AdapterInfo) -> [String; 9] {
    let software = if adapter.software { " (software)" } else { "" };
    [
        format!("wgpu:{}", adapter.index),
        adapter.name.to_string(),
        adapter.backend.to_string(),
        adapter.driver.to_string(),
        format!("{}{software}", adapter.device_type),
        if adapter.f16 { "yes" } else { "no" }.to_string(),
        adapter.subgroup_sizes.map_or("no".into(), |[low, high]| format!("{low}-{high}")),
        match (adapter.matrix, adapter.matrix_denied) {
            (Some(side), _) => format!("{side}x{side}"),
            (None, Some(_)) => "denied".to_string(),
            (None, None) => "no".to_string(),
        },
        format!("{:.0} MiB", adapter.max_binding_bytes as f64 / MIB),
    ]
}
