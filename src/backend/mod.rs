//! Runs programs. A backend knows kernels and buffers; no solver, schedule or model by name.

mod alone;
pub mod cpu;
pub mod cuda;
pub mod grid;
mod kept;
pub mod null;
mod pack;
pub mod roofline;
mod room;
pub mod select;
pub mod source;
pub mod timeline;
mod trial;
pub mod tune;
pub mod wgpu;
pub mod work;

pub use pack::packed;
pub use room::Room;

use crate::error::{Error, Result};
use crate::program::{Input, Program, Source};
use crate::tensor::DType;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use timeline::Timeline;
use tune::{Identity, Tuned, Tuning};

/// Gives parameters to a backend.
pub trait WeightSource {
    /// The values of parameter `name`, of checkpoint shape `shape`, in the checkpoint's order.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;
}

/// What a run uploads: content of the slots of [`crate::program::Input`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunInputs {
    /// Words as in [`crate::ops::solver_step`].
    pub run: Vec<u32>,
    /// For each network sample the index of its condition among those of the program.
    pub condition: Vec<u32>,
    /// Empty unless the program takes draws from the host.
    pub draws: Vec<f32>,
    /// Empty unless the program starts from known data or keeps a part of them.
    pub known: Vec<f32>,
    /// Empty unless it keeps what a mask leaves.
    pub mask: Vec<f32>,
    /// Empty unless the program evaluates what it is given.
    pub images: Vec<f32>,
}

impl RunInputs {
    /// The content for `input`, as words.
    pub fn words(&self, input: Input) -> &[u32] {
        match input {
            Input::Run => &self.run,
            Input::Condition => &self.condition,
            Input::Draws => bytemuck::cast_slice(&self.draws),
            Input::Known => bytemuck::cast_slice(&self.known),
            Input::Mask => bytemuck::cast_slice(&self.mask),
            Input::Images => bytemuck::cast_slice(&self.images),
        }
    }

    /// Checks that every input slot of `program` is filled exactly and that no condition points
    /// outside the tables.
    pub fn check(&self, program: &Program) -> Result<()> {
        for slot in &program.slots {
            let Source::Input(input) = slot.source else { continue };
            let found = self.words(input).len();
            if found != slot.len {
                let what = format!("input '{}' of a run", slot.name);
                let expected = format!("{} words", slot.len);
                let action = "give what the program was compiled for";
                return Err(Error::invalid(what, expected, found.to_string(), action));
            }
        }
        let bound = program.span.conditions.max(1);
        match self.condition.iter().find(|c| **c as usize >= bound) {
            Some(found) => Err(Error::invalid(
                "a condition index of a run",
                format!("below {bound}"),
                found.to_string(),
                "compile for every label that is asked for",
            )),
            None => Ok(()),
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunStats {
    /// Submissions to the device's queue; 0 where there is none.
    pub submits: u64,
    /// Blocking downloads.
    pub readbacks: u64,
    /// Kernel launches.
    pub launches: u64,
    /// Dispatches of a device: a launch whose sum is split is two. 0 where there is none.
    pub dispatches: u64,
    /// Milliseconds in which the host recorded and submitted, waiting not included. A software
    /// driver may do the work itself inside the submission, which then counts too.
    pub host_ms: f64,
    /// The part of them in which commands were recorded, before they were submitted. A software
    /// driver's work beside it, and what that leaves in caches, make it several times longer.
    pub encode_ms: f64,
}

/// Watches a run: gets the rows finished so far, and may stop it.
pub struct Observer<'a> {
    /// Set from elsewhere to end the run.
    pub stop: &'a AtomicBool,
    /// Called with the number of rows known to be finished.
    pub rows_done: &'a mut dyn FnMut(usize),
}

impl Observer<'_> {
    /// `Err(Interrupted)` once a stop was asked for.
    pub fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        Ok(())
    }
}

/// What a backend may remember, and how it chooses where it has a choice. By default it remembers
/// nothing and measures nothing.
#[derive(Clone, Default)]
pub struct Settings {
    pub tuning: Tuning,
    /// Folder of measured tiles and of what the driver compiled.
    pub cache: Option<PathBuf>,
    pub stamping: Stamping,
}

/// Where a device that has a choice takes the timestamps of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamping {
    /// After each dispatch if it can, else at the ends of passes.
    #[default]
    Auto,
    /// After each dispatch.
    InsidePasses,
    /// At the ends of passes, one for each launch.
    Passes,
}

/// What a device is called by other tools, so that they can be asked about the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// As its driver has it, without the driver.
    pub name: String,
    /// None where there is no driver.
    pub driver: Option<String>,
    /// `domain:bus:device.function`, in hexadecimal, where the driver tells.
    pub pci: Option<String>,
    /// Whether it is a driver that runs on the processor.
    pub software: bool,
}

/// A device that prepares programs.
pub trait Backend {
    /// `cpu`, `wgpu`, `null`.
    fn name(&self) -> &'static str;
    /// The device in words.
    fn device(&self) -> String;
    /// What measurements of the device hold for.
    fn identity(&self) -> Identity;
    /// The same device to other tools.
    fn hardware(&self) -> Hardware {
        Hardware { name: self.device(), ..Hardware::default() }
    }
    /// Whether activations and weights can be stored as `dtype`.
    fn supports(&self, dtype: DType) -> bool;
    /// The storage type that `--precision auto` takes.
    fn preferred(&self) -> DType;
    /// The memory that it has left for a program; none where it does not tell.
    ///
    /// # Errors
    /// `Error::Device` if it fails at that.
    fn room(&self) -> Result<Option<Room>> {
        Ok(None)
    }
    /// Compiles kernels, allocates every slot and uploads weights and tables.
    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>>;
}

/// A prepared program.
pub trait Session {
    /// Runs the program once: uploads `inputs`, runs every row, reads the output back into `out`
    /// (`output_len` elements).
    fn run(
        &mut self,
        inputs: &RunInputs,
        observer: &mut Observer,
        out: &mut [f32],
    ) -> Result<RunStats>;

    /// The same with the times of every launch. The first time makes what that needs, so its times
    /// on the host are not those of a run.
    ///
    /// # Errors
    /// Those of [`Session::run`]; `Error::Invalid` if the device cannot time launches.
    fn profile(
        &mut self,
        _inputs: &RunInputs,
        _observer: &mut Observer,
        _out: &mut [f32],
    ) -> Result<(RunStats, Timeline)> {
        Err(Error::invalid(
            "a profile",
            "a device that can time launches",
            "one that cannot",
            "choose another --device",
        ))
    }

    /// How its launches are cut, on a backend that has a choice.
    fn tuned(&self) -> Option<&Tuned> {
        None
    }
}
