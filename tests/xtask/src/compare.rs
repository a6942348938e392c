//! `cargo xtask compare BASE NEW [--threshold PERCENT]`: two files of benches' results, case by
//! case. They are what benches write to `UNNOISE_BENCH_JSON`, one JSON object a line.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

pub const USAGE: &str = "cargo xtask compare BASE.jsonl NEW.jsonl [--threshold PERCENT]";

/// Percent by which a case may be slower, unless it is said.
const THRESHOLD: f64 = 10.0;

/// What names a case: results of different devices are never compared.
const KEY: [&str; 4] = ["bench", "case", "precision", "device"];

/// Milliseconds of each case, the least where a file has it several times.
type Results = BTreeMap<[String; 4], f64>;

/// The comparison as a table, and whether no case got slower by more than the threshold.
///
/// Fails on arguments that are none, a file that cannot be read, a line that is no result, and
/// files without a common case.
pub fn compare(args: &[String]) -> Result<(String, bool), String> {
    let (files, threshold) = arguments(args)?;
    let [base, new] = files.map(|path| read(&path));
    let (base, new) = (base?, new?);
    if !base.keys().any(|key| new.contains_key(key)) {
        return Err(format!(
            "{args:?}: no case is in both files; {} and {} cases, compared by {}",
            base.len(),
            new.len(),
            KEY.join(", ")
        ));
    }
    Ok(table(&base, &new, threshold))
}

fn arguments(args: &[String]) -> Result<([String; 2], f64), String> {
    let usage = |what: String| format!("{what}; usage: {USAGE}");
    let (mut files, mut threshold) = (Vec::new(), THRESHOLD);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--threshold" => {
                let text = args.next().map_or("nothing", String::as_str);
                let percent = text.parse().ok().filter(|p: &f64| p.is_finite() && *p >= 0.0);
                let wrong = || usage(format!("--threshold: expected percent, found {text}"));
                threshold = percent.ok_or_else(wrong)?;
            }
            flag if flag.starts_with("--") => return Err(usage(format!("no option {flag}"))),
            file => files.push(file.to_string()),
        }
    }
    let found = files.len();
    let files = files.try_into().map_err(|_| usage(format!("expected 2 files, found {found}")))?;
    Ok((files, threshold))
}

fn read(path: &str) -> Result<Results, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: cannot read: {e}"))?;
    parse(&text).map_err(|e| format!("{path}: {e}"))
}

fn parse(text: &str) -> Result<Results, String> {
    let mut results = Results::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = |what: &str| format!("line {}: {what}", number + 1);
        let value: Value = serde_json::from_str(line).map_err(|e| at(&e.to_string()))?;
        let mut key: [String; 4] = Default::default();
        for (part, name) in key.iter_mut().zip(KEY) {
            let word = value[name].as_str().ok_or_else(|| at(&format!("no text \"{name}\"")))?;
            *part = word.to_string();
        }
        let ms = value["ms_min"].as_f64().filter(|ms| *ms > 0.0);
        let ms = ms.ok_or_else(|| at("no time \"ms_min\" above zero"))?;
        results.entry(key).and_modify(|least| *least = least.min(ms)).or_insert(ms);
    }
    Ok(results)
}

