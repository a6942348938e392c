//! Where scratch values lie, and the checks that no two get in each other's way.

use super::validate::wrong;
use super::{Launch, Program, Slot, SlotId, Source};
use crate::error::Result;
use crate::ops::Access;
use crate::plan::{ALIGN, Place};

impl Slot {
    /// Its place in an arena, if it lies in one.
    pub fn place(&self) -> Option<Place> {
        match self.source {
            Source::Arena(place) => Some(place),
            _ => None,
        }
    }

    /// Whether both lie in one arena and have bytes of it in common.
    fn overlaps(&self, other: &Slot) -> bool {
        let (Some(a), Some(b)) = (self.place(), other.place()) else { return false };
        let before = |a: Place, slot: &Slot, b: Place| a.offset + room(slot) <= b.offset;
        a.arena == b.arena && !before(a, self, b) && !before(b, other, a)
    }
}

/// Bytes that a slot takes of its arena.
fn room(slot: &Slot) -> u64 {
    slot.bytes().next_multiple_of(ALIGN)
}

/// How far the content of slots is known on the way through a list of launches.
type Valid = Vec<bool>;

impl Program {
    /// Bytes of every buffer: slots of their own, and the arenas.
    pub fn allocated_bytes(&self) -> u64 {
        let own = self.slots.iter().filter(|slot| slot.place().is_none());
        own.map(Slot::bytes).sum::<u64>() + self.arenas.iter().sum::<u64>()
    }

    /// Whether a launch reads only what is still there: every value in an arena was written before,
    /// in the prologue or in the same body, and nothing that overlaps it since.
    ///
    /// # Errors
    /// `Error::Invalid` that names the first launch that does not.
    pub fn check_values(&self) -> Result<()> {
        let mut valid = vec![false; self.slots.len()];
        self.walk(&self.prologue, &mut valid)?;
        // Bodies may follow each other in any order.
        for launch in self.bodies.iter().flat_map(|body| &body.launches) {
            self.write(launch, &mut valid, false);
        }
        self.bodies.iter().try_for_each(|body| self.walk(&body.launches, &mut valid.clone()))
    }

    fn walk(&self, launches: &[Launch], valid: &mut Valid) -> Result<()> {
        for launch in launches {
            let reads = bound(launch).filter(|(access, _)| *access != Access::Write);
            for (_, id) in reads {
                let slot = &self.slots[id.0];
                if slot.place().is_some() && !valid[id.0] {
                    let what = format!("{} ({})", launch.layer, launch.call.name());
                    let found = format!("'{}', overwritten or never written", slot.name);
                    return Err(wrong(&what, "values that are still there".into(), found));
                }
            }
            self.write(launch, valid, true);
        }
        Ok(())
    }

    /// What a launch writes takes the place of all that overlaps it.
    fn write(&self, launch: &Launch, valid: &mut Valid, written: bool) {
        for (_, id) in bound(launch).filter(|(access, _)| *access != Access::Read) {
            for (slot, valid) in self.slots.iter().zip(valid.iter_mut()) {
                *valid &= !slot.overlaps(&self.slots[id.0]);
            }
            valid[id.0] = written;
        }
    }

    /// Checks that a slot lies within its arena, at an offset that every device takes.
    pub(super) fn check_place(&self, slot: &Slot) -> Result<()> {
        let Some(place) = slot.place() else { return Ok(()) };
        let what = format!("slot '{}'", slot.name);
        let Some(&bytes) = self.arenas.get(place.arena) else {
            let expected = format!("an arena below {}", self.arenas.len());
            return Err(wrong(&what, expected, place.arena.to_string()));
        };
        if place.offset % ALIGN != 0 {
            let expected = format!("an offset that is a multiple of {ALIGN}");
            return Err(wrong(&what, expected, place.offset.to_string()));
        }
        match place.offset.checked_add(room(slot)) {
            Some(end) if end <= bytes => Ok(()),
            _ => {
                let found = format!("{} at {}", room(slot), place.offset);
                Err(wrong(&what, format!("a place within {bytes} bytes"), found))
            }
        }
    }

    /// Checks that what argument `arg` of a launch writes lies in an arena that no other argument
    /// binds: devices know buffers, not parts of them.
    pub(super) fn check_apart(&self, what: &str, launch: &Launch, arg: usize) -> Result<()> {
        let arena = |id: &SlotId| self.slots.get(id.0).and_then(Slot::place).map(|p| p.arena);
        let Some(own) = launch.args[arg].as_ref().and_then(arena) else { return Ok(()) };
        let others = launch.args.iter().enumerate().filter(|(i, _)| *i != arg);
        let mut others = others.filter_map(|(_, id)| id.as_ref());
        match others.find(|id| arena(id) == Some(own)) {
            Some(other) => Err(wrong(
                what,
                "an arena of its own, as it is written".into(),
                format!("arena {own}, where '{}' lies too", self.slots[other.0].name),
            )),
            None => Ok(()),
        }
    }
}

