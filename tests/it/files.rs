//! The files of a model: what is found, what is refused, and whether it fits a device.

use super::golden;
use super::says::assert_says;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;
use unnoise::backend::cpu::Cpu;
use unnoise::backend::tune::Identity;
use unnoise::backend::{Backend, Observer, Room, Session, WeightSource};
use unnoise::error::{Error, Result};
use unnoise::model::{Model, WeightFile};
use unnoise::program::Program;
use unnoise::sampler::{Request, Sampler, inspect};
use unnoise::tensor::DType;

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
const SCHEDULER: &str = "scheduler/scheduler_config.json";

fn tiny(file: &str) -> String {
    golden::spec(&format!("network/one-block/{file}"))
}

fn text(file: &str) -> String {
    fs::read_to_string(tiny(file)).unwrap()
}

fn open(path: &Path) -> Result<Model, String> {
    Model::open(path.to_str().unwrap()).map_err(|e| e.to_string())
}

/// The folder of the tiny model.
fn copy() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("scheduler")).unwrap();
    for file in ["config.json", WEIGHTS, SCHEDULER] {
        fs::copy(tiny(file), dir.path().join(file)).unwrap();
    }
    dir
}

/// The weights alone, with these texts in the header.
fn single(dir: &TempDir, texts: &[(&str, String)]) -> std::path::PathBuf {
    let bytes = fs::read(tiny(WEIGHTS)).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let texts: HashMap<String, String> =
        texts.iter().map(|(key, text)| (key.to_string(), text.clone())).collect();
    let path = dir.path().join("single.safetensors");
    safetensors::serialize_to_file(tensors.tensors(), Some(texts), &path).unwrap();
    path
}

#[test]
fn a_single_file_carries_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let format = ("format", "pt".to_string());
    let (config, scheduler) = (text("config.json"), text(SCHEDULER));
    let settings = json!({"solver": "ddim", "steps": 7}).to_string();
    let texts = [
        format,
        ("config", config.clone()),
        ("scheduler", scheduler.clone()),
        ("unnoise", settings),
    ];
    let found = open(&single(&dir, &texts)).unwrap();
    let expected = Model::open(&tiny("")).unwrap();
    assert_eq!((&found.graph, found.name.as_str()), (&expected.graph, "single"));
    assert_eq!((found.settings.solver.as_deref(), found.settings.steps), (Some("ddim"), Some(7)));
    assert_eq!(found.scheduler().unwrap().keys, expected.scheduler().unwrap().keys);
    found.weights().unwrap();
    found.fingerprint().unwrap();

    // Without a schedule it can be planned, as a folder without one.
    let planned = open(&single(&dir, &texts[..2])).unwrap();
    assert!(!planned.has_scheduler());
    inspect(&planned, &Request::default(), None).unwrap();

    let part = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let whole = json!({"unet": part(&config), "scheduler": part(&scheduler), "vae": {}});
    let of_pipeline = open(&single(&dir, &[("config", whole.to_string())])).unwrap();
    assert_eq!(of_pipeline.graph, expected.graph);
    assert_eq!(of_pipeline.scheduler().unwrap().keys, expected.scheduler().unwrap().keys);
}

#[test]
fn a_file_beside_the_weights_is_preferred_to_their_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = single(&dir, &[("config", "no JSON".into())]);
    assert_says(open(&path), &["single.safetensors: config of its metadata", "a JSON object"]);
    fs::copy(tiny("config.json"), dir.path().join("config.json")).unwrap();
    open(&path).unwrap().weights().unwrap();
}

#[test]
fn a_header_that_says_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = single(&dir, &[("format", "pt".into())]);
    assert_says(
        open(&path),
        &["single.safetensors", "config.json beside it", "metadata", "neither"],
    );
    let of_parts = single(&dir, &[("config", json!({"vae": {}}).to_string())]);
    assert_says(open(&of_parts), &["config of its metadata: _class_name", "no such key"]);
}

#[test]
fn pickles_are_refused_with_the_command_that_converts_them() {
    let dir = tempfile::tempdir().unwrap();
    let commands = [
        ("m.ckpt", "models/convert/openai.py"),
        ("m.pt", "models/convert/openai.py"),
        ("m.pth", "models/convert/openai.py"),
        ("m.pkl", "models/convert/edm.py"),
        ("m.bin", "save_pretrained('OUT', safe_serialization=True)"),
    ];
    for (name, command) in commands {
        let path = dir.path().join(name);
        assert_says(open(&path), &["no such file or folder"]);
        fs::write(&path, "x").unwrap();
        let parts = [name, "a pickle, which runs whatever code is in it", command];
        assert_says(open(&path), &parts);
        // The same where a folder holds it instead of weights.
        assert_says(open(dir.path()), &parts);
        fs::copy(tiny("config.json"), dir.path().join("config.json")).unwrap();
        let model = open(dir.path()).unwrap();
        assert_says(model.weights().map_err(|e| e.to_string()), &parts);
        fs::remove_file(dir.path().join("config.json")).unwrap();
        fs::remove_file(path).unwrap();
    }
}

