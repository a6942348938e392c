//! Where everything lies in the one allocation of a program. No driver is called here.

use super::jobs::GRID_BYTES;
use super::launch::Addresses;
use crate::program::{Program, Source};
use std::ops::Range;

/// Every region begins at a multiple of this.
pub const ALIGN: u64 = 256;

/// Bytes from the start of the allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Of each slot of the program.
    pub slots: Vec<u64>,
    /// What each run uploads: the cursor that steps, then the inputs.
    pub upload: Range<u64>,
    /// What each run sets to zero: states, and what a persistent kernel's workgroups meet at.
    pub zeroed: Range<u64>,
    pub advance: u64,
    pub grid: u64,
    /// The cursor of the prologue, which stays zero.
    pub start: u64,
    /// The time of each row.
    pub times: u64,
    /// All of it.
    pub bytes: u64,
}

/// Hands out regions one behind the other.
struct Free(u64);

impl Free {
    fn take(&mut self, bytes: u64) -> u64 {
        let at = self.0;
        self.0 = (at + bytes.max(1)).next_multiple_of(ALIGN);
        at
    }
}

impl Layout {
    /// The layout of `program`.
    pub fn of(program: &Program) -> Layout {
        let mut free = Free(0);
        let mut layout = Layout { slots: vec![0; program.slots.len()], ..Layout::default() };
        layout.advance = free.take(ADVANCE_BYTES);
        layout.place(program, &mut free, |source| matches!(source, Source::Input(_)));
        layout.upload = layout.advance..free.0;
        layout.grid = free.take(GRID_BYTES);
        layout.start = free.take(8);
        layout.place(program, &mut free, |source| matches!(source, Source::State));
        layout.zeroed = layout.grid..free.0;
        layout.times = free.take(4 * program.rows.len() as u64);
        layout.place(program, &mut free, |source| {
            matches!(source, Source::Table(_) | Source::Weight { .. } | Source::Scratch)
        });
        let arenas: Vec<u64> = program.arenas.iter().map(|bytes| free.take(*bytes)).collect();
        for (at, slot) in layout.slots.iter_mut().zip(&program.slots) {
            if let Source::Arena(place) = &slot.source {
                *at = arenas[place.arena] + place.offset;
            }
        }
        layout.bytes = free.0;
        layout
    }

    fn place(&mut self, program: &Program, free: &mut Free, which: impl Fn(&Source) -> bool) {
        let slots = self.slots.iter_mut().zip(&program.slots);
        for (at, slot) in slots.filter(|(_, slot)| which(&slot.source)) {
            // The widest access of a kernel may reach past an odd end.
            *at = free.take(slot.bytes().next_multiple_of(16));
        }
    }

    /// The same in an allocation that begins at `base`; what the workgroups of split launches
    /// share lies elsewhere.
    pub fn addresses(&self, base: u64) -> Addresses {
        Addresses {
            slots: self.slots.iter().map(|at| base + at).collect(),
            partial: 0,
            counters: 0,
            start: base + self.start,
            advance: base + self.advance,
        }
    }
}

/// Bytes of `Advance` in kernels/common/abi.cuh.
pub const ADVANCE_BYTES: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Span;
    use crate::program::{Input, Memory, Place, Slot, SlotId};
    use crate::tensor::DType;

    fn program(sources: Vec<Source>) -> Program {
        let slot = |source| Slot { name: String::new(), dtype: DType::F32, len: 100, source };
        Program {
            slots: sources.into_iter().map(slot).collect(),
            arenas: vec![1000, 512],
            prologue: Vec::new(),
            bodies: Vec::new(),
            rows: Vec::new(),
            output: SlotId(0),
            output_len: 100,
            span: Span { times: 1, conditions: 1, rows: 1, draws: 0 },
            memory: Memory::default(),
        }
    }

    #[test]
    fn nothing_overlaps_and_what_a_run_sends_or_clears_lies_together() {
        let place = |arena, offset| Source::Arena(Place { arena, offset });
        let sources = vec![
            Source::State,
            Source::Input(Input::Run),
            Source::Table([1, 2].as_slice().into()),
            Source::Input(Input::Draws),
            place(0, 512),
            Source::State,
            place(1, 0),
            Source::Scratch,
        ];
        let program = program(sources);
        let layout = Layout::of(&program);
        let own = [0, 1, 2, 3, 5, 7].map(|slot| (layout.slots[slot], 400));
        let beside = [
            (layout.advance, ADVANCE_BYTES),
            (layout.grid, GRID_BYTES),
            (layout.start, 8),
            (layout.times, 4),
            (layout.slots[4] - 512, 1000),
            (layout.slots[6], 512),
        ];
        let mut regions = [own.to_vec(), beside.to_vec()].concat();
        regions.sort_unstable();
        assert!(regions.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{regions:?}");
        assert!(regions.iter().all(|(at, bytes)| at % ALIGN == 0 && at + bytes <= layout.bytes));
        assert!([1, 3].iter().all(|slot| layout.upload.contains(&layout.slots[*slot])));
        assert!([0, 5].iter().all(|slot| layout.zeroed.contains(&layout.slots[*slot])));
        assert!([layout.start, layout.grid].iter().all(|at| layout.zeroed.contains(at)));
        assert!(!layout.zeroed.contains(&layout.times));
    }
}
