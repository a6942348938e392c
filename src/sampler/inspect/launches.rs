//! The launches of a plan: what each computes, what it reads, and how fast it could be.

use crate::backend::null;
use crate::backend::roofline::{Bound, Peak};
use crate::graph::{Node, NodeId, Shape};
use crate::ops::{Access, Facts, Method};
use crate::program::{Domain, Launch, Program, SlotId};
use crate::tensor::DType;
use serde::Serialize;
use std::collections::HashMap;

/// One launch of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LaunchRow {
    /// `prologue`, or the loop body's name.
    pub part: &'static str,
    pub kernel: &'static str,
    pub layer: String,
    /// The layers of the network that it computes, in order; none of the solver's launches has any.
    pub layers: Vec<String>,
    /// The same as positions in [`super::Inspection::graph`].
    pub nodes: Vec<usize>,
    /// What alone it depends on, which is why it runs before the loop; none for one in the loop.
    pub hoisted: Option<&'static str>,
    /// Of the value that it leaves, for one sample or one row of a table: `[H, W, C]` or `[C]`;
    /// empty for the solver's.
    pub shape: Vec<usize>,
    pub flops: u64,
    pub bytes: u64,
    /// The least microseconds that the measured device could take, and what bounds it.
    pub floor_us: Option<f64>,
    pub bound: Option<Bound>,
    /// The launches, by position in the plan, that left what it reads.
    pub reads: Vec<usize>,
    /// The slots, or the places in arenas, that it writes.
    pub writes: String,
}

/// Every launch: the prologue, then body after body.
pub(super) fn launches(program: &Program, nodes: &[Node], peak: Option<&Peak>) -> Vec<LaunchRow> {
    let mut rows: Vec<LaunchRow> = Vec::new();
    let mut before = Writers::default();
    for launch in &program.prologue {
        let row = row(super::PROLOGUE, program, nodes, launch, peak);
        rows.push(LaunchRow { reads: before.pass(launch, rows.len()), ..row });
    }
    for body in &program.bodies {
        // Every body finds the tables, and nothing that another one left.
        let mut writers = before.clone();
        for launch in &body.launches {
            let row = row(body.name, program, nodes, launch, peak);
            rows.push(LaunchRow { reads: writers.pass(launch, rows.len()), ..row });
        }
    }
    rows
}

fn row(
    part: &'static str,
    program: &Program,
    nodes: &[Node],
    launch: &Launch,
    peak: Option<&Peak>,
) -> LaunchRow {
    let covers = &launch.covers;
    let (flops, bytes) = (launch.call.flops(), null::bytes(program, launch));
    let floor = peak.map(|peak| peak.floor(flops, bytes, units(program, launch)));
    let written = bound(launch).filter(|(_, access, _)| *access != Access::Read);
    let place = |(.., slot): (_, _, SlotId)| {
        let slot = &program.slots[slot.0];
        slot.place().map_or(slot.name.clone(), |place| place.to_string())
    };
    LaunchRow {
        part,
        kernel: launch.call.name(),
        layer: launch.layer.clone(),
        layers: covers.nodes.iter().map(|id| nodes[id.0].name.clone()).collect(),
        nodes: covers.nodes.iter().map(|NodeId(i)| *i).collect(),
        hoisted: reason(covers.domain),
        shape: covers.shape.map_or(Vec::new(), Shape::sides),
        flops,
        bytes,
        floor_us: floor.map(|floor| floor.us),
        bound: floor.map(|floor| floor.bound),
        reads: Vec::new(),
        writes: written.map(place).collect::<Vec<_>>().join(", "),
    }
}

/// The fastest units that a product may be computed by, on a device that has them.
fn units(program: &Program, launch: &Launch) -> Option<(Method, DType)> {
    let dtypes = program.dtypes(launch);
    let product = !launch.call.tiles(&dtypes, &Facts::LEAST).is_empty();
    let half = dtypes.into_iter().flatten().find(|dtype| dtype.is_half());
    half.filter(|_| product).map(|half| (Method::Mma, half))
}

/// What alone a value of this domain depends on, besides weights.
fn reason(domain: Domain) -> Option<&'static str> {
    match domain {
        Domain::Weights => Some("weights"),
        Domain::Time => Some("time"),
        Domain::Condition => Some("condition"),
        Domain::TimeCondition => Some("time and condition"),
        Domain::Sample => None,
    }
}

/// Name, access and slot of what a launch binds.
pub(super) fn bound(launch: &Launch) -> impl Iterator<Item = (&'static str, Access, SlotId)> + '_ {
    let args = launch.call.args().iter().zip(&launch.args);
    args.filter_map(|(arg, slot)| Some((arg.name, arg.access, (*slot)?)))
}

/// The launch that wrote each slot last.
#[derive(Clone, Default)]
struct Writers(HashMap<SlotId, usize>);

impl Writers {
    /// Passes the launch at position `at`: those that left what it reads.
    fn pass(&mut self, launch: &Launch, at: usize) -> Vec<usize> {
        // Moments lie together in one buffer; they come from whoever wrote the map that is read.
        let values = || bound(launch).filter(|(name, ..)| *name != "moments");
        let read = values().filter(|(_, access, _)| *access != Access::Write);
        let mut reads: Vec<usize> =
            read.filter_map(|(.., slot)| self.0.get(&slot).copied()).collect();
        reads.sort_unstable();
        reads.dedup();
        let written = values().filter(|(_, access, _)| *access != Access::Read);
        self.0.extend(written.map(|(.., slot)| (slot, at)));
        reads
    }
}
