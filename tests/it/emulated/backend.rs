//! The emulator as a device.

use super::build::{Bug, Build, Compiled, kernels, persistent};
use super::job::{Content, Job, Launch, SCHEDULES, address};
use std::path::PathBuf;
use unnoise::backend::cuda::jobs::{GRID_BYTES, Jobs, Told, unsuited};
use unnoise::backend::cuda::launch::{self, Addresses, Compiled as _, Recorded, Recording};
use unnoise::backend::grid::Constants as _;
use unnoise::backend::source::{self, Language, Variant};
use unnoise::backend::tune::{Choose, Identity, Tuned};
use unnoise::backend::work::Work;
use unnoise::backend::{Backend, Observer, RunInputs, RunStats, Session, WeightSource, packed};
use unnoise::error::{Error, Result};
use unnoise::ops::Facts;
use unnoise::program::{Program, Slot, Source};
use unnoise::tensor::DType;

/// A device of compute capability 8.6 with few processors, run by fibers.
#[derive(Clone)]
pub struct Emulated {
    build: Build,
    choose: Option<Choose>,
    persistent: Option<Persistent>,
}

/// How the loop runs as one kernel.
#[derive(Clone, Copy)]
pub struct Persistent {
    /// Workgroups that are there at once.
    pub blocks: u32,
    /// Rows of a launch at most.
    pub rows: u32,
    /// Whether the host has asked for the end before the first row.
    pub stop: bool,
    pub bug: Option<Bug>,
}

impl Emulated {
    pub const FACTS: Facts = Facts {
        workgroup_bytes: 99 << 10,
        mma: 80,
        processors: 8,
        last_reduces: true,
        ..Facts::LEAST
    };

    pub fn new(build: Build) -> Emulated {
        Emulated { build, choose: None, persistent: None }
    }

    /// The same, with the loop as one kernel.
    pub fn persistent(build: Build, persistent: Persistent) -> Emulated {
        Emulated { persistent: Some(persistent), ..Emulated::new(build) }
    }

    /// The same, with launches cut as `choose` says.
    pub fn choosing(build: Build, choose: Choose) -> Emulated {
        Emulated { choose: Some(choose), ..Emulated::new(build) }
    }

    /// Compiles the kernels of several programs together, which is faster than one by one. What is
    /// wrong with one of them is said when it is prepared.
    pub fn compile<'a>(&self, programs: impl Iterator<Item = &'a Program>) {
        let of = |program: &Program| {
            let work = Work::of(program, Emulated::FACTS, u64::MAX);
            let tuned = self.tuned(&work);
            work.variants(&tuned)
        };
        kernels(self.build, &programs.flat_map(of).collect::<Vec<_>>());
    }

    fn tuned(&self, work: &Work) -> Tuned {
        let mut tuned = work.classes();
        let Some(choose) = &self.choose else { return tuned };
        for class in &mut tuned.classes {
            let cut = work.launches.iter().find(|cut| cut.class == class.class);
            let cut = cut.expect("classes are those of launches");
            let position = choose(&cut.launch.call, &cut.candidates);
            class.chosen = cut.candidates[position % cut.candidates.len()];
        }
        tuned
    }
}

/// What went wrong in a kernel, in the runner's words.
fn broken(what: String) -> Error {
    Error::device("emulator", what, "see tests/emulator")
}

/// Numbers of the buffers behind those of the slots.
struct Extra {
    partial: usize,
    counters: usize,
    start: usize,
    advance: usize,
    times: usize,
    jobs: usize,
    grid: usize,
    stop: usize,
}

impl Extra {
    fn of(program: &Program) -> Extra {
        let n = program.slots.len();
        let [partial, counters, start, advance, times, jobs, grid, stop] =
            std::array::from_fn(|i| n + i);
        Extra { partial, counters, start, advance, times, jobs, grid, stop }
    }
}

