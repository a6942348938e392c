//! The dispatches of launches: variants, parameters, bind groups, grids.

use super::gpu::Gpu;
use super::grid::grid;
use super::pipeline::Pipeline;
use super::prepare::{Storage, padded};
use super::reflect::Bound;
use super::run::Dispatch;
use crate::backend::source::Variant;
use crate::backend::tune::{Tuned, class};
use crate::error::Result;
use crate::ops::{Arg, Facts, Part, Tile};
use crate::program::{Launch, Program};
use crate::tensor::DType;
use wgpu::{BindGroupEntry, BindingResource, Buffer, BufferUsages};

/// A launch and the ways to cut it.
pub(super) struct Cut<'a> {
    pub launch: &'a Launch,
    /// The element types of its arguments.
    pub dtypes: Vec<Option<DType>>,
    /// The ways to cut it that fit the device; none for an op without a choice.
    pub candidates: Vec<Tile>,
    /// What it has in common with launches that take the same tile.
    pub class: String,
    /// How often a run launches it.
    pub times: u64,
    /// What the device can do.
    facts: Facts,
}

/// Every launch of a program, prologue first.
pub(super) struct Work<'a> {
    pub launches: Vec<Cut<'a>>,
}

impl<'a> Work<'a> {
    pub fn of(gpu: &Gpu, facts: Facts, program: &'a Program) -> Work<'a> {
        let most = gpu.info.max_binding_bytes.min(gpu.info.max_buffer_bytes);
        let rows = |body| program.rows.iter().filter(|row| row.body == body).count() as u64;
        let bodies = program.bodies.iter().enumerate().flat_map(|(i, body)| {
            let times = rows(i);
            body.launches.iter().map(move |launch| (launch, times))
        });
        let cut = |(launch, times): (&'a Launch, u64)| {
            let dtypes = program.dtypes(launch);
            let mut candidates = launch.call.tiles(&dtypes, &facts);
            candidates.retain(|tile| padded(partial_bytes(launch, tile)) <= most);
            let class = class(&launch.call, &dtypes);
            Cut { launch, dtypes, candidates, class, times, facts }
        };
        let prologue = program.prologue.iter().map(|launch| (launch, 1));
        Work { launches: prologue.chain(bodies).map(cut).collect() }
    }

    /// The classes of the launches, each with its default.
    pub fn classes(&self) -> Tuned {
        let mut tuned = Tuned::default();
        for (i, cut) in self.launches.iter().enumerate() {
            let Cut { launch, candidates, class, times, .. } = cut;
            tuned.add(i, &launch.call, class.clone(), candidates, *times);
        }
        tuned
    }

    /// The variants of all launches, cut as was chosen.
    pub fn variants(&self, tuned: &Tuned) -> Vec<(Variant, &'static [Arg])> {
        let variants = self.launches.iter().flat_map(|cut| {
            let args = cut.launch.call.args();
            cut.variants(tuned.tile(&cut.class)).into_iter().map(move |variant| (variant, args))
        });
        variants.collect()
    }
}

impl Cut<'_> {
    /// The variants of its dispatches when cut as `tile`.
    pub fn variants(&self, tile: Option<Tile>) -> Vec<Variant> {
        Variant::of(&self.launch.call, &self.dtypes, tile, &self.facts)
    }
}

/// Bytes of the sums between the dispatches of a launch; 0 for one dispatch.
fn partial_bytes(launch: &Launch, tile: &Tile) -> u64 {
    if tile.splits > 1 { 4 * tile.splits as u64 * launch.call.partial() as u64 } else { 0 }
}

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
        let needs = work.launches.iter().flat_map(|cut| {
            let chosen = |tile: &&Tile| tuned.is_none_or(|t| t.tile(&cut.class) == Some(**tile));
            cut.candidates.iter().filter(chosen).map(|tile| partial_bytes(cut.launch, tile))
        });
        let partial = padded(needs.max().unwrap_or(0));
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
        let variants = cut.variants(tile).into_iter().map(|v| (v, cut.launch.call.args()));
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
            grid: grid(&launch.call, variant, &pipeline.kernel, most)?,
            last,
            flops: once * launch.call.flops() as f64,
            bytes: once * bytes.sum::<usize>() as f64,
        })
    }
}

/// The parameters as a uniform buffer holds them.
fn params_of(launch: &Launch) -> Vec<u8> {
    let mut params = launch.call.params().to_vec();
    params.resize(params.len().next_multiple_of(16), 0);
    params
}
