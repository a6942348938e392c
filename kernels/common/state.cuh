// Four elements of a state buffer; without STATE4 `lanes` of them, one by one, for states whose
// samples do not divide by four. They are f32 on every backend.

__device__ inline float4 load_state(const f32* x, u32 from, u32 lanes) {
#ifdef STATE4
    return load4(x, from);
#else
    float4 v = zeros();
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (i < lanes) {
            element(v, i) = x[from + i];
        }
    }
    return v;
#endif
}

__device__ inline void store_state(f32* x, u32 to, u32 lanes, float4 v) {
#ifdef STATE4
    store4(x, to, v);
#else
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (i < lanes) {
            x[to + i] = element(v, i);
        }
    }
#endif
}
