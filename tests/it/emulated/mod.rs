//! CUDA kernels on the processor: compiled as C++ against tests/emulator, where a workgroup is
//! fibers on one thread. [`Emulated`] is a backend like any other; a kernel that breaks a rule of
//! CUDA is an error of the run.
//!
//! What it cannot see: weak memory, bank conflicts, registers and spills, clusters, TMA, and
//! whether fragments lie as we read the manual. Only a GPU shows those.
//!
//! [`stand_ins`] are libraries that a process loads in place of CUDA's driver and of NVRTC: with
//! them the program runs its own CUDA backend, whose kernels run on the same emulator. They show
//! that it calls what a driver has, in an order and with arguments that a driver takes, and what it
//! makes of errors. They cannot show what a real driver does beyond its manual: how long anything
//! takes, what overlaps, what machine code a compiler makes, and where a driver is stricter than
//! tests/emulator/driver.hpp says. Slots of one allocation are neighbours there: an access that
//! leaves one for another is seen by [`Emulated`] only.

mod backend;
mod build;
mod job;
mod stand_ins;

pub use backend::{Emulated, Persistent};
pub use build::{Build, compiler, unit};
pub use job::{Content, Job, Launch, SCHEDULES, address};
pub use stand_ins::{nvml, stand_ins};
