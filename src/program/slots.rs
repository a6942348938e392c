//! The list of slots as it grows.

use super::{Pack, Piece, Slot, SlotId, Source};
use crate::graph::Param;
use crate::tensor::DType;
use std::ops::Index;

#[derive(Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    pub fn add(&mut self, name: &str, dtype: DType, len: usize, source: Source) -> SlotId {
        self.0.push(Slot { name: name.to_string(), dtype, len, source });
        SlotId(self.0.len() - 1)
    }

    /// An f32 buffer of its own; the same name gives the same buffer.
    pub fn scratch(&mut self, name: &str, len: usize) -> SlotId {
        self.find(|s| s.name == name && s.len == len && s.source == Source::Scratch)
            .unwrap_or_else(|| self.add(name, DType::F32, len, Source::Scratch))
    }

    /// Fixed data; equal data is kept once.
    pub fn table(&mut self, name: &str, dtype: DType, words: Vec<u32>) -> SlotId {
        let len = words.len();
        let source = Source::Table(words.into());
        self.find(|s| s.dtype == dtype && s.source == source)
            .unwrap_or_else(|| self.add(name, dtype, len, source))
    }

    /// A parameter as its kernel wants it, rows padded with zeros to a multiple of 4.
    pub fn weight(&mut self, param: &Param, pack: Pack, dtype: DType) -> SlotId {
        let elements = param.elements();
        let out = param.shape.first().copied().unwrap_or(1);
        let (width, rows) = match pack {
            Pack::Flat => (1, elements),
            Pack::Linear | Pack::Conv => (out.next_multiple_of(4), elements / out.max(1)),
        };
        self.matrix(vec![piece(param, pack, 0)], (rows, width), dtype)
    }

    /// Several parameters in one matrix; equal matrices are kept once.
    pub fn matrix(
        &mut self,
        pieces: Vec<Piece>,
        (rows, width): (usize, usize),
        dtype: DType,
    ) -> SlotId {
        let name = pieces.first().map_or("weights", |p| &p.param.name).to_string();
        let (source, len) = (Source::Weight { pieces, width }, rows * width);
        self.find(|s| s.dtype == dtype && s.len == len && s.source == source)
            .unwrap_or_else(|| self.add(&name, dtype, len, source))
    }

    /// Moves a value from its arena to the one that `to` names for it.
    pub fn relocate(&mut self, id: SlotId, to: &[usize]) {
        if let Source::Arena(place) = &mut self.0[id.0].source {
            place.arena = to[place.arena];
        }
    }

    fn find(&self, f: impl Fn(&Slot) -> bool) -> Option<SlotId> {
        self.0.iter().position(f).map(SlotId)
    }

    pub fn finish(self) -> Vec<Slot> {
        self.0
    }
}

impl Index<SlotId> for Slots {
    type Output = Slot;
    fn index(&self, id: SlotId) -> &Slot {
        &self.0[id.0]
    }
}

/// `param` from element `at` of a matrix on.
pub(super) fn piece(param: &Param, pack: Pack, at: usize) -> Piece {
    Piece { param: param.clone(), left: None, pack, at }
}
