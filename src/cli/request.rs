//! From what was typed to a request that makes sense, first by itself, then for a model.

use super::args::{PlanArgs, RunArgs, SolverArgs};
use serde_json::{Map, Value};
use std::str::FromStr;
use unnoise::backend::select::DeviceSpec;
use unnoise::error::{Error, Result};
use unnoise::model::Model;
use unnoise::sampler::{Classes, Request, Shard, Tiles};
use unnoise::solver::{GuidanceOptions, Sigmas};

/// Samples are counted in 32 bits by the noise generator.
const MOST: usize = u32::MAX as usize;

impl PlanArgs {
    /// The request, with `count` samples unless a count was given.
    ///
    /// # Errors
    /// A value that no model could take; the message names the flag.
    pub fn request(&self, count: usize) -> Result<Request> {
        let count = whole("--count", self.count.as_deref(), MOST)?.unwrap_or(count);
        Ok(Request {
            solver: self.solver.clone(),
            steps: whole("--steps", self.steps.as_deref(), MOST)?,
            guidance: real("--guidance", self.guidance.as_deref())?,
            eta: real("--eta", self.eta.as_deref())?,
            clipped_eps: self.clipped_eps,
            sigmas: self.options.sigmas.as_deref().map(sigmas).transpose()?,
            set: assignments(&self.options.set)?,
            guidance_options: self.options.guidance()?,
            classes: classes(self.class.as_deref())?,
            prompts: self.prompt.clone(),
            negative_prompt: self.negative_prompt.clone(),
            count,
            batch: whole("--batch", self.batch.as_deref(), MOST)?.map(|batch| batch.min(count)),
            seed: seed(&self.seed)?,
            noise: self.noise.parse()?,
            precision: self.precision.parse()?,
            fuse: self.fuse,
            hoist: self.hoist,
            trace: false,
            shard: shard(&self.shard, count)?,
            task: None,
            latents: self.latents,
            tiles: tiles(&self.vae_tiles)?,
        })
    }

    /// Opens the model, which must be one that the flags are meant for.
    pub fn open_model(&self) -> Result<Model> {
        let mut model = Model::open(&self.model)?;
        if let Some(schedule) = &self.schedule {
            model.set_schedule(schedule)?;
        }
        Ok(model)
    }
}

impl SolverArgs {
    fn guidance(&self) -> Result<GuidanceOptions> {
        let rescale = real("--guidance-rescale", self.guidance_rescale.as_deref())?.unwrap_or(0.0);
        if rescale > 1.0 {
            let action = "0 leaves guidance as it is, 1 rescales fully";
            let found = rescale.to_string();
            return Err(Error::invalid("--guidance-rescale", "at most 1", found, action));
        }
        let interval = self.guidance_interval.as_deref().map(interval).transpose()?;
        let default = GuidanceOptions::default();
        Ok(GuidanceOptions {
            rescale,
            interval: interval.unwrap_or(default.interval),
            plus_plus: self.cfg_plus_plus,
        })
    }
}

impl RunArgs {
    pub fn device(&self) -> Result<DeviceSpec> {
        self.device.parse()
    }
}

/// A whole number from 1 to `most`.
pub fn whole(flag: &str, text: Option<&str>, most: usize) -> Result<Option<usize>> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(n) if (1..=most).contains(&n) => Ok(Some(n)),
        _ => Err(Error::invalid(
            flag,
            format!("a whole number from 1 to {most}"),
            text,
            "give such a number or leave the flag out",
        )),
    }
}

/// A finite number that is not negative.
pub fn real(flag: &str, text: Option<&str>) -> Result<Option<f64>> {
    let Some(text) = text else { return Ok(None) };
    match f64::from_str(text) {
        Ok(x) if x.is_finite() && x >= 0.0 => Ok(Some(x)),
        _ => Err(Error::invalid(
            flag,
            "a finite number, 0 or more",
            text,
            "give such a number or leave the flag out",
        )),
    }
}

pub fn seed(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        let expected = format!("a whole number from 0 to {}", u64::MAX);
        Error::invalid("--seed", expected, text, "give such a number")
    })
}

/// `LOW,HIGH`, black and white of numbers.
pub fn range(text: &str) -> Result<[f32; 2]> {
    let pair = text.split_once(',').map(|(a, b)| (a.trim().parse(), b.trim().parse()));
    match pair {
        Some((Ok(low), Ok(high))) if low < high && f32::is_finite(high - low) => Ok([low, high]),
        _ => {
            let expected = "LOW,HIGH, two numbers with LOW < HIGH";
            Err(Error::invalid("--range", expected, text, "write --range 0,1"))
        }
    }
}

fn sigmas(text: &str) -> Result<Sigmas> {
    let found = Sigmas::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, sigmas)| *sigmas).ok_or_else(|| {
        let names: Vec<_> = Sigmas::NAMES.iter().map(|(name, _)| *name).collect();
        Error::invalid("--sigmas", format!("one of {}", names.join(", ")), text, "choose one")
    })
}

