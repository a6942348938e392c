//! The ways to replay a program, in the program as it is run: with libraries that stand in for the
//! driver and for NVRTC, the samples are the same, bit for bit.

use super::cli::interrupt;
use super::cuda::Machine;
use super::golden;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

type Environment<'a> = &'a [(&'a str, &'a str)];

const TRAJECTORY: (&str, &str) = ("UNNOISE_CUDA_REPLAY", "trajectory");
const PERSISTENT: (&str, &str) = ("UNNOISE_CUDA_REPLAY", "persistent");
const OVERLAP: (&str, &str) = ("UNNOISE_CUDA_OVERLAP", "1");
/// A device whose launches may overlap.
const HOPPER: (&str, &str) = ("EMULATED_CAPABILITY", "90");

/// Two runs of a session: the first of graphs of several rows is the second.
fn small(flags: &str) -> String {
    let model = golden::path("network").join("one-block");
    let how = "--device cuda --count 2 --batch 1 --steps 5 --eta 1 --solver ddim";
    format!("{} {how} {flags}", model.display())
}

#[test]
fn every_way_draws_the_same_bits() {
    let Some(machine) = Machine::new() else { return };
    let reverse = ("EMULATED_SCHEDULE", "reverse");
    for precision in ["--precision f16", "--precision f32"] {
        // A measurement on a busy machine may cut products otherwise the next time.
        let line = &format!("{} --no-tune", small(precision));
        let truth = machine.samples(line, &[HOPPER]);
        let ways: [Environment; 4] = [
            &[HOPPER, TRAJECTORY],
            &[HOPPER, OVERLAP],
            &[HOPPER, TRAJECTORY, OVERLAP],
            &[HOPPER, PERSISTENT, reverse],
        ];
        for way in ways {
            assert!(machine.samples(line, way) == truth, "{precision} {way:?}");
        }
    }
}

#[test]
fn a_way_that_cannot_be_is_refused() {
    let Some(machine) = Machine::new() else { return };
    let older = ("EMULATED_CAPABILITY", "86");
    let old_driver = ("EMULATED_DRIVER", "12020");
    let cases: [(&str, Environment, &str); 6] = [
        ("", &[("UNNOISE_CUDA_REPLAY", "graphs")], "step, trajectory or persistent, found graphs"),
        ("", &[("UNNOISE_CUDA_OVERLAP", "yes")], "expected 0 or 1, found yes"),
        ("", &[OVERLAP, PERSISTENT], "never launched behind another"),
        ("", &[OVERLAP, older], "found a device of compute capability 86"),
        ("", &[OVERLAP, HOPPER, old_driver], "found a driver of CUDA 12.2"),
        ("--solver ode-rk45", &[PERSISTENT], "control has workgroups of"),
    ];
    for (flags, environment, part) in cases {
        let line = match flags {
            "" => small("--precision f32"),
            solver => format!("mixture --device cuda --count 2 --schedule edm {solver}"),
        };
        let ran = machine.run(&format!("sample {line} --out x.npy"), environment);
        assert_eq!(ran.code, 2, "{line} with {environment:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{environment:?}: no {part:?} in {}", ran.stderr);
    }
}

#[test]
fn one_kernel_of_many_rows_ends_on_ctrl_c() {
    let Some(machine) = Machine::new() else { return };
    let line = small("--precision f32").replace("--steps 5", "--steps 1000");
    let mut command = machine.command(&format!("sample {line} --out x.npy"), &[PERSISTENT]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    let sampling = |_: &mut _| words.next().is_some_and(|l| l.unwrap().starts_with("compiled"));
    let (code, took) = interrupt(child, sampling);
    assert_eq!(code, 130);
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    assert_eq!(machine.place.names("."), ["cache"]);
}
