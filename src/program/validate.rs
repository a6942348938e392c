//! What every backend may take for granted about a program.

use super::{Launch, Program, Slot, SlotId, Source};
use crate::error::{Error, Result};
use crate::ops::control::layout;
use crate::ops::latent_tile::Place;
use crate::ops::{Access, Arg, Call, row};
use crate::tensor::DType;

/// Names of the arguments that hold words; all others hold numbers.
const WORDS: [&str; 4] = ["cond", "labels", "places", "run"];

impl Program {
    /// Checks sizes, element types and the use of every slot, and every index that a table of the
    /// program holds, so that no launch can reach outside a buffer. What a run hands in is checked
    /// by its backend.
    pub fn validate(&self) -> Result<()> {
        for slot in &self.slots {
            check_table(slot)?;
            self.check_place(slot)?;
        }
        for launch in &self.prologue {
            self.check_launch(launch, &[0])?;
        }
        for (number, body) in self.bodies.iter().enumerate() {
            let rows = self.rows.iter().enumerate().filter(|(_, row)| row.body == number);
            let rows: Vec<usize> = rows.map(|(i, _)| i).collect();
            body.launches.iter().try_for_each(|launch| self.check_launch(launch, &rows))?;
        }
        if let Some(row) = self.rows.iter().find(|row| row.body >= self.bodies.len()) {
            let expected = format!("a body below {}", self.bodies.len());
            return Err(wrong("a row", expected, row.body.to_string()));
        }
        let times = self.span.times.max(1);
        if let Some(row) = self.rows.iter().find(|row| row.time as usize >= times) {
            return Err(wrong("a row", format!("a time below {times}"), row.time.to_string()));
        }
        let steps = |row: &super::RowRef| self.bodies[row.body].steps();
        let last = self.rows.iter().rposition(steps).map_or(0, |last| last + 1);
        if last > self.span.rows {
            let found = last.to_string();
            return Err(wrong("rows", format!("at most {}", self.span.rows), found));
        }
        let output = self.slots.get(self.output.0);
        match output {
            Some(slot) if slot.place().is_some() => {
                let found = format!("'{}' in an arena", slot.name);
                Err(wrong("the output", "a slot of its own".into(), found))
            }
            Some(slot) if slot.dtype == DType::F32 && slot.len >= self.output_len => Ok(()),
            _ => Err(wrong(
                "the output",
                format!("an f32 slot of at least {} elements", self.output_len),
                output.map_or("none".into(), |slot| format!("{} of {}", slot.len, slot.dtype)),
            )),
        }
    }

    /// Checks that `out` takes the samples exactly.
    pub fn check_output(&self, out: &[f32]) -> Result<()> {
        if out.len() == self.output_len {
            return Ok(());
        }
        Err(Error::invalid(
            "the output of a run",
            format!("{} elements", self.output_len),
            out.len().to_string(),
            "give what the program was compiled for",
        ))
    }

    fn check_launch(&self, launch: &Launch, rows: &[usize]) -> Result<()> {
        let args = launch.call.args();
        let what = format!("{} ({})", launch.layer, launch.call.name());
        if launch.args.len() != args.len() {
            let found = launch.args.len().to_string();
            return Err(wrong(&what, format!("{} arguments", args.len()), found));
        }
        for (i, (arg, bound)) in args.iter().zip(&launch.args).enumerate() {
            let what = format!("{what}: argument '{}'", arg.name);
            let Some(id) = bound else {
                if arg.optional {
                    continue;
                }
                return Err(wrong(&what, "a slot".into(), "none".into()));
            };
            let Some(slot) = self.slots.get(id.0) else {
                let expected = format!("a slot below {}", self.slots.len());
                return Err(wrong(&what, expected, id.0.to_string()));
            };
            check_slot(&what, arg, slot, launch.call.reach(i, &self.span))?;
            let others = launch.args.iter().enumerate().filter(|(j, _)| *j != i);
            if arg.access != Access::Read && others.into_iter().any(|(_, other)| other == bound) {
                let expected = "a slot of its own, as it is written".to_string();
                return Err(wrong(&what, expected, format!("'{}' bound twice", slot.name)));
            }
            if arg.access != Access::Read {
                self.check_apart(&what, launch, i)?;
            }
        }
        self.check_contents(launch, rows, &what)
    }