/// `LOW,HIGH`, 0 <= LOW < HIGH; HIGH may be `inf`.
fn interval(text: &str) -> Result<(f64, f64)> {
    let pair = text.split_once(',').map(|(a, b)| (a.trim().parse(), b.trim().parse()));
    match pair {
        Some((Ok(low), Ok(high))) if 0.0 <= low && low < high => Ok((low, high)),
        _ => Err(Error::invalid(
            "--guidance-interval",
            "LOW,HIGH, two noise levels with 0 <= LOW < HIGH",
            text,
            "write --guidance-interval 0.2,5.4; HIGH may be inf",
        )),
    }
}

/// `KEY=VALUE`, the value in JSON; what is not JSON is a word.
fn assignments(list: &[String]) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    for text in list {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let action = "write --set solver_order=3";
            return Err(Error::invalid("--set", "KEY=VALUE", text, action));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        if map.insert(key.to_string(), value).is_some() {
            let found = format!("{key} twice");
            return Err(Error::invalid("--set", "each key once", found, "keep one of them"));
        }
    }
    Ok(map)
}

fn tiles(text: &str) -> Result<Tiles> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Tiles::Auto),
        ("off", _) => Ok(Tiles::Whole),
        (_, Ok(side)) => Ok(Tiles::Side(side)),
        _ => Err(Error::invalid(
            "--vae-tiles",
            "auto, off, or the side of a tile in latents",
            text,
            "give 64, say",
        )),
    }
}

fn classes(text: Option<&str>) -> Result<Classes> {
    match text {
        None => Ok(Classes::Default),
        Some("all") => Ok(Classes::All),
        Some(list) => {
            let labels: Result<Vec<u32>, _> = list.split(',').map(|s| s.trim().parse()).collect();
            labels.map(Classes::List).map_err(|_| {
                Error::invalid(
                    "--class",
                    "a class number, several joined by commas, or all",
                    list,
                    "write 3, or 0,1,2, or all",
                )
            })
        }
    }
}

/// `I/N` with `N <= count`: no shard is empty. The sampler judges I.
fn shard(text: &str, count: usize) -> Result<Shard> {
    let pair = text.split_once('/').map(|(i, n)| (i.parse::<usize>(), n.parse::<usize>()));
    match pair {
        Some((Ok(index), Ok(of))) if of <= count => Ok(Shard { index, of }),
        Some((Ok(_), Ok(of))) if of > count => Err(Error::invalid(
            "--shard",
            format!("at most {count} shards, one for each sample of --count"),
            text,
            "use fewer shards or a larger --count",
        )),
        _ => Err(Error::invalid(
            "--shard",
            "I/N with I from 1 to N",
            text,
            "write --shard 1/4 for the first quarter",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_name_their_flag() {
        for text in ["0", "-1", "1.5", "", "many", "99999999999999999999"] {
            let message = whole("--steps", Some(text), MOST).unwrap_err().to_string();
            assert!(message.starts_with("--steps: expected a whole number"), "{message}");
        }
        for text in ["NaN", "inf", "-inf", "-0.5", "two"] {
            let message = real("--guidance", Some(text)).unwrap_err().to_string();
            assert!(message.contains(&format!("found {text};")), "{message}");
        }
        assert_eq!(whole("--steps", Some("7"), MOST).unwrap(), Some(7));
        assert_eq!(real("--guidance", Some("0")).unwrap(), Some(0.0));
    }

    #[test]
    fn classes_are_a_list_or_all() {
        assert_eq!(classes(None).unwrap(), Classes::Default);
        assert_eq!(classes(Some("all")).unwrap(), Classes::All);
        assert_eq!(classes(Some("0, 1,2")).unwrap(), Classes::List(vec![0, 1, 2]));
        for text in ["", "three", "1,,2", "-1", "1;2"] {
            assert!(classes(Some(text)).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn keys_are_set_once_with_json_or_a_word() {
        let set =
            |list: &[&str]| assignments(&list.iter().map(|t| t.to_string()).collect::<Vec<_>>());
        let map = set(&["solver_order=3", "algorithm_type=dpmsolver++", "trained_betas=[0.1]"]);
        let map = Value::Object(map.unwrap());
        let expected = r#"{"solver_order":3,"algorithm_type":"dpmsolver++","trained_betas":[0.1]}"#;
        assert_eq!(map, serde_json::from_str::<Value>(expected).unwrap());
        for bad in [&["solver_order"][..], &["=3"], &["a=1", "a=2"]] {
            assert!(set(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn guidance_intervals_are_ordered() {
        assert_eq!(interval("0.2, 5.4").unwrap(), (0.2, 5.4));
        assert_eq!(interval("0,inf").unwrap(), (0.0, f64::INFINITY));
        for text in ["", "1", "2,1", "1,1", "-1,2", "NaN,1", "1,NaN", "1,2,3"] {
            assert!(interval(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn shards_count_from_one_and_are_never_empty() {
        assert_eq!(shard("4/4", 4).unwrap(), Shard { index: 4, of: 4 });
        for text in ["1/5", "1", "a/b", "1/2/3", "-1/2"] {
            assert!(shard(text, 4).is_err(), "{text:?} was taken");
        }
    }
}
