//! A program without a trajectory: a graph evaluated once on what a run hands in.

use super::build::{Values, elements, place_moments};
use super::lower::{Lowering, lower};
use super::slots::Slots;
use super::{Body, Input, Program, RowRef, Source};
use crate::graph::Graph;
use crate::ops::{Span, row::Row};
use crate::plan::{self, Plan, Sizes};
use crate::tensor::DType;

/// What an evaluation is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Element type of maps and weights; the input, rows and the output are f32.
    pub storage: DType,
    /// Samples of one run.
    pub batch: usize,
    /// `[C, H, W]` of the input.
    pub state: [usize; 3],
    pub fuse: bool,
}

impl Program {
    /// One evaluation of `graph`, which asks for no time and no class: the state is what the run
    /// hands in ([`Input::Images`], `[B, C, H, W]`), the output is the graph's, `[B, C]` or
    /// `[B, H, W, C]`.
    pub fn forward(graph: &Graph, options: &Forward) -> Program {
        let sizes = Sizes { times: 1, conditions: 1, samples: options.batch };
        let plan = Plan::new(
            graph,
            &plan::Options {
                hoist: false,
                fuse: options.fuse,
                sizes,
                table_bytes: 0,
                times_vary: false,
            },
        );
        let mut slots = Slots::default();
        let numel = options.state.iter().product::<usize>();
        let images = Source::Input(Input::Images);
        let state = slots.add("images", DType::F32, options.batch * numel, images);
        let unscaled = Row { c_in: 1.0, ..Row::default() };
        let words = bytemuck::cast_slice(&[unscaled]).to_vec();
        let table = slots.table("rows", DType::F32, words);
        let condition = slots.table("condition", DType::U32, vec![0; options.batch]);
        let mut placed = Values::place(&plan, options.storage, false, &mut slots);
        let len = elements(&plan, plan.output);
        let output = slots.add("output", DType::F32, len, Source::Scratch);
        placed.slots[plan.output] = Some(output);
        let (moments, regions) = place_moments(&plan, &mut slots);
        let lowering = Lowering {
            moments,
            regions: &regions,
            graph,
            plan: &plan,
            values: &placed.slots,
            storage: options.storage,
            state,
            table,
            sample_times: None,
            condition,
            batch: options.batch,
            times: &[0.0],
            labels: &[],
            texts: &[],
            places: None,
        };
        let kernels = 0..plan.kernels.len();
        let launches = kernels.map(|id| lower(&lowering, &mut slots, id)).collect();
        Program {
            prologue: Vec::new(),
            bodies: vec![Body { name: "forward", launches }],
            rows: vec![RowRef { body: 0, time: 0 }],
            output,
            output_len: len,
            span: Span { times: 1, conditions: 1, rows: 1, draws: 0 },
            memory: placed.memory,
            slots: slots.finish(),
            arenas: placed.arenas,
        }
    }
}
