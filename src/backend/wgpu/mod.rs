//! Vulkan, Metal and DirectX 12 (and OpenGL, where nothing else is there) through wgpu.
//!
//! [`Wgpu::prepare`] makes every pipeline, buffer and bind group; a run records the whole
//! trajectory ahead of the device and submits it in bounded chunks.

mod adapters;
mod compiled;
mod flight;
mod gpu;
mod matrix;
mod measure;
mod pipeline;
mod prepare;
mod record;
pub mod reflect;
mod run;
mod stamps;

pub use adapters::{AdapterInfo, Adapters, adapters};

use super::tune::{Identity, Tuning};
use super::{Backend, Hardware, Room, Session, Settings, WeightSource};
use crate::error::{Error, Result};
use crate::program::Program;
use crate::tensor::DType;
use gpu::Gpu;
use std::cmp::Reverse;

/// An open wgpu device.
pub struct Wgpu {
    gpu: Gpu,
    tuning: Tuning,
}

impl Wgpu {
    /// Opens adapter `index` of `adapters`, or the best there is: a software one only if it is
    /// the only one.
    ///
    /// # Errors
    /// `Error::Invalid` if there is no such adapter or it cannot run the kernels, `Error::Device`
    /// if it does not open.
    pub fn open(adapters: &Adapters, index: Option<usize>) -> Result<Wgpu> {
        Wgpu::open_with(adapters, index, &Settings::default())
    }

    /// The same with settings.
    pub fn open_with(
        adapters: &Adapters,
        index: Option<usize>,
        settings: &Settings,
    ) -> Result<Wgpu> {
        let info = choose(&adapters.infos, index)?.clone();
        let gpu = Gpu::open(&adapters.handles[info.index], info, settings)?;
        Ok(Wgpu { gpu, tuning: settings.tuning.clone() })
    }

    /// The same device and its compiled kernels with another choice of tiles.
    pub fn with_tuning(&self, tuning: Tuning) -> Wgpu {
        Wgpu { gpu: self.gpu.clone(), tuning }
    }

    /// The adapter that is open.
    pub fn adapter(&self) -> &AdapterInfo {
        &self.gpu.info
    }
}

/// The adapter `index`, or the one of the highest rank that can run the kernels.
fn choose(infos: &[AdapterInfo], index: Option<usize>) -> Result<&AdapterInfo> {
    let list = || infos.iter().map(AdapterInfo::words).collect::<Vec<_>>().join(", ");
    let Some(best) = infos.iter().filter(|i| i.immediates).min_by_key(|i| Reverse(i.rank())) else {
        return Err(Error::invalid(
            "--device wgpu",
            "an adapter with immediates (push constants)",
            if infos.is_empty() { "no adapter".to_string() } else { list() },
            "install the GPU's Vulkan driver (or mesa-vulkan-drivers), or use --device cpu",
        ));
    };
    let Some(index) = index else { return Ok(best) };
    let Some(info) = infos.get(index) else {
        return Err(Error::invalid(
            format!("--device wgpu:{index}"),
            format!("one of the adapters {}", list()),
            index.to_string(),
            "give one of these numbers",
        ));
    };
    if !info.immediates {
        return Err(Error::invalid(
            format!("--device wgpu:{index}"),
            "an adapter with immediates (push constants)",
            info.words(),
            format!("use --device wgpu:{}", best.index),
        ));
    }
    Ok(info)
}

impl Backend for Wgpu {
    fn name(&self) -> &'static str {
        "wgpu"
    }

    fn device(&self) -> String {
        let info = &self.gpu.info;
        format!("{} ({}, {})", info.name, info.backend, info.driver)
    }

    fn identity(&self) -> Identity {
        self.gpu.info.identity()
    }

    fn hardware(&self) -> Hardware {
        let AdapterInfo { name, driver, pci, software, .. } = self.adapter().clone();
        Hardware { name, driver: Some(driver), pci, software }
    }

    fn supports(&self, dtype: DType) -> bool {
        match dtype {
            DType::F32 | DType::U32 => true,
            DType::F16 => self.gpu.info.f16,
            DType::BF16 => false,
        }
    }

    /// f16 where hardware has it: half the bytes. A software driver only emulates it.
    fn preferred(&self) -> DType {
        let f16 = self.supports(DType::F16) && !self.gpu.info.software;
        if f16 { DType::F16 } else { DType::F32 }
    }

    /// An adapter tells only how large a buffer may be; one that has no memory of its own has that
    /// of the machine.
    fn room(&self) -> Result<Option<Room>> {
        let shared = ["cpu", "integrated"].contains(&self.gpu.info.device_type);
        Ok(if shared { Room::of_machine() } else { None })
    }

    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>> {
        Ok(Box::new(prepare::prepare(&self.gpu, &self.tuning, program, weights)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(index: usize, device_type: &'static str, immediates: bool) -> AdapterInfo {
        AdapterInfo {
            index,
            name: format!("adapter {index}"),
            backend: "vulkan".to_string(),
            driver: String::new(),
            device_type,
            software: device_type == "cpu",
            pci: None,
            f16: true,
            subgroup_sizes: None,
            matrices: Vec::new(),
            matrix: None,
            matrix_denied: None,
            immediates,
            timestamps: Vec::new(),
            max_binding_bytes: 1 << 27,
            max_buffer_bytes: 1 << 28,
            workgroup_memory_bytes: 1 << 15,
            workgroup_threads: 256,
            storage_buffers: 8,
        }
    }

    #[test]
    fn the_best_adapter_is_the_first_of_the_highest_rank() {
        let infos = [
            info(0, "cpu", true),
            info(1, "integrated", true),
            info(2, "discrete", false),
            info(3, "discrete", true),
            info(4, "discrete", true),
        ];
        assert_eq!(choose(&infos, None).unwrap().index, 3);
        assert_eq!(choose(&infos[..1], None).unwrap().index, 0);
        assert_eq!(choose(&infos, Some(1)).unwrap().index, 1);
    }

    #[test]
    fn what_cannot_be_opened_is_explained() {
        let infos = [info(0, "cpu", true), info(1, "integrated", false)];
        let message = |index| choose(&infos, index).unwrap_err().to_string();
        assert!(message(Some(7)).contains("wgpu:0 adapter 0"), "{}", message(Some(7)));
        assert!(message(Some(1)).contains("--device wgpu:0"), "{}", message(Some(1)));
        let message = choose(&[], None).unwrap_err().to_string();
        assert!(message.contains("mesa-vulkan-drivers"), "{message}");
    }
}
