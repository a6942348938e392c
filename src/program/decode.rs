//! What follows the last step of a trajectory in a latent space: a decoder turns the final state
//! into pictures, in rows of the same program.
//!
//! A row decodes a part of the state of some samples, and there is a body for each size of a part.
//! Values lie in the arenas of the loop, which is over by then.

use super::build::{Builder, Values, place_moments};
use super::lower::{Lowering, Places, lower};
use super::{Body, Covers, Launch, Memory, RowRef, SlotId, Source};
use crate::graph::{Graph, NodeId, Shape};
use crate::ops::latent_tile::Place;
use crate::ops::{blend_tiles, picture_tile};
use crate::plan::{self, Plan, Sizes};
use crate::tensor::DType;

/// A decoder for the state of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    /// The network for each size of a part of the state ([`Tiling::parts`]), whose leaf is
    /// [`crate::graph::Layer::Latents`].
    pub graphs: Vec<Graph>,
    /// Element type of maps and weights.
    pub storage: DType,
    /// Samples that are decoded at once, a divisor of the batch.
    pub samples: usize,
    pub tiling: Tiling,
}

/// How the sides of a state are cut into overlapping tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Lines and columns of a tile; as many as the state has, or more, leave it whole.
    pub side: usize,
    /// From the beginning of a tile to that of the next.
    pub stride: usize,
}

impl Tiling {
    /// Tiles of `side` pixels, a multiple of four, of which a quarter overlaps.
    pub fn of(side: usize) -> Tiling {
        Tiling { side, stride: side / 4 * 3 }
    }

    /// Whether a state of `h x w` is cut at all.
    pub fn cuts(&self, [h, w]: [usize; 2]) -> bool {
        h.max(w) > self.side
    }

    /// Where the tiles along a side of `size` pixels begin, and their sizes.
    fn along(&self, size: usize, cut: bool) -> Vec<(usize, usize)> {
        match cut {
            false => vec![(0, size)],
            true => {
                let starts = (0..size).step_by(self.stride.max(1));
                starts.map(|start| (start, self.side.min(size - start))).collect()
            }
        }
    }

    /// The tiles of a state of `h x w`, line by line: top, left, height and width.
    pub fn tiles(&self, [h, w]: [usize; 2]) -> Vec<[usize; 4]> {
        let cut = self.cuts([h, w]);
        let across = self.along(w, cut);
        let lines = self.along(h, cut).into_iter();
        let line = |(top, height)| {
            let tile = move |(left, width): &(usize, usize)| [top, *left, height, *width];
            across.iter().map(tile).collect::<Vec<_>>()
        };
        lines.flat_map(line).collect()
    }

    /// Every size of a tile, once, the largest first.
    pub fn parts(&self, state: [usize; 2]) -> Vec<[usize; 2]> {
        let mut parts: Vec<[usize; 2]> =
            self.tiles(state).into_iter().map(|[.., h, w]| [h, w]).collect();
        parts.sort_unstable_by(|a, b| b.cmp(a));
        parts.dedup();
        parts
    }
}

/// The rows of a decoder, and what its pictures are.
pub(super) struct Decoding {
    pub bodies: Vec<Body>,
    pub rows: Vec<RowRef>,
    pub pictures: SlotId,
    pub memory: Memory,
}

