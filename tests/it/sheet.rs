//! `unnoise sheet`: the page, its table, what is kept, and what is refused.

use super::binary::Place;
#[cfg(unix)]
use super::cli::interrupt;
use serde_json::Value;
use std::fs;
use std::process::Stdio;

/// Few enough cells for a test.
const SMALL: &str = "sheet digits digits-edm --nfe 2,5 --solver euler,heun --count 6 --device cpu";

fn cells(found: &Value) -> &Vec<Value> {
    found["cells"].as_array().unwrap()
}

#[test]
fn a_sheet_has_a_cell_for_each_solver_and_budget() {
    let place = Place::new();
    let found = place.run(&format!("{SMALL} --csv table.csv --json")).json();
    assert_eq!((&found["features"], &found["samples"]), (&"digits-classifier".into(), &6.into()));
    assert_eq!(found["reference_samples"], 2000);
    // Heun takes two evaluations a step but for the last.
    let nfe = |solver: &str, budget: u64| if (solver, budget) == ("heun", 2) { 1 } else { budget };
    let mut expected = Vec::new();
    for model in ["digits", "digits-edm"] {
        for solver in ["euler", "heun"] {
            expected.extend([2, 5].map(|budget| (model, solver, budget, nfe(solver, budget))));
        }
    }
    let read = |c: &Value| {
        assert!(c["frechet_distance"].as_f64().is_some_and(|d| d > 0.0), "{c}");
        let word = |key: &str| c[key].as_str().unwrap().to_string();
        let number = |key: &str| c[key].as_u64().unwrap();
        (word("model"), word("solver"), number("budget"), number("nfe"))
    };
    let read: Vec<_> = cells(&found).iter().map(read).collect();
    let borrowed = read.iter().map(|(m, s, b, n)| (m.as_str(), s.as_str(), *b, *n));
    assert_eq!(borrowed.collect::<Vec<_>>(), expected);

    let table = fs::read_to_string(place.path("table.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "model,family,solver,budget,nfe,steps,samples,frechet_distance");
    assert_eq!(lines.len(), 1 + expected.len());
    for (line, cell) in lines[1..].iter().zip(cells(&found)) {
        let last: f64 = line.rsplit(',').next().unwrap().parse().unwrap();
        assert_eq!(Some(last), cell["frechet_distance"].as_f64());
        assert!(line.contains(",6,"), "{line}");
    }
    let page = image::open(place.path("sheet.png")).unwrap();
    // Two columns of four samples beside the names; two bands of two rows.
    assert!(page.width() > 2 * 4 * 64 && page.height() > 4 * 64, "{:?}", page.color());
    assert_eq!(place.names("."), ["sheet.png", "table.csv"]);
}

#[test]
fn the_figure_is_that_of_eval() {
    let place = Place::new();
    let found =
        place.run("sheet digits --nfe 3 --solver ddim --count 6 --device cpu --json").json();
    let sample = "sample digits --solver ddim --steps 3 --count 6 --device cpu --out a.npy";
    assert_eq!(place.run(sample).code, 0);
    let eval = place.run("eval a.npy --device cpu --json").json();
    assert_eq!(cells(&found)[0]["frechet_distance"], eval["frechet_distance"]);
    let words = place.run("sheet digits --nfe 3 --solver ddim,euler --count 6 --device cpu").stdout;
    let shown = format!("{:.2}", eval["frechet_distance"].as_f64().unwrap());
    for part in ["Frechet distance in digits-classifier features", "NFE 3", "ddim", &shown] {
        assert!(words.contains(part), "no {part:?} in {words}");
    }
}

#[test]
fn cells_that_are_kept_are_not_drawn_again() {
    let place = Place::new();
    let line = "sheet digits --solver ddim --count 4 --device cpu --kept cells.json --json";
    let first = place.run(&format!("{line} --nfe 2")).json();
    // A mark that no computation leaves.
    let text = fs::read_to_string(place.path("cells.json")).unwrap();
    let own = cells(&first)[0]["frechet_distance"].to_string();
    assert!(text.contains(&own), "{own} is not in the file");
    fs::write(place.path("cells.json"), text.replace(&own, "123.5")).unwrap();
    let more = place.run(&format!("{line} --nfe 2,3")).json();
    assert_eq!(cells(&more)[0]["frechet_distance"], 123.5);
    assert_eq!(place.value("cells.json").as_array().unwrap().len(), 2);
    // More evaluations that the solver makes nothing of: the same samples in another column.
    let heun = "sheet digits-edm --solver heun --count 4 --device cpu --kept heun.json --json";
    for budgets in ["3", "3,4"] {
        let found = place.run(&format!("{heun} --nfe {budgets}")).json();
        let columns: Vec<String> = cells(&found).iter().map(|c| c["budget"].to_string()).collect();
        assert_eq!(columns.join(","), budgets);
        assert!(cells(&found).iter().all(|c| c["nfe"] == 3), "{found}");
    }
    assert_eq!(place.value("heun.json").as_array().unwrap().len(), 1);
    let other = place.run(&format!("{line} --nfe 2 --seed 1")).json();
    assert_ne!(cells(&other)[0]["frechet_distance"], 123.5, "another seed, another cell");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_finished_cells() {
    let place = Place::new();
    let line = "sheet digits --solver ddim --nfe 1,900 --count 8 --batch 4 --device cpu \
                --kept cells.json";
    let child = place.command(line).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let kept = place.path("cells.json");
    let (code, _) = interrupt(child, |_| kept.is_file());
    assert_eq!(code, 130);
    assert_eq!(place.names("."), ["cells.json"]);
    assert_eq!(place.value("cells.json").as_array().unwrap().len(), 1);
}

#[test]
fn what_makes_no_sheet_is_said() {
    let place = Place::new();
    fs::write(place.path("broken.json"), "{").unwrap();
    image::GrayImage::new(32, 32).save(place.path("one.png")).unwrap();
    let budgets: Vec<String> = (1..=80).map(|n| n.to_string()).collect();
    let many = format!("sheet digits --solver ddim --count 2 --nfe {}", budgets.join(","));
    let cases: &[(&str, &[&str])] = &[
        ("sheet --count 1", &["--count", "2 or more"]),
        (&many, &["--out sheet.png", "at most 16384 pixels", "fewer models, solvers or budgets"]),
        ("sheet digits --reference one.png", &["--reference", "2 or more samples", "found 1"]),
        ("sheet --nfe 0", &["--nfe", "from 1", "found 0"]),
        ("sheet --nfe ten", &["--nfe", "found ten"]),
        ("sheet --solver magic", &["magic", "ddim"]),
        ("sheet nonsense", &["nonsense", "digits"]),
        ("sheet digits digits", &["digits", "twice"]),
        ("sheet mixture", &["samples for digits-classifier", "[1, 32, 32]"]),
        ("sheet digits --solver ode-rk45", &["--solver", "adaptive", "ode-rk45"]),
        ("sheet --out a.gif", &["--out a.gif", "ends in .png"]),
        ("sheet --csv missing/a.csv", &["--csv", "no such folder"]),
        ("sheet --kept broken.json", &["--kept broken.json", "an earlier sheet"]),
        ("sheet --features nothing", &["--features nothing"]),
    ];
    for (line, parts) in cases {
        let ran = place.run(&format!("{line} --device cpu"));
        assert_eq!(ran.code, 2, "unnoise {line}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "unnoise {line} wrote to stdout");
        for part in *parts {
            assert!(ran.stderr.contains(part), "unnoise {line}: no {part:?} in {}", ran.stderr);
        }
    }
    assert_eq!(place.names("."), ["broken.json", "one.png"], "a refused command left files");
}
