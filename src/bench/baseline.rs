//! An earlier measurement, and whether a later one is slower.

use super::series::{Ratio, Series};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What was measured. Two measurements of equal configurations can be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    pub model: String,
    pub backend: String,
    pub precision: String,
    pub solver: String,
    pub steps: usize,
    pub count: usize,
    pub batch: usize,
    pub guidance: f64,
    /// `none`, or what is switched off: `no-fuse`, `no-fuse no-hoist`.
    pub ablation: String,
}

/// One configuration of an earlier measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    pub configuration: Configuration,
    pub device: String,
    pub series: Series,
}

/// An earlier measurement: a file that `unnoise bench --json` wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    pub results: Vec<Earlier>,
    /// Where it was made, as far as the file says so.
    pub driver: Option<String>,
    pub git: Option<String>,
}

/// How a configuration fares against its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Faster by more than the threshold, beyond chance.
    Faster,
    /// Within the threshold.
    Same,
    /// Slower by more than the threshold, but it may be chance: measure more runs.
    Unclear,
    /// Slower by more than the threshold, beyond chance.
    Slower,
}

/// A configuration against its baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    #[serde(flatten)]
    pub configuration: Configuration,
    pub p50_ms: f64,
    pub baseline_p50_ms: f64,
    /// Of the medians; above 1 is slower.
    pub ratio: Ratio,
    pub verdict: Verdict,
}

impl Comparison {
    /// Compares `now` with `before`; `threshold` 0.05 allows 5% more time.
    pub fn new(now: &Series, before: &Earlier, threshold: f64) -> Comparison {
        let ratio = now.ratio_to(&before.series);
        Comparison {
            configuration: before.configuration.clone(),
            p50_ms: now.median(),
            baseline_p50_ms: before.series.median(),
            ratio,
            verdict: Verdict::of(ratio, threshold),
        }
    }
}

impl Verdict {
    /// What `ratio` says if `threshold` more time is allowed.
    pub fn of(ratio: Ratio, threshold: f64) -> Verdict {
        let above = ratio.interval.is_some_and(|interval| interval.low > 1.0);
        let below = ratio.interval.is_some_and(|interval| interval.high < 1.0);
        match ratio.value {
            value if value > 1.0 + threshold && above => Verdict::Slower,
            value if value > 1.0 + threshold => Verdict::Unclear,
            value if value < 1.0 / (1.0 + threshold) && below => Verdict::Faster,
            _ => Verdict::Same,
        }
    }
}

/// The keys of a result that matter here.
#[derive(Deserialize)]
struct Measured {
    #[serde(flatten)]
    configuration: Configuration,
    device: String,
    samples_ms: Vec<f64>,
}

impl Baseline {
    /// Reads a file that `unnoise bench --json` wrote, of one configuration or of a sweep.
    ///
    /// # Errors
    /// A file that cannot be read, that ends early, or that something else wrote.
    pub fn read(path: &Path) -> Result<Baseline> {
        let action = "name a file that `unnoise bench --json` wrote";
        let text = fs::read_to_string(path).map_err(|e| Error::io(path, "read", e, action))?;
        let foreign = |found: String| {
            let what = format!("--baseline {}", path.display());
            let action = "write one with `unnoise bench --json > FILE` of this version";
            Error::invalid(what, "what `unnoise bench --json` wrote", found, action)
        };
        let value: Value = serde_json::from_str(&text).map_err(|e| {
            foreign(if e.is_eof() { format!("its beginning only: {e}") } else { e.to_string() })
        })?;
        let results = match value.get("results") {
            Some(Value::Array(results)) => results.clone(),
            Some(_) => return Err(foreign("results that are no list".to_string())),
            None => vec![value.clone()],
        };
        let results: Result<Vec<Earlier>> = results
            .into_iter()
            .map(|result| {
                let result = Measured::deserialize(result).map_err(|e| foreign(e.to_string()))?;
                let Measured { configuration, device, samples_ms } = result;
                let series = Series::new(samples_ms).map_err(|e| foreign(e.to_string()))?;
                Ok(Earlier { configuration, device, series })
            })
            .collect();
        let told = |key: &str| {
            let text = value.get("environment").and_then(|of| of.get(key)).and_then(Value::as_str);
            text.map(str::to_string)
        };
        let results = results?;
        if results.is_empty() {
            return Err(foreign("no result".to_string()));
        }
        Ok(Baseline { results, driver: told("driver"), git: told("git") })
    }

