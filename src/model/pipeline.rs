//! Pipelines of diffusers: what `model_index.json` says of their parts.

use super::keys::Keys;
use super::layout::Text;
use crate::error::{Error, Result};
use serde_json::Value;

/// The networks of pipelines: their folder and their classes.
const NETWORKS: [(&str, &[&str]); 2] = [
    ("unet", &["UNet2DModel", "UNet1DModel", CONDITIONAL]),
    ("transformer", &["DiTTransformer2DModel", "Transformer2DModel"]),
];

/// The network that is told a text.
const CONDITIONAL: &str = "UNet2DConditionModel";
/// The parts of its pipeline that read one, with their classes.
pub const TEXT_ENCODER: &str = "text_encoder";
const TEXT_ENCODER_CLASS: &str = "CLIPTextModel";
pub const TOKENIZER: &str = "tokenizer";
const TOKENIZER_CLASSES: [&str; 2] = ["CLIPTokenizer", "CLIPTokenizerFast"];
/// Those that say nothing about the picture.
const BESIDE: [&str; 4] =
    ["safety_checker", "feature_extractor", "image_encoder", "requires_safety_checker"];

/// The folder of a pipeline's decoder, and its class.
pub const DECODER: &str = "vae";
const DECODER_CLASS: &str = "AutoencoderKL";

/// What `model_index.json` says: it names the class of every part.
pub struct Pipeline {
    /// The folder of the network.
    pub network: &'static str,
    /// Whether there is a decoder.
    pub decodes: bool,
    /// Whether there is a text encoder.
    pub reads: bool,
    pub class_names: Vec<String>,
    pub range: Option<[f32; 2]>,
}

/// The pipeline whose pictures are from 0 to 1, where the others' are from -1 to 1.
const UNIT_RANGE: &str = "ScoreSdeVePipeline";

impl Pipeline {
    pub fn read(index: &Text) -> Result<Pipeline> {
        let mut keys = Keys::parse(&index.text, &index.origin)?;
        let named = NETWORKS.into_iter().find(|(name, _)| keys.has(name)).unwrap_or(NETWORKS[0]);
        let (network, classes) = named;
        let expected = format!("[\"diffusers\", \"{}\"]", classes.join("\" or \""));
        let reads = keys.take(network, &expected, false, |v| {
            let class = v.get(1)?.as_str()?;
            classes.contains(&class).then_some(class == CONDITIONAL)
        })?;
        keys.take("scheduler", "[library, class]", (), |v| v.get(1)?.as_str().map(|_| ()))?;
        let range = range(&keys);
        let mut pipeline =
            Pipeline { network, decodes: false, reads, class_names: Vec::new(), range };
        if network == "transformer" || reads {
            let expected = format!("[\"diffusers\", \"{DECODER_CLASS}\"]");
            pipeline.decodes = keys.take(DECODER, &expected, false, |v| {
                (v.get(1)?.as_str()? == DECODER_CLASS).then_some(true)
            })?;
        }
        if reads {
            pipeline.text(&mut keys)?;
        }
        if network == "transformer" {
            let expected = "names of classes by their numbers";
            pipeline.class_names = keys.take("id2label", expected, Vec::new(), class_names)?;
        }
        let Some(part) = keys.left() else { return Ok(pipeline) };
        let decoder = if network == "transformer" { ", and perhaps vae" } else { "" };
        Err(Error::invalid(
            index.origin.clone(),
            format!("a pipeline of only {network} and scheduler{decoder}"),
            format!("also {part}"),
            "use a pixel-space pipeline such as DDPMPipeline, or a DiTPipeline",
        ))
    }
}

impl Pipeline {
    /// The parts that read a text.
    fn text(&self, keys: &mut Keys) -> Result<()> {
        let parts: [(&str, &[&str]); 2] =
            [(TEXT_ENCODER, &[TEXT_ENCODER_CLASS]), (TOKENIZER, &TOKENIZER_CLASSES)];
        for (part, classes) in parts {
            let expected = format!("[\"transformers\", \"{}\"]", classes.join("\" or \""));
            if !keys.has(part) {
                return Err(keys.bad(part, expected, "no such key"));
            }
            keys.take(part, &expected, (), |v| {
                classes.contains(&v.get(1)?.as_str()?).then_some(())
            })?;
        }
        BESIDE.into_iter().try_for_each(|part| keys.take(part, "anything", (), |_| Some(())))
    }
}

/// What the pipeline that a `model_index.json` names says of its pictures.
pub fn range(index: &Keys) -> Option<[f32; 2]> {
    index.class().is_ok_and(|class| class == UNIT_RANGE).then_some([0.0, 1.0])
}

/// The first of each class's names, of the classes from 0 on as far as none is missing.
fn class_names(id2label: &Value) -> Option<Vec<String>> {
    if id2label.is_null() {
        return Some(Vec::new());
    }
    let names = id2label.as_object()?;
    let name = |i: usize| Some(names.get(&i.to_string())?.as_str()?.split(',').next()?.to_string());
    Some((0..names.len()).map_while(name).collect())
}
