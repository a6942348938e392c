//! The list of slots as it grows.

use super::{Pack, Slot, SlotId, Source};
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

    /// A parameter as its kernel wants it.
    pub fn weight(&mut self, param: &Param, pack: Pack, dtype: DType) -> SlotId {
        let (out, inner) = match param.shape.split_first() {
            Some((out, inner)) => (*out, inner.iter().product::<usize>()),
            None => (1, 1),
        };
        let len = match pack {
            Pack::Flat => out * inner,
            Pack::Linear | Pack::Conv => out.next_multiple_of(4) * inner,
        };
        let name = param.name.clone();
        let source = Source::Weight { name, shape: param.shape.clone(), pack };
        self.find(|s| s.dtype == dtype && s.source == source)
            .unwrap_or_else(|| self.add(&param.name, dtype, len, source))
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
