//! The CUDA backend as it is shipped, in the program as it is run: with libraries that stand in for
//! the driver and for NVRTC (tests/emulator). What they cannot show is said in emulated/mod.rs.

use super::binary::{Place, Ran};
use super::cli::npy;
use super::evaluate::relative_l2;
use super::{device, emulated, golden};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A machine with a CUDA device, as far as a program can tell.
pub struct Machine {
    pub place: Place,
    libraries: PathBuf,
}

impl Machine {
    pub fn new() -> Option<Machine> {
        if !device::emulator() {
            return None;
        }
        let libraries = emulated::stand_ins().unwrap_or_else(|e| panic!("{e}"));
        Some(Machine { place: Place::with_cache(), libraries })
    }

    pub fn command(&self, line: &str, environment: &[(&str, &str)]) -> Command {
        let mut command = self.place.command(line);
        command.env("LD_LIBRARY_PATH", &self.libraries).envs(environment.iter().copied());
        command
    }

    pub fn run(&self, line: &str, environment: &[(&str, &str)]) -> Ran {
        Ran::of(&mut self.command(line, environment))
    }

    /// Runs what must go well; what it wrote to stderr.
    fn done(&self, line: &str, environment: &[(&str, &str)]) -> String {
        let ran = self.run(line, environment);
        assert_eq!(ran.code, 0, "unnoise {line} with {environment:?}: {}", ran.stderr);
        ran.stderr
    }

    /// The numbers that `sample` draws on a device; none of the device's things are left then.
    pub fn samples(&self, flags: &str, environment: &[(&str, &str)]) -> Vec<f32> {
        let environment = [environment, &[("EMULATED_REPORT", "1")]].concat();
        let said = self.done(&format!("sample {flags} --out x.npy"), &environment);
        let nothing = "streams 0, events 0, graphs 0, executables 0, modules 0, allocations 0";
        assert!(!flags.contains("cuda") || said.contains(nothing), "{said}");
        npy(&self.place.path("x.npy")).1
    }

    /// The files of compiled kernels.
    fn kept(&self) -> Vec<PathBuf> {
        let names = self.place.names("cache/cuda");
        names.into_iter().map(|name| self.place.path("cache/cuda").join(name)).collect()
    }
}

/// A model of a few kernels, each small, sampled with noise in every step.
fn small(flags: &str) -> String {
    let model = golden::path("network").join("one-block");
    format!("{} --no-tune --count 2 --steps 3 {flags}", model.display())
}

/// Nothing can be compiled.
const NO_COMPILER: (&str, &str) = ("EMULATED_FAILS", "nvrtcVersion:1");

#[test]
fn digits_are_those_of_the_processor() {
    let Some(machine) = Machine::new() else { return };
    let cases = [
        ("--guidance 2", "f32", "forward", 1e-5),
        ("--guidance 1 --eta 0.5", "f32", "reverse", 1e-5),
        ("--guidance 2", "f16", "1", 2e-2),
    ];
    for (flags, precision, schedule, most) in cases {
        let line = format!("digits --no-tune --class 7 --count 1 --steps 2 {flags}");
        let truth = machine.samples(&format!("{line} --device cpu --precision f32"), &[]);
        let here = format!("{line} --device cuda --precision {precision}");
        let found = machine.samples(&here, &[("EMULATED_SCHEDULE", schedule)]);
        let error = relative_l2(&found, &truth);
        assert!(error < most, "{flags} {precision}: relative L2 {error:e}");
    }
}

/// Workgroups of an older device have less memory; one without machine code of its own takes PTX.
#[test]
fn devices_of_several_generations_draw_the_same() {
    let Some(machine) = Machine::new() else { return };
    let truth = machine.samples(&small("--device cpu"), &[]);
    for capability in ["75", "87", "90", "121"] {
        let environment = [("EMULATED_CAPABILITY", capability)];
        let found = machine.samples(&small("--device cuda"), &environment);
        let error = relative_l2(&found, &truth);
        assert!(error < 2e-2, "{capability}: relative L2 {error:e}");
    }
}

/// Batch after batch, each in the state that the one before has left, by a device that keeps up
/// with the host or is far behind it.
#[test]
fn a_session_runs_again() {
    let Some(machine) = Machine::new() else { return };
    let of = |device: &str, delay: &str| {
        let flags = small(&format!("--batch 1 --precision f32 --device {device}"));
        let flags = flags.replace("--count 2", "--count 3");
        machine.samples(&flags, &[("EMULATED_DELAY", delay)])
    };
    let fast = of("cuda", "0");
    let error = relative_l2(&fast, &of("cpu", "0"));
    assert!(error < 1e-5, "relative L2 {error:e}");
    assert_eq!(of("cuda", "20"), fast, "the host went too far ahead");
}

#[test]
fn kernels_are_compiled_once() {
    let Some(machine) = Machine::new() else { return };
    let line = small("--device cuda --precision f32");
    let first = machine.samples(&line, &[]);
    let kept = machine.kept();
    assert!(kept.len() > 10, "{kept:?}");
    assert_eq!(machine.samples(&line, &[NO_COMPILER]), first, "all of them were kept");

    let damaged = &kept[kept.len() / 2];
    let good = fs::read(damaged).unwrap();
    for bad in [&good[..good.len() / 2], &[], &[good.as_slice(), &[0]].concat()] {
        fs::write(damaged, bad).unwrap();
        let ran = machine.run(&format!("sample {line} --out y.npy"), &[NO_COMPILER]);
        assert_eq!(ran.code, 2, "a damaged file is not used: {}", ran.stderr);
        for part in ["NVRTC", "pip install nvidia-cuda-nvrtc"] {
            assert!(ran.stderr.contains(part), "{}", ran.stderr);
        }
        assert_eq!(machine.samples(&line, &[]), first);
        assert_eq!(fs::read(damaged).unwrap(), good, "it was compiled again");
    }
    assert_eq!(machine.kept(), kept);
}

