//! The program walked by the references of its ops, in f32, on every core.

use super::timeline::{Clock, HostLog, Phase, Span, Timeline};
use super::tune::Identity;
use super::{Backend, Observer, Room, RunInputs, RunStats, Session, WeightSource, packed};
use crate::error::{Error, Result};
use crate::ops::{Access, Buffers, Cursor, MAX_ARGS, vector_bits};
use crate::program::{Launch, Program, Slot, SlotId, Source};
use crate::tensor::DType;
use serde::Serialize;
use std::collections::TryReserveError;
use std::ops::Range;
use std::time::Instant;
use sysinfo::{CpuRefreshKind, RefreshKind, System};

/// The processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// What the processor is, as `unnoise devices` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Processor {
    /// `cpu`.
    pub backend: &'static str,
    /// As it calls itself.
    pub name: String,
    pub threads: usize,
    /// Bits of the vectors that its loops are compiled for.
    pub vector_bits: usize,
}

impl Processor {
    /// That of this machine.
    pub fn find() -> Processor {
        let wanted = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(wanted).ok();
        let first = system.as_ref().and_then(|system| system.cpus().first());
        let name = first.map(|cpu| cpu.brand().trim().to_string()).filter(|name| !name.is_empty());
        Processor {
            backend: "cpu",
            name: name.unwrap_or_else(|| std::env::consts::ARCH.to_string()),
            threads: rayon::current_num_threads(),
            vector_bits: vector_bits(),
        }
    }

    /// What measurements of it hold for.
    pub fn identity(&self) -> Identity {
        let build = if cfg!(debug_assertions) { " with debug assertions" } else { "" };
        Identity {
            adapter: self.name.clone(),
            driver: format!("{} threads, vectors of {} bits", self.threads, self.vector_bits),
            sources: format!("{}{build}", env!("CARGO_PKG_VERSION")),
        }
    }
}

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self) -> String {
        format!("CPU, {} threads", rayon::current_num_threads())
    }

    fn identity(&self) -> Identity {
        Processor::find().identity()
    }

    fn supports(&self, dtype: DType) -> bool {
        !dtype.is_half()
    }

    fn preferred(&self) -> DType {
        DType::F32
    }

    fn room(&self) -> Result<Option<Room>> {
        Ok(Room::of_machine())
    }

    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>> {
        program.validate()?;
        // All at once first: many small promises may be given that cannot be kept together.
        let bytes = program.allocated_bytes();
        Vec::<u8>::new().try_reserve_exact(bytes as usize).map_err(|e| no_memory(bytes, &e))?;
        Ok(Box::new(CpuSession {
            memory: Memory::new(program, weights)?,
            program: program.clone(),
        }))
    }
}

/// The content of a slot's own buffer before any run.
fn content(slot: &Slot, weights: &dyn WeightSource) -> Result<Vec<f32>> {
    if slot.dtype.is_half() {
        return Err(Error::invalid(
            format!("device cpu: buffer '{}'", slot.name),
            "f32 storage",
            slot.dtype.name(),
            "use --precision f32",
        ));
    }
    match &slot.source {
        Source::Scratch | Source::State | Source::Input(_) => zeros(slot.bytes()),
        Source::Arena(_) => Ok(Vec::new()),
        Source::Table(words) => Ok(words.iter().map(|w| f32::from_bits(*w)).collect()),
        Source::Weight { pieces, width } => {
            let bytes = packed(weights, pieces, *width, slot.len, slot.dtype)?;
            Ok(bytemuck::pod_collect_to_vec(&bytes))
        }
    }
}

/// Memory that may not be there is asked for, not taken for granted.
fn zeros(bytes: u64) -> Result<Vec<f32>> {
    let (mut buffer, len) = (Vec::new(), bytes as usize / size_of::<f32>());
    buffer.try_reserve_exact(len).map_err(|e| no_memory(bytes, &e))?;
    buffer.resize(len, 0.0);
    Ok(buffer)
}

fn no_memory(bytes: u64, error: &TryReserveError) -> Error {
    Error::invalid(
        "--batch on device cpu",
        format!("{bytes} bytes of memory"),
        error.to_string(),
        "use a smaller --batch",
    )
}

/// The buffers: arenas first, then one for each slot, empty for those that lie in an arena. Those
/// of u32 elements hold their words.
struct Memory {
    buffers: Vec<Vec<f32>>,
    /// For each slot its buffer and the elements of it.
    slots: Vec<(usize, Range<usize>)>,
}