fn bound(launch: &Launch) -> impl Iterator<Item = (Access, SlotId)> + '_ {
    let args = launch.call.args().iter().zip(&launch.args);
    args.filter_map(|(arg, id)| Some((arg.access, (*id)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Act, RowMap, Span, activation};
    use crate::program::{Body, RowRef};
    use crate::tensor::DType;

    const LEN: usize = 64;

    /// x -> a -> b -> c -> y, with a and c at one place of arena 0, b in arena 1.
    fn program() -> Program {
        let slot =
            |name: &str, source| Slot { name: name.into(), dtype: DType::F32, len: LEN, source };
        let place = |arena, offset| Source::Arena(Place { arena, offset });
        let copy = |from, to| {
            let map = RowMap::IDENTITY;
            let params = activation::Params { map, n: 1, c: LEN as u32, act: Act::None as u32 };
            let args = vec![Some(SlotId(from)), None, Some(SlotId(to))];
            let layer = format!("{from} to {to}");
            Launch { call: params.into(), args, layer, covers: Default::default() }
        };
        let launches = (0..4).map(|i| copy(i, i + 1)).collect();
        Program {
            slots: vec![
                slot("x", Source::State),
                slot("a", place(0, ALIGN)),
                slot("b", place(1, 0)),
                slot("c", place(0, ALIGN)),
                slot("y", Source::Scratch),
            ],
            arenas: vec![2 * ALIGN, ALIGN],
            prologue: Vec::new(),
            bodies: vec![Body { name: "step", launches }],
            rows: vec![RowRef { body: 0, time: 0 }],
            output: SlotId(4),
            output_len: LEN,
            span: Span { times: 1, conditions: 1, rows: 1, draws: 0 },
            memory: Default::default(),
        }
    }

    fn place(program: &mut Program, slot: usize, arena: usize, offset: u64) {
        program.slots[slot].source = Source::Arena(Place { arena, offset });
    }

    #[test]
    fn values_may_follow_each_other_in_one_place() {
        let program = program();
        program.validate().unwrap();
        program.check_values().unwrap();
        assert_eq!(program.allocated_bytes(), 2 * 4 * LEN as u64 + 3 * ALIGN);
    }

    #[test]
    fn places_that_a_device_cannot_bind_are_refused() {
        type Fault = (fn(&mut Program), &'static str);
        let faults: [Fault; 7] = [
            (|p| place(p, 1, 2, 0), "slot 'a': expected an arena below 2, found 2"),
            (|p| place(p, 1, 0, 128), "a multiple of 256, found 128"),
            (|p| place(p, 1, 0, 2 * ALIGN), "within 512 bytes, found 256 at 512"),
            (|p| place(p, 1, 0, u64::MAX - ALIGN + 1), "within 512 bytes"),
            (|p| p.arenas[0] -= 1, "within 511 bytes, found 256 at 256"),
            (|p| place(p, 2, 0, 0), "an arena of its own, as it is written, found arena 0, where"),
            (|p| place(p, 4, 1, 0), "the output: expected a slot of its own"),
        ];
        for (break_it, expected) in faults {
            let mut broken = program();
            break_it(&mut broken);
            let message = broken.validate().unwrap_err().to_string();
            assert!(message.contains(expected), "'{message}' lacks '{expected}'");
        }
    }

    #[test]
    fn values_that_are_no_longer_there_are_found() {
        let refused = |change: &dyn Fn(&mut Program), expected: &str| {
            let mut broken = program();
            change(&mut broken);
            broken.validate().unwrap();
            let message = broken.check_values().unwrap_err().to_string();
            assert!(message.contains(expected), "'{message}' lacks '{expected}'");
        };
        let step = |p: &mut Program, from: usize, to: usize| {
            let mut launch = p.bodies[0].launches[0].clone();
            launch.args = vec![Some(SlotId(from)), None, Some(SlotId(to))];
            launch.layer = "late".into();
            p.bodies[0].launches.push(launch);
        };
        refused(&|p| step(p, 1, 4), "late (activation): expected values that are still there");
        refused(&|p| step(p, 1, 4), "found 'a', overwritten");
        refused(&|p| drop(p.bodies[0].launches.remove(1)), "found 'b', overwritten or never");
        // The prologue's value is there in the first row only.
        let moved = |p: &mut Program| p.prologue = vec![p.bodies[0].launches.remove(0)];
        refused(&moved, "1 to 2 (activation)");
        let mut kept = program();
        place(&mut kept, 1, 0, 0);
        moved(&mut kept);
        kept.check_values().unwrap();
    }
}