/// Where the pointer to the times lies in `Advance` of kernels/common/abi.cuh: behind its cursor,
/// `done` and `rows`.
const TIMES_AT: u64 = 16;

/// Buffers are whole 16-byte words, the widest access of a kernel.
fn padded(mut bytes: Vec<u8>, size: u64) -> Vec<u8> {
    bytes.resize(size.next_multiple_of(16).max(16) as usize, 0);
    bytes
}

/// What a slot holds at the start. Those of an arena have memory of their own: it is NaN until it
/// is written.
fn content(slot: &Slot, weights: &dyn WeightSource) -> Result<Content> {
    let size = slot.bytes();
    Ok(match &slot.source {
        Source::Scratch | Source::Arena(_) => Content::Unset(size.next_multiple_of(16).max(16)),
        Source::State | Source::Input(_) => Content::Given(padded(Vec::new(), size)),
        Source::Table(words) => Content::Given(padded(bytemuck::cast_slice(words).to_vec(), size)),
        Source::Weight { pieces, width } => {
            Content::Given(padded(packed(weights, pieces, *width, slot.len, slot.dtype)?, size))
        }
    })
}

impl Backend for Emulated {
    fn name(&self) -> &'static str {
        "emulator"
    }

    fn device(&self) -> String {
        format!("CUDA on the processor, {:?}", self.build)
    }

    fn identity(&self) -> Identity {
        let sources = source::fingerprint(Language::Cuda);
        Identity { adapter: self.device(), driver: "none".into(), sources }
    }

    fn supports(&self, _: DType) -> bool {
        true
    }

    fn preferred(&self) -> DType {
        DType::F16
    }

    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>> {
        program.validate()?;
        let work = Work::of(program, Emulated::FACTS, u64::MAX);
        let tuned = self.tuned(&work);
        let variants = work.variants(&tuned);
        let compiled = kernels(self.build, &variants);
        let compiled = compiled.into_iter().collect::<Result<Vec<_>, _>>().map_err(broken)?;
        let of = |wanted: &Variant| {
            let known = variants.iter().position(|(variant, _)| variant == wanted);
            compiled[known.expect("every variant of the work was compiled")].clone()
        };
        let extra = Extra::of(program);
        let at = Addresses {
            slots: (0..program.slots.len()).map(|slot| address(slot, 0)).collect(),
            partial: address(extra.partial, 0),
            counters: address(extra.counters, 0),
            start: address(extra.start, 0),
            advance: address(extra.advance, 0),
        };
        let record = launch::record(program, &work, &tuned, &at, &|variant, _| Ok(of(variant)))?;
        let slots = program.slots.iter().map(|slot| content(slot, weights));
        let mut buffers = slots.collect::<Result<Vec<_>>>()?;
        let times: Vec<u32> = program.rows.iter().map(|row| row.time).collect();
        buffers.extend([
            Content::Scratch(record.partial_bytes.max(16)),
            Content::Counters(4 * u64::from(record.counters.max(1))),
            Content::Given(vec![0; 8]),
            Content::Given(launch::advance(program, address(extra.times, 0), 0)?),
            Content::Given(padded(bytemuck::cast_slice(&times).to_vec(), 4 * times.len() as u64)),
        ]);
        let kernels: Vec<Compiled> = record.kernels.iter().map(|(v, _)| of(v)).collect();
        let mut job = Job {
            schedules: SCHEDULES.to_vec(),
            buffers,
            addresses: vec![(extra.advance as u32, TIMES_AT)],
            wanted: vec![program.output.0 as u32, extra.advance as u32],
            ..Job::default()
        };
        let mut first_of = Vec::new();
        for body in std::iter::once(&record.prologue).chain(&record.bodies) {
            first_of.push(job.launches.len() as u32);
            job.launches.extend(body.iter().map(|l| planned(l, &kernels, &mut job.units)));
        }
        first_of.push(job.launches.len() as u32);
        let bodies = program.rows.iter().map(|row| row.body + 1);
        let parts = std::iter::once(0).chain(bodies);
        job.order = parts.flat_map(|part| first_of[part]..first_of[part + 1]).collect();
        if let Some(how) = &self.persistent {
            job.order.truncate(first_of[1] as usize);
            self.persist(how, program, &record, &at, kernels, &mut job).map_err(broken)?;
        }
        Ok(Box::new(EmulatedSession { job, build: self.build, program: program.clone() }))
    }
}

