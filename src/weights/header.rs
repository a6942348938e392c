//! Which tensor of a safetensors header cannot be, where the format's reader refuses the whole.

use safetensors::tensor::Dtype;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The metadata stands among the tensors under this key.
const METADATA: &str = "__metadata__";

/// A tensor whose entry contradicts itself or its neighbours.
pub(super) struct Fault {
    pub key: String,
    pub expected: String,
    pub found: String,
}

/// The first such tensor in the order of the data; none if the header is no JSON object.
pub(super) fn fault(header: &[u8]) -> Option<Fault> {
    let header: Map<String, Value> = serde_json::from_slice(header).ok()?;
    let mut tensors: Vec<_> = header.iter().filter(|(key, _)| *key != METADATA).collect();
    tensors.sort_by_key(|(_, tensor)| offsets(tensor));
    let mut at = 0;
    for (key, tensor) in tensors {
        match end(tensor, at) {
            Ok(end) => at = end,
            Err((expected, found)) => return Some(Fault { key: key.clone(), expected, found }),
        }
    }
    None
}

fn field<'a>(tensor: &'a Value, name: &str) -> &'a Value {
    tensor.get(name).unwrap_or(&Value::Null)
}

fn offsets(tensor: &Value) -> Option<[u64; 2]> {
    Deserialize::deserialize(field(tensor, "data_offsets")).ok()
}

/// Where the data of a tensor that must start at `start` ends; otherwise what was expected and
/// what was found.
fn end(tensor: &Value, start: u64) -> Result<u64, (String, String)> {
    let wrong = |name: &str, expected: &str| {
        (expected.to_string(), format!("{name} {}", field(tensor, name)))
    };
    let dtype = Dtype::deserialize(field(tensor, "dtype"))
        .map_err(|_| wrong("dtype", "one of the format's types, such as F32 or F16"))?;
    let shape: Vec<u64> = Deserialize::deserialize(field(tensor, "shape"))
        .map_err(|_| wrong("shape", "a list of lengths"))?;
    let [from, to] = offsets(tensor)
        .ok_or_else(|| wrong("data_offsets", "the first byte of its data and the one after"))?;
    let bits = shape.iter().try_fold(dtype.bitsize() as u64, |bits, n| bits.checked_mul(*n));
    let bits = bits.ok_or_else(|| wrong("shape", "a shape of fewer than 2^61 bytes"))?;
    let bytes = bits.div_ceil(8);
    if to.checked_sub(from) != Some(bytes) {
        let expected = format!("{bytes} bytes of data, as {dtype} of shape {shape:?} takes");
        return Err(wrong("data_offsets", &expected));
    }
    if from != start {
        let expected = format!("data from byte {start} on, where the tensor before it ends");
        return Err(wrong("data_offsets", &expected));
    }
    Ok(to)
}
