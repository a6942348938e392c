//! Where a model's files are: built in, in a diffusers folder, or around a `.safetensors` file.

use super::builtin::{Builtin, MODELS};
use super::header::{self, Header};
use super::keys::{CLASSES, Keys};
use super::pickle;
use super::pipeline::{DECODER, Pipeline, TEXT_ENCODER, TOKENIZER, range};
use crate::error::{Error, Result};
use crate::weights::Weights;
use std::path::{Path, PathBuf};

/// A text file that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    /// How messages name it.
    pub origin: String,
    pub text: String,
}

/// Where the weights are.
#[derive(Clone, Debug)]
pub(super) enum WeightsAt {
    /// In the program, if this one has any.
    BuiltIn(&'static Builtin),
    File(PathBuf),
    /// Looked for in this folder when they are needed.
    Folder(PathBuf),
}

/// The scheduler's configuration, which planning can do without and sampling cannot.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SchedulerAt {
    Found(Text),
    /// In none of these places, looked for from `dir`.
    Missing {
        dir: PathBuf,
        places: Vec<PathBuf>,
    },
}

impl SchedulerAt {
    /// The text, or an error that says where it was looked for.
    pub fn text(&self) -> Result<&Text> {
        match self {
            SchedulerAt::Found(text) => Ok(text),
            SchedulerAt::Missing { dir, places } => Err(Error::invalid(
                dir.display().to_string(),
                format!("the scheduler's configuration at {}", list(places)),
                "no such file",
                "copy scheduler_config.json from where the model was published",
            )),
        }
    }
}

/// A text encoder: its configuration, its weights' folder and its tokenizer's.
#[derive(Clone, Debug)]
pub(super) struct TextAt {
    pub config: Text,
    pub weights: PathBuf,
    pub tokenizer: PathBuf,
}

/// The files of one model; the weights are not opened yet.
pub(super) struct Layout {
    pub name: String,
    pub config: Text,
    pub scheduler: SchedulerAt,
    pub settings: Option<Text>,
    pub weights: WeightsAt,
    /// Embeddings of classes that are given and not learned, if the file is there.
    pub embeddings: Option<PathBuf>,
    /// The configuration and the weights of a pipeline's decoder.
    pub decoder: Option<(Text, WeightsAt)>,
    /// What reads a pipeline's prompts.
    pub text: Option<TextAt>,
    /// Names of the classes from 0 on, if a pipeline has them.
    pub class_names: Vec<String>,
    /// The range of its pictures, if a pipeline says it.
    pub range: Option<[f32; 2]>,
}

/// Names of the weights in a folder, the preferred first.
const WEIGHTS: &[&str] = &[
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors.index.fp16.json",
];
/// The file of embeddings of classes, beside `config.json`, and its tensor.
pub(super) const EMBEDDINGS: &str = "class_embeddings.safetensors";
const EMBEDDING: &str = "class_embedding.weight";
/// The same of a text encoder, as transformers names them.
const TEXT_WEIGHTS: &[&str] = &[
    "model.safetensors",
    "model.safetensors.index.json",
    "model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
];
/// Where the scheduler's configuration may lie, from the folder of `config.json`.
const SCHEDULERS: &[&str] = &["scheduler/scheduler_config.json", "scheduler_config.json"];

/// Finds the files that `spec` stands for.
pub(super) fn find(spec: &str) -> Result<Layout> {
    if let Some(model) = MODELS.iter().find(|m| m.name == spec) {
        let text = |file: &str, text: &str| Text {
            origin: format!("built-in {spec}/{file}"),
            text: text.to_string(),
        };
        return Ok(Layout {
            name: spec.to_string(),
            config: text("config.json", model.config),
            scheduler: SchedulerAt::Found(text(SCHEDULERS[0], model.scheduler)),
            settings: model.settings.map(|s| text("unnoise.json", s)),
            weights: WeightsAt::BuiltIn(model),
            embeddings: None,
            decoder: None,
            text: None,
            class_names: Vec::new(),
            range: None,
        });
    }
    let path = Path::new(spec);
    if path.is_dir() {
        return folder(path);
    }
    let is_weights = path.extension().is_some_and(|e| e == "safetensors");
    match (path.exists(), is_weights) {
        (true, true) => file(path),
        (true, false) if pickle::is_pickle(path) => Err(pickle::refused(path)),
        (true, false) => Err(not_a_model(spec, "a file of another kind")),
        (false, _) => Err(not_a_model(spec, "no such file or folder")),
    }
}

fn not_a_model(spec: &str, found: &str) -> Error {
    let names: Vec<_> = MODELS.iter().map(|m| m.name).collect();
    Error::invalid(
        format!("model {spec:?}"),
        format!(
            "a built-in name ({}), a folder in diffusers' layout or a .safetensors file",
            names.join(", ")
        ),
        found,
        "check the spelling of the name or the path",
    )
}

