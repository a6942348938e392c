//! `unnoise devices`: what is listed, what auto takes, and what `--measure` keeps.

use super::binary::{Place, Ran};
use super::cuda::Machine;
use super::device;
use serde_json::Value;
use std::fs;
use unnoise::backend::select::Auto;
use unnoise::backend::wgpu::adapters;

/// The listed device of that name.
fn listed<'a>(list: &'a Value, device: &str) -> &'a Value {
    let all = list.as_array().unwrap();
    let found = all.iter().find(|listed| listed["device"] == device);
    found.unwrap_or_else(|| panic!("no {device} in {list}"))
}

/// Whether every figure of a roofline is one, for a device that stores f16 or does not.
fn check(peak: &Value, f16: bool) {
    let positive = |key: &str| peak[key].as_f64().is_some_and(|v| v > 0.0);
    assert!(["gbps", "gflops_f32", "launch_us"].into_iter().all(positive), "{peak}");
    assert_eq!(positive("gflops_f16"), f16, "{peak}");
    assert!(peak["spread"].as_f64().is_some_and(|v| v >= 0.0), "{peak}");
    let day = peak["measured"].as_str().unwrap();
    assert!(day.len() == 10 && day.starts_with("20"), "{day}");
}

/// The files of rooflines in the cache.
fn kept(place: &Place) -> Vec<String> {
    let names = place.names("cache").into_iter();
    names.filter(|name| name.starts_with("roofline-") && name.ends_with(".json")).collect()
}

