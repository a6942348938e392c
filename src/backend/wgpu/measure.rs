//! Times the candidates of a launch on the very buffers that the program will use.

use super::gpu::Gpu;
use super::prepare::Storage;
use super::record::Recorder;
use super::run::{Dispatch, record};
use crate::backend::tune::{Timer, fastest};
use crate::backend::work::Work;
use crate::error::Result;
use crate::ops::{Cursor, Tile};
use crate::program::Program;
use std::time::{Duration, Instant};

/// Runs launches by themselves, before the first run: what they write is scratch, or cleared when
/// a run begins.
pub(super) struct Measure<'a> {
    gpu: &'a Gpu,
    work: &'a Work<'a>,
    recorder: Recorder<'a>,
}

impl<'a> Measure<'a> {
    pub fn new(
        gpu: &'a Gpu,
        program: &'a Program,
        slots: &'a [Storage],
        work: &'a Work<'a>,
    ) -> Measure<'a> {
        Measure { gpu, work, recorder: Recorder::new(gpu, program, slots, work, None) }
    }

    /// Milliseconds that the device takes for `dispatches`, `repeats` times one after another.
    fn run(&self, dispatches: &[Dispatch], repeats: usize) -> Result<f64> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for _ in 0..repeats {
            record(&mut encoder, dispatches, Cursor { row: 0, time: 0 });
        }
        let work = encoder.finish();
        let begin = Instant::now();
        let index = self.gpu.submit(Some(work));
        while !self.gpu.poll(Some((&index, Duration::from_secs(1))))? {}
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    }
}

impl Timer for Measure<'_> {
    fn compile(&mut self, call: usize, tiles: &[Tile]) {
        let cut = &self.work.launches[call];
        let call = cut.launch.call;
        let variants = tiles.iter().flat_map(|tile| cut.variants(Some(*tile)));
        let variants: Vec<_> = variants.map(|variant| (variant, call)).collect();
        // One that does not compile is found when it is timed, by itself.
        drop(self.gpu.pipelines.all(self.gpu, &variants));
    }

    fn time(&mut self, call: usize, tile: Tile, best: Option<f64>) -> Result<Option<f64>> {
        let made = self.gpu.guarded(|| self.recorder.launch(call, Some(tile)));
        let Ok(dispatches) = made else {
            self.gpu.check()?;
            return Ok(None);
        };
        fastest(best, &mut |repeats| self.run(&dispatches, repeats)).map(Some)
    }
}
