//! What a backend has to run: the launches of a program and the ways to cut them.

use super::source::Variant;
use super::tune::{Tuned, class};
use crate::ops::{Call, Facts, Tile};
use crate::program::{Launch, Program};
use crate::tensor::DType;

/// A launch and the ways to cut it.
pub struct Cut<'a> {
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
pub struct Work<'a> {
    pub launches: Vec<Cut<'a>>,
}

impl<'a> Work<'a> {
    /// Ways to cut a launch whose sums between its splits take more than `most_partial` bytes are
    /// left out.
    pub fn of(program: &'a Program, facts: Facts, most_partial: u64) -> Work<'a> {
        let rows = |body| program.rows.iter().filter(|row| row.body == body).count() as u64;
        let bodies = program.bodies.iter().enumerate().flat_map(|(i, body)| {
            let times = rows(i);
            body.launches.iter().map(move |launch| (launch, times))
        });
        let cut = |(launch, times): (&'a Launch, u64)| {
            let dtypes = program.dtypes(launch);
            let mut candidates = launch.call.tiles(&dtypes, &facts);
            candidates.retain(|tile| partial_bytes(launch, tile) <= most_partial);
            let class = class(&launch.call, &dtypes);
            Cut { launch, dtypes, candidates, class, times, facts }
        };
        let prologue = program.prologue.iter().map(|launch| (launch, 1));
        Work { launches: prologue.chain(bodies).map(cut).collect() }
    }

    /// Bytes of the sums between splits of launches cut as was chosen, or of any candidate.
    pub fn partial_bytes(&self, tuned: Option<&Tuned>) -> u64 {
        let needs = self.launches.iter().flat_map(|cut| {
            let chosen = |tile: &&Tile| tuned.is_none_or(|t| t.tile(&cut.class) == Some(**tile));
            cut.candidates.iter().filter(chosen).map(|tile| cut.partial_bytes(*tile))
        });
        needs.max().unwrap_or(0)
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
    pub fn variants(&self, tuned: &Tuned) -> Vec<(Variant, Call)> {
        let variants = self.launches.iter().flat_map(|cut| {
            let call = cut.launch.call;
            cut.variants(tuned.tile(&cut.class)).into_iter().map(move |variant| (variant, call))
        });
        variants.collect()
    }
}

impl Cut<'_> {
    /// The variants of its dispatches when cut as `tile`.
    pub fn variants(&self, tile: Option<Tile>) -> Vec<Variant> {
        Variant::of(&self.launch.call, &self.dtypes, tile, &self.facts)
    }

    /// Bytes of the sums between its splits when cut as `tile`; 0 if it has one.
    pub fn partial_bytes(&self, tile: Tile) -> u64 {
        partial_bytes(self.launch, &tile)
    }
}

/// Bytes of the sums between the splits of a launch; 0 if it has one.
fn partial_bytes(launch: &Launch, tile: &Tile) -> u64 {
    if tile.splits > 1 { 4 * tile.splits as u64 * launch.call.partial() as u64 } else { 0 }
}