    /// Indices that tables hold where the launch reads them, in these rows of the program.
    fn check_contents(&self, launch: &Launch, rows: &[usize], what: &str) -> Result<()> {
        let table_of = |id: SlotId| match self.slots.get(id.0).map(|slot| &slot.source) {
            Some(Source::Table(words)) => &words[..],
            _ => &[],
        };
        let table = |arg: usize| launch.args[arg].map_or(&[][..], table_of);
        let below = |name: &str, found: Option<u32>, bound: u32| match found {
            Some(found) if found >= bound => {
                let what = format!("{what}: {name}");
                Err(wrong(&what, format!("below {bound}"), found.to_string()))
            }
            _ => Ok(()),
        };
        let conditions = launch.call.args().iter().position(|arg| arg.name == "cond");
        if let Some(arg) = conditions {
            let bound = self.span.conditions as u32;
            below("a condition", table(arg).iter().max().copied(), bound)?;
        }
        let row_table = |arg: usize| match launch.args[arg] {
            Some(id) => table_of(self.made_from(id)),
            None => &[],
        };
        let read = |arg| {
            let all = bytemuck::cast_slice::<u32, row::Row>(row_table(arg));
            rows.iter().filter_map(|i| all.get(*i))
        };
        let ring = |arg, depth: u32| {
            below("a ring position", read(arg).map(|r| r.ring).max(), depth.max(1))?;
            below("the depth of the history", Some(depth), row::HISTORY as u32 + 1)
        };
        let draw = |arg, draws: usize| {
            let drawn = read(arg).map(|r| r.z0_index.max(r.z1_index)).max();
            below("a draw", launch.args[draws].and(drawn), self.span.draws.max(1) as u32)
        };
        // Each of the rows has a place that the launch can take.
        let placed = |first: u32, holds: &dyn Fn(&Place) -> bool| {
            let all = bytemuck::cast_slice::<u32, Place>(table(1));
            let of = |row: &usize| row.checked_sub(first as usize).and_then(|i| all.get(i));
            match rows.iter().find(|row| !of(row).is_some_and(holds)) {
                Some(row) => {
                    let found = format!("{:?} at row {row}", of(row));
                    Err(wrong(what, "a place inside the buffers".into(), found))
                }
                None => Ok(()),
            }
        };
        match launch.call {
            Call::Embedding(p) => below("a label", table(1).iter().max().copied(), p.classes),
            Call::Combine(p) => ring(1, p.depth),
            Call::SolverStep(p) => ring(2, p.depth).and_then(|()| draw(2, 4)),
            Call::Noise(_) => draw(0, 2),
            Call::Replace(_) => draw(3, 5),
            Call::LatentTile(p) => placed(p.first, &|place| p.holds(place)),
            Call::PictureTile(p) => placed(p.first, &|place| p.holds(place)),
            Call::BlendTiles(p) => placed(p.first, &|place| p.holds(place)),
            Call::Control(p) => {
                let ranks = read(2).map(|r| r.threshold_rank).max();
                below("a rank", ranks, (p.c * p.hw).max(1))?;
                if p.adaptive != 0 {
                    let numbers = (table(2).len() / row::WORDS).saturating_sub(p.adaptive as usize);
                    let clock = clock_numbers(table(2), p.adaptive as usize);
                    below("the clock of the steps", clock, (numbers * row::NUMBERS) as u32 + 1)?;
                }
                draw(2, 4)
            }
            _ => Ok(()),
        }
    }

    /// The slot whose rows a slot of rows is made from: rows of samples are `control`'s copies.
    fn made_from(&self, rows: SlotId) -> SlotId {
        let mut launches = self.bodies.iter().flat_map(|body| &body.launches);
        let control =
            |l: &&Launch| matches!(l.call, Call::Control(_)) && l.args.get(5) == Some(&Some(rows));
        launches.find(control).and_then(|l| l.args[2]).unwrap_or(rows)
    }
}

/// Numbers up to the end of the clock of adaptive steps, `first` being the row where they begin.
fn clock_numbers(table: &[u32], first: usize) -> Option<u32> {
    let rows = bytemuck::cast_slice::<u32, row::Row>(table);
    let row = rows.get(first + layout::CLOCK / row::NUMBERS)?;
    let place = layout::CLOCK % row::NUMBERS;
    let mix = [&row.x, &row.saved, &row.push][place / row::HISTORY];
    let points = mix.h[place % row::HISTORY].max(2.0) as u32;
    points.checked_mul(2)?.checked_add((layout::HEADER + layout::POINTS * layout::POINT) as u32)
}

