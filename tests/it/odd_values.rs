//! Configurations whose values hardly any key takes: a model opens or says what is wrong, a run is
//! planned or it says why not, and nothing panics.

use super::golden;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use unnoise::error::Error;
use unnoise::model::Model;
use unnoise::sampler::{Request, inspect};
use unnoise::solver::{self, Network, Options, SchedulerClass, SchedulerConfig, SolverInfo};

fn odd_values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(2),
        json!(7),
        json!(1e300),
        json!(1e-300),
        json!(0.5),
        json!(u64::MAX),
        json!(""),
        json!("none"),
        json!([]),
        json!([[]]),
        json!([0, 0]),
        json!([3, "a"]),
        json!({}),
    ]
}

/// Every object that has one of the values in place of one of its own.
fn odd(object: &Value) -> impl Iterator<Item = (String, Value)> + '_ {
    let keys = object.as_object().unwrap().keys();
    keys.flat_map(move |key| {
        odd_values().into_iter().map(move |value| {
            let mut object = object.clone();
            object[key] = value;
            (key.clone(), object)
        })
    })
}

#[track_caller]
fn bad_input(error: &Error, what: &str) {
    assert_eq!(error.exit_code(), 2, "{what}: {error}");
}

fn open(dir: &Path) -> Result<Model, Error> {
    Model::open(dir.to_str().unwrap())
}

/// One network of every class and of every family's options.
fn network_configs() -> Vec<Value> {
    let folders = ["network/class-table", "network/scale-shift", "dit/base"];
    let of_folder = |name: &str| golden::json(&format!("{name}/config.json"));
    let cases = [
        ("adm", "guided-legacy"),
        ("adm", "improved"),
        ("adm", "consistency"),
        ("ncsnpp", "ncsnpp"),
        ("ncsnpp", "fourier"),
        ("ncsnpp", "k-attention"),
    ];
    let of_case = |(family, name): (&str, &str)| {
        golden::json(&format!("{family}/cases.json"))[name]["config"].clone()
    };
    folders.map(of_folder).into_iter().chain(cases.map(of_case)).collect()
}

#[test]
fn networks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let request = Request { steps: Some(2), ..Request::default() };
    for config in network_configs() {
        fs::write(&path, config.to_string()).unwrap();
        let original = open(dir.path()).unwrap().graph;
        for (key, config) in odd(&config) {
            fs::write(&path, config.to_string()).unwrap();
            let planned = open(dir.path()).and_then(|model| match model.graph == original {
                true => Ok(()),
                false => inspect(&model, &request, None).map(|_| ()),
            });
            planned.unwrap_or_else(|error| bad_input(&error, &key));
        }
    }
}

#[test]
fn schedulers() {
    let mut panics = Vec::new();
    for class in SchedulerClass::all() {
        let mut config = Value::Object(class.defaults.clone());
        config["_class_name"] = class.name.as_str().into();
        for (key, config) in odd(&config) {
            let text = config.to_string();
            let record = || {
                let config = SchedulerConfig::parse(&text, "config")?;
                let solver = SolverInfo::of(&config)?.name;
                solver::record(&config, &Options::new(solver, 3), Network::default())
            };
            match std::panic::catch_unwind(record) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => bad_input(&error, &key),
                Err(_) => panics.push(format!("{}: {key}: {}", class.name, config[&key])),
            }
        }
    }
    assert!(panics.is_empty(), "{}", panics.join("\n"));
}

#[test]
fn keys_set_by_hand() {
    for info in solver::SOLVERS.iter() {
        let Some(class) = info.schedulers.first().and_then(|name| SchedulerClass::find(name))
        else {
            continue;
        };
        let mut text = Value::Object(class.defaults.clone());
        text["_class_name"] = class.name.as_str().into();
        let config = SchedulerConfig::parse(&text.to_string(), "config").unwrap();
        for key in solver::Keys::NAMES {
            for value in [json!(0), json!(-1), json!(0.5), json!(1e300), json!(u64::MAX)] {
                let mut options = Options::new(info.name, 3);
                options.set.insert(key.to_string(), value);
                let recorded = solver::record(&config, &options, Network::default());
                recorded.map(|_| ()).unwrap_or_else(|error| bad_input(&error, key));
            }
        }
    }
}

#[test]
fn settings_and_pipelines() {
    let dir = tempfile::tempdir().unwrap();
    let from = golden::path("network/class-table");
    fs::copy(from.join("config.json"), dir.path().join("config.json")).unwrap();
    let settings = json!({
        "solver": "ddim", "steps": 5, "guidance": 1.0, "null_class": 1, "class_names": [],
        "clipped_eps": true, "range": [0, 1],
    });
    for (key, settings) in odd(&settings) {
        fs::write(dir.path().join("unnoise.json"), settings.to_string()).unwrap();
        open(dir.path()).map(|_| ()).unwrap_or_else(|error| bad_input(&error, &key));
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("unet")).unwrap();
    fs::copy(from.join("config.json"), dir.path().join("unet/config.json")).unwrap();
    let index = json!({
        "_class_name": "DDPMPipeline", "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["diffusers", "UNet2DModel"],
    });
    for (key, index) in odd(&index) {
        fs::write(dir.path().join("model_index.json"), index.to_string()).unwrap();
        open(dir.path()).map(|_| ()).unwrap_or_else(|error| bad_input(&error, &key));
    }
}
