//! What a model compiles to, from its configuration alone: no weights, no device.

mod display;
mod launches;
mod memory;

pub use display::bytes;
pub use launches::LaunchRow;
pub use memory::{Arena, MemoryMap, Value};

use super::{Needs, Request, Resolved, options, storage};
use crate::backend::null::{self, Counts};
use crate::backend::roofline::Peak;
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId};
use crate::model::{Files, Model};
use crate::ops::Facts;
use crate::program::{Body, Program, Slot, Source};
use crate::solver::SchedulerConfig;
use crate::tensor::DType;
use serde::Serialize;
use std::ops::Range;

/// A layer of the network, before anything is fused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerRow {
    pub name: String,
    /// The op that computes it, or the activation.
    pub layer: &'static str,
    /// Positions of the layers that it reads.
    pub inputs: Vec<usize>,
    /// `[H, W, C]` of a map, `[C]` of a row, for one sample.
    pub shape: Vec<usize>,
}

/// A buffer that the program keeps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlotRow {
    pub name: String,
    pub dtype: &'static str,
    pub bytes: u64,
}

/// What a model compiles to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    pub model: String,
    /// What was found of it.
    pub files: Files,
    /// `[C, H, W]`.
    pub state: [usize; 3],
    pub classes: Option<usize>,
    pub precision: &'static str,
    /// The file that the schedule was read from.
    pub scheduler: String,
    pub solver: String,
    pub steps: usize,
    pub nfe: usize,
    pub batch: usize,
    pub guidance: f64,
    /// Scalar parameters of the network.
    pub parameters: usize,
    /// Bytes of packed parameters.
    pub weight_bytes: u64,
    /// Operations of one evaluation of the network for one sample.
    pub flops_per_eval: u64,
    /// Operations of one step of the batch: both halves under guidance, and the update.
    pub flops_per_step: u64,
    pub launches_per_step: usize,
    pub launches_hoisted: usize,
    /// Launches of a step whose sum is split, each two dispatches: what a GPU takes that reports
    /// nothing special and has measured nothing.
    pub launches_split_k: usize,
    /// Launches of the whole trajectory.
    pub launches: u64,
    /// Arenas of the loop's values, and the least that any placement could need.
    pub activation_bytes: u64,
    pub activation_lower_bound_bytes: u64,
    /// Tables made before the loop.
    pub hoisted_bytes: u64,
    /// Every buffer of the program.
    pub allocated_bytes: u64,
    pub layers: usize,
    /// The least microseconds of a step and of a run, were every launch as fast as the measured
    /// device could be; none without its figures.
    pub step_floor_us: Option<f64>,
    pub run_floor_us: Option<f64>,
    /// The layers of the network in order.
    pub graph: Vec<LayerRow>,
    /// The launches of the prologue, then those of each loop body.
    pub plan: Vec<LaunchRow>,
    /// Of these the launches of one evaluation with its update.
    pub step: Range<usize>,
    pub memory: MemoryMap,
    /// Arenas, and slots of their own that are neither weights nor fixed tables.
    pub slots: Vec<SlotRow>,
    /// What of the model's configuration the solver does not follow.
    pub notes: Vec<String>,
}

/// The name of the part before the loop.
const PROLOGUE: &str = "prologue";

/// Ho et al. 2020, section 4: what `DDPMScheduler` defaults to.
const DEFAULT_SCHEDULER: &str = r#"{"_class_name": "DDPMScheduler"}"#;