#[test]
fn what_is_missing_is_named() {
    let Some(machine) = Machine::new() else { return };
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("EMULATED_DEVICES", "0", "", &["finds no GPU", "--device wgpu"]),
        ("EMULATED_DRIVER", "11080", "", &["a driver of CUDA 11.8", "update the NVIDIA driver"]),
        ("EMULATED_CAPABILITY", "70", "", &["compute capability", "7.5"]),
        ("EMULATED_CAPABILITY", "75", "--precision bf16", &["bf16"]),
        ("EMULATED_DEVICES", "2", "--device cuda:2", &["no device 2, but 2", "unnoise devices"]),
        (NO_COMPILER.0, NO_COMPILER.1, "", &["NVRTC", "LD_LIBRARY_PATH"]),
        // Machine code of a compiler that is newer than the driver.
        ("EMULATED_FAILS", "cuModuleLoadData:200@3", "", &["CUDA 13.0", "is no newer than"]),
    ];
    for (name, value, flags, parts) in cases {
        let device = if flags.contains("--device") { "" } else { "--device cuda" };
        let line = format!("sample {}", small(&format!("{device} {flags}")));
        let ran = machine.run(&line, &[(name, value)]);
        assert_eq!(ran.code, 2, "{name}={value}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{name}={value}: {}", ran.stderr);
        for part in *parts {
            assert!(ran.stderr.contains(part), "{name}={value}: no {part:?} in {}", ran.stderr);
        }
    }
    let names = machine.place.names(".");
    assert!(names.iter().all(|name| name == "cache"), "a refused command left files: {names:?}");
}

/// Whatever fails while a session is made or runs ends it with one message.
#[test]
fn failures_at_work_end_the_run() {
    let Some(machine) = Machine::new() else { return };
    // Whatever a candidate's measurement meets is no failure: its tile is not taken.
    let line = small("--device cuda:0 --precision f32");
    let good = machine.samples(&line, &[]);
    let cases: &[(&str, &str, &str)] = &[
        ("EMULATED_MEMORY", "100000", "of 0.00 GiB are free; use a smaller --batch"),
        ("EMULATED_FAILS", "cuMemAlloc_v2:2", "of 1.00 GiB are free; use a smaller --batch"),
        ("EMULATED_FAILS", "cuDevicePrimaryCtxRetain:2", "cannot open: out of memory"),
        ("EMULATED_FAILS", "cuStreamCreate:2", "cannot make a stream: out of memory"),
        ("EMULATED_FAILS", "cuModuleLoadData:2@3", "cannot load kernel"),
        ("EMULATED_FAILS", "cuMemHostAlloc:2", "cannot allocate host memory: out of memory"),
        ("EMULATED_FAILS", "cuMemcpyHtoD_v2:1@2", "cannot upload: invalid argument"),
        ("EMULATED_FAILS", "cuLaunchKernel:1@3", "cannot capture a graph: invalid argument"),
        ("EMULATED_FAILS", "cuGraphInstantiateWithFlags:2@2", "cannot capture a graph: out of"),
        ("EMULATED_FAILS", "cuGraphLaunch:719@2", "unspecified launch failure"),
        ("EMULATED_FAILS", "cuEventQuery:700", "an illegal memory access"),
        // Not a call fails but a kernel, some time later; then everything does.
        ("EMULATED_FAILS", "kernel:700@20", "an illegal memory access was encountered"),
        ("EMULATED_FAILS", "kernel:719@40", "unspecified launch failure"),
    ];
    for (name, value, part) in cases {
        let ran = machine.run(&format!("sample {line} --out y.npy"), &[(name, value)]);
        assert_eq!(ran.code, 1, "{name}={value}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{name}={value}: {}", ran.stderr);
        assert!(ran.stderr.contains("error: cuda:0: "), "{name}={value}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{name}={value}: no {part:?} in {}", ran.stderr);
        assert!(!machine.place.path("y.npy").exists(), "{name}={value} left a file");
    }
    assert_eq!(machine.samples(&line, &[]), good);

    let large = line.replace("--count 2", "--count 4000 --batch 4000");
    let ran =
        machine.run(&format!("sample {large} --out y.npy"), &[("EMULATED_MEMORY", "21474837")]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    for part in ["at most 20.5 MiB", "4000 samples at once", "use --batch "] {
        assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run() {
    use std::io::{BufRead, BufReader};
    let Some(machine) = Machine::new() else { return };
    let line = small("--steps 1000 --count 1000 --batch 1 --device cuda --precision f32");
    let line = line.replace("--count 2 --steps 3 ", "");
    let mut command = machine.command(&format!("sample {line} --out y.npy"), &[]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    let sampling = |_: &mut _| words.next().is_some_and(|l| l.unwrap().starts_with("compiled"));
    let (code, took) = super::cli::interrupt(child, sampling);
    assert_eq!(code, 130);
    assert!(took < std::time::Duration::from_secs(10), "it took {took:?}");
    assert_eq!(machine.place.names("."), ["cache"]);
}
