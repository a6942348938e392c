//! Which row of a table of vectors a sample reads.

use bytemuck::{Pod, Zeroable};

/// Where the program is: the row of the trajectory and its time index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub row: u32,
    pub time: u32,
}

/// How far a program's indices go: each is below its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// [`Cursor::time`].
    pub times: usize,
    /// Values of the condition buffer.
    pub conditions: usize,
    /// [`Cursor::row`].
    pub rows: usize,
    /// Draws made by the host.
    pub draws: usize,
}

/// Maps sample `n` to a row of a table:
/// `row = time * cursor.time + cond * condition[n] + (n / div) % modulo`.
///
/// One formula serves a table over time, condition, both, or the samples themselves, inside the
/// loop (through `cursor` and `condition`) and in the hoisted part, where `n` counts table rows
/// (through `div` and `modulo`). `condition` is read only if `cond != 0`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct RowMap {
    pub time: u32,
    pub cond: u32,
    pub div: u32,
    pub modulo: u32,
}

impl RowMap {
    /// Sample `n` reads row `n`.
    pub const IDENTITY: RowMap = RowMap { time: 0, cond: 0, div: 1, modulo: u32::MAX };

    /// The row that sample `n` reads.
    pub fn row(&self, cursor: Cursor, condition: &[u32], n: usize) -> usize {
        let conditional = if self.cond != 0 { self.cond * condition[n] } else { 0 };
        (self.time * cursor.time + conditional) as usize
            + (n / self.div as usize) % self.modulo as usize
    }

    /// Rows that a table must hold at least for `n` samples: all that `n` reaches by itself; what
    /// time and condition reach is the program's to know.
    pub fn vectors(&self, n: u32) -> usize {
        (n.div_ceil(self.div)).min(self.modulo) as usize
    }

    /// Rows that a table must hold for `n` samples at every time and condition.
    pub fn reach(&self, n: u32, span: &Span) -> usize {
        let last = |stride: u32, count: usize| stride as usize * count.saturating_sub(1);
        last(self.time, span.times) + last(self.cond, span.conditions) + self.vectors(n)
    }

    /// Whether the map reads the condition buffer.
    pub fn needs_condition(&self) -> bool {
        self.cond != 0
    }
}
