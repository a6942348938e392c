//! One kernel of the plan -> one launch: parameters and slots, one function a layer.

use super::slots::Slots;
use super::{Covers, Launch, Pack, SlotId};
use crate::graph::{Fir, Graph, Layer, ParamId, Shape, Window, positions};
use crate::ops::moments::Region;
use crate::ops::{
    Act, Call, RowMap, activation, add, concat, divide, fir_resample, geglu, group_norm,
    interpolate, latent_tile, mixture, model_input, multiply, pool, resample, scale_shift,
    unpatchify,
};
use crate::plan::{Domain, Kernel, KernelId, Plan};
use crate::tensor::DType;

/// What lowering reads.
pub(super) struct Lowering<'a> {
    pub graph: &'a Graph,
    pub plan: &'a Plan,
    /// The slot of each kernel's value, but for an output that never reaches memory.
    pub values: &'a [Option<SlotId>],
    pub storage: DType,
    pub state: SlotId,
    pub table: SlotId,
    /// What each sample's network is told, where that is not a time of the trajectory; `table` then
    /// holds a row for each sample.
    pub sample_times: Option<SlotId>,
    pub condition: SlotId,
    pub batch: usize,
    /// The buffer of moments, and where each kernel's are if it keeps them.
    pub moments: Option<SlotId>,
    pub regions: &'a [Option<Region>],
    pub times: &'a [f64],
    pub labels: &'a [u32],
    /// Of each tokenizer the tokens of all conditions, one after the other.
    pub texts: &'a [Vec<u32>],
    /// What rows decode, and `[C, H, W]` of the state.
    pub places: Option<(Places, [usize; 3])>,
}

/// The table of what rows decode, from row `first` on.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub slot: SlotId,
    pub first: u32,
    pub count: u32,
}

impl Lowering<'_> {
    /// Whether the table holds a row for each sample, as kernels are told it.
    pub fn per_sample(&self) -> u32 {
        self.sample_times.is_some().into()
    }
}

/// Lowers kernel `id`.
pub(super) fn lower(l: &Lowering, slots: &mut Slots, id: KernelId) -> Launch {
    let kernel = &l.plan.kernels[id];
    let at = At { l, id, kernel, y: l.values[id], inputs: &kernel.inputs };
    let (call, args) = match &kernel.layer {
        Layer::State { scale, offset } => at.state(*scale, *offset),
        Layer::Latents { scale } => at.latents(*scale),
        Layer::TimeEmbedding { flip, frequencies, .. } => {
            at.time_embedding(slots, *flip, *frequencies)
        }
        Layer::LabelEmbedding { flip, frequencies, .. } => {
            at.label_embedding(slots, *flip, *frequencies)
        }
        Layer::LabelVector { classes, scale } => at.label_vector(slots, *classes, *scale),
        Layer::LearnedTime { table } => {
            let times = l.times.iter().map(|t| *t as u32).collect();
            at.embedding(slots, *table, ("whole_times", times), Domain::Time)
        }
        Layer::ClassEmbedding { table } => {
            at.embedding(slots, *table, ("labels", l.labels.to_vec()), Domain::Condition)
        }
        Layer::Tokens { table, text } => at.tokens(slots, *table, *text),
        Layer::Linear { weight, bias } => at.linear(slots, (*weight, *bias)),
        Layer::Conv2d { weight, bias, window } => at.conv2d(slots, (*weight, *bias), window),
        Layer::LayerNorm { gamma, beta, eps } => at.layer_norm(slots, *gamma, *beta, *eps),
        Layer::Geglu => at.geglu(),
        Layer::GroupNorm { gamma, beta, groups, eps } => {
            at.group_norm(slots, *gamma, *beta, *groups, *eps)
        }
        Layer::Activation(act) => at.activation(*act),
        Layer::Add { scale } => at.add(*scale),
        Layer::ScaleShift => at.scale_shift(),
        Layer::Multiply => at.multiply(),
        Layer::AddPositions => at.add_positions(slots),
        Layer::AddTable { table } => at.add_table(slots, *table),
        Layer::Unpatchify { side } => at.unpatchify(*side),
        Layer::Concat => at.concat(),
        Layer::Upsample => at.resample(resample::Mode::Up),
        Layer::Downsample => at.resample(resample::Mode::Down),
        Layer::Pool { window, mode, count_padding } => at.pool(window, *mode, *count_padding),
        Layer::Interpolate { offset } => at.interpolate(*offset),
        Layer::FirResample { how, taps } => at.fir_resample(*how, taps),
        Layer::DivideByTime => at.divide(slots),
        Layer::Mixture { count, components } => at.mixture(slots, *count, components),
        Layer::Attention { heads, scale, causal } => at.attention(*heads, *scale, *causal),
    };
    let covers =
        Covers { nodes: kernel.covers.clone(), domain: kernel.domain, shape: Some(kernel.shape) };
    Launch { call, args, layer: kernel.name.clone(), covers }
}

