//! Philox4x32-10, the counter-based generator of Salmon et al. 2011 ("Parallel random numbers: as
//! easy as 1, 2, 3", section 3.3): ten rounds of two 32x32-bit products.

const MULTIPLIERS: (u32, u32) = (0xD251_1F53, 0xCD9E_8D57);
/// Weyl increments of the key: the golden ratio and sqrt(3) - 1.
const WEYL: (u32, u32) = (0x9E37_79B9, 0xBB67_AE85);

/// Four random words for a counter and a key.
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(MULTIPLIERS.0) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIERS.1) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL.0), key[1].wrapping_add(WEYL.1)];
    }
    counter
}

/// The uniform `(word + 0.5) 2^-32` of a word, in (0, 1].
///
/// Rounding the word to f32 first makes 1 possible (its logarithm is 0: fine) and 0 impossible;
/// scaling by a power of two is exact, so every device that rounds to nearest gets the same bits.
pub fn uniform(word: u32) -> f32 {
    (word as f32 + 0.5) * f32::powi(2.0, -32)
}

/// Box & Muller 1958: `(r cos a, r sin a)` with `r = sqrt(-2 ln u0)`, `a = 2 pi u1`.
pub fn normal_pair(words: [u32; 2]) -> (f32, f32) {
    let radius = (-2.0 * uniform(words[0]).ln()).sqrt();
    let (sin, cos) = (std::f32::consts::TAU * uniform(words[1])).sin_cos();
    (radius * cos, radius * sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with the paper's Random123 library.
    #[test]
    fn known_answers() {
        let answers = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in answers {
            assert_eq!(philox4x32_10(counter, key), expected);
        }
    }

    #[test]
    fn normals_are_finite_at_the_ends() {
        for words in [[0, 0], [u32::MAX, 0], [0, u32::MAX], [u32::MAX, u32::MAX]] {
            let (a, b) = normal_pair(words);
            assert!(a.is_finite() && b.is_finite(), "{words:?} gives {a}, {b}");
        }
        assert!(uniform(0) > 0.0 && uniform(u32::MAX) <= 1.0);
    }
}
