//! The listing for people: a table of all devices, a block for each, and what was measured.

use super::super::table::table;
use super::{Info, Listed};
use std::fmt::Write as _;
use unnoise::backend::cuda::DeviceInfo;
use unnoise::backend::roofline::Kept;
use unnoise::backend::timeline::Clock;
use unnoise::backend::wgpu::AdapterInfo;

/// Columns of a terminal that everything fits into, but for long names.
const WIDTH: usize = 100;
/// Where the facts of a block begin.
const INDENT: usize = 14;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

/// `no_cuda` says why there is no CUDA device.
pub fn of(devices: &[Listed], no_cuda: Option<&str>) -> String {
    let head = ["--device", "name", "backend", "type", "f16", "subgroup", "matrix"];
    let mut lines = vec![head.map(String::from)];
    lines.extend(devices.iter().map(line));
    let mut text = table(&lines);
    for taken in devices.iter().filter(|listed| listed.auto) {
        let why = taken.auto_reason.as_deref().unwrap_or_default();
        let _ = writeln!(text, "\n--device auto takes {}: {why}", taken.device);
    }
    if devices.iter().any(|listed| matches!(listed.info, Info::Cuda(_))) {
        text += "CUDA is taken where it is named, not by auto\n";
    }
    if !devices.iter().any(|listed| matches!(listed.info, Info::Wgpu(_))) {
        text += "no GPU adapter; a Vulkan driver (mesa-vulkan-drivers on Debian) makes one\n";
    }
    if let Some(why) = no_cuda {
        let _ = writeln!(text, "{why}");
    }
    devices.iter().for_each(|listed| text += &block(listed));
    text + &rooflines(devices)
}

fn line(listed: &Listed) -> [String; 7] {
    let yes = |there| if there { "yes" } else { "no" };
    let rest = match &listed.info {
        Info::Wgpu(a) => [
            a.name.clone(),
            a.backend.clone(),
            if a.software { "software" } else { a.device_type }.to_string(),
            yes(a.f16).to_string(),
            a.subgroup_sizes.map_or("no".into(), |[low, high]| format!("{low}-{high}")),
            match (a.matrix, a.matrix_denied) {
                (Some(side), _) => format!("{side}x{side}"),
                (None, Some(_)) => "denied".to_string(),
                (None, None) => "no".to_string(),
            },
        ],
        Info::Cuda(d) => [&*d.name, "cuda", "gpu", "yes", "32-32", "mma"].map(String::from),
        Info::Cpu(p) => [&*p.name, "cpu", "cpu", "no", "no", "no"].map(String::from),
    };
    let [name, backend, kind, f16, subgroup, matrix] = rest;
    [listed.device.clone(), name, backend, kind, f16, subgroup, matrix]
}

/// The rest of what is known of a device.
fn block(listed: &Listed) -> String {
    let name = match &listed.info {
        Info::Wgpu(adapter) => &adapter.name,
        Info::Cuda(device) => &device.name,
        Info::Cpu(processor) => &processor.name,
    };
    let mut text = format!("\n{}  {name}\n", listed.device);
    for (label, facts) in facts(&listed.info) {
        text += &wrapped(label, &facts);
    }
    text += &wrapped("profile", &[profiled(listed)]);
    text
}

/// Labels with what belongs to each.
fn facts(info: &Info) -> Vec<(&'static str, Vec<String>)> {
    match info {
        Info::Wgpu(a) => vec![
            ("driver", vec![a.driver.clone()]),
            ("matrices", matrices(a)),
            ("timestamps", or_none(a.timestamps.iter().map(ToString::to_string).collect())),
            ("limits", limits(a)),
        ],
        Info::Cuda(d) => cuda_facts(d),
        Info::Cpu(p) => vec![(
            "processor",
            vec![format!("{} threads", p.threads), format!("vectors of {} bits", p.vector_bits)],
        )],
    }
}

fn cuda_facts(d: &DeviceInfo) -> Vec<(&'static str, Vec<String>)> {
    let chip = vec![
        format!("compute capability {}.{}", d.capability / 10, d.capability % 10),
        format!("{} processors", d.processors),
    ];
    let memory = vec![
        format!("{:.0} MiB", d.memory_bytes as f64 / MIB),
        format!("{:.0} KiB workgroup memory", f64::from(d.workgroup_memory_bytes) / KIB),
    ];
    let matrices = d.matrices.iter().map(|words| format!("{words} by mma.sync")).collect();
    vec![
        ("driver", vec![format!("CUDA {}", d.driver)]),
        ("chip", chip),
        ("matrices", matrices),
        ("memory", memory),
    ]
}

