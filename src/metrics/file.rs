//! Statistics as a .safetensors file: exact, so that what is read is what was written.

use super::statistics::{MOST_SAMPLES, Split};
use super::{KEPT, Rows, SPLITS, Space, Statistics};
use crate::beside;
use crate::error::{Error, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

/// Under this key of the metadata stands what the tensors are of.
const KEY: &str = "unnoise.statistics";

/// Numbers of 128 bits as a tensor `[n, 2]`.
fn integers(bytes: &[u8]) -> Result<TensorView<'_>, safetensors::SafeTensorError> {
    TensorView::new(Dtype::I64, vec![bytes.len() / 16, 2], bytes)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// Of this layout.
    version: u32,
    space: Space,
    shape: [usize; 3],
    count: u64,
}

const VERSION: u32 = 2;

impl Statistics {
    /// Whether a .safetensors file says that it holds statistics.
    pub fn are_in(bytes: &[u8]) -> bool {
        let metadata = SafeTensors::read_metadata(bytes).ok();
        let keys = metadata.as_ref().and_then(|(_, metadata)| metadata.metadata().as_ref());
        keys.is_some_and(|keys| keys.contains_key(KEY))
    }

    /// Writes `path`: integers of 128 bits as two of 64, the lower one first, and rows in f32.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let words = |numbers: &[i128]| -> Vec<u8> {
            numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
        };
        let [sums, products] = [&self.sums, &self.products].map(|numbers| words(numbers));
        let shares: Vec<u8> = self.splits.iter().flat_map(|split| words(&split.shares)).collect();
        let negentropies = words(&self.splits.each_ref().map(|split| split.negentropy));
        let counts = words(&self.splits.each_ref().map(|split| i128::from(split.count)));
        let rows: Vec<u8> = self.rows.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        let header = Header {
            version: VERSION,
            space: self.space.clone(),
            shape: self.shape,
            count: self.count,
        };
        let bytes = || -> Result<Vec<u8>, safetensors::SafeTensorError> {
            let sides = vec![self.rows.len(), self.rows.width()];
            let tensors = vec![
                ("sums", integers(&sums)?),
                ("products", integers(&products)?),
                ("shares", integers(&shares)?),
                ("negentropies", integers(&negentropies)?),
                ("counts", integers(&counts)?),
                ("rows", TensorView::new(Dtype::F32, sides, &rows)?),
            ];
            let header = serde_json::to_string(&header)?;
            safetensors::serialize(tensors, Some(HashMap::from([(KEY.to_string(), header)])))
        };
        let bytes = bytes().map_err(io::Error::other);
        let written = bytes.and_then(|bytes| beside::write(path, |file| file.write_all(&bytes)));
        written
            .map(drop)
            .map_err(|e| Error::write(path, e, "check the free space and the permissions there"))
    }

    /// Reads what [`Statistics::save`] wrote; `what` is how messages name it.
    ///
    /// # Errors
    /// A file that is damaged, or of another version.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Statistics> {
        let damaged = |found: String| {
            let expected = "whole statistics as unnoise eval writes them";
            Error::invalid(what, expected, found, "write the file again")
        };
        let (_, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let text = metadata.metadata().as_ref().and_then(|keys| keys.get(KEY));
        let text = text.ok_or_else(|| damaged(format!("no {KEY} in the metadata")))?;
        let header: Header = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        if header.version != VERSION {
            let expected = format!("statistics of version {VERSION}");
            let action = "write them again with this unnoise";
            return Err(Error::invalid(what, expected, header.version.to_string(), action));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let tensor = |name: &str, dtype: Dtype, shape: &[usize]| {
            let view = file.tensor(name).map_err(|e| damaged(e.to_string()))?;
            if view.dtype() != dtype || view.shape() != shape {
                let found = format!("{name}: {} {:?}", view.dtype(), view.shape());
                return Err(damaged(found));
            }
            Ok(view.data().to_vec())
        };
        let numbers = |name: &str, count: usize| -> Result<Vec<i128>> {
            let data = tensor(name, Dtype::I64, &[count, 2])?;
            Ok(data.as_chunks::<16>().0.iter().map(|b| i128::from_le_bytes(*b)).collect())
        };
        let d = header.space.features;
        let triangle = d.checked_add(1).and_then(|n| n.checked_mul(d)).map(|n| n / 2);
        let triangle = triangle.ok_or_else(|| damaged(format!("{d} features")))?;
        let mut rows = Rows::new(d);
        let kept = header.count.min(KEPT as u64) as usize;
        let data = tensor("rows", Dtype::F32, &[kept, d])?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&data);
        if let Some(value) = values.iter().find(|v| !v.is_finite()) {
            return Err(damaged(format!("{value} among the rows")));
        }
        for row in values.chunks_exact(d.max(1)) {
            rows.push(row);
        }
        rows.trim(KEPT);
        if header.count > MOST_SAMPLES {
            return Err(damaged(format!("{} samples", header.count)));
        }
        let classes = header.space.classes;
        let [negentropies, counts] = [numbers("negentropies", SPLITS)?, numbers("counts", SPLITS)?];
        let shares = numbers("shares", SPLITS.saturating_mul(classes))?;
        let count = i128::from(header.count);
        if !counts.iter().all(|n| (0..=count).contains(n)) || counts.iter().sum::<i128>() != count {
            return Err(damaged(format!("counts of parts that do not add up to {count}")));
        }
        let splits = std::array::from_fn(|i| Split {
            count: counts[i] as u64,
            shares: shares[i * classes..][..classes].to_vec(),
            negentropy: negentropies[i],
        });
        Ok(Statistics {
            sums: numbers("sums", d)?,
            products: numbers("products", triangle)?,
            splits,
            rows,
            space: header.space,
            shape: header.shape,
            count: header.count,
        })
    }
}
