//! Models: a folder in diffusers' layout, or a built-in name, becomes a graph.
//!
//! [`Model::open`] reads configurations only; [`Model::weights`] opens and checks the weights.

mod adm;
mod autoencoder;
mod builtin;
mod clip;
mod dit;
mod edm;
mod extractor;
mod files;
mod fingerprint;
mod header;
mod keys;
mod layout;
mod mixture;
mod pickle;
mod pipeline;
mod residual;
mod settings;
mod unet1d;
mod unet2d;
mod unet2d_condition;

pub use autoencoder::Decoder;
pub use clip::Tokenizer;
pub use extractor::{DIGITS_CLASSIFIER, Extractor};
pub use files::{Files, WeightFile};
pub use mixture::{Mixture, SCHEDULES};
pub use settings::Settings;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::solver::{Coordinates, PredictionType, SchedulerConfig, TimeInput};
use crate::weights::Weights;
use keys::Keys;
use layout::{SchedulerAt, Text, TextAt, WeightsAt};
use std::path::PathBuf;

/// A denoiser with what its files say about sampling.
#[derive(Clone, Debug)]
pub struct Model {
    /// The built-in name, or the name of the folder or file.
    pub name: String,
    /// The network.
    pub graph: Graph,
    /// Channels, height and width of the state: pictures, or latents if there is a decoder.
    pub state: [usize; 3],
    /// The output has twice the channels: prediction, then variance.
    pub learned_variance: bool,
    /// Labels are below it, the null class included; None for an unconditional model. A model
    /// that embeds the class number itself and names no bound has as many as it has learned times,
    /// or 2^24.
    pub classes: Option<usize>,
    /// What the output stands for, and in which scale the network sees x, where its own
    /// configuration says so; otherwise the scheduler's does.
    pub form: Option<(Coordinates, PredictionType)>,
    /// What the network is told as its time, in the same way.
    pub time: Option<TimeInput>,
    /// The data itself, where its denoiser is known exactly and there is no network.
    pub mixture: Option<Mixture>,
    /// What turns the state into pictures, where it is not one itself.
    pub decoder: Option<Decoder>,
    /// `_class_name`.
    class: String,
    /// The texts of its configurations, and where the first is.
    config: Text,
    settings_at: Option<String>,
    scheduler: SchedulerAt,
    /// What `unnoise.json` says.
    pub settings: Settings,
    weights: WeightsAt,
    /// Embeddings of classes that are given, which belong to the weights.
    embeddings: Option<PathBuf>,
    decoder_weights: Option<WeightsAt>,
    /// What reads prompts; None for a model that takes none.
    pub text: Option<TextEncoder>,
}

/// Where a model's text encoder is.
#[derive(Clone, Debug)]
pub struct TextEncoder {
    /// Tokens of a prompt.
    pub length: usize,
    /// Folders.
    weights: PathBuf,
    tokenizer: PathBuf,
}

impl TextEncoder {
    /// Opens the tokenizer.
    ///
    /// # Errors
    /// See [`Tokenizer::open`].
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::open(&self.tokenizer)
    }

    /// The weights under the names of the graph. Older files have a word before each name.
    fn open(&self) -> Result<Weights> {
        let weights = Weights::open(&layout::text_weights_in(&self.weights)?)?;
        let own = |key: &str| key.strip_prefix("text_model.").unwrap_or(key).to_string();
        weights.renamed(|key| format!("text_encoder.{}", own(key)))
    }
}

/// The weight of guidance of diffusers' StableDiffusionPipeline.
const GUIDANCE: f64 = 7.5;

