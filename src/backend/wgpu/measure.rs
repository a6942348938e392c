//! Times the candidates of a launch on the very buffers that the program will use.

use super::gpu::Gpu;
use super::prepare::Storage;
use super::record::Recorder;
use super::run::{Dispatch, record};
use crate::backend::tune::Timer;
use crate::backend::work::Work;
use crate::error::Result;
use crate::ops::{Cursor, Tile};
use crate::program::Program;
use std::time::{Duration, Instant};

/// Device time of one sample: long enough that a submission's own time is small in it, and far
/// below what a desktop's watchdog allows.
const SAMPLE: Duration = Duration::from_millis(5);
/// Samples of a candidate, of which the fastest counts.
const SAMPLES: usize = 3;
/// Launches of one sample at most: recording has its price too.
const MOST: f64 = 200.0;
/// A candidate that takes so much longer than the best at first is not looked at again.
const HOPELESS: f64 = 1.5;

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
        self.run(&dispatches, 1)?;
        let mut fastest = self.run(&dispatches, 1)?;
        if best.is_some_and(|best| fastest > HOPELESS * best && fastest > 1.0) {
            return Ok(Some(fastest));
        }
        let repeats = (SAMPLE.as_secs_f64() * 1e3 / fastest.max(1e-3)).clamp(1.0, MOST) as usize;
        for _ in 0..SAMPLES {
            fastest = fastest.min(self.run(&dispatches, repeats)? / repeats as f64);
        }
        Ok(Some(fastest))
    }
}
