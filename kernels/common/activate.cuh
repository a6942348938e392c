// act(x) for the codes of src/ops/activation.rs. Exponents are held below the overflow of f32, so
// that the fast division sees no number that it takes for infinity.
__device__ inline f32 phi_tail(f32 z) {
    // erfc(z) / 2 for z >= 0: Abramowitz & Stegun 7.1.26, |error| < 1e-7.
    const f32 t = 1.0f / (1.0f + 0.3275911f * z);
    const f32 series = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f
        + t * (-1.453152027f + t * 1.061405429f))));
    return 0.5f * series * expf(fmaxf(-z * z, -80.0f));
}

__device__ inline f32 activate(f32 x, u32 act) {
    switch (act) {
    case ACT_SILU:
        return __fdividef(x, 1.0f + __expf(fminf(-x, 80.0f)));
    case ACT_GELU: {
        const f32 tail = phi_tail(fabsf(x) * 0.70710678f);
        return x * (x < 0.0f ? tail : 1.0f - tail);
    }
    case ACT_RELU:
        return fmaxf(x, 0.0f);
    case ACT_MISH: {
        // tanh(ln(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2); 1 in f32 from x = 20 on.
        const f32 e = expf(fminf(x, 20.0f));
        const f32 n = e * (e + 2.0f);
        return x * (n / (n + 2.0f));
    }
    case ACT_GELU_TANH: {
        // (1 + tanh(u)) / 2 = 1 / (1 + e^-2u).
        const f32 u = 0.7978846f * (x + 0.044715f * x * x * x);
        return __fdividef(x, 1.0f + __expf(fminf(-2.0f * u, 80.0f)));
    }
    case ACT_QUICK_GELU:
        return __fdividef(x, 1.0f + __expf(fminf(-1.702f * x, 80.0f)));
    default:
        return x;
    }
}

__device__ inline float4 activate(float4 x, u32 act) {
    return make_float4(
        activate(x.x, act), activate(x.y, act), activate(x.z, act), activate(x.w, act));
}
