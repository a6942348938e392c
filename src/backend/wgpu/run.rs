//! One run: the trajectory is recorded ahead and submitted in bounded chunks.

pub(super) mod transfer;

use super::Wgpu;
use super::flight::{Flight, Load, Pace};
use super::gpu::Gpu;
use super::stamps::Stamps;
use crate::backend::timeline::{self, HostLog, Phase, Timeline};
use crate::backend::tune::Tuned;
use crate::backend::{Observer, RunInputs, RunStats, Session};
use crate::error::Result;
use crate::ops::Cursor;
use crate::program::{Program, RowRef};
use transfer::Mapping;
pub(super) use transfer::Uploads;
use wgpu::{BindGroup, Buffer, CommandEncoder, ComputePass, ComputePipeline, MapMode};

/// A dispatch with everything that recording it needs.
pub(super) struct Dispatch {
    pub pipeline: ComputePipeline,
    pub bind_group: BindGroup,
    pub grid: [u32; 2],
    /// Whether it is the last dispatch of its launch.
    pub last: bool,
    pub flops: f64,
    /// Bytes that it touches.
    pub bytes: f64,
}

impl Wgpu {
    /// How many of each kind of object the device holds now, and their bytes. A run leaves them as
    /// they are; command buffers, which it records anew, are not counted.
    pub fn objects(&self) -> [(&'static str, isize); 6] {
        let held = self.gpu.device.get_internal_counters().hal;
        [
            ("buffers", held.buffers.read()),
            ("bytes of buffers", held.buffer_memory.read()),
            ("bind groups", held.bind_groups.read()),
            ("bind group layouts", held.bind_group_layouts.read()),
            ("pipelines", held.compute_pipelines.read()),
            ("shader modules", held.shader_modules.read()),
        ]
    }
}

/// A program on a device. A run creates no buffer, bind group or pipeline; the first that is
/// profiled makes what takes its timestamps.
pub(super) struct WgpuSession {
    pub gpu: Gpu,
    pub prologue: Vec<Dispatch>,
    pub bodies: Vec<Vec<Dispatch>>,
    /// The slots that each run fills.
    pub inputs: Uploads,
    pub states: Vec<Buffer>,
    pub output: Buffer,
    pub download: Buffer,
    pub program: Program,
    pub pace: Pace,
    pub tuned: Tuned,
    pub stamps: Option<Stamps>,
}

impl WgpuSession {
    /// Dispatches of a run.
    fn dispatches(&self) -> usize {
        let rows = self.program.rows.iter().map(|row| self.bodies[row.body].len());
        self.prologue.len() + rows.sum::<usize>()
    }

    fn encoder(&self) -> CommandEncoder {
        self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Records and submits every launch; the first submission also copies the inputs, the last the
    /// output. Gives the numbers of launches and dispatches.
    fn submit_all(
        &self,
        inputs: &RunInputs,
        flight: &mut Flight,
        mut stamps: Option<&mut Stamps>,
    ) -> Result<[u64; 2]> {
        let start = RowRef { body: 0, time: 0 };
        let prologue = std::iter::once((0, start, &self.prologue));
        let rows =
            self.program.rows.iter().enumerate().map(|(i, row)| (i, *row, &self.bodies[row.body]));
        let mut encoder = self.encoder();
        self.inputs.record(inputs, &mut encoder);
        self.states.iter().for_each(|state| encoder.clear_buffer(state, 0, None));
        let mut dispatches = 0;
        let mut load = Load { work: 0.0, rows: 0, launches: 0 };
        for (part, (row, at, recorded)) in prologue.chain(rows).enumerate() {
            let cursor = Cursor { row: row as u32, time: at.time };
            let mut rest = recorded.as_slice();
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(flight.pace.take(rest, &mut load.work));
                match &mut stamps {
                    Some(stamps) => stamps.record(&mut encoder, piece, cursor),
                    None => record(&mut encoder, piece, cursor),
                }
                load.launches += piece.iter().filter(|d| d.last).count();
                dispatches += piece.len() as u64;
                rest = left;
                if rest.is_empty() && part > 0 {
                    load.rows = row + 1;
                }
                // The first row goes out at once, so that the device begins.
                if flight.pace.full(load.work) || (part == 1 && rest.is_empty()) {
                    let next = self.encoder();
                    flight.submit(std::mem::replace(&mut encoder, next), load)?;
                    load.work = 0.0;
                }
            }
        }
        let bytes = 4 * self.program.output_len as u64;
        encoder.copy_buffer_to_buffer(&self.output, 0, &self.download, 0, bytes);
        if let Some(stamps) = stamps {
            stamps.resolve(&mut encoder);
        }
        load.rows = self.program.rows.len();
        flight.submit(encoder, load)?;
        Ok([load.launches as u64, dispatches])
    }