/// A folder: `config.json` lies in it, or it is a pipeline with one for its network.
fn folder(path: &Path) -> Result<Layout> {
    if path.join("config.json").is_file() {
        return at(path, path, WeightsAt::Folder(path.to_path_buf()));
    }
    let index = path.join("model_index.json");
    if let (false, Some(pickle)) = (index.is_file(), pickle::in_folder(path)) {
        return Err(pickle::refused(&pickle));
    }
    if !index.is_file() {
        return Err(Error::invalid(
            path.display().to_string(),
            "config.json or, for a pipeline, model_index.json",
            "a folder with neither",
            "give the folder that diffusers' save_pretrained wrote",
        ));
    }
    let Pipeline { network, decodes, reads, class_names, range } = Pipeline::read(&read(&index)?)?;
    let network = path.join(network);
    let mut layout = at(path, &network, WeightsAt::Folder(network.clone()))?;
    if decodes {
        let dir = path.join(DECODER);
        layout.decoder = Some((read(&dir.join("config.json"))?, WeightsAt::Folder(dir)));
    }
    if reads {
        let [weights, tokenizer] = [TEXT_ENCODER, TOKENIZER].map(|part| path.join(part));
        let config = read(&weights.join("config.json"))?;
        layout.text = Some(TextAt { config, weights, tokenizer });
    }
    Ok(Layout { class_names, range, ..layout })
}

/// A weights file with its `config.json` beside it, or its configuration in its header.
fn file(path: &Path) -> Result<Layout> {
    let dir = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let weights = WeightsAt::File(path.to_path_buf());
    if dir.join("config.json").exists() {
        return at(path, dir, weights);
    }
    let Header { config, scheduler, settings } = header::read(path)?;
    let places = || SCHEDULERS.iter().map(|s| dir.join(s)).collect();
    let missing = || SchedulerAt::Missing { dir: dir.to_path_buf(), places: places() };
    let scheduler = scheduler.map_or_else(missing, SchedulerAt::Found);
    Ok(Layout {
        name: name(path),
        config,
        scheduler,
        settings,
        weights,
        embeddings: embeddings(dir),
        decoder: None,
        text: None,
        class_names: Vec::new(),
        range: None,
    })
}

/// The model whose `config.json` lies in `dir`; `named_by` gives its name.
fn at(named_by: &Path, dir: &Path, weights: WeightsAt) -> Result<Layout> {
    let settings = dir.join("unnoise.json");
    Ok(Layout {
        name: name(named_by),
        config: read(&dir.join("config.json"))?,
        scheduler: scheduler(dir)?,
        settings: settings.is_file().then(|| read(&settings)).transpose()?,
        weights,
        embeddings: embeddings(dir),
        decoder: None,
        text: None,
        class_names: Vec::new(),
        range: range_at(dir)?,
    })
}

fn embeddings(dir: &Path) -> Option<PathBuf> {
    Some(dir.join(EMBEDDINGS)).filter(|path| path.is_file())
}

/// The name of a folder or a file, without what says its kind.
fn name(path: &Path) -> String {
    let of =
        |p: &Path| if p.is_dir() { p.file_name() } else { p.file_stem() }.map(ToOwned::to_owned);
    let name = path.canonicalize().ok().and_then(|p| of(&p));
    name.unwrap_or_else(|| path.as_os_str().to_owned()).to_string_lossy().into_owned()
}

/// What the pipeline that `dir` is a part of, if it is one, says of its pictures.
fn range_at(dir: &Path) -> Result<Option<[f32; 2]>> {
    let index = dir.join("..").join("model_index.json");
    if !index.is_file() {
        return Ok(None);
    }
    let index = read(&index)?;
    Ok(range(&Keys::parse(&index.text, &index.origin)?))
}

/// The scheduler's configuration: in `dir`, or in the pipeline that `dir` is a part of.
fn scheduler(dir: &Path) -> Result<SchedulerAt> {
    let mut places: Vec<PathBuf> = SCHEDULERS.iter().map(|s| dir.join(s)).collect();
    let pipeline = dir.join("..");
    if pipeline.join("model_index.json").is_file() {
        places.push(pipeline.join(SCHEDULERS[0]));
    }
    match places.iter().find(|p| p.is_file()) {
        Some(found) => Ok(SchedulerAt::Found(read(found)?)),
        None => Ok(SchedulerAt::Missing { dir: dir.to_path_buf(), places }),
    }
}

/// The weights in `dir`.
pub(super) fn weights_in(dir: &Path) -> Result<PathBuf> {
    any_of(dir, WEIGHTS)
}

/// The weights of a text encoder in `dir`.
pub(super) fn text_weights_in(dir: &Path) -> Result<PathBuf> {
    any_of(dir, TEXT_WEIGHTS)
}

fn any_of(dir: &Path, names: &[&str]) -> Result<PathBuf> {
    let places: Vec<PathBuf> = names.iter().map(|w| dir.join(w)).collect();
    if let Some(found) = places.iter().find(|p| p.exists()) {
        return Ok(found.clone());
    }
    if let Some(pickle) = pickle::in_folder(dir) {
        return Err(pickle::refused(&pickle));
    }
    let expected = format!("weights at {}", list(&places));
    let action = "put the weights there; inspect works without them";
    Err(Error::invalid(dir.display().to_string(), expected, "none of them", action))
}

/// How many embeddings of classes a file holds.
pub(super) fn embeddings_in(path: &Path) -> Result<usize> {
    let file = Weights::open(path)?;
    let mut shapes = file.tensors().filter(|(name, _)| *name == EMBEDDING);
    match shapes.next() {
        Some((_, &[n, _])) if CLASSES.contains(&n) => Ok(n),
        found => {
            let found = found.map_or("no such tensor".to_string(), |(_, s)| format!("{s:?}"));
            let what = format!("{}: {EMBEDDING}", path.display());
            let action = "write one embedding a row: a label is the number of a row";
            Err(Error::invalid(what, "[labels, width of the time embedding]", found, action))
        }
    }
}

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" or ")
}

fn read(path: &Path) -> Result<Text> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::io(path, "read", e, "check that the file is there and is text"))?;
    Ok(Text { origin: path.display().to_string(), text })
}
