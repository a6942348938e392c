//! A plan in words.

use super::{Inspection, MemoryMap};
use crate::backend::roofline::Bound;
use crate::model::Files;
use std::collections::BTreeMap;
use std::fmt;

/// Columns that a plot over launches may take.
const WIDTH: usize = 72;

/// `1536` -> `1.5 KiB`.
pub fn bytes(n: u64) -> String {
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
        self.head(f)?;
        self.hoisted(f)?;
        self.floors(f)?;
        self.alive(f)?;
        self.launches(f)?;
        writeln!(f, "\nslots")?;
        for slot in &self.slots {
            writeln!(f, "  {:<15}{:<5}{:>10}", slot.name, slot.dtype, bytes(slot.bytes))?;
        }
        Ok(())
    }
}

impl Inspection {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [c, h, w] = self.state;
        let [eval, step] = [self.flops_per_eval, self.flops_per_step].map(|f| f as f64 / 1e9);
        writeln!(f, "model        {}: {c}x{h}x{w}, {} layers", self.model, self.layers)?;
        self.found(f)?;
        writeln!(f, "parameters   {} ({})", self.parameters, bytes(self.weight_bytes))?;
        writeln!(
            f,
            "trajectory   {} {} steps, NFE {}, batch {}, guidance {}, {}",
            self.solver, self.steps, self.nfe, self.batch, self.guidance, self.precision
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
        )
    }

    /// The class and the files.
    fn found(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Files { class, config, settings, weights, .. } = &self.files;
        writeln!(f, "network      {class} of {config}")?;
        writeln!(f, "schedule     {}", self.scheduler)?;
        if let Some(file) = settings {
            writeln!(f, "settings     {file}")?;
        }
        if weights.is_empty() && self.parameters > 0 {
            writeln!(f, "weights      none: a plan needs none, sampling does")?;
        }
        for (i, file) in weights.iter().enumerate() {
            let head = if i == 0 { "weights" } else { "" };
            let size = file.bytes.map_or("missing".to_string(), bytes);
            writeln!(f, "{head:<12} {}, {size}", file.name)?;
        }
        Ok(())
    }

    /// What left the loop, and why.
    fn hoisted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.plan.iter().filter_map(|row| row.hoisted) {
            *reasons.entry(reason).or_default() += 1;
        }
        if reasons.is_empty() {
            return writeln!(f, "hoisted      nothing: every launch is in the loop");
        }
        let counts = reasons.iter().map(|(reason, n)| format!("{n} by {reason} alone"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        writeln!(f, "hoisted      {counts}: what does not read the state is computed once a run")
    }

    fn floors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.step_floor_us, self.run_floor_us) {
            (Some(step), Some(run)) => {
                let run = run / 1e3;
                writeln!(f, "floor        {step:.1} us a step, {run:.2} ms a run, at the least")
            }
            _ => writeln!(f, "floor        not known: unnoise devices --measure gives the figures"),
        }
    }

    /// The bytes alive at each launch of a step as a row of bars.
    fn alive(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hoisted = self.launches_hoisted;
        let step = &self.memory.alive[hoisted..];
        let Some((at, most)) = MemoryMap::peak(step) else { return Ok(()) };
        let layer = &self.plan[self.step.start + at].layer;
        writeln!(f, "alive        {}", bars(step, most))?;
        let (launch, all) = (at + 1, step.len());
        writeln!(f, "             most at launch {launch} of {all}, {layer}: {}", bytes(most))
    }

    fn launches(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.plan.iter().map(|row| row.layer.chars().count()).max().unwrap_or(0);
        let (mut part, name) = ("", width + 18);
        for row in &self.plan {
            if row.part != part {
                part = row.part;
                write!(f, "\n{part:<name$}{:>10} {:>10}", "MFLOP", "moved")?;
                let floor = row.floor_us.map_or(String::new(), |_| head_of_floor());
                let why = if row.hoisted.is_some() { "  by                " } else { "" };
                writeln!(f, "{floor}{why}  writes")?;
            }
            let (kernel, layer, moved) = (row.kernel, &row.layer, bytes(row.bytes));
            let mflop = row.flops as f64 / 1e6;
            write!(f, "  {kernel:<15} {layer:<width$}{mflop:>10.2} {moved:>10}")?;
            if let (Some(us), Some(bound)) = (row.floor_us, row.bound) {
                write!(f, " {us:>9.2}  {:<7}", word(bound))?;
            }
            if let Some(why) = row.hoisted {
                write!(f, "  {why:<18}")?;
            }
            writeln!(f, "  {}", row.writes)?;
            if row.layers.len() > 1 {
                writeln!(f, "    <- {}", short(&row.layers, &row.layer).join(", "))?;
            }
        }
        Ok(())
    }
}

fn head_of_floor() -> String {
    format!(" {:>9}  {:<7}", "floor us", "bound")
}

fn word(bound: Bound) -> &'static str {
    match bound {
        Bound::Compute => "compute",
        Bound::Memory => "memory",
        Bound::Launch => "launch",
    }
}

/// Names without the module that the launch is named after.
fn short<'a>(layers: &'a [String], launch: &str) -> Vec<&'a str> {
    // `to_out.0` is one name.
    let name = launch.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
    let module = name.rsplit_once('.').map_or("", |(module, _)| module);
    let without = |name: &'a String| name.strip_prefix(module)?.strip_prefix('.');
    layers.iter().map(|name| without(name).unwrap_or(name)).collect()
}

/// One bar a launch, or one of several launches the largest, in eighths of `most`.
fn bars(alive: &[u64], most: u64) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = alive.len().div_ceil(WIDTH).max(1);
    let largest = alive.chunks(each).map(|chunk| chunk.iter().max().copied().unwrap_or(0));
    largest.map(|bytes| BARS[(8 * bytes).div_ceil(most.max(1)) as usize]).collect()
}
