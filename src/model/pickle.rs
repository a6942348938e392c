//! Checkpoints that are pickles: what is said of them, as they are never read.

use crate::error::Error;
use std::path::{Path, PathBuf};

/// Endings of files that Python unpickles, and so runs, when they are loaded.
const ENDINGS: &[&str] = &["ckpt", "pt", "pth", "pkl", "pickle", "bin"];

/// Whether the name is that of a pickle.
pub(super) fn is_pickle(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDINGS.contains(&e))
}

/// The first pickle in a folder, by name.
pub(super) fn in_folder(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    entries.filter(|path| is_pickle(path) && path.is_file()).min()
}

/// The refusal of a pickle, with the command that converts it.
pub(super) fn refused(path: &Path) -> Error {
    Error::invalid(
        path.display().to_string(),
        "a .safetensors file",
        "a pickle, which runs whatever code is in it when it is loaded",
        format!("convert it where its author is trusted: {}", command(path)),
    )
}

/// What makes a file that is read of one that is not.
fn command(path: &Path) -> String {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let (file, folder) = (path.display(), path.parent().unwrap_or(Path::new(".")).display());
    let out = path.with_extension("").display().to_string();
    match ending {
        "bin" => format!(
            "python -c \"import diffusers; diffusers.DiffusionPipeline.from_pretrained('PIPELINE')\
             .save_pretrained('OUT', safe_serialization=True)\", or of a network alone \
             diffusers.UNet2DModel.from_pretrained('{folder}')"
        ),
        "pkl" | "pickle" => {
            format!(
                "python models/convert/edm.py {file} PATH/TO/edm {out}, for a network of EDM, whose \
                 code is cloned there"
            )
        }
        _ => format!(
            "python models/convert/openai.py {file} {out} for a network of guided-diffusion, \
             improved-diffusion or consistency_models; of another network save the state_dict \
             with safetensors.torch.save_file"
        ),
    }
}
