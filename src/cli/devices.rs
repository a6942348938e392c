//! `unnoise devices`: what there is to run on.

use super::args::ListArgs;
use super::table::table;
use super::{print, print_json};
use unnoise::backend::wgpu::{self, AdapterInfo};
use unnoise::error::Result;

const MIB: f64 = (1u64 << 20) as f64;

pub fn run(args: &ListArgs) -> Result<()> {
    let adapters = wgpu::adapters();
    if args.json {
        return print_json(&adapters);
    }
    let head =
        ["--device", "name", "backend", "driver", "type", "f16", "subgroup", "matrix", "binding"];
    let mut lines = vec![head.map(String::from)];
    lines.extend(adapters.iter().map(line));
    let note = match adapters.len() {
        0 => "no GPU adapter; a Vulkan driver (mesa-vulkan-drivers on Debian) makes one",
        _ => "limits and features in full: unnoise devices --json",
    };
    print(&format!("{}\n{note}\n--device cpu is always there", table(&lines)))
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
