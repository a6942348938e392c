//! One safetensors file: its bytes, its table of tensors, its element types.

use super::{Weights, header};
use crate::error::{Error, Result};
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A tensor's place in a file.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    /// Index of the file.
    pub file: usize,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Bytes from the start of the file.
    range: Range<usize>,
}

enum Bytes {
    Mapped(Mmap),
    Embedded(&'static [u8]),
}

/// The bytes of a safetensors file.
pub(super) struct File {
    /// How messages name it.
    pub name: String,
    bytes: Bytes,
}

/// The header's length comes first, in so many bytes.
const LENGTH_BYTES: usize = 8;
const AGAIN: &str = "fetch or convert the file again";

impl File {
    /// Maps a file.
    #[allow(unsafe_code)]
    pub fn map(path: &Path) -> Result<File> {
        let action = "check the path and its permissions";
        let file = std::fs::File::open(path).map_err(|e| Error::io(path, "open", e, action))?;
        // A folder opens as well, and fails later with words that help nobody.
        if path.is_dir() {
            let what = path.display().to_string();
            return Err(Error::invalid(what, "a safetensors file", "a folder", AGAIN));
        }
        // SAFETY: the mapping is private and read-only. Another program that shortens the file
        // while it is mapped can end this one, as with every reader of mapped weights; values
        // that change under it stay plain numbers.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, "map", e, action))?;
        Ok(File { name: path.display().to_string(), bytes: Bytes::Mapped(map) })
    }

    pub fn embedded(name: &str, bytes: &'static [u8]) -> File {
        File { name: format!("the weights of {name}"), bytes: Bytes::Embedded(bytes) }
    }

    /// The whole file.
    pub fn all(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Embedded(bytes) => bytes,
        }
    }

    /// The bytes of one of its tensors.
    pub fn data(&self, tensor: &Tensor) -> &[u8] {
        &self.all()[tensor.range.clone()]
    }

    /// Names and places of its tensors; `index` is the file's own.
    pub fn tensors(&self, index: usize) -> Result<Vec<(String, Tensor)>> {
        let bytes = self.all();
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|e| self.malformed(e))?;
        let start = LENGTH_BYTES + header;
        let place = |(key, info): (String, &safetensors::tensor::TensorInfo)| {
            let (from, to) = info.data_offsets;
            let range = start + from..start + to;
            (key, Tensor { file: index, dtype: info.dtype, shape: info.shape.clone(), range })
        };
        Ok(metadata.tensors().into_iter().map(place).collect())
    }

    /// The texts of its header's metadata, by name.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let (_, header) = SafeTensors::read_metadata(self.all()).map_err(|e| self.malformed(e))?;
        Ok(header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// What is wrong with a file that the format's reader refuses.
    fn malformed(&self, error: SafeTensorError) -> Error {
        use SafeTensorError as E;
        let bytes = self.all();
        let length = bytes.first_chunk::<LENGTH_BYTES>().map_or(0, |b| u64::from_le_bytes(*b));
        let size = format!("{} bytes in all", bytes.len());
        let (expected, found) = match error {
            E::HeaderTooSmall => {
                (format!("a safetensors file, {LENGTH_BYTES} bytes and more"), size)
            }
            E::HeaderTooLarge => (
                "a safetensors header of at most 100000000 bytes".to_string(),
                format!("a stated length of {length}"),
            ),
            E::InvalidHeaderLength => {
                (format!("a safetensors header of {length} bytes, as its start says"), size)
            }
            E::MetadataIncompleteBuffer => match self.stated_size(length) {
                Some(stated) => (format!("{stated} bytes, as its header says"), size),
                None => ("tensors that fill the file exactly".to_string(), size),
            },
            error => match self.header(length).and_then(header::fault) {
                Some(fault) => {
                    let what = format!("{}: {}", self.name, fault.key);
                    return Error::invalid(what, fault.expected, fault.found, AGAIN);
                }
                None => ("a safetensors header".to_string(), error.to_string()),
            },
        };
        Error::invalid(self.name.clone(), expected, found, AGAIN)
    }

    /// The header, if the file holds as many bytes as it states.
    fn header(&self, length: u64) -> Option<&[u8]> {
        let end = LENGTH_BYTES.checked_add(usize::try_from(length).ok()?)?;
        self.all().get(LENGTH_BYTES..end)
    }

    /// The size of the file by its header: where the last tensor ends.
    fn stated_size(&self, length: u64) -> Option<u64> {
        let header = self.header(length)?;
        let start = LENGTH_BYTES + header.len();
        let header: Value = serde_json::from_slice(header).ok()?;
        let end = |tensor: &Value| tensor.get("data_offsets")?.get(1)?.as_u64();
        let last = header.as_object()?.values().filter_map(end).max()?;
        last.checked_add(start as u64)
    }
}

/// The shards that an index names, by name.
pub(super) fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::io(path, "read", e, "check the path and its permissions"))?;
    let shards: Option<BTreeSet<String>> = serde_json::from_str::<Value>(&text)
        .ok()
        .as_ref()
        .and_then(|index| index.get("weight_map")?.as_object())
        .and_then(|map| map.values().map(|v| v.as_str().map(str::to_string)).collect());
    let expected = "an index with a weight_map from tensors to files beside it";
    let Some(shards) = shards.filter(|shards| !shards.is_empty()) else {
        return Err(Error::invalid(name, expected, "something else", AGAIN));
    };
    // A shard lies beside its index, never elsewhere.
    if let Some(shard) = shards.iter().find(|s| Path::new(s).file_name() != Some(s.as_ref())) {
        return Err(Error::invalid(name, expected, format!("the path {shard:?}"), AGAIN));
    }
    Ok(shards.iter().map(|shard| path.with_file_name(shard)).collect())
}

/// Opens them.
pub(super) fn open_shards(path: &Path) -> Result<Weights> {
    let shards = shards(path)?;
    if let Some(missing) = shards.iter().find(|shard| !shard.is_file()) {
        return Err(Error::invalid(
            path.display().to_string(),
            format!("its {} shards beside it", shards.len()),
            format!("no file {}", missing.display()),
            "fetch the shard that is missing",
        ));
    }
    let files = shards.iter().map(|shard| File::map(shard));
    Weights::of(path.display().to_string(), files.collect::<Result<_>>()?)
}

/// Whether [`to_f32`] reads this type.
pub(super) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64)
}

/// The values of a tensor's little-endian bytes; none for a type that is not a float.
pub(super) fn to_f32(dtype: Dtype, bytes: &[u8]) -> Box<dyn Iterator<Item = f32> + '_> {
    match dtype {
        Dtype::F32 => Box::new(elements(bytes, f32::from_le_bytes)),
        Dtype::F16 => Box::new(elements(bytes, |b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Box::new(elements(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        Dtype::F64 => Box::new(elements(bytes, |b| f64::from_le_bytes(b) as f32)),
        _ => Box::new(std::iter::empty()),
    }
}

fn elements<const N: usize>(
    bytes: &[u8],
    read: impl Fn([u8; N]) -> f32,
) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<N>().0.iter().map(move |b| read(*b))
}
