//! The adapters of this machine, and what they can do.

use super::matrix;
use crate::backend::source::{self, Language};
use crate::backend::timeline::Clock;
use crate::backend::tune::Identity;
use crate::ops::Facts;
use serde::Serialize;
use wgpu::{Adapter, Backends, DeviceType, Features, Instance};

/// One adapter, as `unnoise devices` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdapterInfo {
    /// N of `wgpu:N`.
    pub index: usize,
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: String,
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub device_type: &'static str,
    /// Whether it is a driver that runs on the processor.
    pub software: bool,
    /// `domain:bus:device.function`, where the driver tells.
    pub pci: Option<String>,
    pub f16: bool,
    /// Smallest and largest subgroup; none without subgroup operations.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// Cooperative matrices, `16x16x16 f16 f32`: rows x columns x depth, operands, sums.
    pub matrices: Vec<String>,
    /// Side of those that kernels use, and why not, where there are some.
    pub matrix: Option<u32>,
    pub matrix_denied: Option<&'static str>,
    /// Whether launches can carry a few bytes of their own: required.
    pub immediates: bool,
    /// Where timestamps can be taken: `passes`, `encoders`, `inside passes`.
    pub timestamps: Vec<&'static str>,
    /// Bytes of one buffer as a kernel sees it, and of one allocation.
    pub max_binding_bytes: u64,
    pub max_buffer_bytes: u64,
    pub workgroup_memory_bytes: u32,
    pub workgroup_threads: u32,
    pub storage_buffers: u32,
}

/// The adapters of this machine, looked for once: that takes a driver its time. Indices are those
/// of `wgpu:N`.
pub struct Adapters {
    pub(super) handles: Vec<Adapter>,
    pub infos: Vec<AdapterInfo>,
}

impl Adapters {
    /// Looks for them.
    pub fn find() -> Adapters {
        let handles = found();
        let infos = handles.iter().enumerate().map(|(i, adapter)| describe(i, adapter)).collect();
        Adapters { handles, infos }
    }
}

/// What [`Adapters::find`] knows of them.
pub fn adapters() -> Vec<AdapterInfo> {
    Adapters::find().infos
}

/// Vulkan, Metal and DirectX 12 adapters; those of OpenGL, which know less, if there is no other.
fn found() -> Vec<Adapter> {
    let adapters = |backends| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = backends;
        descriptor.flags = wgpu::InstanceFlags::empty();
        let found = Instance::new(descriptor).enumerate_adapters(backends);
        pollster::block_on(found)
    };
    let first = adapters(Backends::PRIMARY);
    if first.is_empty() { adapters(Backends::GL) } else { first }
}

/// What a kernel with cooperative matrices uses.
const MATRICES: Features =
    Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(Features::SUBGROUP).union(Features::SHADER_F16);

fn describe(index: usize, adapter: &Adapter) -> AdapterInfo {
    let info = adapter.get_info();
    let features = adapter.features();
    let limits = adapter.limits();
    let timestamps = [
        (Features::TIMESTAMP_QUERY, "passes"),
        (Features::TIMESTAMP_QUERY_INSIDE_ENCODERS, "encoders"),
        (Features::TIMESTAMP_QUERY_INSIDE_PASSES, "inside passes"),
    ];
    let matrices = adapter.cooperative_matrix_properties();
    let matrix_denied = if matrices.is_empty() { None } else { matrix::denied(&info) };
    let usable = features.contains(MATRICES) && matrix_denied.is_none();
    AdapterInfo {
        index,
        matrices: matrices.iter().map(matrix::words).collect(),
        matrix: matrix::side(&matrices).filter(|_| usable),
        matrix_denied,
        name: info.name,
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        device_type: match info.device_type {
            DeviceType::DiscreteGpu => "discrete",
            DeviceType::IntegratedGpu => "integrated",
            DeviceType::VirtualGpu => "virtual",
            DeviceType::Cpu => "cpu",
            DeviceType::Other => "other",
        },
        software: info.device_type == DeviceType::Cpu,
        pci: Some(info.device_pci_bus_id).filter(|id| !id.is_empty()),
        f16: features.contains(Features::SHADER_F16),
        subgroup_sizes: features
            .contains(Features::SUBGROUP)
            .then_some([info.subgroup_min_size, info.subgroup_max_size]),
        immediates: features.contains(Features::IMMEDIATES),
        timestamps: timestamps.iter().filter(|t| features.contains(t.0)).map(|t| t.1).collect(),
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_buffer_bytes: limits.max_buffer_size,
        workgroup_memory_bytes: limits.max_compute_workgroup_storage_size,
        workgroup_threads: limits.max_compute_invocations_per_workgroup,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
    }
}

impl AdapterInfo {
    /// What decides which tiles it can run.
    pub fn facts(&self) -> Facts {
        let [subgroup_min, subgroup_max] = self.subgroup_sizes.unwrap_or_default();
        Facts {
            subgroup_min,
            subgroup_max,
            matrix: self.matrix.unwrap_or(0),
            workgroup_bytes: self.workgroup_memory_bytes,
            threads: self.workgroup_threads,
            software: self.software,
            ..Facts::LEAST
        }
    }

    /// How a profile times launches on it; none where it cannot.
    pub fn clock(&self) -> Option<Clock> {
        let kinds = [("inside passes", Clock::InsidePasses), ("passes", Clock::Passes)];
        kinds.into_iter().find(|(kind, _)| self.timestamps.contains(kind)).map(|(_, clock)| clock)
    }

    /// What measurements of the adapter hold for.
    pub fn identity(&self) -> Identity {
        Identity {
            adapter: self.name.clone(),
            driver: self.driver.clone(),
            sources: source::fingerprint(Language::Wgsl),
        }
    }

    /// Larger is better: discrete, integrated, virtual, unknown, software.
    pub fn rank(&self) -> u32 {
        match self.device_type {
            "discrete" => 4,
            "integrated" => 3,
            "virtual" => 2,
            "other" => 1,
            _ => 0,
        }
    }

    /// `wgpu:0 llvmpipe (vulkan, cpu)`.
    pub fn words(&self) -> String {
        format!("wgpu:{} {} ({}, {})", self.index, self.name, self.backend, self.device_type)
    }
}