/// Every cooperative matrix of an adapter, and which of them kernels use.
fn matrices(a: &AdapterInfo) -> Vec<String> {
    if a.matrices.is_empty() {
        return or_none(Vec::new());
    }
    let verdict = match (a.matrix, a.matrix_denied) {
        (Some(side), _) => format!("used: {side}x{side}x{side} f16 f32"),
        (None, Some(why)) => format!("not used: {why}"),
        (None, None) => {
            "not used: kernels need f16, subgroups, and 8x8x8 or 16x16x16 f16 f32".to_string()
        }
    };
    a.matrices.iter().cloned().chain([verdict]).collect()
}

fn limits(a: &AdapterInfo) -> Vec<String> {
    vec![
        format!("{:.0} MiB a binding", a.max_binding_bytes as f64 / MIB),
        format!("{:.0} MiB a buffer", a.max_buffer_bytes as f64 / MIB),
        format!("{:.0} KiB workgroup memory", f64::from(a.workgroup_memory_bytes) / KIB),
        format!("{} threads a workgroup", a.workgroup_threads),
        format!("{} storage buffers", a.storage_buffers),
        format!("{}immediates", if a.immediates { "" } else { "cannot run kernels: no " }),
    ]
}

fn or_none(words: Vec<String>) -> Vec<String> {
    if words.is_empty() { vec!["none".to_string()] } else { words }
}

/// What a profile times launches by.
fn profiled(listed: &Listed) -> String {
    let by = match listed.clock {
        Some(Clock::Host) => "by the host's clock around each launch",
        Some(Clock::InsidePasses) => "by timestamps inside passes",
        Some(Clock::Passes) => "by timestamps of passes, one for each launch",
        Some(Clock::Events) => "by events between launches",
        None => "no launch can be timed",
    };
    by.to_string()
}

/// A label and words with commas, in lines that begin below each other.
fn wrapped(label: &str, words: &[String]) -> String {
    let mut lines = vec![String::new()];
    for (i, word) in words.iter().enumerate() {
        let word = if i + 1 < words.len() { format!("{word},") } else { word.clone() };
        match lines.last_mut() {
            Some(line) if line.is_empty() => *line = word,
            Some(line) if INDENT + line.len() + 1 + word.len() <= WIDTH => {
                *line += &format!(" {word}");
            }
            _ => lines.push(word),
        }
    }
    let text = lines.join(&format!("\n{:INDENT$}", ""));
    format!("{:INDENT$}{text}\n", format!("  {label}"))
}

/// What devices do at most, as far as that was measured.
fn rooflines(devices: &[Listed]) -> String {
    let known = || devices.iter().filter_map(|d| Some((d, d.peak.as_ref()?)));
    if known().next().is_none() {
        return "\nwhat a device does at most is not measured yet: unnoise devices --measure\n"
            .to_string();
    }
    let head = [
        "--device",
        "GB/s",
        "GFLOP/s f32",
        "f16",
        "matrix f16",
        "matrix bf16",
        "launch us",
        "measured",
    ];
    let mut lines = vec![head.map(String::from)];
    lines.extend(known().map(|(listed, kept)| roofline(listed, kept)));
    let mut text = format!("\n{}", table(&lines));
    for (listed, _) in known().filter(|(listed, _)| listed.info.is_software()) {
        let _ = writeln!(
            text,
            "{} is a software driver: its figures are the processor's, not those of a GPU",
            listed.device
        );
    }
    text
}

fn roofline(listed: &Listed, kept: &Kept) -> [String; 8] {
    let rate = |rate: Option<f64>| rate.map_or("-".to_string(), significant);
    let doubt = if kept.peak.is_settled() { "" } else { ", not settled" };
    [
        listed.device.clone(),
        rate(Some(kept.peak.gbps)),
        rate(Some(kept.peak.gflops_f32)),
        rate(kept.peak.gflops_f16),
        rate(kept.peak.gflops_matrix_f16),
        rate(kept.peak.gflops_matrix_bf16),
        rate(Some(kept.peak.launch_us)),
        format!("{}{doubt}", kept.measured),
    ]
}

/// Three digits, or all of a larger number.
fn significant(v: f64) -> String {
    let decimals = (2 - v.abs().log10().floor() as i32).clamp(0, 3) as usize;
    format!("{v:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let cases = [(1234.5, "1234"), (123.45, "123"), (12.345, "12.3"), (0.04567, "0.046")];
        for (v, words) in cases {
            assert_eq!(significant(v), words);
        }
    }

    #[test]
    fn long_lists_are_broken_into_lines() {
        let words = vec!["16x16x16 f16 f32".to_string(); 12];
        let text = wrapped("matrices", &words);
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().count() > 1, "{text}");
        assert_eq!(text.matches("16x16x16").count(), 12);
        assert!(text.starts_with("  matrices    16x16x16 f16 f32, "), "{text}");
        assert_eq!(wrapped("a", &["b".to_string()]), "  a           b\n");
    }
}
