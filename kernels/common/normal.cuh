//!include philox
//!include sincos
// Standard normal numbers: src/ops/noise.rs.

// -ln u of the uniform u = (word + 1/2) 2^-32, rounded to f32: ln u = e ln 2 + ln m with m in
// [sqrt(1/2), sqrt(2)), ln m = 2 artanh((m - 1) / (m + 1)), so that u near one keeps its digits.
__device__ inline f32 neg_log_uniform(u32 word) {
    const u32 bits = __float_as_uint((static_cast<f32>(word) + 0.5f) / 4294967296.0f);
    const u32 steps = (bits + (0x3f800000u - 0x3f3504f3u)) >> 23u;
    const f32 rest = __uint_as_float(bits - ((steps - 127u) << 23u)) - 1.0f; // m - 1
    const f32 s = rest / (2.0f + rest);
    const f32 q = s * s;
    const f32 series =
        1.0f + q * (0.33333333f + q * (0.2f + q * (0.14285714f + q * 0.11111111f)));
    return -((static_cast<f32>(steps) - 127.0f) * 0.69314718f + 2.0f * s * series);
}

// Box & Muller 1958: (r sin, r cos) of the angle of the second word.
__device__ inline float2 box_muller(u32 first, u32 second) {
    const f32 radius = sqrtf(fmaxf(2.0f * neg_log_uniform(first), 0.0f));
    const float2 sc = sincos_turns(second);
    return make_float2(radius * sc.x, radius * sc.y);
}

// Four consecutive elements (block) of a draw: Philox names them by step, stream and sample.
__device__ inline float4 normal_block(u32 block, u32 step, u32 stream, u32 sample, uint2 key) {
    const uint4 words = philox(make_uint4(block, step, stream, sample), key);
    const float2 low = box_muller(words.x, words.y);
    const float2 high = box_muller(words.z, words.w);
    return make_float4(low.y, low.x, high.y, high.x);
}

// Element e of the draw that a CUDA device of PyTorch with `threads` threads makes as its
// `first`-th generator call and on.
__device__ inline f32 normal_torch_cuda(u32 e, u32 first, u32 threads, uint2 key) {
    const u32 turn = e / threads;
    const uint4 words = philox(make_uint4(first + turn / 4u, 0u, e % threads, 0u), key);
    const bool upper = (turn & 2u) != 0u;
    const float2 pair = box_muller(upper ? words.z : words.x, upper ? words.w : words.y);
    return (turn & 1u) != 0u ? pair.y : pair.x;
}
