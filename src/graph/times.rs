//! Which times and classes a network can be told.

use super::{Frequencies, Graph, Layer};
use crate::error::{Error, Result};

impl Graph {
    /// Whether the network tells whole times only, having a learned vector for each.
    pub fn whole_times(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.layer, Layer::LearnedTime { .. }))
    }

    /// Checks what a run would tell the network: the times of its trajectory and the classes.
    ///
    /// # Errors
    /// A time whose logarithm is taken or that is divided by is not above 0, one that a table has
    /// no row of, a class 0 whose logarithm is taken.
    pub fn check_told(&self, times: &[f64], labels: &[u32]) -> Result<()> {
        for node in &self.nodes {
            let refuse = |bad: Option<&f64>, expected: String| match bad {
                Some(time) => Err(refused(&node.name, expected, time)),
                None => Ok(()),
            };
            // As the device is told it.
            let positive = |t: &&f64| !(**t as f32 > 0.0);
            match node.layer {
                Layer::TimeEmbedding {
                    frequencies: Frequencies::Stored { log: true, .. }, ..
                } => {
                    let expected = "times above 0, as the network embeds their logarithm";
                    refuse(times.iter().find(positive), expected.into())?;
                }
                Layer::DivideByTime => {
                    let expected = "times above 0, as the network divides by them";
                    refuse(times.iter().find(positive), expected.into())?;
                }
                Layer::LearnedTime { table } => {
                    let rows = self.param(table).shape[0];
                    let strange = |t: &&f64| t.fract() != 0.0 || **t < 0.0 || **t >= rows as f64;
                    let expected = format!("whole times below {rows}, of which it has learned");
                    refuse(times.iter().find(strange), expected)?;
                }
                Layer::LabelEmbedding {
                    frequencies: Frequencies::Stored { log: true, .. },
                    ..
                } if labels.contains(&0) => {
                    let expected = "classes from 1 on, as the network embeds their logarithm";
                    let action = "name others";
                    return Err(Error::invalid("--class", expected, "0", action));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn refused(layer: &str, expected: String, time: &f64) -> Error {
    Error::invalid(
        format!("--solver: the times that {layer} is told"),
        expected,
        format!("time {time}"),
        "choose a solver, a schedule or steps of other times, or the model's own scheduler",
    )
}
