//! The backend that computes nothing: counts launches and bytes, for plans and tests.

use super::tune::Identity;
use super::{Backend, Observer, RunInputs, RunStats, Session, WeightSource};
use crate::error::Result;
use crate::ops::Access;
use crate::program::{Launch, Program, Source};
use crate::tensor::DType;

/// What one run of a program would do on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub launches: u64,
    pub flops: u64,
    /// Bytes that kernels read and write, each argument once a launch.
    pub bytes: u64,
    /// Bytes of every buffer.
    pub allocated: u64,
    /// Bytes sent to the device for the run and brought back.
    pub uploaded: u64,
    pub downloaded: u64,
}

impl Counts {
    /// Counts one run of `program`.
    pub fn of(program: &Program) -> Counts {
        let inputs = program.slots.iter().filter(|s| matches!(s.source, Source::Input(_)));
        let mut counts = Counts {
            allocated: program.allocated_bytes(),
            uploaded: inputs.map(|s| s.bytes()).sum(),
            downloaded: program.output_len as u64 * 4,
            ..Counts::default()
        };
        let rows = program.rows.iter().flat_map(|row| &program.bodies[row.body].launches);
        for launch in program.prologue.iter().chain(rows) {
            counts.launches += 1;
            counts.flops += launch.call.flops();
            counts.bytes += bytes(program, launch);
        }
        counts
    }
}

/// Bytes that one launch moves at least.
pub fn bytes(program: &Program, launch: &Launch) -> u64 {
    let bound = launch.args.iter().enumerate().filter_map(|(i, slot)| Some((i, (*slot)?)));
    let moved = bound.map(|(i, slot)| {
        let size = launch.call.elements(i) * program.slots[slot.0].dtype.size();
        let twice = launch.call.args()[i].access == Access::ReadWrite;
        size as u64 * if twice { 2 } else { 1 }
    });
    moved.sum()
}

/// Prepares nothing, runs nothing; samples stay as they were handed in.
pub struct Null;

impl Backend for Null {
    fn name(&self) -> &'static str {
        "null"
    }
    fn device(&self) -> String {
        "no device: counts only".into()
    }
    fn identity(&self) -> Identity {
        Identity { adapter: "null".into(), driver: "none".into(), sources: "none".into() }
    }
    fn supports(&self, _: DType) -> bool {
        true
    }
    fn preferred(&self) -> DType {
        DType::F32
    }
    fn prepare(&self, program: &Program, _: &dyn WeightSource) -> Result<Box<dyn Session>> {
        Ok(Box::new(NullSession { counts: Counts::of(program), rows: program.rows.len() }))
    }
}

struct NullSession {
    counts: Counts,
    rows: usize,
}

impl Session for NullSession {
    fn run(&mut self, _: &RunInputs, observer: &mut Observer, _: &mut [f32]) -> Result<RunStats> {
        observer.check()?;
        (observer.rows_done)(self.rows);
        Ok(RunStats {
            submits: 1,
            readbacks: 1,
            launches: self.counts.launches,
            ..RunStats::default()
        })
    }
}
