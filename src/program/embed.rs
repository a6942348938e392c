//! Embeddings of times and classes, as calls.

use super::lower::{At, Lowered};
use super::slots::Slots;
use super::{Pack, SlotId};
use crate::graph::{Frequencies, ParamId};
use crate::ops::{RowMap, embedding, time_embedding};
use crate::plan::Domain;
use crate::tensor::DType;

impl At<'_> {
    /// Where logarithms are wanted and the times are known, the host takes them: what a device's
    /// are off by is multiplied by the frequencies, which are large.
    pub(super) fn time_embedding(
        &self,
        slots: &mut Slots,
        flip: bool,
        frequencies: Frequencies,
    ) -> Lowered {
        let log = frequencies.log();
        match self.l.sample_times {
            Some(_) => {
                let (times, map) = self.times(slots);
                self.sinusoid(slots, (times, map), (flip, log), frequencies)
            }
            None => {
                let times = known(slots, "times", self.l.times.iter().map(|t| *t as f32), log);
                self.sinusoid(slots, (times, self.map(Domain::Time)), (flip, false), frequencies)
            }
        }
    }

    pub(super) fn label_embedding(
        &self,
        slots: &mut Slots,
        flip: bool,
        frequencies: Frequencies,
    ) -> Lowered {
        let labels = self.l.labels.iter().map(|t| *t as f32);
        let labels = known(slots, "label_times", labels, frequencies.log());
        self.sinusoid(slots, (labels, self.map(Domain::Condition)), (flip, false), frequencies)
    }

    fn sinusoid(
        &self,
        slots: &mut Slots,
        (times, map): (SlotId, RowMap),
        (flip, log): (bool, bool),
        frequencies: Frequencies,
    ) -> Lowered {
        let (n, dim) = (self.n(), self.c());
        let (freqs, scale) = match frequencies {
            Frequencies::Stored { weight, .. } => {
                let weight = self.l.graph.param(weight);
                (slots.weight(weight, Pack::Flat, DType::F32), std::f32::consts::TAU)
            }
            fixed => {
                let words = fixed.table(dim as usize / 2).iter().map(|f| f.to_bits()).collect();
                (slots.table("freqs", DType::F32, words), 1.0)
            }
        };
        let params =
            time_embedding::Params { map, n, dim, flip: flip.into(), log: log.into(), scale };
        (params.into(), vec![Some(times), Some(freqs), self.condition(&[map]), self.y])
    }

    /// Rows of `table` by numbers that there is one of for each row of `domain`.
    pub(super) fn embedding(
        &self,
        slots: &mut Slots,
        table: ParamId,
        (name, numbers): (&str, Vec<u32>),
        domain: Domain,
    ) -> Lowered {
        let map = self.map(domain);
        let param = self.l.graph.param(table);
        let classes = param.shape[0] as u32;
        let table = slots.weight(param, Pack::Flat, DType::F32);
        let labels = slots.table(name, DType::U32, numbers);
        let params = embedding::Params { map, n: self.n(), c: self.c(), classes, per: 1 };
        (params.into(), vec![Some(table), Some(labels), self.condition(&[map]), self.y])
    }

    /// Rows of `table`, one for each token of each condition's text.
    pub(super) fn tokens(&self, slots: &mut Slots, table: ParamId, text: usize) -> Lowered {
        let map = self.map(Domain::Condition);
        let param = self.l.graph.param(table);
        let classes = param.shape[0] as u32;
        let table = slots.weight(param, Pack::Flat, DType::F32);
        let ids = slots.table(&format!("tokens_{text}"), DType::U32, self.l.texts[text].clone());
        let params = embedding::Params { map, n: self.n(), c: self.c(), classes, per: self.hw() };
        (params.into(), vec![Some(table), Some(ids), self.condition(&[map]), self.y])
    }

    /// An embedding whose table has a row for each condition of the run.
    pub(super) fn label_vector(&self, slots: &mut Slots, classes: usize, scale: f32) -> Lowered {
        let map = self.map(Domain::Condition);
        let rows = self.l.labels.iter().flat_map(|label| {
            let at = |class: usize| if class == *label as usize { scale } else { 0.0 };
            (0..classes).map(move |class| at(class).to_bits())
        });
        let table = slots.table("label_vectors", DType::F32, rows.collect());
        let numbers = (0..self.l.labels.len() as u32).collect::<Vec<_>>();
        let (c, count) = (self.c(), numbers.len() as u32);
        let labels = slots.table("label_numbers", DType::U32, numbers);
        let params = embedding::Params { map, n: self.n(), c, classes: count, per: 1 };
        (params.into(), vec![Some(table), Some(labels), self.condition(&[map]), self.y])
    }
}

/// A table of what is embedded.
fn known(slots: &mut Slots, name: &str, values: impl Iterator<Item = f32>, log: bool) -> SlotId {
    let name = if log { format!("log_{name}") } else { name.to_string() };
    let value = |v: f32| if log { f64::from(v).ln() as f32 } else { v };
    slots.table(&name, DType::F32, values.map(|v| value(v).to_bits()).collect())
}
