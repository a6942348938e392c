//! Weights that only have to be there: no two rows are alike, and none is so large that a network
//! of any depth would overflow.

use unnoise::backend::WeightSource;
use unnoise::error::Result;

/// Numbers of the table: a prime, so that rows of a matrix begin at different ones.
const NUMBERS: usize = 65_537;

/// A table of random numbers, read over and over: hundreds of millions of values take a second.
pub struct RandomWeights;

impl WeightSource for RandomWeights {
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let n: usize = shape.iter().product();
        let (scale, offset) = match shape {
            [_, inner @ ..] if !inner.is_empty() => {
                ((inner.iter().product::<usize>() as f32).sqrt().recip(), 0.0)
            }
            _ if name.contains("norm") && name.ends_with(".weight") => (0.1, 1.0),
            _ => (0.1, 0.0),
        };
        let mut state = name.bytes().fold(1, |h: u64, byte| 31 * h % (1 << 40) + u64::from(byte));
        let table: Vec<f32> = (0..NUMBERS).map(|_| scale * uniform(&mut state) + offset).collect();
        let mut values = Vec::with_capacity(n);
        while values.len() < n {
            values.extend_from_slice(&table[..NUMBERS.min(n - values.len())]);
        }
        Ok(values)
    }
}

/// Uniform in [-1, 1): Marsaglia 2003, xorshift64.
fn uniform(state: &mut u64) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
}