fn table(base: &Results, new: &Results, threshold: f64) -> (String, bool) {
    let mut text = String::new();
    let mut line = |columns: [&str; 6]| {
        let [bench, case, precision, old, new, speed] = columns;
        let _ = writeln!(text, "{bench:<14}{case:<50}{precision:>5}{old:>12}{new:>12}{speed:>8}");
    };
    line(["bench", "case", "", "base ms", "new ms", "speed"]);
    let mut logarithms: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut slower = Vec::new();
    for (key, old) in base {
        let Some(ms) = new.get(key) else { continue };
        let [bench, case, precision, _] = key;
        let speed = old / ms;
        logarithms.entry(bench).or_default().push(speed.ln());
        let [old_text, new_text] = [old, ms].map(|ms| format!("{ms:.4}"));
        line([bench, case, precision, &old_text, &new_text, &format!("{speed:.2}x")]);
        if *ms > old * (1.0 + threshold / 100.0) {
            slower.push(format!("{bench} {case} {precision}: {speed:.2}x"));
        }
    }
    let _ = writeln!(text, "\nspeed, geometric mean");
    for (bench, logs) in logarithms {
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        let _ = writeln!(text, "{bench:<14}{mean:>7.2}x of {} cases", logs.len());
    }
    for (name, one, other) in [("BASE", base, new), ("NEW", new, base)] {
        let alone = one.keys().filter(|key| !other.contains_key(*key)).count();
        if alone > 0 {
            let _ = writeln!(text, "{alone} cases are in {name} only");
        }
    }
    let percent = format!("slower by more than {threshold}%");
    let _ = match slower.len() {
        0 => writeln!(text, "\nno case got {percent}"),
        n => writeln!(text, "\n{n} cases got {percent}:\n  {}", slower.join("\n  ")),
    };
    (text, slower.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of results; removed with the folder.
    fn file(name: &str, results: &[(&str, &str, f64)]) -> String {
        let line = |(bench, case, ms): &(&str, &str, f64)| {
            let names = format!(r#""bench":"{bench}","case":"{case}","device":"d""#);
            format!(r#"{{{names},"precision":"f32","ms_min":{ms}}}"#)
        };
        write(name, &results.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    fn write(name: &str, text: &str) -> String {
        let path = std::env::temp_dir().join(format!("compare-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    }

    fn run(args: &[&str]) -> Result<(String, bool), String> {
        let result = compare(&args.iter().map(|arg| arg.to_string()).collect::<Vec<_>>());
        args.iter().filter(|arg| arg.contains("compare-")).for_each(|path| {
            let _ = fs::remove_file(path);
        });
        result
    }

    #[test]
    fn a_case_within_the_threshold_passes() {
        let base = file("within.a", &[("conv2d", "a", 10.0), ("conv2d", "b", 10.0)]);
        let new = file("within.b", &[("conv2d", "a", 10.9), ("conv2d", "b", 2.5)]);
        let (text, good) = run(&[&base, &new]).unwrap();
        assert!(good, "{text}");
        assert!(text.contains("0.92x") && text.contains("4.00x"), "{text}");
        // sqrt(10 / 10.9 * 10 / 2.5)
        assert!(text.contains("1.92x of 2 cases"), "{text}");
    }

    #[test]
    fn a_slower_case_fails_and_is_named() {
        let base = file("slower.a", &[("conv2d", "a", 10.0), ("linear", "b", 10.0)]);
        let new = file("slower.b", &[("conv2d", "a", 11.1), ("linear", "b", 1.0)]);
        let (text, good) = run(&[&base, &new]).unwrap();
        assert!(!good, "{text}");
        assert!(text.contains("1 cases got slower by more than 10%:\n  conv2d a f32"), "{text}");
    }

    #[test]
    fn the_threshold_can_be_said() {
        let files = |n: &str| {
            let base = file(&format!("said.{n}.a"), &[("conv2d", "a", 10.0)]);
            (base, file(&format!("said.{n}.b"), &[("conv2d", "a", 14.0)]))
        };
        let (base, new) = files("1");
        assert!(run(&[&base, &new, "--threshold", "50"]).unwrap().1);
        let (base, new) = files("2");
        assert!(!run(&["--threshold", "30", &base, &new]).unwrap().1);
    }

    #[test]
    fn the_least_of_several_runs_counts() {
        let base = file("least.a", &[("conv2d", "a", 10.0)]);
        let new = file("least.b", &[("conv2d", "a", 30.0), ("conv2d", "a", 10.0)]);
        let (text, good) = run(&[&base, &new]).unwrap();
        assert!(good && text.contains("1.00x"), "{text}");
    }

    #[test]
    fn cases_of_one_file_are_counted_and_pass() {
        let base = file("alone.a", &[("conv2d", "a", 1.0), ("conv2d", "b", 1.0)]);
        let new = file("alone.b", &[("conv2d", "a", 1.0)]);
        let (text, good) = run(&[&base, &new]).unwrap();
        assert!(good && text.contains("1 cases are in BASE only"), "{text}");
    }

    #[test]
    fn bad_input_is_explained() {
        let says = |args: &[&str], part: &str| {
            let message = run(args).unwrap_err();
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        };
        says(&[], "expected 2 files, found 0");
        says(&["a", "b", "c"], "expected 2 files, found 3");
        says(&["a", "b", "--threshold"], "--threshold: expected percent, found nothing");
        says(&["a", "b", "--threshold", "-1"], "found -1");
        says(&["a", "b", "--threshold", "x"], "found x");
        says(&["a", "b", "--fast"], "no option --fast");
        says(&["no such file", "b"], "no such file: cannot read");
        let good = || file("good", &[("conv2d", "a", 1.0)]);
        says(&[&good(), &write("json", "\n{")], "line 2: ");
        says(&[&good(), &write("key", "{}")], "line 1: no text \"bench\"");
        let none = file("zero", &[("conv2d", "a", 0.0)]);
        says(&[&good(), &none], "line 1: no time \"ms_min\" above zero");
        let other = file("other", &[("conv2d", "b", 1.0)]);
        says(&[&good(), &other], "no case is in both files; 1 and 1 cases");
    }
}