fn good(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

#[test]
fn auto_is_what_sample_takes_and_for_the_same_reason() {
    let place = Place::new();
    let list = place.run("devices --json").json();
    let taken: Vec<_> =
        list.as_array().unwrap().iter().filter(|listed| listed["auto"] == true).collect();
    let [taken] = taken[..] else { panic!("auto takes one device: {list}") };
    let why = taken["auto_reason"].as_str().unwrap();
    assert_eq!(why, Auto::of(&adapters()).why);
    for other in list.as_array().unwrap().iter().filter(|listed| *listed != taken) {
        assert!(other["auto"] == false && other["auto_reason"].is_null(), "{other}");
    }
    let words = good(place.run("devices")).stdout;
    let line = format!("--device auto takes {}: {why}\n", taken["device"].as_str().unwrap());
    assert!(words.contains(&line), "{words}");

    let said = good(place.run("sample --no-tune --count 1 --steps 1 --out a.npy")).stderr;
    // Not its first line: a driver may print before the program does.
    let line = said.lines().find(|line| line.starts_with("device: ")).expect(&said);
    assert!(line.ends_with(&format!(", {why}")), "{line}");
    let name = if taken["device"] == "cpu" { "CPU" } else { taken["name"].as_str().unwrap() };
    assert!(line.contains(name), "{line}");
}

#[test]
fn every_device_has_its_facts() {
    let place = Place::new();
    let list = place.run("devices --json").json();
    let words = good(place.run("devices")).stdout;
    let cpu = listed(&list, "cpu");
    assert!(cpu["threads"].as_u64().unwrap() > 0 && cpu["clock"] == "host", "{cpu}");
    for listed in list.as_array().unwrap() {
        assert!(listed["peak"].is_null(), "nothing was measured: {listed}");
        let (device, name) = (&listed["device"], listed["name"].as_str().unwrap());
        let head = format!("\n{}  {name}\n", device.as_str().unwrap());
        assert!(words.contains(&head), "no block {head:?} in {words}");
    }
    if device::wgpu().is_some() {
        let adapter = listed(&list, "wgpu:0");
        let kinds = adapter["timestamps"].as_array().unwrap();
        let by = |kind| kinds.iter().any(|found| found == kind);
        let expected = if by("inside passes") { "by timestamps inside" } else { "  profile" };
        assert!(words.contains(expected), "{words}");
        let binding = adapter["max_binding_bytes"].as_u64().unwrap() >> 20;
        assert!(words.contains(&format!("{binding} MiB a binding")), "{words}");
    }
    assert!(words.contains("unnoise devices --measure"), "{words}");
    // Sentences aside, what is shown fits a terminal.
    let shown = words.lines().filter(|line| line.starts_with("  ") || line.starts_with("wgpu:"));
    assert!(shown.clone().count() > 2);
    shown.for_each(|line| assert!(line.chars().count() <= 100, "{line}"));
}

#[test]
fn what_is_measured_is_kept_and_shown() {
    let place = Place::with_cache();
    let measured = place.run("devices --measure --device cpu --json").json();
    let peak = &listed(&measured, "cpu")["peak"];
    check(peak, false);
    for other in measured.as_array().unwrap().iter().filter(|listed| listed["device"] != "cpu") {
        assert!(other["peak"].is_null(), "it was not asked for: {other}");
    }
    let files = kept(&place);
    assert_eq!(files.len(), 1, "{files:?}");
    // From now on it is shown, and not measured.
    let ran = place.run("devices --json");
    assert!(!ran.stderr.contains("measuring"), "{}", ran.stderr);
    assert_eq!(&listed(&ran.json(), "cpu")["peak"], peak);
    let words = good(place.run("devices")).stdout;
    let day = peak["measured"].as_str().unwrap();
    let row = words.lines().rfind(|line| line.starts_with("cpu")).unwrap();
    assert!(row.contains(day) && words.contains("GFLOP/s f32"), "{words}");

    // A file that is not whole is said, and its device is as if it had not been measured.
    let path = place.path("cache").join(&files[0]);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let ran = place.run("devices --json");
    assert!(ran.stderr.contains("note: ") && ran.stderr.contains("is ignored"), "{}", ran.stderr);
    assert!(listed(&ran.json(), "cpu")["peak"].is_null());
    check(
        &listed(&place.run("devices --measure --device cpu --json").json(), "cpu")["peak"],
        false,
    );
    assert_eq!(kept(&place), files);
}

#[test]
fn a_software_adapter_is_measured_and_called_one() {
    let Some(gpu) = device::wgpu() else { return };
    let place = Place::with_cache();
    let words = good(place.run("devices --measure --device wgpu")).stdout;
    let (index, software) = (gpu.adapter().index, gpu.adapter().software);
    let told = format!("wgpu:{index} is a software driver: its figures are the processor's");
    assert_eq!(words.contains(&told), software, "{words}");
    let list = place.run("devices --json").json();
    check(&listed(&list, &format!("wgpu:{index}"))["peak"], gpu.adapter().f16);
    assert_eq!(kept(&place).len(), 1);
}

#[test]
fn a_device_that_cannot_be_measured_is_named() {
    let place = Place::new();
    let cases = [
        ("devices --measure --device wgpu:99", 2, "--device wgpu"),
        ("devices --measure --device tpu", 2, "'tpu'"),
        ("devices --device cpu", 2, "--measure"),
    ];
    for (line, code, part) in cases {
        let ran = place.run(line);
        assert_eq!(ran.code, code, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{line}: {}", ran.stderr);
    }
    // Without a folder it is measured all the same.
    let ran = place.run("devices --measure --device cpu --json");
    assert!(ran.stderr.contains("is not kept"), "{}", ran.stderr);
    check(&listed(&ran.json(), "cpu")["peak"], false);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_measurement() {
    use std::io::{BufRead, BufReader};
    let place = Place::with_cache();
    let mut command = place.command("devices --measure --device cpu");
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    let measuring = |_: &mut _| words.next().is_some_and(|l| l.unwrap().starts_with("measuring"));
    let (code, took) = super::cli::interrupt(child, measuring);
    assert_eq!(code, 130);
    assert!(took < std::time::Duration::from_secs(2), "it took {took:?}");
    assert_eq!(place.names("cache"), Vec::<String>::new(), "nothing of it is kept");
}

/// The emulator's speed is nobody's: only that there are figures, and how failures are told.
#[test]
fn cuda_devices_are_listed_and_measured() {
    let Some(machine) = Machine::new() else { return };
    let two = [("EMULATED_DEVICES", "2"), ("EMULATED_CAPABILITY", "75")];
    let list = machine.run("devices --json", &two).json();
    for device in ["cuda:0", "cuda:1"] {
        let found = listed(&list, device);
        assert_eq!(found["capability"], 75, "{found}");
        assert_eq!(found["matrices"].as_array().unwrap().len(), 1, "{found}");
        assert!(found["clock"] == "events" && found["auto"] == false, "{found}");
    }
    let words = good(machine.run("devices", &two)).stdout;
    for part in ["compute capability 7.5", "16x8x8 f16 f32 by mma.sync", "not by auto"] {
        assert!(words.contains(part), "{words}");
    }
    let measured = machine.run("devices --measure --device cuda --json", &[]).json();
    check(&listed(&measured, "cuda:0")["peak"], true);

    for key in ["gflops_matrix_f16", "gflops_matrix_bf16"] {
        let rate = &listed(&measured, "cuda:0")["peak"][key];
        assert!(rate.as_f64().is_some_and(|rate| rate > 0.0), "{key} {rate}");
    }

    // One that fails ends the command if it was named, and no other device's measurement if not.
    let failing = [("EMULATED_FAILS", "cuStreamCreate:2")];
    let ran = machine.run("devices --measure --device cuda", &failing);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("error: cuda:0: cannot make a stream"), "{}", ran.stderr);
    let ran = machine.run("devices --measure --json", &failing);
    let told = "note: cuda:0 was not measured: cuda:0: cannot make a stream";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    check(&listed(&ran.json(), "cpu")["peak"], false);
}
