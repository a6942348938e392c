//! Times the candidates of a launch on the very buffers that the program will use.

use super::device::failed;
use super::gpu::Gpu;
use super::graph::capture;
use super::kernels::Kernel;
use super::launch::{Addresses, Recorded, Recording, one, variant};
use super::memory::Sums;
use crate::backend::tune::{Timer, fastest};
use crate::backend::work::Work;
use crate::error::Result;
use crate::ops::Tile;
use crate::program::Program;
use cudarc::driver::DriverError;
use cudarc::driver::sys::cudaError_enum as Status;
use std::sync::Arc;
use std::time::Instant;

/// Runs launches by themselves, before the first run: what they write is scratch, or cleared when
/// a run begins.
pub(super) struct Measure<'a> {
    gpu: &'a Gpu,
    program: &'a Program,
    work: &'a Work<'a>,
    at: Addresses,
    /// What the workgroups of the largest candidate so far share.
    sums: Option<(Sums, Needs)>,
}

/// Counters, and bytes of sums.
type Needs = (u32, u64);

impl<'a> Measure<'a> {
    pub fn new(
        gpu: &'a Gpu,
        program: &'a Program,
        work: &'a Work<'a>,
        at: Addresses,
    ) -> Measure<'a> {
        Measure { gpu, program, work, at, sums: None }
    }

    /// A launch cut as `tile`, with room for what its workgroups share.
    fn launch(&mut self, call: usize, tile: Tile) -> Result<(Recorded, Arc<Kernel>)> {
        let (gpu, cut) = (self.gpu, &self.work.launches[call]);
        let kernel = gpu.kernels.one(&variant(cut, Some(tile)), &cut.launch.call)?;
        let of = |_: &_, _: &_| Ok(kernel.clone());
        let record = |at: &Addresses| {
            let mut recording = Recording::default();
            let launch = one(self.program, cut, Some(tile), at, &of, &mut recording)?;
            Ok((launch, recording.counters))
        };
        let (_, counters) = record(&self.at)?;
        let bytes = cut.partial_bytes(tile);
        let known = self.sums.as_ref().map_or((0, 0), |(_, known)| *known);
        if self.sums.is_none() || counters > known.0 || bytes > known.1 {
            let needs = (counters.max(known.0), bytes.max(known.1));
            // The smaller one goes first.
            self.sums = None;
            let sums = Sums::new(&gpu.context, &gpu.name, needs.0, needs.1)?;
            (self.at.counters, self.at.partial) = (sums.counters(), sums.partial());
            self.sums = Some((sums, needs));
        }
        let (launch, _) = record(&self.at)?;
        Ok((launch, kernel))
    }

    /// Milliseconds of `repeats` launches, as a graph runs them.
    fn run(&self, launch: &Recorded, kernel: &Arc<Kernel>, repeats: usize) -> Driven<f64> {
        let stream = &self.gpu.stream;
        let launches = vec![launch; repeats];
        let Some(graph) = capture(stream, &launches, |_| &**kernel, false)? else {
            return Ok(0.0);
        };
        stream.synchronize()?;
        let begin = Instant::now();
        graph.launch()?;
        stream.synchronize()?;
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    }
}

type Driven<T> = std::result::Result<T, DriverError>;

/// Whether a device can go on after it refused a launch so.
fn refusal(error: &DriverError) -> bool {
    let refusals = [
        Status::CUDA_ERROR_INVALID_VALUE,
        Status::CUDA_ERROR_OUT_OF_MEMORY,
        Status::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
    ];
    refusals.contains(&error.0)
}

impl Timer for Measure<'_> {
    fn compile(&mut self, call: usize, tiles: &[Tile]) {
        let cut = &self.work.launches[call];
        let call = cut.launch.call;
        let variants: Vec<_> = tiles.iter().map(|tile| (variant(cut, Some(*tile)), call)).collect();
        // One that does not compile is found when it is timed, by itself.
        drop(self.gpu.kernels.all(&variants));
    }

    fn time(&mut self, call: usize, tile: Tile, best: Option<f64>) -> Result<Option<f64>> {
        let (launch, kernel) = self.launch(call, tile)?;
        let mut refused = false;
        let timed = fastest(best, &mut |repeats| {
            self.run(&launch, &kernel, repeats).map_err(|e| {
                refused = refusal(&e);
                failed(&self.gpu.name, &format!("cannot measure {tile}"), e)
            })
        });
        match timed {
            Err(_) if refused => Ok(None),
            timed => timed.map(Some),
        }
    }
}
