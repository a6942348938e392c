//! Weights by formula: what tests/golden/hash_weights.py computes, bit for bit.

use unnoise::backend::WeightSource;
use unnoise::error::Result;

/// Gives every parameter the values that its name stands for.
pub struct HashWeights;

impl WeightSource for HashWeights {
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        Ok(values(name, shape))
    }
}

/// The values of parameter `name` in the checkpoint's order.
pub fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let key = fnv1a64(name);
    let n: usize = shape.iter().product();
    let uniform = |i| (splitmix64(key.wrapping_add(i)) >> 40) as f64 / f64::from(1 << 23) - 1.0;
    let value = |u: f64| match shape {
        [_, inner @ ..] if !inner.is_empty() => u / (inner.iter().product::<usize>() as f64).sqrt(),
        _ if name.contains("norm") && name.ends_with(".weight") => 1.0 + 0.1 * u,
        _ => 0.1 * u,
    };
    (0..n as u64).map(|i| value(uniform(i)) as f32).collect()
}

fn fnv1a64(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Steele, Lea & Flood 2014, the generator's output function.
fn splitmix64(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn formula_agrees_with_python() {
    let golden = super::golden::json("network/hash_weights.json");
    for case in golden.as_array().unwrap() {
        let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
        let bits: Vec<u32> = serde_json::from_value(case["bits"].clone()).unwrap();
        let name = case["name"].as_str().unwrap();
        let found: Vec<u32> = values(name, &shape).iter().map(|v| v.to_bits()).collect();
        assert_eq!(found, bits, "{name}");
    }
}
