//! Networks whose hidden layer is the space of a metric: what `unnoise eval` compares samples in.
//!
//! An [`Extractor`] is a configuration with weights; [`Extractor::graph`] builds its network for
//! samples of a size. It reads bytes, 0 to 255, and ends in one row of the features and, after
//! them, the logits of its classes.

mod classifier;
mod inception;

use super::keys::Keys;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::weights::{Normalised, Weights};
use classifier::Classifier;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// A network of features, its weights opened and checked.
#[derive(Debug)]
pub struct Extractor {
    /// What results call the space of its features.
    pub name: String,
    /// A hash, as hex, of its configuration and its weights: features of two networks with one
    /// fingerprint lie in one space.
    pub fingerprint: String,
    network: Network,
    weights: Weights,
}

#[derive(Debug)]
enum Network {
    Classifier(Classifier),
    Inception,
}

/// The name of the built-in one.
pub const DIGITS_CLASSIFIER: &str = "digits-classifier";

const CONFIG: &str = include_str!("../../../models/digits-classifier/config.json");
const WEIGHTS: &[u8] =
    include_bytes!("../../../models/digits-classifier/diffusion_pytorch_model.safetensors");

/// The statistics of 2,000 digits that nothing here was trained on.
const HELD_OUT: &[u8] = include_bytes!("../../../models/digits-classifier/held-out.safetensors");

/// Names of the weights in a folder, the preferred first.
const FILES: [&str; 2] = ["diffusion_pytorch_model.safetensors", "model.safetensors"];

impl Extractor {
    /// Opens `digits-classifier`, which is built in, or a folder with the `config.json` and the
    /// weights of a `ConvClassifier`.
    ///
    /// # Errors
    /// No such name or folder, a configuration of another class or with values that cannot be,
    /// weights that are not there, are damaged or are not those of the configuration.
    pub fn open(spec: &str) -> Result<Extractor> {
        if spec == DIGITS_CLASSIFIER {
            let weights = Weights::from_static(spec, WEIGHTS)?;
            let origin = format!("built-in {spec}/config.json");
            return Self::classifier(spec.into(), CONFIG, &origin, weights);
        }
        let folder = Path::new(spec);
        let path = folder.join("config.json");
        if !path.is_file() {
            return Err(Error::invalid(
                format!("--features {spec}"),
                format!("{DIGITS_CLASSIFIER}, or a folder with config.json and weights"),
                "neither",
                "check the spelling of the name or the path",
            ));
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::io(&path, "read", e, "check that it is text"))?;
        let Some(file) = FILES.map(|name| folder.join(name)).into_iter().find(|f| f.is_file())
        else {
            let expected = format!("weights named {}", FILES.join(" or "));
            let action = "put the weights beside config.json";
            return Err(Error::invalid(spec, expected, "none of them", action));
        };
        let weights = Weights::open(&file)?;
        let name = folder.canonicalize().ok().and_then(|p| Some(p.file_name()?.to_owned()));
        let name = name.map_or(spec.to_string(), |name| name.to_string_lossy().into_owned());
        Self::classifier(name, &text, &path.display().to_string(), weights)
    }

    /// Opens the Inception network of the FID (Heusel et al. 2017, arXiv:1706.08500) from the file
    /// that models/convert/inception.py makes.
    ///
    /// # Errors
    /// A file that is not there, is damaged, is a pickle, or holds other tensors.
    pub fn inception(path: &Path) -> Result<Extractor> {
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        if path.is_file() && ending.as_deref() != Some("safetensors") {
            return Err(Error::invalid(
                format!("--inception {}", path.display()),
                "a .safetensors file",
                ending.map_or("no extension".into(), |e| format!(".{e}")),
                "convert the published checkpoint with models/convert/inception.py",
            ));
        }
        let weights = Weights::open(path)?;
        weights.check(&inception::stored()?)?;
        let fingerprint = fingerprint("Inception", &weights);
        let name = "inception".to_string();
        Ok(Extractor { name, fingerprint, network: Network::Inception, weights })
    }

    fn classifier(name: String, text: &str, origin: &str, weights: Weights) -> Result<Extractor> {
        let classifier = Classifier::read(Keys::parse(text, origin)?)?;
        weights.check(&classifier.graph()?)?;
        let fingerprint = fingerprint(text, &weights);
        Ok(Extractor { name, fingerprint, network: Network::Classifier(classifier), weights })
    }

    /// What comes with a built-in network to compare with: in words, and the statistics that
    /// `unnoise eval --write-stats` wrote of it.
    pub fn reference(name: &str) -> Option<(&'static str, &'static [u8])> {
        (name == DIGITS_CLASSIFIER).then_some(("held-out digits", HELD_OUT))
    }

    /// Whether its figures are the published FID, KID and Inception score, and may be called so.
    pub fn canonical(&self) -> bool {
        matches!(self.network, Network::Inception)
    }

    /// How many features it has.
    pub fn features(&self) -> usize {
        match &self.network {
            Network::Classifier(classifier) => classifier.features,
            Network::Inception => inception::FEATURES,
        }
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        match &self.network {
            Network::Classifier(classifier) => classifier.classes,
            Network::Inception => inception::CLASSES,
        }
    }

    /// `[C, H, W]` of what it reads of samples of that shape: the same, grey ones in three
    /// channels, or the mean of three channels where it was taught grey pictures.
    ///
    /// # Errors
    /// Samples of a shape that it cannot read.
    pub fn input(&self, [c, h, w]: [usize; 3]) -> Result<[usize; 3]> {
        let (input, expected) = match &self.network {
            Network::Classifier(classifier) => {
                let input = classifier.input();
                let greys = input[0] == 1 && c == 3;
                let same = input == [if greys { 1 } else { c }, h, w];
                (same.then_some(input), format!("{input:?}"))
            }
            Network::Inception => {
                let input = (c == 1 || c == 3).then_some([3, h, w]);
                (input, "1 or 3 channels".to_string())
            }
        };
        input.ok_or_else(|| {
            Error::invalid(
                format!("samples for {}", self.name),
                expected,
                format!("[C, H, W] {:?}", [c, h, w]),
                "bring them to that size, or choose another --features or --inception",
            )
        })
    }

    /// The network for samples that it reads as `input` ([`Extractor::input`]): bytes to one row,
    /// features and then logits.
    ///
    /// # Errors
    /// Samples too small for it.
    pub fn graph(&self, input: [usize; 3]) -> Result<Graph> {
        match &self.network {
            Network::Classifier(classifier) => classifier.graph(),
            Network::Inception => inception::graph([input[1], input[2]]),
        }
    }

    /// The values of the parameters of [`Extractor::graph`].
    pub fn weights(&self) -> Normalised<'_> {
        match &self.network {
            Network::Classifier(_) => Normalised::plain(&self.weights),
            Network::Inception => Normalised::new(&self.weights),
        }
    }
}

/// A hash of a configuration and of every byte of weights.
fn fingerprint(config: &str, weights: &Weights) -> String {
    let mut hash = Xxh3::new();
    for part in std::iter::once(config.as_bytes()).chain(weights.files()) {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("{:032x}", hash.digest128())
}