/// Plans `request` for `model`; `peak` is what the device that it is for does at most, if known.
pub fn inspect(model: &Model, request: &Request, peak: Option<&Peak>) -> Result<Inspection> {
    // The plan's shape depends on the number of times only, so a folder without a scheduler's
    // configuration is planned as its class was published; the report says so.
    let scheduler = match model.has_scheduler() {
        true => model.scheduler()?,
        false => SchedulerConfig::parse(DEFAULT_SCHEDULER, "defaults of DDPMScheduler")?,
    };
    let resolved = Resolved::new(model, &scheduler, request)?;
    let trajectory = resolved.record(model, &scheduler, request)?;
    let storage = storage(request.precision, &null::Null)?;
    let options = options(model, request, &resolved, storage)?;
    let program = Program::build(&model.graph, &trajectory, &options);
    let samples = options.batch * if options.guided { 2 } else { 1 };
    let counts = Counts::of(&program);
    let plan = launches::launches(&program, &model.graph, peak);
    // The longest body is that of `Program::step`.
    let step = parts(&program).into_iter().max_by_key(|part| part.len()).unwrap_or_default();
    let floors = peak.map(|_| floors(&program, &plan, &step));
    Ok(Inspection {
        model: model.name.clone(),
        files: model.files(),
        state: model.state,
        classes: model.classes,
        precision: storage.name(),
        scheduler: scheduler.origin,
        solver: resolved.solver,
        steps: resolved.steps,
        nfe: trajectory.nfe(),
        batch: resolved.batch,
        guidance: resolved.guidance,
        parameters: model.graph.parameters(),
        weight_bytes: program.weight_bytes(),
        flops_per_eval: network_flops(&program) / samples as u64,
        flops_per_step: program.flops_per_step(),
        launches_per_step: program.launches_per_step(),
        launches_hoisted: program.prologue.len(),
        launches_split_k: program.split_per_step(&Facts::LEAST),
        launches: counts.launches,
        activation_bytes: program.memory.activation_bytes,
        activation_lower_bound_bytes: program.memory.lower_bound_bytes,
        hoisted_bytes: program.memory.hoisted_bytes,
        allocated_bytes: counts.allocated,
        layers: model.graph.nodes.len(),
        step_floor_us: floors.map(|[step, _]| step),
        run_floor_us: floors.map(|[_, run]| run),
        graph: layers(&model.graph),
        plan,
        step,
        memory: MemoryMap::of(&program),
        slots: slots(&program),
        notes: resolved.notes,
    })
}

impl Inspection {
    /// The memory that a run takes.
    pub fn needs(&self) -> Needs {
        Needs {
            weights: self.weight_bytes,
            tables: self.hoisted_bytes,
            activations: self.activation_bytes,
            all: self.allocated_bytes,
            batch: self.batch,
            single: self.precision == DType::F32.name(),
        }
    }
}

/// Operations of one step without its update.
fn network_flops(program: &Program) -> u64 {
    let launches = program.bodies.iter().flat_map(|b| &b.launches);
    launches.filter(|l| l.layer != Program::SOLVER).map(|l| l.call.flops()).sum()
}

fn slots(program: &Program) -> Vec<SlotRow> {
    let arenas = program.arenas.iter().enumerate();
    let arenas = arenas.map(|(i, bytes)| SlotRow {
        name: format!("arena {i}"),
        dtype: "any",
        bytes: *bytes,
    });
    let own = program.slots.iter().filter(|slot| {
        !matches!(slot.source, Source::Weight { .. } | Source::Table(_) | Source::Arena(_))
    });
    let row = |slot: &Slot| SlotRow {
        name: slot.name.clone(),
        dtype: slot.dtype.name(),
        bytes: slot.bytes(),
    };
    arenas.chain(own.map(row)).collect()
}

fn layers(graph: &Graph) -> Vec<LayerRow> {
    let row = |node: &Node| LayerRow {
        name: node.name.clone(),
        layer: node.layer.name(),
        inputs: node.inputs.iter().map(|NodeId(i)| *i).collect(),
        shape: node.shape.sides(),
    };
    graph.nodes.iter().map(row).collect()
}

/// Where in the plan the launches of each body are.
fn parts(program: &Program) -> Vec<Range<usize>> {
    let mut end = program.prologue.len();
    let part = |body: &Body| {
        let start = end;
        end += body.launches.len();
        start..end
    };
    program.bodies.iter().map(part).collect()
}

/// The floors of a step and of the run, from those of their launches.
fn floors(program: &Program, plan: &[LaunchRow], step: &Range<usize>) -> [f64; 2] {
    let sum = |part: Range<usize>| plan[part].iter().filter_map(|row| row.floor_us).sum::<f64>();
    let bodies: Vec<f64> = parts(program).into_iter().map(sum).collect();
    let rows: f64 = program.rows.iter().map(|row| bodies[row.body]).sum();
    [sum(step.clone()), sum(0..program.prologue.len()) + rows]
}
