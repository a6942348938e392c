//! Profiles made by hand, for what is written of them.

use unnoise::backend::roofline::Peak;
use unnoise::backend::timeline::{Clock, Phase};
use unnoise::profile::{About, HostSpan, Launch, Profile};

/// Names that a page must show as they are and a trace must bring through.
pub const HOSTILE: [&str; 5] = [
    "a</script><script>document.documentElement.dataset.errors='ran'</script>",
    "<img src=x onerror=\"document.documentElement.dataset.errors='ran'\">",
    "b & c &amp; \"d\" 'e' \\u003c <!-- /*data*/ /*script*/",
    "Straße.блок.0.注意力.🙂",
    "x\u{2028}y\u{2029}z\u{7f}\u{202e}w",
];

fn peak() -> Peak {
    Peak {
        gbps: 500.0,
        gflops_f32: 12_000.0,
        gflops_f16: Some(40_000.0),
        gflops_matrix_f16: None,
        gflops_matrix_bf16: None,
        launch_us: 2.0,
        spread: 0.0,
    }
}

/// Kernels of one evaluation in turn, with operations and bytes of a launch.
const KERNELS: [(&str, u64, u64); 11] = [
    ("conv2d", 604_000_000, 9_400_000),
    ("conv2d", 302_000_000, 6_300_000),
    ("linear", 50_300_000, 1_100_000),
    ("attention", 134_000_000, 800_000),
    ("group_norm", 1_600_000, 4_200_000),
    ("activation", 260_000, 2_100_000),
    ("conv2d", 38_000_000, 900_000),
    ("time_embedding", 0, 66_000),
    ("solver_step", 90_000, 1_200_000),
    ("guidance", 12_000, 300_000),
    ("resample", 20_000, 800_000),
];

/// A launch that takes a while longer than its floor.
fn launch(step: Option<usize>, i: usize, start_us: f64) -> Launch {
    let (kernel, flops, bytes) = KERNELS[i % KERNELS.len()];
    let floor = peak().floor(flops, bytes, None);
    // Later steps are a little faster, and no two launches take the same.
    let slower = 1.4 + 0.37 * ((i * 7) % 5) as f64 + 0.4 / (1.0 + step.unwrap_or(0) as f64);
    let us = (floor.us * slower * 1e3).round() / 1e3;
    let side = ["down_blocks", "mid_block", "up_blocks"][i / KERNELS.len() % 3];
    Launch {
        step,
        kernel,
        layer: format!("{side}.{}.resnets.{}.conv{}", i / 4 % 4, i / 2 % 2, 1 + i % 2),
        tile: (kernel == "conv2d").then(|| "tiled 64x64".to_string()),
        start_us,
        us,
        least_us: us * 0.97,
        flops,
        bytes,
        floor: Some(floor),
    }
}

/// What the host does in a run of a device that is at work for `total_us` from `offset_us` on.
fn host(offset_us: f64, total_us: f64) -> Vec<HostSpan> {
    let span = |phase, start_us, us| HostSpan { phase, start_us, us };
    vec![
        span(Phase::Upload, 0.0, 0.4 * offset_us),
        span(Phase::Encode, 0.4 * offset_us, 0.4 * offset_us),
        span(Phase::Submit, 0.8 * offset_us, 0.2 * offset_us),
        span(Phase::Encode, offset_us, 0.3 * total_us),
        span(Phase::Submit, offset_us + 0.3 * total_us, 0.02 * total_us),
        span(Phase::Wait, offset_us + 0.32 * total_us, 0.69 * total_us),
        span(Phase::Download, offset_us + 1.01 * total_us, 0.02 * total_us),
    ]
}

/// A run of `steps` steps of `launches` launches behind a prologue of three, each third behind a
/// gap.
pub fn example(steps: usize, launches: usize) -> Profile {
    let (mut all, mut at, mut gaps): (Vec<Launch>, f64, f64) = (Vec::new(), 0.0, 0.0);
    let rows = std::iter::once((None, 3)).chain((0..steps).map(|step| (Some(step), launches)));
    for (step, i) in rows.flat_map(|(step, n)| (0..n).map(move |i| (step, i))) {
        if !all.is_empty() && i % 3 == 0 {
            gaps += 0.75;
            at += 0.75;
        }
        all.push(launch(step, i, at));
        at += all[all.len() - 1].us;
    }
    Profile {
        clock: Clock::Passes,
        launches: all,
        host: host(180.0, at),
        offset_us: [179.0, 181.0],
        total_us: at,
        gaps_us: gaps,
        encode_us: 72.0 + 0.3 * at,
        submit_us: 36.0 + 0.02 * at,
        wall_us: 180.0 + 1.03 * at,
        runs: 5,
        profiled_us: 180.0 + 1.03 * at,
        unprofiled_us: 170.0 + 1.01 * at,
        peak: Some(peak()),
    }
}

/// Two steps whose layers, and a kernel, have names that are code elsewhere.
pub fn hostile() -> Profile {
    let mut profile = example(2, 11);
    for (launch, name) in profile.launches.iter_mut().skip(3).zip(HOSTILE.iter().cycle()) {
        launch.layer = name.to_string();
        launch.tile = Some(name.to_string());
    }
    profile.launches[4].kernel = HOSTILE[1];
    profile
}

pub fn about() -> About {
    let words = [
        ("model", "google/ddpm-cifar10-32"),
        ("device", "wgpu:0 Example GPU (Vulkan)"),
        ("precision", "f32"),
        ("solver", "ddim"),
        ("steps", "50"),
        ("batch", "16"),
        ("seed", "0"),
    ];
    About { words: words.map(|(k, v)| (k, v.to_string())).to_vec(), compile_us: 1_234_567.0 }
}
