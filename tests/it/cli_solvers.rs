//! Solvers on the command line: what is listed, told and refused.

use super::binary::Place;
use serde_json::Value;

fn json(line: &str) -> (Value, String) {
    let ran = Place::new().run(line);
    (ran.json(), ran.stderr)
}

#[test]
fn solvers_go_by_the_names_of_the_field() {
    let (list, _) = json("solvers --json");
    let list = list.as_array().unwrap();
    let names = "ddpm ddim ddim-inversion analytic-ddpm pndm ipndm deis dpm-solver-1 dpm-solver-2 \
        dpm-solver-3 dpmpp-2m dpmpp-3m dpmpp-2s dpmpp-sde dpmpp-2m-sde dpm2 dpm2-ancestral unipc \
        sa-solver er-sde euler euler-ancestral heun lms edm restart langevin euler-maruyama \
        reverse-diffusion pc ode-rk45 dpm-adaptive consistency lcm tcd flow-euler flow-heun";
    for name in names.split_whitespace() {
        assert_eq!(list.iter().filter(|s| s["name"] == name).count(), 1, "{name}");
    }
    let keys: Vec<_> = list[0].as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["family", "kind", "name", "nfe_extra", "nfe_per_step", "order", "reference", "schedulers"];
    assert!(expected.iter().all(|key| keys.contains(key)), "{keys:?}");
    let text = Place::new().run("solvers").stdout;
    for part in ["DDPM:", "score-based:", "SDE:", "squaredcos_cap_v2", "karras", "LCMScheduler"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn combinations_without_meaning_are_refused() {
    let cases: &[(&str, &[&str])] = &[
        ("--sigmas kerras", &["--sigmas: expected one of karras", "found kerras", "choose"]),
        ("--sigmas karras --solver ddim", &["--sigmas", "whole timesteps", "found karras"]),
        ("--set solver_ordre=3", &["--set solver_ordre", "a key of", "correct the key"]),
        ("--solver dpmpp-2m --set solver_order=4", &["solver_order", "1..=3", "found 4"]),
        ("--solver euler --eta 0.5", &["--eta", "0 with --solver euler", "found 0.5", "leave"]),
        ("--solver heun --cfg-plus-plus --guidance 0.6", &["--cfg-plus-plus", "ddim", "heun"]),
        ("--solver edm --set s_churn=40", &["s_churn: expected 0", "VP table", "found 40"]),
        ("--schedule ve", &["--schedule", "digits", "leave the flag out"]),
        ("--trace --out a.png", &["--out a.png", "a file that ends in .npy"]),
        ("--solver ode-rk45 --set rtol=-1", &["rtol", "found -1"]),
    ];
    for (flags, parts) in cases {
        let line = format!("sample digits --count 1 --device cpu {flags}");
        let place = Place::new();
        let ran = place.run(&line);
        assert_eq!(ran.code, 2, "unnoise {line}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "unnoise {line} wrote to stdout");
        assert_eq!(place.names("."), [""; 0], "unnoise {line} left files");
        for part in *parts {
            assert!(ran.stderr.contains(part), "unnoise {line}: no {part:?} in {}", ran.stderr);
        }
    }
}

#[test]
fn keys_that_are_not_followed_are_told() {
    let (found, said) = json("inspect digits --solver pndm --json");
    let notes = found["notes"].as_array().unwrap();
    assert!(notes.len() == 1 && notes[0].as_str().unwrap().contains("clip_sample"), "{notes:?}");
    assert!(said.contains("clip_sample not followed by --solver pndm"), "{said}");
    let (found, said) = json("inspect digits --json");
    assert_eq!((found["notes"].as_array().unwrap().len(), said.as_str()), (0, ""));
}

#[test]
fn adaptive_steps_are_told() {
    let line = "sample mixture --count 4 --device cpu --solver ode-rk45 --json --out a.npy";
    let (found, said) = json(&format!("{line} --steps 200"));
    assert_eq!(found["steps_taken"]["arrived"], 4, "{found}");
    assert!(found["steps_taken"]["accepted"].as_f64().unwrap() > 3.0, "{found}");
    assert!(said.contains("accepted") && !said.contains("warning"), "{said}");
    let (found, said) = json(&format!("{line} --steps 2"));
    assert_eq!(found["steps_taken"]["arrived"], 0, "{found}");
    assert!(said.contains("4 of 4 samples did not reach the end within 2 steps"), "{said}");
    let (found, _) = json("sample mixture --count 4 --device cpu --steps 4 --json --out a.npy");
    assert!(found.get("steps_taken").is_none(), "{found}");
}
