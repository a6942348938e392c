//! Whether a program fits the memory of a device, asked before anything is allocated there.

use super::inspect::bytes;
use crate::backend::{Backend, Room};
use crate::error::{Error, Result};
use crate::program::Program;
use crate::tensor::DType;

/// The memory that a program takes on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Packed parameters.
    pub weights: u64,
    /// Tables made before the loop.
    pub tables: u64,
    /// The loop's values.
    pub activations: u64,
    /// All buffers: these, the states of the samples and what a run uploads.
    pub all: u64,
    pub batch: usize,
    /// Whether weights and activations take four bytes an element.
    pub single: bool,
}

impl Needs {
    pub(super) fn of(program: &Program, batch: usize, storage: DType) -> Needs {
        Needs {
            weights: program.weight_bytes(),
            tables: program.memory.hoisted_bytes,
            activations: program.memory.activation_bytes,
            all: program.allocated_bytes(),
            batch,
            single: storage == DType::F32,
        }
    }

    /// Compares them with what `device` has left.
    ///
    /// # Errors
    /// `Error::Invalid` with the numbers if that is less, and what would need less.
    pub fn check(&self, room: Room, device: &str, halves: bool) -> Result<()> {
        if self.all <= room.free {
            return Ok(());
        }
        let Needs { weights, tables, activations, all, batch, .. } = *self;
        let rest = all.saturating_sub(weights + tables + activations);
        let samples = if batch == 1 { "sample" } else { "samples" };
        Err(Error::invalid(
            format!("memory of {device}"),
            format!("at most {}, what is free of {}", bytes(room.free), bytes(room.all)),
            format!(
                "{} for {batch} {samples} at once: weights {}, activations {}, tables {}, states \
                 and the rest {}",
                bytes(all),
                bytes(weights),
                bytes(activations),
                bytes(tables),
                bytes(rest)
            ),
            self.advice(room, halves),
        ))
    }

    /// What would fit, as far as this tells.
    fn advice(&self, room: Room, halves: bool) -> String {
        // Weights and tables are as large for one sample as for many.
        let fixed = self.weights + self.tables;
        let each = ((self.all - fixed) / self.batch.max(1) as u64).max(1);
        let most = room.free.saturating_sub(fixed) / each;
        let mut ways = Vec::new();
        if self.batch > 1 && most > 0 {
            ways.push(format!("--batch {}", most.min(self.batch as u64 - 1)));
        }
        if self.single && halves {
            ways.push("--precision f16".to_string());
        }
        ways.push("a --device with more memory".to_string());
        format!("use {}", ways.join(", or "))
    }
}

/// Refuses a program that is larger than the device's memory, where that is known.
pub(super) fn check(
    program: &Program,
    batch: usize,
    storage: DType,
    backend: &dyn Backend,
) -> Result<()> {
    let Some(room) = backend.room()? else { return Ok(()) };
    let halves = backend.supports(DType::F16);
    Needs::of(program, batch, storage).check(room, &backend.device(), halves)
}
