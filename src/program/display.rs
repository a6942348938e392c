//! A program as text: slots, then launches.

use super::{Launch, Piece, Program, Slot, Source};
use std::fmt;

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Scratch => "scratch".into(),
            Source::Arena(place) => place.to_string(),
            Source::State => "state".into(),
            Source::Weight { pieces, .. } => {
                let left = |p: &Piece| p.left.as_ref().map(|left| format!("{:?} x ", left.shape));
                let pieces = pieces.iter().map(|p| {
                    let left = left(p).unwrap_or_default();
                    format!("{left}{:?} {:?} at {}", p.param.shape, p.pack, p.at)
                });
                format!("weight {}", pieces.collect::<Vec<_>>().join(", "))
            }
            Source::Table(_) => "table".into(),
            Source::Input(input) => format!("input {input:?}"),
        };
        write!(f, "{} [{}] {} {source}", self.name, self.len, self.dtype)
    }
}

struct Shown<'a>(&'a Program, &'a Launch);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(program, launch) = self;
        write!(f, "{:<14} {:<40}", launch.call.name(), launch.layer)?;
        for (arg, slot) in launch.call.args().iter().zip(&launch.args) {
            if let Some(slot) = slot {
                write!(f, " {}={}", arg.name, program.slots[slot.0].name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for slot in &self.slots {
            writeln!(f, "slot {slot}")?;
        }
        for (i, bytes) in self.arenas.iter().enumerate() {
            writeln!(f, "arena {i} {bytes} bytes")?;
        }
        writeln!(f, "prologue")?;
        for launch in &self.prologue {
            writeln!(f, "    {}", Shown(self, launch))?;
        }
        for (i, body) in self.bodies.iter().enumerate() {
            let rows = self.rows.iter().filter(|r| r.body == i).count();
            writeln!(f, "body {} ({rows} rows)", body.name)?;
            for launch in &body.launches {
                writeln!(f, "    {}", Shown(self, launch))?;
            }
        }
        writeln!(f, "output {}", self.slots[self.output.0].name)
    }
}