impl Memory {
    fn new(program: &Program, weights: &dyn WeightSource) -> Result<Memory> {
        let arenas = program.arenas.iter().map(|bytes| zeros(*bytes));
        let own = program.slots.iter().map(|slot| content(slot, weights));
        let slots = program.slots.iter().enumerate().map(|(i, slot)| match slot.place() {
            None => (program.arenas.len() + i, 0..slot.len),
            Some(place) => {
                let first = place.offset as usize / size_of::<f32>();
                (place.arena, first..first + slot.len)
            }
        });
        Ok(Memory { slots: slots.collect(), buffers: arenas.chain(own).collect::<Result<_>>()? })
    }

    fn slot(&self, id: SlotId) -> &[f32] {
        let (buffer, elements) = &self.slots[id.0];
        &self.buffers[*buffer][elements.clone()]
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut [f32] {
        let (buffer, elements) = &self.slots[id.0];
        &mut self.buffers[*buffer][elements.clone()]
    }
}

struct CpuSession {
    program: Program,
    memory: Memory,
}

impl Session for CpuSession {
    fn run(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<RunStats> {
        self.execute(inputs, observer, out, &mut |_| {})
    }

    fn profile(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<(RunStats, Timeline)> {
        let mut log = HostLog::begin();
        let mut spans = Vec::new();
        let mut timed = |[begin, end]: [Instant; 2]| {
            if spans.is_empty() {
                log.mark(Phase::Upload);
            }
            spans.push(Span { start: log.at(begin), end: log.at(end) });
        };
        let stats = self.execute(inputs, observer, out, &mut timed)?;
        // The processor is both: it waits for itself.
        log.mark(Phase::Wait);
        let first = spans.first().map_or(0, |span| span.start);
        let launches = spans.iter().map(|s| Span { start: s.start - first, end: s.end - first });
        let launches = launches.collect();
        let (host, wall_ns) = log.end();
        let offset_ns = [first as i64; 2];
        Ok((stats, Timeline { clock: Clock::Host, launches, host, wall_ns, offset_ns }))
    }
}

impl CpuSession {
    /// Runs once, and tells when each launch began and ended.
    fn execute(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
        timed: &mut (dyn FnMut([Instant; 2]) + Send),
    ) -> Result<RunStats> {
        let CpuSession { program, memory } = self;
        inputs.check(program)?;
        program.check_output(out)?;
        for (i, slot) in program.slots.iter().enumerate() {
            let content = memory.slot_mut(SlotId(i));
            match slot.source {
                Source::State => content.fill(0.0),
                Source::Input(input) => {
                    content.copy_from_slice(bytemuck::cast_slice(inputs.words(input)));
                }
                _ => {}
            }
        }
        observer.check()?;
        let mut launches = walk(&program.prologue, Cursor::default(), memory, timed);
        for (i, row) in program.rows.iter().enumerate() {
            observer.check()?;
            let cursor = Cursor { row: i as u32, time: row.time };
            launches += walk(&program.bodies[row.body].launches, cursor, memory, timed);
            (observer.rows_done)(i + 1);
        }
        out.copy_from_slice(&memory.slot(program.output)[..out.len()]);
        Ok(RunStats { readbacks: 1, launches, ..RunStats::default() })
    }
}

/// Runs launches one after another and tells when each began and ended; returns how many.
fn walk(
    launches: &[Launch],
    cursor: Cursor,
    memory: &mut Memory,
    timed: &mut (dyn FnMut([Instant; 2]) + Send),
) -> u64 {
    // Inside the thread pool once, not at each launch.
    rayon::scope(|_| {
        for launch in launches {
            let begin = Instant::now();
            run(launch, cursor, memory);
            timed([begin, Instant::now()]);
        }
    });
    launches.len() as u64
}

fn run(launch: &Launch, cursor: Cursor, memory: &mut Memory) {
    let written = |i: usize| launch.call.args()[i].access != Access::Read;
    // A written buffer leaves the memory for the time of the launch; no launch binds it twice.
    let mut taken: [Vec<f32>; MAX_ARGS] = Default::default();
    for (i, id) in launch.args.iter().enumerate() {
        if let (Some(id), true) = (id, written(i)) {
            taken[i] = std::mem::take(&mut memory.buffers[memory.slots[id.0].0]);
        }
    }
    let mut buffers = Buffers { read: [&[]; MAX_ARGS], write: Default::default() };
    for (i, buffer) in taken.iter_mut().enumerate() {
        match launch.args.get(i).copied().flatten() {
            Some(id) if written(i) => buffers.write[i] = &mut buffer[memory.slots[id.0].1.clone()],
            Some(id) => buffers.read[i] = memory.slot(id),
            None => {}
        }
    }
    launch.call.reference(cursor, &mut buffers);
    for (i, buffer) in taken.into_iter().enumerate() {
        if let (Some(id), true) = (launch.args.get(i).copied().flatten(), !buffer.is_empty()) {
            memory.buffers[memory.slots[id.0].0] = buffer;
        }
    }
}
