//! Compiled kernels, each made once for a device.

use super::gpu::Gpu;
use super::reflect::{Bound, Kernel};
use crate::backend::source::{self, Variant};
use crate::error::Result;
use crate::lock::locked;
use crate::ops::{Arg, Call, Cursor};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use wgpu::{BindingType, BufferBindingType, ShaderStages};

/// A compiled kernel.
pub(super) struct Pipeline {
    pub kernel: Kernel,
    pub layout: wgpu::BindGroupLayout,
    pub pipeline: wgpu::ComputePipeline,
}

/// The pipelines that a device has.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<HashMap<Variant, Arc<Pipeline>>>);

impl Pipelines {
    /// The pipeline of each variant; missing ones are compiled on all cores.
    pub fn all(&self, gpu: &Gpu, variants: &[(Variant, Call)]) -> Result<Vec<Arc<Pipeline>>> {
        let wanted: HashMap<&Variant, &[Arg]> = {
            let made = locked(&self.0);
            let missing = variants.iter().filter(|(variant, _)| !made.contains_key(variant));
            missing.map(|(variant, call)| (variant, call.args())).collect()
        };
        // An OpenGL context serves one thread at a time, and wgpu gives up on one that waits long.
        let together = if gpu.info.backend == "gl" { wanted.len().max(1) } else { 1 };
        let wanted: Vec<_> = wanted.into_iter().collect();
        let compiled = wanted.into_par_iter().with_min_len(together).map(|(variant, args)| {
            let pipeline = gpu.guarded(|| compile(gpu, variant, args))?;
            Ok((variant.clone(), Arc::new(pipeline)))
        });
        let compiled = compiled.collect::<Result<Vec<_>>>()?;
        let mut made = locked(&self.0);
        made.extend(compiled);
        Ok(variants.iter().map(|(variant, _)| made[variant].clone()).collect())
    }
}

fn compile(gpu: &Gpu, variant: &Variant, args: &[Arg]) -> Result<Pipeline> {
    let kernel = Kernel::parse(variant, args, &source::wgsl(variant, args)?)?;
    let entries: Vec<_> = kernel
        .bindings
        .iter()
        .map(|binding| wgpu::BindGroupLayoutEntry {
            binding: binding.number,
            visibility: ShaderStages::COMPUTE,
            ty: BindingType::Buffer {
                ty: match binding.buffer {
                    Bound::Params => BufferBindingType::Uniform,
                    _ => BufferBindingType::Storage { read_only: binding.read_only },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    let label = Some(variant.op);
    let layout = gpu
        .device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let pipeline_layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: size_of::<Cursor>() as u32,
    });
    let descriptor = wgpu::ShaderModuleDescriptor {
        label,
        source: wgpu::ShaderSource::Naga(Cow::Owned(kernel.module.clone())),
    };
    // SAFETY: the sources are ours and their loops end. They index buffers by parameters, by tables
    // of the program and by the conditions of a run: `Program::validate` and `RunInputs::check`
    // have held all of these to the sizes of the buffers before anything is launched.
    let module = unsafe {
        let checks = wgpu::ShaderRuntimeChecks::unchecked();
        gpu.device.create_shader_module_trusted(descriptor, checks)
    };
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(variant.op),
        compilation_options: wgpu::PipelineCompilationOptions {
            // Every kernel writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: gpu.compiled.as_ref().map(|compiled| &compiled.cache),
    });
    Ok(Pipeline { kernel, layout, pipeline })
}