impl Emulated {
    /// Puts the persistent kernel where the launches of the rows were.
    fn persist(
        &self,
        how: &Persistent,
        program: &Program,
        record: &Recording,
        at: &Addresses,
        mut kernels: Vec<Compiled>,
        job: &mut Job,
    ) -> Result<(), String> {
        if let Some(why) = unsuited(record, |kernel| kernels[kernel].threads()) {
            return Err(why);
        }
        let extra = Extra::of(program);
        let jobs = Jobs::of(program, record);
        let kernel = persistent(self.build, &jobs.variants, how.bug)?;
        let told = Told {
            rows: how.rows,
            blocks: how.blocks,
            shared: kernel.shared_bytes(),
            grid: address(extra.grid, 0),
            stop: address(extra.stop, 0),
        };
        kernels.push(kernel);
        let launch =
            planned(&jobs.launch(address(extra.jobs, 0), at, &told), &kernels, &mut job.units);
        let launches = (program.rows.len() as u32).div_ceil(how.rows);
        job.order.extend(vec![job.launches.len() as u32; launches as usize]);
        job.launches.push(Launch { together: true, ..launch });
        job.addresses.extend(jobs.addresses.iter().map(|at| (extra.jobs as u32, *at as u64)));
        let size = jobs.bytes.len() as u64;
        job.buffers.extend([
            Content::Given(padded(jobs.bytes, size)),
            Content::Given(vec![0; GRID_BYTES as usize]),
            Content::Given(u32::from(how.stop).to_le_bytes().to_vec()),
        ]);
        Ok(())
    }
}

/// A launch, its unit among those of the job.
fn planned(launch: &Recorded, kernels: &[Compiled], units: &mut Vec<PathBuf>) -> Launch {
    let kernel = &kernels[launch.kernel];
    let unit = units.iter().position(|unit| *unit == *kernel.unit).unwrap_or_else(|| {
        units.push(kernel.unit.to_path_buf());
        units.len() - 1
    });
    Launch {
        name: launch.layer.clone(),
        unit: unit as u32,
        kernel: kernel.position,
        blocks: launch.blocks,
        shared: launch.shared,
        together: false,
        params: launch.params.clone(),
        args: launch.args.clone(),
        control: launch.control,
    }
}

struct EmulatedSession {
    job: Job,
    build: Build,
    program: Program,
}

impl Session for EmulatedSession {
    fn run(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<RunStats> {
        let EmulatedSession { job, build, program } = self;
        inputs.check(program)?;
        program.check_output(out)?;
        observer.check()?;
        for (slot, buffer) in program.slots.iter().zip(&mut job.buffers) {
            if let Source::Input(input) = slot.source {
                let words = bytemuck::cast_slice(inputs.words(input)).to_vec();
                *buffer = Content::Given(padded(words, slot.bytes()));
            }
        }
        let found = job.run(*build).map_err(broken)?;
        let row = u32::from_le_bytes(found[1][..4].try_into().expect("a cursor"));
        let rows = program.rows.len();
        if row as usize != rows {
            return Err(broken(format!("the cursor is at row {row} of {rows}")));
        }
        out.copy_from_slice(&bytemuck::pod_collect_to_vec::<u8, f32>(&found[0][..4 * out.len()]));
        (observer.rows_done)(rows);
        let launches = job.order.len() as u64;
        let dispatches = launches;
        Ok(RunStats { submits: 1, readbacks: 1, launches, dispatches, ..RunStats::default() })
    }
}