fn check_slot(what: &str, arg: &Arg, slot: &Slot, elements: usize) -> Result<()> {
    if slot.len < elements {
        let found = format!("{} in '{}'", slot.len, slot.name);
        return Err(wrong(what, format!("at least {elements} elements"), found));
    }
    let words = WORDS.contains(&arg.name);
    if words != (slot.dtype == DType::U32) {
        let expected = if words { "u32 elements" } else { "f32 or f16 elements" };
        let found = format!("{} in '{}'", slot.dtype, slot.name);
        return Err(wrong(what, expected.into(), found));
    }
    let fixed = !matches!(slot.source, Source::Scratch | Source::Arena(_) | Source::State);
    if fixed && arg.access != Access::Read {
        let found = format!("'{}', whose content is fixed", slot.name);
        return Err(wrong(what, "a slot that may be written".into(), found));
    }
    Ok(())
}

/// A table must fill its slot.
fn check_table(slot: &Slot) -> Result<()> {
    let Source::Table(words) = &slot.source else { return Ok(()) };
    let expected = (slot.len * slot.dtype.size()).div_ceil(4);
    if words.len() == expected {
        return Ok(());
    }
    let what = format!("table '{}'", slot.name);
    Err(wrong(&what, format!("{expected} words"), words.len().to_string()))
}

pub(super) fn wrong(what: &str, expected: String, found: String) -> Error {
    Error::invalid(
        format!("program: {what}"),
        expected,
        found,
        "this is an error in the planner; please report it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Span, concat};
    use crate::program::{Body, RowRef, SlotId};
    use std::sync::Arc;

    /// `y = [a | b]` for 2 vectors of 3 + 1 channels, a and b from tables.
    fn program() -> Program {
        let slot = |name: &str, len: usize, source| Slot {
            name: name.into(),
            dtype: DType::F32,
            len,
            source,
        };
        let table = |len: usize| Source::Table(Arc::from(vec![0; len]));
        let args = [0, 1, 2].map(|i| Some(SlotId(i))).to_vec();
        let call = Call::from(concat::Params { n: 2, ca: 3, cb: 1 });
        let launches =
            vec![Launch { call, args, layer: "skip".into(), covers: Default::default() }];
        Program {
            slots: vec![
                slot("a", 6, table(6)),
                slot("b", 2, table(2)),
                slot("y", 8, Source::Scratch),
            ],
            arenas: Vec::new(),
            prologue: Vec::new(),
            bodies: vec![Body { name: "eval", launches }],
            rows: vec![RowRef { body: 0, time: 0 }],
            output: SlotId(2),
            output_len: 8,
            span: Span { times: 1, conditions: 1, rows: 1, draws: 0 },
            memory: Default::default(),
        }
    }

    #[test]
    fn a_sound_program_passes() {
        program().validate().unwrap();
    }

    #[test]
    fn each_fault_is_named() {
        type Fault = (fn(&mut Program), &'static str);
        let faults: [Fault; 11] = [
            (|p| p.slots[2].len = 7, "at least 8 elements"),
            (|p| p.slots[0].len = 7, "7 words"),
            (|p| p.slots[1].dtype = DType::U32, "f32 or f16 elements"),
            (|p| p.bodies[0].launches[0].args[0] = Some(SlotId(2)), "bound twice"),
            (|p| p.slots[2].source = Source::Table(Arc::from([0; 8])), "content is fixed"),
            (|p| p.bodies[0].launches[0].args[1] = None, "found none"),
            (|p| p.bodies[0].launches[0].args[1] = Some(SlotId(9)), "a slot below 3"),
            (|p| p.rows[0].body = 1, "a body below 1"),
            (|p| p.rows[0].time = 1, "a time below 1"),
            (|p| p.rows.push(p.rows[0]), "at most 1"),
            (|p| p.output_len = 9, "at least 9 elements"),
        ];
        for (break_it, expected) in faults {
            let mut broken = program();
            break_it(&mut broken);
            let message = broken.validate().unwrap_err().to_string();
            assert!(message.contains(expected), "'{message}' lacks '{expected}'");
        }
    }
}
