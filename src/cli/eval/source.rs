//! What `unnoise eval` reads: folders and arrays of samples, as bytes, and statistics of them.

use crate::cli::arrays::{self, damaged, ending};
use std::fs;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use unnoise::error::{Error, Result};
use unnoise::metrics::Statistics;
use unnoise::output::to_byte;

/// One thing that was named.
pub enum Source {
    Statistics(Box<Statistics>),
    Pictures(Pictures),
}

/// Samples of bytes, 0 to 255: numbers become them as `unnoise sample` writes a .png.
pub struct Pictures {
    /// How messages name them.
    pub what: String,
    /// `[C, H, W]` of a sample.
    pub shape: [usize; 3],
    pub count: usize,
    /// What black and white are where samples are numbers.
    range: [f32; 2],
    kind: Kind,
}

enum Kind {
    /// One sample each.
    Files(Vec<PathBuf>),
    /// `[N, C, H, W]`.
    Bytes(Vec<u8>),
}

impl Source {
    /// Opens a folder, an array, a picture or statistics; numbers are in `range`.
    ///
    /// # Errors
    /// A file of another kind, or one that is damaged; a folder without samples.
    pub fn open(flag: &str, path: &Path, range: [f32; 2]) -> Result<Source> {
        let what = format!("{flag} {}", path.display()).trim_start().to_string();
        if path.is_dir() {
            return folder(what, path, range).map(Source::Pictures);
        }
        let kind = ending(path);
        if !["png", "npy", "npz", "safetensors"].contains(&&*kind) {
            return Err(Error::invalid(
                what,
                "a folder of samples, a .png, .npy, .npz or .safetensors file, or statistics",
                if kind.is_empty() { "no extension".into() } else { format!(".{kind}") },
                "convert it to one of these",
            ));
        }
        if kind == "png" {
            let path = vec![path.to_path_buf()];
            return Pictures::files(what, path, range).map(Source::Pictures);
        }
        let bytes = load(path)?;
        if kind == "safetensors" && Statistics::are_in(&bytes) {
            let statistics = Statistics::parse(&what, &bytes)?;
            return Ok(Source::Statistics(Box::new(statistics)));
        }
        let (data, [n, c, h, w]) = match kind.as_str() {
            "npy" => npy(&what, &bytes, range)?,
            "npz" => npy(&what, &entry(&what, &bytes)?, range)?,
            _ => quantised(arrays::safetensors(&what, &bytes)?, range),
        };
        if data.is_empty() {
            let found = format!("{:?}", [n, c, h, w]);
            return Err(Error::invalid(what, "one sample or more", found, "name another file"));
        }
        let kind = Kind::Bytes(data);
        Ok(Source::Pictures(Pictures { what, shape: [c, h, w], count: n, range, kind }))
    }
}

impl Pictures {
    fn files(what: String, paths: Vec<PathBuf>, range: [f32; 2]) -> Result<Pictures> {
        let (_, shape) = decode(&paths[0], range)?;
        Ok(Pictures { what, shape, count: paths.len(), range, kind: Kind::Files(paths) })
    }

    /// Samples of these numbers, `[n, C, H, W]`.
    ///
    /// # Errors
    /// A file that cannot be read, or of another shape than the first.
    pub fn batch(&self, samples: Range<usize>) -> Result<Vec<u8>> {
        let numel = self.shape.iter().product::<usize>();
        let paths = match &self.kind {
            Kind::Bytes(data) => return Ok(data[samples.start * numel..samples.end * numel].into()),
            Kind::Files(paths) => &paths[samples],
        };
        let mut data = Vec::with_capacity(paths.len() * numel);
        for path in paths {
            let (bytes, shape) = decode(path, self.range)?;
            if shape != self.shape {
                return Err(Error::invalid(
                    path.display().to_string(),
                    format!("[C, H, W] {:?}, as the first sample there has", self.shape),
                    format!("{shape:?}"),
                    "keep samples of one size in a folder",
                ));
            }
            data.extend(bytes);
        }
        Ok(data)
    }
}

/// The samples of a folder by name, one a file; what else lies there is no sample.
fn folder(what: String, path: &Path, range: [f32; 2]) -> Result<Pictures> {
    let failed = |e| Error::io(path, "list", e, "name a folder that you may read");
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && ["png", "npy"].contains(&&*ending(&path)) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let expected = "a folder of samples, .png or .npy files";
        return Err(Error::invalid(what, expected, "none of them", "name another folder"));
    }
    paths.sort_unstable();
    Pictures::files(what, paths, range)
}

