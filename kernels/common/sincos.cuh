// Sine and cosine good to 1e-7, the same as in shaders/common/sincos.wgsl. Reductions are done on
// integers: no tables, no local memory.

constexpr f32 TAU = 6.2831853f;

// (sin x, cos x) for |x| <= pi/4 (a little more is harmless): Taylor to x^9 and x^10.
__device__ inline float2 sincos_small(f32 x) {
    const f32 s = x * x;
    const f32 sine = x + x * s * (-1.6666667e-1f + s * (8.3333333e-3f
        + s * (-1.9841270e-4f + s * 2.7557319e-6f)));
    const f32 cosine = 1.0f + s * (-0.5f + s * (4.1666667e-2f + s * (-1.3888889e-3f
        + s * (2.4801587e-5f - s * 2.7557319e-7f))));
    return make_float2(sine, cosine);
}

// (sin, cos) of (turns + 1/2) 2^-32 whole turns.
__device__ inline float2 sincos_turns(u32 turns) {
    const u32 quarter = (turns + 0x20000000u) >> 30u;
    const int rest = static_cast<int>(turns - (quarter << 30u));
    const float2 sc = sincos_small((static_cast<f32>(rest) + 0.5f) * (TAU / 4294967296.0f));
    switch (quarter) {
    case 0u:
        return sc;
    case 1u:
        return make_float2(sc.y, -sc.x);
    case 2u:
        return make_float2(-sc.x, -sc.y);
    default:
        return make_float2(-sc.y, sc.x);
    }
}

// (sin, cos) of an angle in radians, |angle| < 2^23.
__device__ inline float2 sincos(f32 angle) {
    const f32 size = fabsf(angle);
    if (size < 0.75f) {
        return sincos_small(angle);
    }
    // angle = mantissa 2^-shift; times 1 / (2 pi) = 0x28BE60DB9391054A 2^-64, modulo 1.
    const u32 bits = __float_as_uint(size);
    const u32 mantissa = (bits & 0x7fffffu) | 0x800000u;
    const u32 shift = 150u - (bits >> 23u);
    const u32 low = mantissa * 0x28BE60DBu;
    const u32 middle = low + __umulhi(mantissa, 0x9391054Au);
    const u32 high = __umulhi(mantissa, 0x28BE60DBu) + (middle < low ? 1u : 0u);
    const float2 sc = sincos_turns((high << (32u - shift)) | (middle >> shift));
    return make_float2(angle < 0.0f ? -sc.x : sc.x, sc.y);
}
