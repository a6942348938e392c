//! Files and memory as people meet them: exit codes, stdout and stderr of the program.

use super::binary::Place;
use super::golden;
use std::fs;
use unnoise::backend::Backend;
use unnoise::backend::cpu::Cpu;

#[test]
fn a_pickle_is_bad_input() {
    let place = Place::new();
    fs::write(place.path("model.pt"), "x").unwrap();
    for verb in ["sample", "inspect", "bench"] {
        let ran = place.run(&format!("{verb} model.pt"));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{verb}");
        assert!(ran.stderr.contains("models/convert/openai.py"), "{}", ran.stderr);
    }
    assert!(!place.path("model.png").exists());
}

#[test]
fn inspect_asks_a_device_for_its_memory_if_told() {
    let place = Place::new();
    let alone = place.run("inspect digits");
    assert_eq!(alone.code, 0, "{}", alone.stderr);
    assert!(!alone.stderr.contains("memory:"), "{}", alone.stderr);
    assert!(alone.stdout.contains("UNet2DModel of built-in digits/config.json"));
    assert!(alone.stdout.contains("weights      in the program"));
    let asked = place.run("inspect digits --device cpu");
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    assert!(asked.stderr.contains("free on CPU"), "{}", asked.stderr);
    assert_eq!(asked.stdout, alone.stdout);
    assert_eq!(place.run("inspect digits --device gpu").code, 2);
}

/// Three million pictures at once take more than twenty GiB; a machine that has them is told so.
#[test]
fn a_plan_beyond_the_memory_is_refused_with_the_numbers() {
    let place = Place::new();
    let folder = golden::spec("network/one-block");
    let line = format!("inspect {folder} --device cpu --count 3000000 --batch 3000000 --steps 2");
    let ran = place.run(&line);
    if ran.code == 0 {
        assert!(Cpu.room().unwrap().unwrap().free > 20 << 30, "{}", ran.stderr);
        assert!(ran.stderr.contains("free on CPU"), "{}", ran.stderr);
        return;
    }
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    let sampled = place.run(&format!("{} --out a.npy", line.replace("inspect", "sample")));
    assert_eq!(sampled.code, 2, "{}", sampled.stderr);
    for part in ["memory of CPU", "GiB", "3000000 samples at once", "use --batch "] {
        assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
        assert!(sampled.stderr.contains(part), "{part} is not in {}", sampled.stderr);
    }
}
