//! CUDA kernels on the processor: compiled as C++ against tests/emulator, where a workgroup is
//! fibers on one thread. [`Emulated`] is a backend like any other; a kernel that breaks a rule of
//! CUDA is an error of the run.
//!
//! What it cannot see: weak memory, bank conflicts, registers and spills, clusters, TMA, and
//! whether fragments lie as we read the manual. Only a GPU shows those.

mod backend;
mod build;
mod job;

pub use backend::Emulated;
pub use build::{Build, compiler, unit};
pub use job::{Content, Job, Launch, SCHEDULES, address};
