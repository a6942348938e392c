// The operands of attention: the vectors of a head, a quad of channels at a time.

// Channels 4 word .. of a head's vector that starts at `base`; zero past d.
template <class T>
__device__ inline float4 load_word(const T* x, u32 base, u32 word) {
#ifdef VEC4
    return load4(x, base + 4u * word);
#else
    float4 r = zeros();
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (4u * word + i < HEAD_DIM) {
            element(r, i) = load1(x, base + 4u * word + i);
        }
    }
    return r;
#endif
}

// First elements of the vectors of a query and of a key; past the end the last one is read.
__device__ inline u32 q_base(const Params& p, const Place& at, u32 row) {
    const u32 token = at.sample * p.tq + smaller(at.query + row, p.tq - 1u);
    return p.q_first + token * p.q_stride + at.head * HEAD_DIM;
}

__device__ inline u32 k_base(const Params& p, const Place& at, u32 key) {
    const u32 token = at.of_keys * p.tk + smaller(key, p.tk - 1u);
    return p.k_first + token * p.k_stride + at.head * HEAD_DIM;
}

__device__ inline u32 v_base(const Params& p, const Place& at, u32 key) {
    const u32 token = at.of_keys * p.tk + smaller(key, p.tk - 1u);
    return p.v_first + token * p.v_stride + at.head * HEAD_DIM;
}