fn load(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io(path, "read", e, "check the path"))
}

/// The one sample in a file, and its `[C, H, W]`.
fn decode(path: &Path, range: [f32; 2]) -> Result<(Vec<u8>, [usize; 3])> {
    let (what, bytes) = (path.display().to_string(), load(path)?);
    if ending(path) == "npy" {
        let (data, [n, c, h, w]) = npy(&what, &bytes, range)?;
        return match n {
            1 => Ok((data, [c, h, w])),
            _ => Err(Error::invalid(
                what,
                "one sample in each file of a folder",
                format!("{n} of them"),
                "name the file itself",
            )),
        };
    }
    let decoded = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png);
    let decoded = decoded.map_err(|e| damaged(&what, "a whole PNG file", e))?;
    let [h, w] = [decoded.height() as usize, decoded.width() as usize];
    match decoded.color().has_color() {
        false => Ok((decoded.into_luma8().into_raw(), [1, h, w])),
        true => Ok((planes(&decoded.into_rgb8().into_raw(), 3), [3, h, w])),
    }
}

/// Pixels `[H, W, C]` of one picture as `[C, H, W]`.
fn planes(pixels: &[u8], c: usize) -> Vec<u8> {
    (0..c).flat_map(|channel| pixels.iter().skip(channel).step_by(c)).copied().collect()
}

/// An .npy of f32 `[N, C, H, W]` in the range, or of u8: `[N, H, W, C]`, else `[N, C, H, W]`.
fn npy(what: &str, bytes: &[u8], range: [f32; 2]) -> Result<(Vec<u8>, [usize; 4])> {
    let file = arrays::npy_file(what, bytes)?;
    let shape: Vec<usize> = file.shape().iter().map(|n| *n as usize).collect();
    let Ok(data) = file.try_data::<u8>() else {
        return Ok(quantised(arrays::npy(what, bytes)?, range));
    };
    let data = data.collect::<Result<Vec<u8>, _>>();
    let data = data.map_err(|e| damaged(what, "a whole .npy file", e))?;
    if arrays::elements(&shape) != Some(data.len()) {
        return Err(damaged(what, "a whole .npy file", format!("{} of {shape:?}", data.len())));
    }
    match *shape.as_slice() {
        [n, h, w, c] if c == 1 || c == 3 => {
            let pictures = data.chunks_exact((h * w * c).max(1));
            Ok((pictures.flat_map(|pixels| planes(pixels, c)).collect(), [n, c, h, w]))
        }
        [n, c, h, w] if c == 1 || c == 3 => Ok((data, [n, c, h, w])),
        _ => Err(Error::invalid(
            what,
            "u8 of [N, H, W, C] or [N, C, H, W] with 1 or 3 channels",
            format!("{shape:?}"),
            "reshape it beforehand",
        )),
    }
}

/// Numbers as bytes: their file does not say what black and white are.
fn quantised(samples: unnoise::sampler::Arrays, range: [f32; 2]) -> (Vec<u8>, [usize; 4]) {
    (samples.data.iter().map(|v| to_byte(*v, range)).collect(), samples.shape)
}

/// The .npy of an .npz: `samples`, `arr_0` as numpy calls it, or the only one.
fn entry(what: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let broken = |e: &dyn ToString| damaged(what, "a whole .npz file", e.to_string());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| broken(&e))?;
    let names = archive.file_names().map(|name| name.map(String::from));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(|e| broken(&e))?;
    let known = ["samples.npy", "arr_0.npy"].into_iter();
    let name = known.map(str::to_string).find(|name| names.contains(name));
    let only = (names.len() == 1).then(|| names[0].clone());
    let Some(name) = name.or(only) else {
        let found = names.join(", ");
        let action = "name it so, or write it alone";
        return Err(Error::invalid(what, "an array 'samples' or 'arr_0'", found, action));
    };
    let mut data = Vec::new();
    let mut file = archive.by_name(&name).map_err(|e| broken(&e))?;
    file.read_to_end(&mut data).map_err(|e| broken(&e))?;
    Ok(data)
}