/// The script that the message names is there, as the repository has it.
#[test]
fn the_converters_that_are_named_are_there() {
    assert!(golden::root().join("models/convert/openai.py").is_file());
}

#[test]
fn a_plan_names_the_files_that_it_found() {
    let dir = copy();
    let of = |dir: &Path| open(dir).unwrap().files();
    let files = of(dir.path());
    let name = |file: &str| dir.path().join(file).display().to_string();
    assert_eq!((files.class.as_str(), files.config), ("UNet2DModel", name("config.json")));
    assert_eq!((files.scheduler, files.settings), (Some(name(SCHEDULER)), None));
    let bytes = Some(fs::metadata(tiny(WEIGHTS)).unwrap().len());
    assert_eq!(files.weights, [WeightFile { name: name(WEIGHTS), bytes }]);

    fs::rename(dir.path().join(WEIGHTS), dir.path().join("a.safetensors")).unwrap();
    let index = dir.path().join(format!("{WEIGHTS}.index.json"));
    let map = json!({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}});
    fs::write(index, map.to_string()).unwrap();
    let shards = of(dir.path()).weights;
    let shard = |file: &str, bytes| WeightFile { name: name(file), bytes };
    assert_eq!(shards, [shard("a.safetensors", bytes), shard("b.safetensors", None)]);
    let model = open(dir.path()).unwrap();
    let weights = model.weights().map_err(|e| e.to_string());
    assert_says(weights, &["index.json", "its 2 shards beside it", "b.safetensors"]);
    let words = inspect(&model, &Request::default(), None).unwrap().to_string();
    for part in ["UNet2DModel of ", "b.safetensors, missing", "a.safetensors, ", SCHEDULER] {
        assert!(words.contains(part), "{part} is not in:\n{words}");
    }
    let layers = words.find("launches ").unwrap();
    assert!(words.find("b.safetensors").unwrap() < layers, "files come before launches");
}

/// Writes some tensors of a file to another one.
fn write_tensors(from: &Path, to: &Path, keep: impl Fn(&str) -> bool) {
    let bytes = fs::read(from).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let kept = tensors.tensors().into_iter().filter(|(name, _)| keep(name));
    safetensors::serialize_to_file(kept, None, to).unwrap();
}

/// With `class_embed_type` identity embeddings are given: those of a network that learned them
/// make the same samples.
#[test]
fn embeddings_of_classes_may_be_given() {
    let table = golden::spec("network/class-table");
    let learned = Path::new(&table);
    let dir = copy();
    let at = |file: &str| dir.path().join(file);
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(learned.join("config.json")).unwrap()).unwrap();
    let labels = config["num_class_embeds"].take().as_u64().unwrap() as usize;
    config["class_embed_type"] = json!("identity");
    fs::write(at("config.json"), config.to_string()).unwrap();
    let is_table = |name: &str| name == "class_embedding.weight";
    write_tensors(&learned.join(WEIGHTS), &at(WEIGHTS), |name| !is_table(name));
    let without = open(dir.path());
    assert_says(without, &["class_embed_type", "class_embeddings.safetensors beside", "identity"]);
    let given = at("class_embeddings.safetensors");
    write_tensors(&learned.join(WEIGHTS), &given, |name| !is_table(name));
    assert_says(open(dir.path()), &["class_embedding.weight", "[labels, width", "no such tensor"]);
    write_tensors(&learned.join(WEIGHTS), &given, is_table);

    let samples = |model: &Model| {
        let request = Request { count: labels, steps: Some(3), ..Request::default() };
        let mut sampler = Sampler::compile(model, &request, &Cpu).unwrap();
        let stop = AtomicBool::new(false);
        let mut observer = Observer { stop: &stop, rows_done: &mut |_| {} };
        let indices: Vec<usize> = sampler.indices().collect();
        sampler.sample(&indices, &mut observer).unwrap().data
    };
    let model = open(dir.path()).unwrap();
    assert_eq!(model.classes, Some(labels));
    assert_eq!(samples(&model), samples(&Model::open(&table).unwrap()));
    let one = given.with_file_name(WEIGHTS);
    assert_eq!(samples(&open(&one).unwrap()), samples(&model));
}

/// The processor, had it so much memory.
struct Small(u64);