impl Model {
    /// Opens a built-in name, a folder in diffusers' layout or a `.safetensors` file with its
    /// `config.json` beside it or in its header. Reads no weights.
    ///
    /// Fails if there is no such model, a configuration file is missing or malformed, or the
    /// network is of a class or has an option that is not covered.
    pub fn open(spec: &str) -> Result<Model> {
        let files = layout::find(spec)?;
        let mut keys = Keys::parse(&files.config.text, &files.config.origin)?;
        keys.embeddings = files.embeddings.as_deref().map(layout::embeddings_in).transpose()?;
        if let Some(TextAt { config, .. }) = &files.text {
            keys.text = Some(clip::Config::read(Keys::parse(&config.text, &config.origin)?)?);
        }
        let text = keys.text.clone().zip(files.text);
        let class = keys.class()?.to_string();
        let known = CLASSES.iter().chain(REFUSED).find(|(name, _)| *name == class);
        let Some((_, build)) = known else {
            let names: Vec<_> = CLASSES.iter().map(|(name, _)| *name).collect();
            return Err(keys.bad("_class_name", names.join(" or "), class));
        };
        let network = build(keys)?;
        let own = network.null_class;
        // No words stand for no text.
        let away = own.or(text.is_some().then_some(0));
        let mut settings = match &files.settings {
            Some(file) => Settings::parse(&file.text, &file.origin, network.classes, away)?,
            None => Settings::default(),
        };
        settings.null_class = settings.null_class.or(own);
        settings.guidance = settings.guidance.or(dit::published(&class, &network));
        let mut scheduler = files.scheduler;
        if let (SchedulerAt::Missing { .. }, Some(own)) = (&scheduler, network.sampler) {
            let origin = format!("the sampler of {class}");
            scheduler = SchedulerAt::Found(Text { origin, text: own.scheduler });
            settings.solver.get_or_insert(own.solver.into());
            settings.steps.get_or_insert(own.steps);
        }
        if settings.class_names.is_empty() {
            let most = network.classes.unwrap_or(0);
            settings.class_names = files.class_names.into_iter().take(most).collect();
        }
        settings.range = settings.range.or(files.range);
        let mut config = files.config;
        let text = text.map(|(encoder, at)| {
            settings.guidance.get_or_insert(GUIDANCE);
            config.text.push_str(&at.config.text);
            TextEncoder { length: encoder.length, weights: at.weights, tokenizer: at.tokenizer }
        });
        let (mut decoder, mut decoder_weights) = (None, None);
        if let Some((text, weights)) = files.decoder {
            let keys = Keys::parse(&text.text, &text.origin)?;
            decoder = Some(Decoder::read(keys, network.state[0])?);
            decoder_weights = Some(weights);
            config.text.push_str(&text.text);
        }
        Ok(Model {
            name: files.name,
            graph: network.graph,
            state: network.state,
            learned_variance: network.learned_variance,
            classes: network.classes,
            form: network.form,
            time: network.time,
            mixture: network.mixture,
            decoder,
            class,
            config,
            settings_at: files.settings.map(|text| text.origin),
            scheduler,
            settings,
            weights: files.weights,
            embeddings: files.embeddings,
            decoder_weights,
            text,
        })
    }

    /// What black and white are in pictures.
    pub fn range(&self) -> [f32; 2] {
        self.settings.range.unwrap_or([-1.0, 1.0])
    }

    /// The scheduler's configuration.
    ///
    /// Fails if there is none, or it has a class, a key or a value that is not covered.
    pub fn scheduler(&self) -> Result<SchedulerConfig> {
        let file = self.scheduler.text()?;
        SchedulerConfig::parse(&file.text, &file.origin)
    }

    /// Whether there is a scheduler's configuration at all.
    pub fn has_scheduler(&self) -> bool {
        self.scheduler.text().is_ok()
    }

    /// Opens the weights, those of a decoder too, and checks every one against the graph.
    ///
    /// Fails if the model has none, the files are damaged, or keys, shapes, types or values are
    /// not what the graph needs.
    pub fn weights(&self) -> Result<Weights> {
        let weights = self.open_network()?;
        weights.check(&self.graph)?;
        let Some((decoder, of_decoder)) = self.decoder.as_ref().zip(self.open_decoder()?) else {
            return Ok(weights);
        };
        let [_, h, w] = self.state;
        of_decoder.check(&decoder.graph([h, w])?)?;
        weights.and(of_decoder)
    }