    /// Maps the download buffer and copies it out.
    fn download(&self, flight: &mut Flight, out: &mut [f32]) -> Result<()> {
        let mapping = Mapping::start(&self.download, MapMode::Read);
        flight.land()?;
        mapping.wait(&self.gpu, || flight.observer.check())?;
        let view = self.download.get_mapped_range(..size_of_val(out) as u64);
        let failed = |e| self.gpu.failed(&format!("the samples cannot be read: {e}"));
        bytemuck::cast_slice_mut(out).copy_from_slice(&view.map_err(failed)?);
        flight.log.mark(Phase::Download);
        Ok(())
    }

    /// Runs once; what came of it, and how fast the device turned out to be.
    fn execute<'a, 'b, 'c>(
        &'a self,
        inputs: &RunInputs,
        observer: &'b mut Observer<'c>,
        out: &mut [f32],
        stamps: Option<&mut Stamps>,
    ) -> Result<(RunStats, Flight<'a, 'b, 'c>)> {
        self.program.check_output(out)?;
        let mut log = HostLog::begin();
        inputs.check(&self.program)?;
        self.gpu.check()?;
        self.inputs.fill(&self.gpu, inputs, || observer.check())?;
        log.mark(Phase::Upload);
        let mut flight = Flight::new(&self.gpu, self.pace, observer, log);
        let [launches, dispatches] = self.submit_all(inputs, &mut flight, stamps)?;
        let encode_ms = flight.log.ms(&[Phase::Encode]);
        let host_ms = flight.log.ms(&[Phase::Upload, Phase::Encode, Phase::Submit]);
        self.download(&mut flight, out)?;
        let submits = flight.submits;
        let stats = RunStats { submits, readbacks: 1, launches, dispatches, host_ms, encode_ms };
        Ok((stats, flight))
    }

    /// The same with the times of launches.
    fn execute_timed(
        &self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
        stamps: &mut Stamps,
    ) -> Result<(RunStats, Timeline, Pace)> {
        stamps.begin();
        let (stats, flight) = self.execute(inputs, observer, out, Some(stamps))?;
        let Flight { log, flown, pace, observer, .. } = flight;
        let (host, wall_ns) = log.end();
        let launches = stamps.read(&self.gpu, || observer.check())?;
        let offset_ns = timeline::offset(&launches, &flown);
        Ok((stats, Timeline { clock: stamps.clock, launches, host, wall_ns, offset_ns }, pace))
    }
}

impl Session for WgpuSession {
    fn run(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<RunStats> {
        let (stats, flight) = self.execute(inputs, observer, out, None)?;
        self.pace = flight.pace;
        Ok(stats)
    }

    fn profile(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<(RunStats, Timeline)> {
        let mut stamps = match self.stamps.take() {
            Some(stamps) => stamps,
            None => self.gpu.guarded(|| Stamps::new(&self.gpu, self.dispatches()))?,
        };
        let (stats, timeline, pace) = self.execute_timed(inputs, observer, out, &mut stamps)?;
        self.pace = pace;
        self.stamps = Some(stamps);
        Ok((stats, timeline))
    }

    fn tuned(&self) -> Option<&Tuned> {
        Some(&self.tuned)
    }
}

/// Records dispatches in a pass of their own.
pub(super) fn record(encoder: &mut CommandEncoder, dispatches: &[Dispatch], cursor: Cursor) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    dispatches.iter().for_each(|dispatch| dispatch.record(&mut pass, cursor));
}

impl Dispatch {
    pub fn record(&self, pass: &mut ComputePass, cursor: Cursor) {
        pass.set_pipeline(&self.pipeline);
        pass.set_immediates(0, bytemuck::bytes_of(&[cursor.row, cursor.time]));
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}