impl Backend for Small {
    fn name(&self) -> &'static str {
        Cpu.name()
    }
    fn device(&self) -> String {
        "a small device".into()
    }
    fn identity(&self) -> Identity {
        Cpu.identity()
    }
    fn supports(&self, dtype: DType) -> bool {
        dtype != DType::BF16
    }
    fn preferred(&self) -> DType {
        DType::F32
    }
    fn room(&self) -> Result<Option<Room>> {
        Ok(Some(Room { free: self.0, all: 2 * self.0 }))
    }
    fn prepare(&self, program: &Program, weights: &dyn WeightSource) -> Result<Box<dyn Session>> {
        Cpu.prepare(program, weights)
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_allocated() {
    let model = Model::open("digits").unwrap();
    let request = Request { count: 16, steps: Some(2), ..Request::default() };
    let needs = inspect(&model, &request, None).unwrap().needs();
    assert!(needs.weights > 0 && needs.activations > 0 && needs.all > needs.weights);
    Sampler::compile(&model, &request, &Small(needs.all)).unwrap();

    let refused = |bytes: u64| -> Error {
        Sampler::compile(&model, &request, &Small(bytes)).err().expect("it does not fit")
    };
    let error = refused(needs.all - 1);
    assert_eq!(error.exit_code(), 2);
    let parts = ["memory of a small device", "16 samples at once", "weights", "--precision f16"];
    assert_says::<()>(Err(error.to_string()), &parts);
    assert_says::<()>(Err(error.to_string()), &["use --batch "]);
    // The batch that is named fits.
    let words = refused(needs.all * 2 / 3).to_string();
    let batch = words.split("--batch ").nth(1).unwrap();
    let batch = batch.split(',').next().unwrap().parse().unwrap();
    let smaller = Request { batch: Some(batch), ..request.clone() };
    Sampler::compile(&model, &smaller, &Small(needs.all * 2 / 3)).unwrap();
    // No batch helps where the weights alone are too large.
    assert!(!refused(needs.weights / 2).to_string().contains("--batch"));
}

#[test]
fn the_machine_tells_its_memory() {
    let room = Cpu.room().unwrap().expect("the tests run where the system tells");
    assert!(room.free > 1 << 20 && room.free <= room.all, "{room:?}");
}

/// A file that was cut short, one that holds other JSON, and a folder in its place.
#[test]
fn damaged_files_are_named() {
    let tail = |dir: &TempDir, file: &str, found: &str| {
        let result = open(dir.path()).and_then(|model| {
            model.scheduler().map_err(|e| e.to_string())?;
            model.weights().map_err(|e| e.to_string())
        });
        assert_says(result, &[file.rsplit('/').next().unwrap(), found]);
    };
    for file in ["config.json", SCHEDULER] {
        let dir = copy();
        let path = dir.path().join(file);
        let whole = text(file);
        for (content, found) in [
            (&whole[..whole.len() / 2], "text that is not JSON"),
            ("", "text that is not JSON"),
            ("[1, 2]", "a JSON object"),
            ("\"config\"", "a JSON object"),
            ("{}", "_class_name"),
        ] {
            fs::write(&path, content).unwrap();
            tail(&dir, file, found);
        }
        fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        tail(&dir, file, "cannot read");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        tail(&dir, file, file.rsplit('/').next().unwrap());
    }
}

#[test]
fn damaged_weights_are_named() {
    let weights = |dir: &TempDir| {
        open(dir.path()).and_then(|model| model.weights().map_err(|e| e.to_string()))
    };
    let index = format!("{WEIGHTS}.index.json");
    let with_index = |text: &str| {
        let dir = copy();
        fs::rename(dir.path().join(WEIGHTS), dir.path().join("a.safetensors")).unwrap();
        fs::write(dir.path().join(&index), text).unwrap();
        dir
    };
    let dir = copy();
    fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
    fs::create_dir(dir.path().join(WEIGHTS)).unwrap();
    assert_says(weights(&dir), &[WEIGHTS, "a folder"]);
    for text in ["", "{", "[]", "{}", r#"{"weight_map": 3}"#, r#"{"weight_map": {"a": 3}}"#] {
        assert_says(weights(&with_index(text)), &["index.json", "weight_map"]);
    }
    let outside = r#"{"weight_map": {"a": "../a.safetensors"}}"#;
    assert_says(weights(&with_index(outside)), &["index.json", "../a.safetensors"]);
    let one = with_index(r#"{"weight_map": {"a": "a.safetensors"}}"#);
    weights(&one).unwrap();
    let both = with_index(r#"{"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}"#);
    fs::copy(tiny(WEIGHTS), both.path().join("b.safetensors")).unwrap();
    assert_says(weights(&both), &["b.safetensors", "a second tensor of this name"]);
    fs::remove_file(both.path().join("b.safetensors")).unwrap();
    fs::create_dir(both.path().join("b.safetensors")).unwrap();
    assert_says(weights(&both), &["index.json", "b.safetensors"]);
}
