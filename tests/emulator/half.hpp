// Sixteen-bit floats by their bits: exact to f32, to nearest even from it.
#pragma once

namespace emulator {

inline unsigned bits_of(float v) {
    return __builtin_bit_cast(unsigned, v);
}
inline float of_bits(unsigned bits) {
    return __builtin_bit_cast(float, bits);
}

inline float widen_f16(unsigned short bits) {
    const unsigned sign = (bits & 0x8000u) << 16;
    const unsigned rest = bits & 0x7fffu;
    if (rest >= 0x7c00u) {
        return of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    }
    // 2^112 makes up for the difference of the exponents' biases, also of subnormals.
    return of_bits(sign | bits_of(of_bits(rest << 13) * 0x1p112f));
}
inline float widen_bf16(unsigned short bits) {
    return of_bits(static_cast<unsigned>(bits) << 16);
}

// As `cvt.rn.f16.f32`: every NaN becomes 0x7fff.
inline unsigned round_f16(float v) {
    const unsigned sign = bits_of(v) >> 16 & 0x8000u;
    const unsigned rest = bits_of(v) & 0x7fffffffu;
    if (rest > 0x7f800000u) {
        return 0x7fffu;
    }
    if (rest >= 0x477ff000u) {
        return sign | 0x7c00u;
    }
    if (rest < 0x38800000u) {
        // Next to 0.5 the last place of f32 is that of f16's subnormals.
        return sign | (bits_of(of_bits(rest) + 0.5f) - 0x3f000000u);
    }
    return sign | (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1u)) >> 13;
}
inline unsigned round_bf16(float v) {
    const unsigned bits = bits_of(v);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return nan ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

}