pub(super) type Lowered = (Call, Vec<Option<SlotId>>);

/// One kernel being lowered.
pub(super) struct At<'a> {
    pub l: &'a Lowering<'a>,
    pub id: KernelId,
    pub kernel: &'a Kernel,
    pub y: Option<SlotId>,
    pub inputs: &'a [KernelId],
}

impl At<'_> {
    pub fn slot(&self, id: KernelId) -> Option<SlotId> {
        self.l.values[id]
    }
    pub fn shape(&self, id: KernelId) -> Shape {
        self.l.plan.kernels[id].shape
    }
    /// Vectors that the kernel computes for each pixel: samples, or rows of its table.
    pub fn n(&self) -> u32 {
        self.kernel.domain.rows(self.l.plan.sizes) as u32
    }
    pub fn hw(&self) -> u32 {
        self.kernel.shape.pixels() as u32
    }
    pub fn c(&self) -> u32 {
        self.kernel.shape.channels() as u32
    }

    /// How this kernel's rows find their row in a table of domain `table`.
    pub fn map(&self, table: Domain) -> RowMap {
        let conditions = self.l.plan.sizes.conditions as u32;
        let times = self.l.plan.sizes.times as u32;
        let direct = |div, modulo| RowMap { time: 0, cond: 0, div, modulo };
        let cursor = |time, cond| RowMap { time, cond, div: 1, modulo: 1 };
        match (self.kernel.domain, table) {
            (a, b) if a == b => RowMap::IDENTITY,
            (_, Domain::Weights) => direct(1, 1),
            (Domain::Sample, Domain::Time) => cursor(1, 0),
            (Domain::Sample, Domain::Condition) => cursor(0, 1),
            (Domain::Sample, Domain::TimeCondition) => cursor(conditions, 1),
            (Domain::TimeCondition, Domain::Time) => direct(conditions, times),
            (Domain::TimeCondition, Domain::Condition) => direct(1, conditions),
            (a, b) => unreachable!("a value over {a:?} cannot depend on one over {b:?}"),
        }
    }
    pub fn map_of(&self, id: Option<KernelId>) -> RowMap {
        id.map_or(RowMap::IDENTITY, |id| self.map(self.l.plan.kernels[id].domain))
    }
    /// The condition buffer, for a map that reads it.
    pub fn condition(&self, maps: &[RowMap]) -> Option<SlotId> {
        maps.iter().any(RowMap::needs_condition).then_some(self.l.condition)
    }
    /// The times as the network is told them, and how the kernel's rows find theirs: a time of the
    /// trajectory, or in adaptive steps each sample's own.
    pub(super) fn times(&self, slots: &mut Slots) -> (SlotId, RowMap) {
        if let Some(times) = self.l.sample_times {
            return (times, RowMap { time: 0, cond: 0, div: 1, modulo: self.l.batch as u32 });
        }
        let times = self.l.times.iter().map(|t| (*t as f32).to_bits()).collect();
        (slots.table("times", DType::F32, times), self.map(Domain::Time))
    }

    fn state(&self, scale: f32, offset: f32) -> Lowered {
        let b = self.l.batch as u32;
        let (n, c, hw) = (self.n(), self.c(), self.hw());
        let per_sample = self.l.per_sample();
        let params = model_input::Params { b, n, c, hw, scale, offset, per_sample };
        (params.into(), vec![Some(self.l.state), Some(self.l.table), self.y])
    }

    /// Only a decoder has such a leaf, and its lowering the table of places.
    fn latents(&self, scale: f32) -> Lowered {
        let (places, [_, h, w]) = self.l.places.expect("a decoder's rows have places");
        let (th, tw, c) = map_size(self.kernel.shape);
        let params = latent_tile::Params {
            b: self.l.batch as u32,
            n: self.n(),
            c,
            h: h as u32,
            w: w as u32,
            th,
            tw,
            scale,
            first: places.first,
            count: places.count,
        };
        (params.into(), vec![Some(self.l.state), Some(places.slot), self.y])
    }

    fn group_norm(
        &self,
        slots: &mut Slots,
        gamma: ParamId,
        beta: ParamId,
        groups: usize,
        eps: f64,
    ) -> Lowered {
        let map = self.map_of(self.kernel.tail.scale_shift);
        let params = group_norm::Params {
            map,
            n: self.n(),
            hw: self.hw(),
            c: self.c(),
            groups: groups as u32,
            eps: eps as f32,
            act: self.kernel.tail.act as u32,
        };
        let [gamma, beta] = [gamma, beta]
            .map(|p| Some(slots.weight(self.l.graph.param(p), Pack::Flat, DType::F32)));
        let rows = self.kernel.tail.scale_shift.and_then(|r| self.slot(r));
        let x = self.slot(self.inputs[0]);
        (params.into(), vec![x, gamma, beta, rows, self.condition(&[map]), self.y])
    }

    /// A group_norm of one group, each row being a sample of one pixel.
    fn layer_norm(&self, slots: &mut Slots, gamma: ParamId, beta: ParamId, eps: f64) -> Lowered {
        let params = group_norm::Params {
            map: RowMap::IDENTITY,
            n: self.n() * self.hw(),
            hw: 1,
            c: self.c(),
            groups: 1,
            eps: eps as f32,
            act: self.kernel.tail.act as u32,
        };
        let [gamma, beta] = [gamma, beta]
            .map(|p| Some(slots.weight(self.l.graph.param(p), Pack::Flat, DType::F32)));
        (params.into(), vec![self.slot(self.inputs[0]), gamma, beta, None, None, self.y])
    }

    fn geglu(&self) -> Lowered {
        let params = geglu::Params { n: self.n() * self.hw(), c: self.c() };
        (params.into(), vec![self.slot(self.inputs[0]), self.y])
    }

    fn activation(&self, act: Act) -> Lowered {
        let map = self.map_of(Some(self.inputs[0]));
        let n = self.n() * self.hw();
        let params = activation::Params { map, n, c: self.c(), act: act as u32 };
        (params.into(), vec![self.slot(self.inputs[0]), self.condition(&[map]), self.y])
    }

    fn add(&self, scale: f32) -> Lowered {
        let (a, b) = (self.inputs[0], self.inputs[1]);
        let (a_map, b_map) = (self.map_of(Some(a)), self.map_of(Some(b)));
        let broadcast = (self.shape(a) != self.shape(b)).into();
        let params =
            add::Params { a_map, b_map, n: self.n(), hw: self.hw(), c: self.c(), broadcast, scale };
        let cond = self.condition(&[a_map, b_map]);
        (params.into(), vec![self.slot(a), self.slot(b), cond, self.y])
    }

    fn scale_shift(&self) -> Lowered {
        let (x, row) = (self.inputs[0], self.inputs[1]);
        let map = self.map_of(Some(row));
        let params = scale_shift::Params { map, n: self.n(), hw: self.hw(), c: self.c() };
        (params.into(), vec![self.slot(x), self.slot(row), self.condition(&[map]), self.y])
    }

    fn multiply(&self) -> Lowered {
        let (x, row) = (self.inputs[0], self.inputs[1]);
        let map = self.map_of(Some(row));
        let params = multiply::Params { map, n: self.n(), hw: self.hw(), c: self.c() };
        (params.into(), vec![self.slot(x), self.slot(row), self.condition(&[map]), self.y])
    }

    /// An addend that all samples share.
    fn add_positions(&self, slots: &mut Slots) -> Lowered {
        let (h, w, c) = map_size(self.kernel.shape);
        let table = positions(h as usize, w as usize, c as usize);
        let words = table.iter().map(|v| v.to_bits()).collect();
        let table = slots.table("positions", DType::F32, words);
        self.plus(table)
    }

    fn add_table(&self, slots: &mut Slots, table: ParamId) -> Lowered {
        let table = slots.weight(self.l.graph.param(table), Pack::Flat, DType::F32);
        self.plus(table)
    }

    /// The input plus what all samples share.
    fn plus(&self, table: SlotId) -> Lowered {
        let (n, hw, c) = (self.n(), self.hw(), self.c());
        let (a_map, b_map) = (RowMap::IDENTITY, self.map(Domain::Weights));
        let params = add::Params { a_map, b_map, n, hw, c, broadcast: 0, scale: 1.0 };
        (params.into(), vec![self.slot(self.inputs[0]), Some(table), None, self.y])
    }

    fn unpatchify(&self, side: usize) -> Lowered {
        let (h, w, _) = map_size(self.shape(self.inputs[0]));
        let params = unpatchify::Params { n: self.n(), h, w, c: self.c(), side: side as u32 };
        (params.into(), vec![self.slot(self.inputs[0]), self.y])
    }

    fn concat(&self) -> Lowered {
        let [ca, cb] = [0, 1].map(|i| self.shape(self.inputs[i]).channels() as u32);
        let params = concat::Params { n: self.n() * self.hw(), ca, cb };
        (params.into(), vec![self.slot(self.inputs[0]), self.slot(self.inputs[1]), self.y])
    }

    fn resample(&self, mode: resample::Mode) -> Lowered {
        let (h, w, c) = map_size(self.shape(self.inputs[0]));
        let params = resample::Params { n: self.n(), h, w, c, mode: mode as u32 };
        (params.into(), vec![self.slot(self.inputs[0]), self.y])
    }

    fn pool(&self, window: &Window, mode: pool::Mode, count_padding: bool) -> Lowered {
        let (h, w, c) = map_size(self.shape(self.inputs[0]));
        let (ho, wo, _) = map_size(self.kernel.shape);
        let [kh, kw] = window.size.map(|k| k as u32);
        let ([top, left], [bottom, right]) =
            (window.before.map(|p| p as u32), window.after.map(|p| p as u32));
        let (n, stride, mode) = (self.n(), window.stride as u32, mode as u32);
        let count_padding = count_padding.into();
        let sides = pool::Params { top, left, bottom, right, ..bytemuck::Zeroable::zeroed() };
        let params =
            pool::Params { n, h, w, c, ho, wo, kh, kw, stride, mode, count_padding, ..sides };
        (params.into(), vec![self.slot(self.inputs[0]), self.y])
    }

    fn interpolate(&self, offset: f32) -> Lowered {
        let (h, w, c) = map_size(self.shape(self.inputs[0]));
        let (ho, wo, _) = map_size(self.kernel.shape);
        let params = interpolate::Params { n: self.n(), h, w, c, ho, wo, offset };
        (params.into(), vec![self.slot(self.inputs[0]), self.y])
    }

    fn fir_resample(&self, how: Fir, taps: &[f32]) -> Lowered {
        let (h, w, c) = map_size(self.shape(self.inputs[0]));
        let mode = if how.up { resample::Mode::Up } else { resample::Mode::Down };
        let edge = if how.mirror { fir_resample::Edge::Mirror } else { fir_resample::Edge::Zero };
        let params = fir_resample::Params::new([self.n(), h, w, c], mode, edge, taps, how.flat);
        (params.into(), vec![self.slot(self.inputs[0]), self.y])
    }

    fn divide(&self, slots: &mut Slots) -> Lowered {
        let (times, map) = self.times(slots);
        let params = divide::Params { map, n: self.n(), hw: self.hw(), c: self.c() };
        (
            params.into(),
            vec![self.slot(self.inputs[0]), Some(times), self.condition(&[map]), self.y],
        )
    }

    fn mixture(&self, slots: &mut Slots, count: usize, components: &[f32]) -> Lowered {
        let (times, map) = self.times(slots);
        let words = components.iter().map(|v| v.to_bits()).collect();
        let components = slots.table("components", DType::F32, words);
        let params = mixture::Params { map, n: self.n(), d: self.c(), k: count as u32 };
        let x = self.slot(self.inputs[0]);
        (params.into(), vec![x, Some(times), Some(components), self.condition(&[map]), self.y])
    }
}

pub(super) fn map_size(shape: Shape) -> (u32, u32, u32) {
    match shape {
        Shape::Map { h, w, c } => (h as u32, w as u32, c as u32),
        Shape::Row { c } => (1, 1, c as u32),
    }
}
