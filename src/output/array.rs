//! Arrays in the model's own range: NumPy and safetensors files.

use super::{Batch, Identity, failed, write};
use crate::beside::{Passing, parent};
use crate::error::Result;
use npyz::WriterBuilder;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Writes f32 `data` of `shape` in C order.
pub(super) fn save_npy(path: &Path, data: &[f32], shape: &[usize]) -> Result<u64> {
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    write(path, |file| {
        let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(file).begin_nd()?;
        writer.extend(data.iter().copied())?;
        writer.finish()
    })
}

/// An `.npy` file of samples that come batch by batch, each to its own place.
#[derive(Debug)]
pub(super) struct Npy {
    path: PathBuf,
    file: Passing,
    /// Bytes before the first sample.
    header: u64,
    /// Bytes of a sample.
    size: u64,
    /// The number of the first sample.
    first: usize,
    /// Which samples are there.
    there: Vec<bool>,
}

impl Npy {
    /// For samples `indices` of `[C, H, W]`.
    pub fn begin(path: PathBuf, [c, h, w]: [usize; 3], indices: Range<usize>) -> Result<Npy> {
        let begin = || -> io::Result<(Passing, u64)> {
            let mut header = Vec::new();
            let shape = [indices.len(), c, h, w].map(|n| n as u64);
            let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
            // Writes the header; the numbers follow in any order, which npyz does not do.
            options.writer(&mut header).begin_nd().map(|_: npyz::NpyWriter<f32, _>| ())?;
            let file = Passing::new(parent(&path))?;
            file.file().write_all(&header)?;
            Ok((file, header.len() as u64))
        };
        let (file, header) = begin().map_err(|e| failed(&path, e))?;
        let (size, there) = ((c * h * w * 4) as u64, vec![false; indices.len()]);
        Ok(Npy { path, file, header, size, first: indices.start, there })
    }

    pub fn pending(&self) -> Vec<usize> {
        let missing = self.there.iter().enumerate().filter(|(_, there)| !**there);
        missing.map(|(i, _)| self.first + i).collect()
    }

    pub fn write(&mut self, batch: Batch) -> Result<()> {
        let samples = batch.data.chunks(self.size as usize / 4);
        for (&index, sample) in batch.indices.iter().zip(samples) {
            let at = index - self.first;
            let place = SeekFrom::Start(self.header + at as u64 * self.size);
            let bytes: Vec<u8> = sample.iter().flat_map(|v| v.to_le_bytes()).collect();
            let mut file = self.file.file();
            let written = file.seek(place).and_then(|_| file.write_all(&bytes));
            written.map_err(|e| failed(&self.path, e))?;
            self.there[at] = true;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        let Npy { path, file, .. } = self;
        file.name(&path).map_err(|e| failed(&path, e))
    }
}

/// Writes `samples` f32 `[N, C, H, W]`, `labels` i64 `[N]` where there are classes, and the run.
pub(super) fn save_safetensors(
    path: &Path,
    data: &[f32],
    shape: [usize; 4],
    classes: Option<&[u32]>,
    identity: &Identity,
) -> Result<u64> {
    let samples: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    let labels: Vec<u8> = classes
        .unwrap_or_default()
        .iter()
        .flat_map(|&class| i64::from(class).to_le_bytes())
        .collect();
    let bytes = || -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let mut tensors = vec![("samples", TensorView::new(Dtype::F32, shape.to_vec(), &samples)?)];
        if classes.is_some() {
            tensors.push(("labels", TensorView::new(Dtype::I64, vec![shape[0]], &labels)?));
        }
        // One entry: the order of several would change from run to run, and the bytes with it.
        let run = serde_json::to_string(identity)?;
        safetensors::serialize(tensors, Some(HashMap::from([("run".to_string(), run)])))
    };
    write(path, |file| file.write_all(&bytes().map_err(io::Error::other)?))
}
