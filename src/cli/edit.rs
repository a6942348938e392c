//! Flags that begin a run with pictures.

use super::arrays::read;
use super::request::real;
use std::path::PathBuf;
use unnoise::error::Result;
use unnoise::model::Model;
use unnoise::sampler::Task;

/// The flags of `sample` that take pictures or states.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EditArgs {
    /// Pictures to begin with: .png, or .npy and .safetensors of f32 [N, C, H, W]; sample i takes
    /// picture i modulo N
    #[arg(long, value_name = "FILE", conflicts_with_all = ["colorize", "upscale", "latent"])]
    pub init: Option<PathBuf>,
    /// The share of the steps that is taken with --init, from near 0 (hardly changed) to 1 (drawn
    /// anew) [default: 0.8; with --mask 1]
    #[arg(long, value_name = "S", requires = "init", allow_hyphen_values = true)]
    pub strength: Option<String>,
    /// What of --init is redrawn: white pixels of a .png, 1 in an array of [N, 1, H, W]
    #[arg(long, value_name = "FILE", requires = "init")]
    pub mask: Option<PathBuf>,
    /// Grey pictures to colour
    #[arg(long, value_name = "FILE", conflicts_with_all = ["upscale", "latent"])]
    pub colorize: Option<PathBuf>,
    /// Small pictures to enlarge, a whole number of times
    #[arg(long, value_name = "FILE", conflicts_with = "latent")]
    pub upscale: Option<PathBuf>,
    /// States to begin with, as --solver ddim-inversion writes them: .npy or .safetensors
    #[arg(long, value_name = "FILE")]
    pub latent: Option<PathBuf>,
    /// Go through the states of --latent in as many places as there are samples
    #[arg(long, requires = "latent")]
    pub interpolate: bool,
}

impl EditArgs {
    /// The task that was asked for, its files read.
    ///
    /// # Errors
    /// A file that is not there, is damaged, or holds another kind of array.
    pub fn task(&self, model: &Model) -> Result<Option<Task>> {
        let (channels, range) = (model.state[0], model.range());
        let strength = real("--strength", self.strength.as_deref())?;
        if let Some(path) = &self.init {
            let pictures = read("--init", path, channels, range)?;
            return Ok(Some(match &self.mask {
                None => Task::Vary { pictures, strength },
                Some(mask) => {
                    let masks = read("--mask", mask, 1, [0.0, 1.0])?;
                    Task::Inpaint { pictures, masks, strength }
                }
            }));
        }
        if let Some(path) = &self.colorize {
            return Ok(Some(Task::Colorize { pictures: read("--colorize", path, 1, range)? }));
        }
        if let Some(path) = &self.upscale {
            return Ok(Some(Task::Upscale { pictures: read("--upscale", path, channels, range)? }));
        }
        let Some(path) = &self.latent else { return Ok(None) };
        let states = read("--latent", path, channels, range)?;
        Ok(Some(match self.interpolate {
            true => Task::Interpolate { states },
            false => Task::Resume { states },
        }))
    }
}