    fn open_weights(&self) -> Result<Weights> {
        let weights = self.open_network()?;
        match self.open_decoder()? {
            Some(decoder) => weights.and(decoder),
            None => Ok(weights),
        }
    }

    fn open_decoder(&self) -> Result<Option<Weights>> {
        match &self.decoder_weights {
            Some(WeightsAt::Folder(dir)) => Weights::open(&layout::weights_in(dir)?).map(Some),
            Some(WeightsAt::File(path)) => Weights::open(path).map(Some),
            Some(WeightsAt::BuiltIn(_)) | None => Ok(None),
        }
    }

    fn open_network(&self) -> Result<Weights> {
        if self.graph.params.is_empty() {
            return Ok(Weights::none(&self.name));
        }
        let weights = match &self.weights {
            WeightsAt::BuiltIn(model) => match model.weights {
                Some(bytes) => Weights::from_static(&self.name, bytes),
                None => Err(self.without_weights()),
            },
            WeightsAt::File(path) => Weights::open(path),
            WeightsAt::Folder(dir) => Weights::open(&layout::weights_in(dir)?),
        }?;
        let beside = [
            self.embeddings.as_deref().map(Weights::open),
            self.text.as_ref().map(TextEncoder::open),
        ];
        beside.into_iter().flatten().try_fold(weights, |weights, other| weights.and(other?))
    }

    fn without_weights(&self) -> Error {
        Error::invalid(
            format!("model {}", self.name),
            "a model with weights",
            "a built-in configuration only",
            "give a folder that holds its diffusion_pytorch_model.safetensors",
        )
    }

    /// Names of the built-in models, the default first.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        builtin::MODELS.iter().map(|m| m.name)
    }
}

/// A denoiser built from its configuration.
struct Network {
    graph: Graph,
    /// Channels, height, width.
    state: [usize; 3],
    learned_variance: bool,
    classes: Option<usize>,
    /// The class that stands for none, where `unnoise.json` names no other.
    null_class: Option<usize>,
    form: Option<(Coordinates, PredictionType)>,
    time: Option<TimeInput>,
    /// How it is sampled where no scheduler's configuration says so.
    sampler: Option<Sampler>,
    mixture: Option<Mixture>,
}

/// How the authors of a network sample it.
struct Sampler {
    /// A `scheduler_config.json`.
    scheduler: String,
    solver: &'static str,
    steps: usize,
}

impl Network {
    /// An unconditional network of which its scheduler's configuration says all else.
    fn new(graph: Graph, state: [usize; 3]) -> Network {
        Network {
            graph,
            state,
            learned_variance: false,
            classes: None,
            null_class: None,
            form: None,
            time: None,
            sampler: None,
            mixture: None,
        }
    }
}

/// Builds one class of denoiser.
type Build = fn(Keys) -> Result<Network>;

/// The classes of denoiser, as `_class_name` calls them.
const CLASSES: &[(&str, Build)] = &[
    ("UNet2DModel", unet2d::build),
    ("UNet1DModel", unet1d::build),
    ("UNet2DConditionModel", unet2d_condition::build),
    (dit::CLASSES[0], dit::build),
    (dit::CLASSES[1], dit::build_older),
    ("UNetModel", adm::build),
    ("EDMPrecond", edm::edm),
    ("VPPrecond", edm::vp),
    ("VEPrecond", edm::ve),
    ("iDDPMPrecond", edm::iddpm),
    ("GaussianMixture", mixture::build),
];

/// Classes of which an error can say more than that they are not known.
const REFUSED: &[(&str, Build)] =
    &[("SuperResModel", adm::super_resolution), ("EncoderUNetModel", adm::classifier)];
