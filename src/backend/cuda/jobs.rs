//! The bodies of a program as lists of jobs, which one persistent kernel walks
//! (kernels/common/persistent.cuh). No driver is called here: the emulator of the tests runs this.

use super::launch::{Addresses, Recorded, Recording};
use crate::backend::source::{JOB_HEAD, Variant, job_args, job_bytes};
use crate::ops::Call;
use crate::program::Program;

/// Threads of the persistent kernel's workgroups.
pub const THREADS: u32 = 256;
/// Bytes of `Grid` of kernels/common/persistent.cuh: zero at the start of a run.
pub const GRID_BYTES: u64 = 8;
/// More variants take the compiler too long.
const MOST_VARIANTS: usize = 48;
/// Pixels of a map: with more of them a launch works longer than it takes to begin.
const MOST_PIXELS: u32 = 32 * 32;

/// The lists in the device's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Jobs {
    pub bytes: Vec<u8>,
    /// Where an address stands in `bytes`.
    pub addresses: Vec<usize>,
    /// What the kernel is compiled for, in the order of the jobs' numbers.
    pub variants: Vec<(Variant, Call)>,
    /// The position of the persistent kernel: behind those of the recording.
    kernel: usize,
    /// Bytes from the start: the first job of each body, and the body of each row.
    first: usize,
    bodies: usize,
}

/// What the persistent kernel is told besides its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Rows to be walked at most.
    pub rows: u32,
    /// Workgroups that are there at once.
    pub blocks: u32,
    /// Bytes of workgroup memory.
    pub shared: u32,
    /// The address of `Grid`, and of a word that ends the run, or 0.
    pub grid: u64,
    pub stop: u64,
}

impl Jobs {
    /// The jobs of `program`'s bodies.
    pub fn of(program: &Program, recording: &Recording) -> Jobs {
        let used = |kernel: &usize| recording.bodies.iter().flatten().any(|l| l.kernel == *kernel);
        let kernels: Vec<usize> = (0..recording.kernels.len()).filter(used).collect();
        let variants: Vec<_> = kernels.iter().map(|k| recording.kernels[*k].clone()).collect();
        let size = job_bytes(&variants);
        let mut jobs = Jobs {
            bytes: Vec::new(),
            addresses: Vec::new(),
            variants,
            kernel: recording.kernels.len(),
            first: 0,
            bodies: 0,
        };
        let mut first = vec![0_u32];
        for body in &recording.bodies {
            for launch in body {
                let variant = kernels.iter().position(|kernel| *kernel == launch.kernel);
                jobs.push(launch, variant.unwrap_or_default() as u32, size);
            }
            first.push(first[first.len() - 1] + body.len() as u32);
        }
        jobs.first = jobs.bytes.len();
        jobs.bytes.extend_from_slice(bytemuck::cast_slice(&first));
        jobs.bodies = jobs.bytes.len();
        let bodies: Vec<u32> = program.rows.iter().map(|row| row.body as u32).collect();
        jobs.bytes.extend_from_slice(bytemuck::cast_slice(&bodies));
        jobs
    }

    /// One job of `size` bytes.
    fn push(&mut self, launch: &Recorded, variant: u32, size: usize) {
        let (start, args) = (self.bytes.len(), job_args(launch.params.len()));
        self.bytes.extend_from_slice(bytemuck::cast_slice(&[variant, launch.blocks, 0, 0]));
        debug_assert_eq!(self.bytes.len(), start + JOB_HEAD);
        self.bytes.extend_from_slice(&launch.params);
        self.bytes.resize(start + args, 0);
        for address in &launch.args {
            self.addresses.push(self.bytes.len());
            self.bytes.extend_from_slice(&address.to_le_bytes());
        }
        self.bytes.resize(start + size, 0);
    }

    /// The launch of the persistent kernel, its lists in memory that begins at `base`.
    pub fn launch(&self, base: u64, at: &Addresses, told: &Told) -> Recorded {
        let list = |offset: usize| base + offset as u64;
        Recorded {
            kernel: self.kernel,
            params: told.rows.to_le_bytes().to_vec(),
            args: vec![list(0), list(self.first), list(self.bodies), told.grid, told.stop],
            control: [at.advance, at.advance, at.partial, at.counters],
            blocks: told.blocks,
            shared: told.shared,
            flops: 0.0,
            bytes: 0.0,
            layer: "trajectory".into(),
        }
    }
}

/// Why the bodies of a recording are not for one persistent kernel, in words; `threads` are those
/// of the workgroups of a kernel of the recording.
pub fn unsuited(recording: &Recording, threads: impl Fn(usize) -> u32) -> Option<String> {
    let mut variants: Vec<usize> = Vec::new();
    for launch in recording.bodies.iter().flatten() {
        let (variant, call) = &recording.kernels[launch.kernel];
        let threads = threads(launch.kernel);
        if threads != THREADS {
            return Some(format!("{} has workgroups of {threads} threads", variant.op));
        }
        let conv = match call {
            Call::Conv2d(p) => Some(p),
            Call::ConvStep(p) => Some(&p.conv),
            _ => None,
        };
        if let Some(p) = conv.filter(|p| p.ho * p.wo > MOST_PIXELS) {
            return Some(format!("layer {} has {} x {} pixels", launch.layer, p.ho, p.wo));
        }
        if !variants.contains(&launch.kernel) {
            variants.push(launch.kernel);
        }
    }
    let count = variants.len();
    (count > MOST_VARIANTS)
        .then(|| format!("its bodies take {count} kernels, one can hold {MOST_VARIANTS}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Part, all_cases};

    /// One body of these calls, a kernel each.
    fn recording(calls: &[Call]) -> Recording {
        let variant = |call: &Call| {
            let (op, defines, dtypes) = (call.name(), Vec::new(), Vec::new());
            (Variant { op, defines, dtypes, tile: None, part: Part::Whole }, *call)
        };
        let launch = |kernel| Recorded {
            kernel,
            params: Vec::new(),
            args: Vec::new(),
            control: [0; 4],
            blocks: 1,
            shared: 0,
            flops: 0.0,
            bytes: 0.0,
            layer: "mid".into(),
        };
        Recording {
            kernels: calls.iter().map(variant).collect(),
            prologue: Vec::new(),
            bodies: vec![(0..calls.len()).map(launch).collect()],
            partial_bytes: 0,
            counters: 0,
        }
    }

    #[test]
    fn why_a_program_is_not_suited_is_said() {
        let call = |name| all_cases().iter().find(|case| case.call.name() == name).unwrap().call;
        let Call::Conv2d(mut large) = call("conv2d") else { panic!("a convolution") };
        (large.ho, large.wo) = (64, 33);
        let many = vec![call("add"); 49];
        for (calls, threads, says) in [
            (&many[..48], 256, None),
            (&many[..1], 64, Some("add has workgroups of 64 threads")),
            (&[Call::Conv2d(large)], 256, Some("layer mid has 64 x 33 pixels")),
            (&many, 256, Some("its bodies take 49 kernels, one can hold 48")),
        ] {
            assert_eq!(unsuited(&recording(calls), |_| threads).as_deref(), says);
        }
    }
}
