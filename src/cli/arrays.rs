//! Files of pictures and arrays that verbs read.

use std::fs;
use std::path::Path;
use unnoise::error::{Error, Result};
use unnoise::sampler::Arrays;

/// The extension of a path, in small letters; empty without one.
pub fn ending(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// The arrays in a file; a picture is read with so many channels, black and white as `range` says.
pub fn read(flag: &str, path: &Path, channels: usize, range: [f32; 2]) -> Result<Arrays> {
    let what = format!("{flag} {}", path.display());
    let open = || fs::read(path).map_err(|e| Error::io(path, "read", e, "check the path"));
    match ending(path).as_str() {
        "png" => picture(&what, &open()?, channels, range),
        "npy" => npy(&what, &open()?),
        "safetensors" => safetensors(&what, &open()?),
        other => Err(Error::invalid(
            what,
            "a file that ends in .png, .npy or .safetensors",
            if other.is_empty() { "no extension".into() } else { format!(".{other}") },
            "convert it to one of these",
        )),
    }
}

pub fn damaged(what: &str, expected: &str, error: impl ToString) -> Error {
    Error::invalid(what, expected, error.to_string(), "write the file again")
}

/// Bytes 0 to 255 become what is in the range that the model was trained in.
fn picture(what: &str, bytes: &[u8], channels: usize, [low, high]: [f32; 2]) -> Result<Arrays> {
    let decoded = image::load_from_memory_with_format(bytes, image::ImageFormat::Png);
    let decoded = decoded.map_err(|e| damaged(what, "a whole PNG file", e))?;
    let (w, h) = (decoded.width() as usize, decoded.height() as usize);
    let pixels = match channels {
        1 => decoded.into_luma8().into_raw(),
        3 => decoded.into_rgb8().into_raw(),
        _ => {
            return Err(Error::invalid(
                what,
                format!("arrays of {channels} channels, which no picture has"),
                "a .png",
                "give an .npy or a .safetensors file",
            ));
        }
    };
    let value = |i: usize| {
        let (c, pixel) = (i / (w * h), i % (w * h));
        f32::from(pixels[pixel * channels + c]) / (255.0 / (high - low)) + low
    };
    Ok(Arrays::new((0..channels * h * w).map(value).collect(), [1, channels, h, w]))
}

/// An .npy file of f32.
pub fn npy(what: &str, bytes: &[u8]) -> Result<Arrays> {
    let file = npy_file(what, bytes)?;
    let shape = file.shape().to_vec();
    let kind = format!("{:?}", file.dtype().descr());
    let data = file
        .into_vec::<f32>()
        .map_err(|e| damaged(what, "an array of f32", format!("{e} ({kind})")))?;
    arrays(what, data, shape.iter().map(|n| *n as usize).collect())
}

/// An .npy file whose elements lie in C order.
pub fn npy_file<'a>(what: &str, bytes: &'a [u8]) -> Result<npyz::NpyFile<&'a [u8]>> {
    let file = npyz::NpyFile::new(bytes).map_err(|e| damaged(what, "a whole .npy file", e))?;
    if file.order() != npyz::Order::C {
        return Err(Error::invalid(
            what,
            "an array in C order",
            "Fortran order",
            "save numpy.ascontiguousarray of it",
        ));
    }
    Ok(file)
}

/// The tensor `samples`, as `unnoise sample` writes it, or the only one.
pub fn safetensors(what: &str, bytes: &[u8]) -> Result<Arrays> {
    let file = safetensors::SafeTensors::deserialize(bytes)
        .map_err(|e| damaged(what, "a whole .safetensors file", e))?;
    let names = file.names();
    let name = match names.as_slice() {
        [only] => only,
        _ => "samples",
    };
    let tensor = file.tensor(name).map_err(|_| {
        let found = names.join(", ");
        Error::invalid(what, "a tensor 'samples'", found, "name it so, or write it alone")
    })?;
    if tensor.dtype() != safetensors::Dtype::F32 {
        let found = format!("{:?}", tensor.dtype());
        return Err(Error::invalid(what, "an f32 tensor", found, "convert it to f32"));
    }
    let data = tensor.data().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    arrays(what, data, tensor.shape().to_vec())
}

/// What a shape says that there is; None of more than can be.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |all, side| all.checked_mul(*side))
}

/// `[N, C, H, W]`, or one `[C, H, W]`, of finite numbers.
fn arrays(what: &str, data: Vec<f32>, shape: Vec<usize>) -> Result<Arrays> {
    let shape = match *shape.as_slice() {
        [c, h, w] => [1, c, h, w],
        [n, c, h, w] => [n, c, h, w],
        _ => {
            let found = format!("{shape:?}");
            return Err(Error::invalid(what, "[N, C, H, W]", found, "reshape it beforehand"));
        }
    };
    if elements(&shape) != Some(data.len()) {
        let found = format!("{} for {shape:?}", data.len());
        return Err(damaged(what, "as many numbers as the shape has", found));
    }
    match data.iter().position(|v| !v.is_finite()) {
        None => Ok(Arrays::new(data, shape)),
        Some(at) => Err(Error::invalid(
            what,
            "finite numbers",
            format!("{} at element {at}", data[at]),
            "mend the array",
        )),
    }
}
