//! What the driver compiled, kept on disk from one start to the next (Vulkan only).

use crate::backend::tune::{replace, slug};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use wgpu::{Device, PipelineCache, PipelineCacheDescriptor};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// What a file of ours starts with; the hash of the rest follows.
const MAGIC: &[u8; 8] = b"unnoise1";
const HEADER: usize = MAGIC.len() + size_of::<u128>();

/// The pipeline cache of a device and its file.
pub(super) struct Compiled {
    pub cache: PipelineCache,
    path: PathBuf,
    /// Hash of what the file holds.
    kept: Mutex<u128>,
}

impl Compiled {
    /// With what the file in `folder` holds; a file that is damaged counts as none. `None` where
    /// the device keeps no such cache.
    pub fn open(device: &Device, info: &wgpu::AdapterInfo, folder: &Path) -> Option<Compiled> {
        let key = wgpu::util::pipeline_cache_key(info)?;
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let driver = xxh3_64(format!("{} {}", info.driver, info.driver_info).as_bytes());
        let path = folder.join(format!("{}-{driver:016x}.bin", slug(&key)));
        let data = fs::read(&path).ok().and_then(|file| content(&file).map(<[u8]>::to_vec));
        // SAFETY: the data, if any, is what this function's counterpart wrote from `get_data` of
        // a device with this key and driver: its header and the hash of all of it say so. wgpu
        // and the driver check its origin once more and start empty where they do not know it.
        let cache = unsafe {
            device.create_pipeline_cache(&PipelineCacheDescriptor {
                label: Some("unnoise"),
                data: data.as_deref(),
                fallback: true,
            })
        };
        let kept = Mutex::new(xxh3_128(&data.unwrap_or_default()));
        Some(Compiled { cache, path, kept })
    }

    /// Writes the file if there is something new; a note if that fails.
    pub fn keep(&self) -> Option<String> {
        let data = self.cache.get_data()?;
        let hash = xxh3_128(&data);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept == hash {
            return None;
        }
        *kept = hash;
        let error = replace(&self.path, &framed(&data)).err()?;
        Some(format!("{}: compiled kernels are not kept: {error}", self.path.display()))
    }
}

/// The bytes of a file that holds `data`.
fn framed(data: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &xxh3_128(data).to_le_bytes(), data].concat()
}

/// What a file holds, if it is whole.
fn content(file: &[u8]) -> Option<&[u8]> {
    let (header, data) = file.split_at_checked(HEADER)?;
    (header == &framed(data)[..HEADER]).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_holds_nothing() {
        let file = framed(b"some pipelines");
        assert_eq!(content(&file), Some(b"some pipelines".as_slice()));
        assert_eq!(content(&framed(b"")), Some(b"".as_slice()));
        for cut in 0..file.len() {
            assert_eq!(content(&file[..cut]), None, "{cut}");
        }
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert_eq!(content(&bad), None, "{at}");
        }
    }
}
