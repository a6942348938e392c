//! What a model compiles to, from its configuration alone: no weights, no device.

use super::{Request, Resolved, options, storage};
use crate::backend::null::{self, Counts};
use crate::error::Result;
use crate::model::Model;
use crate::ops::Facts;
use crate::program::{Launch, Program, Slot, Source};
use crate::solver::SchedulerConfig;
use serde::Serialize;
use std::fmt;

/// One launch of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LaunchRow {
    /// `prologue`, or the loop body's name.
    pub part: &'static str,
    pub kernel: &'static str,
    pub layer: String,
    pub flops: u64,
    pub bytes: u64,
    /// The slots, or the places in arenas, that it writes.
    pub writes: String,
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
    pub plan: Vec<LaunchRow>,
    /// Arenas, and slots of their own that are neither weights nor fixed tables.
    pub slots: Vec<SlotRow>,
    /// What of the model's configuration the solver does not follow.
    pub notes: Vec<String>,
}

/// Ho et al. 2020, section 4: what `DDPMScheduler` defaults to.
const DEFAULT_SCHEDULER: &str = r#"{"_class_name": "DDPMScheduler"}"#;

/// Plans `request` for `model`.
pub fn inspect(model: &Model, request: &Request) -> Result<Inspection> {
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
    Ok(Inspection {
        model: model.name.clone(),
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
        plan: plan(&program),
        slots: slots(&program),
        notes: resolved.notes,
    })
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

fn plan(program: &Program) -> Vec<LaunchRow> {
    let row = |part, launch: &Launch| {
        let writes = launch.call.args().iter().zip(&launch.args);
        let writes = writes.filter(|(arg, _)| arg.access != crate::ops::Access::Read);
        let writes = writes.filter_map(|(_, slot)| {
            let slot = &program.slots[(*slot)?.0];
            Some(slot.place().map_or(slot.name.clone(), |place| place.to_string()))
        });
        LaunchRow {
            part,
            kernel: launch.call.name(),
            layer: launch.layer.clone(),
            flops: launch.call.flops(),
            bytes: null::bytes(program, launch),
            writes: writes.collect::<Vec<_>>().join(", "),
        }
    };
    let hoisted = program.prologue.iter().map(|l| row("prologue", l));
    let bodies = program.bodies.iter().flat_map(|b| b.launches.iter().map(|l| row(b.name, l)));
    hoisted.chain(bodies).collect()
}

/// `1536` -> `1.5 KiB`.
fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.2} GiB")
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [c, h, w] = self.state;
        let [eval, step] = [self.flops_per_eval, self.flops_per_step].map(|f| f as f64 / 1e9);
        writeln!(f, "model        {}: {c}x{h}x{w}, {} layers", self.model, self.layers)?;
        writeln!(f, "parameters   {} ({})", self.parameters, bytes(self.weight_bytes))?;
        writeln!(
            f,
            "trajectory   {} {} steps, NFE {}, batch {}, guidance {}, {}, {}",
            self.solver,
            self.steps,
            self.nfe,
            self.batch,
            self.guidance,
            self.precision,
            self.scheduler
        )?;
        writeln!(
            f,
            "launches     {} a step ({} with a split sum), {} hoisted, {} in all",
            self.launches_per_step, self.launches_split_k, self.launches_hoisted, self.launches
        )?;
        writeln!(f, "work         {eval:.3} GFLOP an evaluation, {step:.3} a step of the batch")?;
        let (used, bound) = (self.activation_bytes, self.activation_lower_bound_bytes);
        writeln!(
            f,
            "activations  {} ({:.2}x the lower bound of {}), tables {}, all buffers {}",
            bytes(used),
            used as f64 / bound.max(1) as f64,
            bytes(bound),
            bytes(self.hoisted_bytes),
            bytes(self.allocated_bytes)
        )?;
        let mut part = "";
        for row in &self.plan {
            if row.part != part {
                part = row.part;
                writeln!(f, "\n{part:<48}{:>10} {:>10}  writes", "MFLOP", "moved")?;
            }
            writeln!(
                f,
                "  {:<15}{:<31}{:>10.2} {:>10}  {}",
                row.kernel,
                row.layer,
                row.flops as f64 / 1e6,
                bytes(row.bytes),
                row.writes
            )?;
        }
        writeln!(f, "\nslots")?;
        for slot in &self.slots {
            writeln!(f, "  {:<15}{:<5}{:>10}", slot.name, slot.dtype, bytes(slot.bytes))?;
        }
        Ok(())
    }
}
