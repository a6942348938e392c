//! The dispatches of launches: variants, parameters, bind groups, grids.

use super::gpu::Gpu;
use super::pipeline::Pipeline;
use super::prepare::{Storage, padded};
use super::reflect::Bound;
use super::run::Dispatch;
use crate::backend::grid::workgroups;
use crate::backend::source::Variant;
use crate::backend::tune::Tuned;
use crate::backend::work::Work;
use crate::error::Result;
use crate::ops::{Part, Tile};
use crate::program::{Launch, Program};
use wgpu::{BindGroupEntry, BindingResource, Buffer, BufferUsages};

/// Makes the bind groups of launches; their parameters lie in one uniform buffer.
pub(super) struct Recorder<'a> {
    gpu: &'a Gpu,
    program: &'a Program,
    slots: &'a [Storage],
    work: &'a Work<'a>,
    params: Buffer,
    /// As large as the largest need. One serves all: launches run in order.
    partial: Buffer,
}

impl<'a> Recorder<'a> {
    /// For launches cut as was chosen, or for any candidate.
    pub fn new(
        gpu: &'a Gpu,
        program: &'a Program,
        slots: &'a [Storage],
        work: &'a Work<'a>,
        tuned: Option<&Tuned>,
    ) -> Self {
        let buffer = |label, size, usage| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: usage | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let launches = work.launches.len().max(1) as u64;
        let params = buffer("params", launches * Self::stride(gpu), BufferUsages::UNIFORM);
        for (i, cut) in work.launches.iter().enumerate() {
            let offset = i as u64 * Self::stride(gpu);
            gpu.queue.write_buffer(&params, offset, &params_of(cut.launch));
        }
        let partial = padded(work.partial_bytes(tuned));
        let partial = buffer("partial", partial, BufferUsages::STORAGE);
        Recorder { gpu, program, slots, work, params, partial }
    }

    /// Bytes from one launch's parameters to the next.
    fn stride(gpu: &Gpu) -> u64 {
        256_u64.next_multiple_of(gpu.device.limits().min_uniform_buffer_offset_alignment as u64)
    }

    /// The dispatches of launch `index`, cut as `tile`.
    pub fn launch(&self, index: usize, tile: Option<Tile>) -> Result<Vec<Dispatch>> {
        let cut = &self.work.launches[index];
        let variants = cut.variants(tile).into_iter().map(|v| (v, cut.launch.call));
        let variants: Vec<_> = variants.collect();
        let pipelines = self.gpu.pipelines.all(self.gpu, &variants)?;
        let dispatches = pipelines.iter().zip(&variants);
        dispatches.map(|(pipeline, (variant, _))| self.dispatch(index, variant, pipeline)).collect()
    }

    fn dispatch(&self, index: usize, variant: &Variant, pipeline: &Pipeline) -> Result<Dispatch> {
        let last = variant.part != Part::Partial;
        let launch = self.work.launches[index].launch;
        let resource = |buffer| match buffer {
            Bound::Params => BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.params,
                offset: index as u64 * Self::stride(self.gpu),
                size: wgpu::BufferSize::new(params_of(launch).len() as u64),
            }),
            Bound::Partial => self.partial.as_entire_binding(),
            Bound::Arg(arg) => match launch.args[arg] {
                Some(id) => self.slots[id.0].binding(),
                None => unreachable!("a kernel binds only what its variant has"),
            },
        };
        let bindings = pipeline.kernel.bindings.iter();
        let entries: Vec<_> = bindings
            .map(|b| BindGroupEntry { binding: b.number, resource: resource(b.buffer) })
            .collect();
        let bind_group = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&launch.layer),
            layout: &pipeline.layout,
            entries: &entries,
        });
        let most = self.gpu.device.limits().max_compute_workgroups_per_dimension;
        let bytes = launch.args.iter().enumerate().filter_map(|(i, slot)| {
            Some(launch.call.elements(i) * self.program.slots[(*slot)?.0].dtype.size())
        });
        // What a launch costs counts once, whatever its dispatches.
        let once = if last { 1.0 } else { 0.0 };
        Ok(Dispatch {
            pipeline: pipeline.pipeline.clone(),
            bind_group,
            grid: folded(workgroups(&launch.call, variant, false, &pipeline.kernel)?, most),
            last,
            flops: once * launch.call.flops() as f64,
            bytes: once * bytes.sum::<usize>() as f64,
        })
    }
}

/// Workgroups in x and y, at most `most` in each. A long grid is folded, so that `x * y` may pass
/// the number of workgroups; kernels leave when theirs lies past the end.
fn folded(workgroups: u64, most: u32) -> [u32; 2] {
    let y = workgroups.div_ceil(most as u64);
    [workgroups.div_ceil(y) as u32, y as u32]
}

/// The parameters as a uniform buffer holds them.
fn params_of(launch: &Launch) -> Vec<u8> {
    let mut params = launch.call.params().to_vec();
    params.resize(params.len().next_multiple_of(16), 0);
    params
}
