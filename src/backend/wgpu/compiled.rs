//! What the driver compiled, kept on disk from one start to the next (Vulkan only). A file that
//! cannot be used is a note, and is replaced.

use crate::backend::kept::{content, framed};
use crate::backend::tune::{replace, slug};
use crate::lock::locked;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use wgpu::{Device, ErrorFilter, PipelineCache, PipelineCacheDescriptor};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The pipeline cache of a device and its file.
pub(super) struct Compiled {
    pub cache: PipelineCache,
    /// Whether it began with what an earlier start compiled.
    pub warm: bool,
    path: PathBuf,
    /// Hash of what the file holds.
    kept: Mutex<u128>,
    /// What is wrong with the file, told once.
    note: Mutex<Option<String>>,
}

impl Compiled {
    /// With what the file in `folder` holds, if that is whole and the driver's own. `None` where
    /// the device keeps no such cache.
    pub fn open(device: &Device, info: &wgpu::AdapterInfo, folder: &Path) -> Option<Compiled> {
        let key = wgpu::util::pipeline_cache_key(info)?;
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let driver = xxh3_64(format!("{} {}", info.driver, info.driver_info).as_bytes());
        let path = folder.join(format!("{}-{driver:016x}.bin", slug(&key)));
        let (found, note) = match read(&path) {
            Ok(Some(data)) => match cache(device, Some(&data)) {
                Ok(cache) => (Some((cache, data)), None),
                Err(why) => (None, Some(why)),
            },
            Ok(None) => (None, None),
            Err(why) => (None, Some(why)),
        };
        let note =
            note.map(|why| format!("{}: compiled kernels are ignored: {why}", path.display()));
        let warm = found.is_some();
        let (cache, data) = match found {
            Some(found) => found,
            None => (cache(device, None).ok()?, Vec::new()),
        };
        let kept = Mutex::new(xxh3_128(&data));
        Some(Compiled { cache, warm, path, kept, note: Mutex::new(note) })
    }

    /// Writes the file if there is something new; what is wrong with the file that was there, and
    /// with the new one.
    pub fn keep(&self) -> Option<String> {
        let notes: Vec<_> =
            [locked(&self.note).take(), self.write()].into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    fn write(&self) -> Option<String> {
        let data = self.cache.get_data()?;
        let hash = xxh3_128(&data);
        let mut kept = locked(&self.kept);
        if *kept == hash {
            return None;
        }
        *kept = hash;
        let error = replace(&self.path, &framed(&data)).err()?;
        Some(format!("{}: compiled kernels are not kept: {error}", self.path.display()))
    }
}

/// What a file holds, if there is one; else why it cannot be used.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::read(path) {
        Ok(file) => match content(&file) {
            Some(data) => Ok(Some(data.to_vec())),
            None => Err("it is damaged".to_string()),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// A cache that begins with `data`; why it cannot. An error here is no failure of the device.
fn cache(device: &Device, data: Option<&[u8]>) -> Result<PipelineCache, String> {
    let scope = device.push_error_scope(ErrorFilter::Validation);
    // SAFETY: the data, if any, is what `Compiled::write` had from `get_data` of a device with this
    // key and driver: the file's name, its header and the hash of all of it say so. wgpu and the
    // driver check its origin once more.
    let cache = unsafe {
        device.create_pipeline_cache(&PipelineCacheDescriptor {
            label: Some("unnoise"),
            data,
            fallback: false,
        })
    };
    match pollster::block_on(scope.pop()) {
        None => Ok(cache),
        Some(_) => Err("it is of another device or version".to_string()),
    }
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
