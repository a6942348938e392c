//! Which values lie where, and when: the slots of a program over its launches.

use super::launches::bound;
use crate::program::{Launch, Program, SlotId};
use serde::Serialize;
use std::collections::BTreeMap;

/// A value in an arena. Its launches are counted through the prologue and then one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Value {
    /// The layer that it is the value of.
    pub name: String,
    pub arena: usize,
    /// Bytes from the arena's start.
    pub offset: u64,
    pub bytes: u64,
    /// The launch that writes it, and the last that reads it. A table that the loop reads is alive
    /// to the end.
    pub first: usize,
    pub last: usize,
}

/// An arena: a buffer that values share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Arena {
    pub bytes: u64,
    /// It holds tables made before the loop.
    pub hoisted: bool,
}

/// What lies in the arenas. At each launch of a step the values in arenas that are not hoisted have
/// `alive` bytes; the most of these is `activation_lower_bound_bytes`, and those arenas together
/// have `activation_bytes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryMap {
    pub arenas: Vec<Arena>,
    /// By the launch that writes them.
    pub values: Vec<Value>,
    /// Bytes of the values alive at each launch: of tables before the loop, of the loop's own
    /// values within.
    pub alive: Vec<u64>,
}

impl MemoryMap {
    /// The values of `program` over its prologue and one step.
    pub(super) fn of(program: &Program) -> MemoryMap {
        let (hoisted, step) = (program.prologue.len(), program.step());
        let launches: Vec<&Launch> = program.prologue.iter().chain(step).collect();
        let mut lives: BTreeMap<SlotId, [usize; 2]> = BTreeMap::new();
        for (at, launch) in launches.iter().enumerate() {
            for (.., slot) in bound(launch) {
                let life = lives.entry(slot).or_insert([at, at]);
                // The loop reads its tables again in the next row.
                let table = life[0] < hoisted && at >= hoisted;
                life[1] = if table { launches.len() - 1 } else { at };
            }
        }
        let value = |(id, life): (SlotId, [usize; 2])| {
            let slot = &program.slots[id.0];
            let place = slot.place()?;
            Some(Value {
                name: slot.name.clone(),
                arena: place.arena,
                offset: place.offset,
                bytes: slot.bytes(),
                first: life[0],
                last: life[1],
            })
        };
        let mut values: Vec<Value> = lives.into_iter().filter_map(value).collect();
        values.sort_by_key(|value| (value.first, value.arena, value.offset));
        let in_prologue = |arena| values.iter().any(|v| v.arena == arena && v.first < hoisted);
        let arenas = program.arenas.iter().enumerate();
        let arenas: Vec<Arena> =
            arenas.map(|(i, bytes)| Arena { bytes: *bytes, hoisted: in_prologue(i) }).collect();
        let alive = (0..launches.len()).map(|at| {
            let here = values.iter().filter(|v| (v.first..=v.last).contains(&at));
            let own = here.filter(|v| arenas[v.arena].hoisted == (at < hoisted));
            own.map(|v| v.bytes).sum()
        });
        MemoryMap { alive: alive.collect(), arenas, values }
    }

    /// The launch at which most is alive, the first of several, and how many bytes that is.
    pub fn peak(alive: &[u64]) -> Option<(usize, u64)> {
        let most = alive.iter().max()?;
        alive.iter().position(|bytes| bytes == most).map(|at| (at, *most))
    }
}