    /// The earlier measurement of `configuration`.
    pub fn find(&self, configuration: &Configuration) -> Option<&Earlier> {
        self.results.iter().find(|earlier| earlier.configuration == *configuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::noise::Noise;
    use serde_json::json;

    fn result(samples_ms: &[f64]) -> Value {
        json!({
            "model": "digits", "backend": "cpu", "device": "CPU", "precision": "f32",
            "solver": "ddim", "steps": 2, "nfe": 2, "count": 1, "batch": 1, "guidance": 2.0,
            "ablation": "none", "samples_ms": samples_ms,
        })
    }

    fn read(text: &str) -> Result<Baseline> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("before.json");
        fs::write(&path, text).unwrap();
        Baseline::read(&path)
    }

    fn earlier(times: Vec<f64>) -> Earlier {
        let baseline = read(&result(&times).to_string()).unwrap();
        baseline.results[0].clone()
    }

    #[test]
    fn one_result_and_a_sweep_are_read() {
        let one = read(&result(&[1.0, 2.0]).to_string()).unwrap();
        assert_eq!((one.results.len(), &one.git), (1, &None));
        let mut other = result(&[3.0]);
        other["steps"] = json!(4);
        let sweep = json!({
            "environment": {"git": "abc", "driver": "7"},
            "results": [result(&[1.0]), other],
        });
        let sweep = read(&sweep.to_string()).unwrap();
        assert_eq!((sweep.git.as_deref(), sweep.driver.as_deref()), (Some("abc"), Some("7")));
        let wanted = Configuration { steps: 4, ..sweep.results[0].configuration.clone() };
        assert_eq!(sweep.find(&wanted).unwrap().series.median(), 3.0);
        assert_eq!(sweep.find(&Configuration { guidance: 1.0, ..wanted }), None);
    }

    #[test]
    fn what_bench_did_not_write_is_refused() {
        let whole = result(&[1.0]).to_string();
        let cases = [
            (&whole[..whole.len() / 2], "its beginning only"),
            ("", "its beginning only"),
            ("hello", "expected value"),
            ("[1, 2]", "invalid type"),
            ("{}", "missing field"),
            (r#"{"results": []}"#, "no result"),
            (r#"{"results": 3}"#, "no list"),
            (&whole.replace("[1.0]", "[]"), "found none"),
            (&whole.replace("[1.0]", "[0.0]"), "found 0"),
            (&whole.replace("samples_ms", "other"), "samples_ms"),
        ];
        for (text, part) in cases {
            let error = read(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let message = error.to_string();
            assert!(message.starts_with("--baseline ") && message.contains(part), "{message}");
        }
        let error = Baseline::read(Path::new("/no/such/file.json")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    /// How often each verdict is given, of trials with `slower` times the time.
    fn verdicts(slower: f64, spread: f64) -> [usize; 4] {
        let mut noise = Noise::new(4);
        let mut draw =
            |median: f64| (0..20).map(|_| median * noise.skewed(spread)).collect::<Vec<_>>();
        let mut counts = [0; 4];
        for _ in 0..100 {
            let before = earlier(draw(10.0));
            let now = Series::new(draw(10.0 * slower)).unwrap();
            let found = Comparison::new(&now, &before, 0.05);
            assert!(found.ratio.value.is_finite());
            counts[found.verdict as usize] += 1;
        }
        counts
    }

    #[test]
    fn a_tenth_is_found_and_a_hundredth_is_not() {
        let [faster, same, unclear, slower] = verdicts(1.1, 0.03);
        assert!(slower >= 95 && faster == 0 && same + unclear <= 5, "{slower} of 100");
        assert_eq!(verdicts(1.01, 0.03)[Verdict::Slower as usize], 0);
        assert_eq!(verdicts(1.0, 0.03), [0, 100, 0, 0]);
        assert!(verdicts(0.9, 0.03)[Verdict::Faster as usize] >= 95);
        // Chance alone makes a median 5% larger now and then, but hardly ever beyond doubt.
        assert!(verdicts(1.0, 0.2)[Verdict::Slower as usize] <= 5);
    }

    #[test]
    fn few_runs_leave_it_unclear() {
        let found =
            Comparison::new(&Series::new(vec![30.0; 3]).unwrap(), &earlier(vec![10.0; 3]), 0.05);
        assert_eq!((found.verdict, found.ratio.interval), (Verdict::Unclear, None));
    }
}