impl Builder<'_> {
    /// The rows that follow the last of the trajectory, whose bodies follow `bodies` others;
    /// `loops` says which arenas are the loop's own.
    pub(super) fn decoding(
        &mut self,
        decoder: &Decoder,
        bodies: usize,
        arenas: &mut Vec<u64>,
        loops: std::ops::Range<usize>,
    ) -> Decoding {
        let [_, h, w] = self.options.state;
        let (batch, n) = (self.options.batch, decoder.samples);
        let first = self.trajectory.rows.len();
        let tiles = decoder.tiling.tiles([h, w]);
        let tiled = decoder.tiling.cuts([h, w]);
        let mut rows: Vec<(usize, Place)> = Vec::new();
        for sample in (0..batch).step_by(n) {
            for (i, [top, left, th, tw]) in tiles.iter().copied().enumerate() {
                let body = decoder.graphs.iter().position(|graph| part(graph) == [th, tw]);
                let block = if tiled { i } else { sample };
                let [sample, block, top, left] = [sample, block, top, left].map(|v| v as u32);
                rows.push((body.unwrap_or(0), Place { sample, block, top, left }));
            }
            if tiled {
                let whole = Place { sample: sample as u32, ..Place::default() };
                rows.push((decoder.graphs.len(), whole));
            }
        }
        let words = rows.iter().flat_map(|(_, p)| [p.sample, p.block, p.top, p.left]).collect();
        let slot = self.slots.table("places", DType::U32, words);
        let places = Places { slot, first: first as u32, count: rows.len() as u32 };
        let [c, factor] = output(&decoder.graphs[0]);
        let pictures = batch * c * factor * h * factor * w;
        let pictures = self.slots.add("pictures", DType::F32, pictures, Source::State);
        let side = if tiled { factor * decoder.tiling.side } else { 0 };
        let blocks = n * tiles.len() * c * side * side;
        let cut = tiled.then(|| self.slots.add("tiles", DType::F32, blocks, Source::State));
        let pixels = Pixels {
            places,
            to: cut.unwrap_or(pictures),
            blocks: if tiled { n * tiles.len() } else { batch },
            step: if tiled { tiles.len() } else { 1 },
            sides: if tiled { [side; 2] } else { [factor * h, factor * w] },
        };
        let mut memory = Memory::default();
        let parts = decoder.graphs.iter().map(|graph| {
            let launches = self.part(decoder, graph, &pixels, (arenas, loops.clone()), &mut memory);
            Body { name: Body::DECODE, launches }
        });
        let mut made: Vec<Body> = parts.collect();
        if let Some(cut) = cut {
            let params = blend_tiles::Params {
                b: batch as u32,
                n: n as u32,
                c: c as u32,
                h: (factor * h) as u32,
                w: (factor * w) as u32,
                side: side as u32,
                stride: (factor * decoder.tiling.stride) as u32,
                extent: (factor * (decoder.tiling.side - decoder.tiling.stride)) as u32,
                first: places.first,
                count: places.count,
            };
            let args = vec![Some(cut), Some(slot), Some(pictures)];
            let launches = vec![unnamed(params.into(), args, "tiles")];
            made.push(Body { name: Body::BLEND, launches });
        }
        let rows = rows.iter().map(|(body, _)| RowRef { body: bodies + body, time: 0 }).collect();
        Decoding { bodies: made, rows, pictures, memory }
    }

    /// The launches that decode a part of one size.
    fn part(
        &mut self,
        decoder: &Decoder,
        graph: &Graph,
        pixels: &Pixels,
        (arenas, loops): (&mut Vec<u64>, std::ops::Range<usize>),
        memory: &mut Memory,
    ) -> Vec<Launch> {
        let sizes = Sizes { times: 1, conditions: 1, samples: decoder.samples };
        let options = plan::Options {
            hoist: false,
            fuse: self.options.fuse,
            sizes,
            table_bytes: 0,
            times_vary: false,
        };
        let plan = Plan::new(graph, &options);
        let values = Values::place(&plan, decoder.storage, true, &mut self.slots);
        self.share(&values, arenas, loops);
        memory.lower_bound_bytes = memory.lower_bound_bytes.max(values.memory.lower_bound_bytes);
        memory.activation_bytes = memory.activation_bytes.max(values.memory.activation_bytes);
        let (moments, regions) = place_moments(&plan, &mut self.slots);
        let condition = self.slots.table("condition", DType::U32, vec![0; decoder.samples]);
        let lowering = Lowering {
            moments,
            regions: &regions,
            graph,
            plan: &plan,
            values: &values.slots,
            storage: decoder.storage,
            state: self.solver.x,
            table: self.solver.table,
            sample_times: None,
            condition,
            batch: self.options.batch,
            times: &[0.0],
            labels: &[],
            texts: &[],
            places: Some((pixels.places, self.options.state)),
        };
        let kernels = 0..plan.kernels.len();
        let mut launches: Vec<Launch> =
            kernels.map(|id| lower(&lowering, &mut self.slots, id)).collect();
        // The layers of the decoder are counted behind those of the network.
        let before = self.graph.nodes.len();
        let nodes = launches.iter_mut().flat_map(|launch| &mut launch.covers.nodes);
        nodes.for_each(|NodeId(i)| *i += before);
        let Shape::Map { h, w, c } = plan.kernels[plan.output].shape else { return launches };
        let params = picture_tile::Params {
            n: decoder.samples as u32,
            c: c as u32,
            th: h as u32,
            tw: w as u32,
            ho: pixels.sides[0] as u32,
            wo: pixels.sides[1] as u32,
            blocks: pixels.blocks as u32,
            step: pixels.step as u32,
            first: pixels.places.first,
            count: pixels.places.count,
        };
        let args = vec![values.slots[plan.output], Some(pixels.places.slot), Some(pixels.to)];
        launches.push(unnamed(params.into(), args, "pictures"));
        launches
    }

    /// Moves values into the arenas of the loop, the largest into the largest; what is short grows.
    fn share(&mut self, values: &Values, arenas: &mut Vec<u64>, loops: std::ops::Range<usize>) {
        let largest_first = |mut ids: Vec<usize>, bytes: &[u64]| {
            ids.sort_by_key(|id| std::cmp::Reverse(bytes[*id]));
            ids
        };
        let mut targets = largest_first(loops.collect(), arenas);
        // Parts of another size may have added some.
        targets.extend(self.added.clone());
        let sources = largest_first((0..values.arenas.len()).collect(), &values.arenas);
        while targets.len() < sources.len() {
            self.added.push(arenas.len());
            targets.push(arenas.len());
            arenas.push(0);
        }
        let mut moved = vec![0; sources.len()];
        for (source, target) in sources.into_iter().zip(targets) {
            arenas[target] = arenas[target].max(values.arenas[source]);
            moved[source] = target;
        }
        for id in values.slots.iter().flatten() {
            self.slots.relocate(*id, &moved);
        }
    }
}

/// Where the pixels of a part go.
struct Pixels {
    places: Places,
    to: SlotId,
    blocks: usize,
    step: usize,
    sides: [usize; 2],
}

/// Lines and columns of the part that a graph decodes.
fn part(graph: &Graph) -> [usize; 2] {
    match graph.nodes.first().map(|node| node.shape) {
        Some(Shape::Map { h, w, .. }) => [h, w],
        _ => [1, 1],
    }
}

/// Channels of the pictures, and pixels along one of the state.
fn output(graph: &Graph) -> [usize; 2] {
    match graph.node(graph.output).shape {
        Shape::Map { h, c, .. } => [c, h / part(graph)[0].max(1)],
        Shape::Row { c } => [c, 1],
    }
}

fn unnamed(call: crate::ops::Call, args: Vec<Option<SlotId>>, layer: &str) -> Launch {
    Launch { call, args, layer: layer.into(), covers: Covers::default() }
}
