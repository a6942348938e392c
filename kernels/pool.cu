// The largest or the mean of the pixels under a window, those of the padding left out.
// x [n, h, w, c], y [n, ho, wo, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: kh kw reads a write, most of them from the cache.
// Reference: src/ops/pool.rs
//!include vector

struct Params {
    u32 n;
    u32 h;
    u32 w;
    u32 c;
    u32 ho;
    u32 wo;
    u32 kh;
    u32 kw;
    u32 stride;
    u32 top;
    u32 left;
    u32 bottom;
    u32 right;
    u32 mode;
    u32 count_padding;
};

constexpr u32 THREADS = BLOCK;

__device__ inline f32 larger_of(f32 a, f32 b) {
    return a > b ? a : b;
}
__device__ inline float4 larger_of(float4 a, float4 b) {
    return make_float4(
        larger_of(a.x, b.x), larger_of(a.y, b.y), larger_of(a.z, b.z), larger_of(a.w, b.w));
}
// a - b, or 0 where b is larger.
__device__ inline u32 beyond(u32 a, u32 b) {
    return a > b ? a - b : 0u;
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.ho * p.wo * width) {
        return;
    }
    const u32 channel = i % width;
    const u32 pixel = i / width;
    // The window in the padded map, and the part of it that is the map's.
    const u32 above = pixel / p.wo % p.ho * p.stride;
    const u32 before = pixel % p.wo * p.stride;
    const u32 first_line = beyond(above, p.top);
    const u32 last_line = beyond(smaller(above + p.kh, p.top + p.h), p.top);
    const u32 first_column = beyond(before, p.left);
    const u32 last_column = beyond(smaller(before + p.kw, p.left + p.w), p.left);
    const u32 base = pixel / (p.wo * p.ho) * p.h;
    const bool largest = p.mode == POOL_MAX;
    V v = all(largest ? -3.4028234e38f : 0.0f);
    for (u32 line = first_line; line < last_line; line++) {
        for (u32 column = first_column; column < last_column; column++) {
            const V own = load(a.x, ((base + line) * p.w + column) * width + channel);
            v = largest ? larger_of(v, own) : v + own;
        }
    }
    if (!largest) {
        u32 count = (last_line - first_line) * (last_column - first_column);
        if (p.count_padding != 0u) {
            count = (smaller(above + p.kh, p.top + p.h + p.bottom) - above)
                * (smaller(before + p.kw, p.left + p.w + p.right) - before);
        }
        v = (1.0f / (f32)count) * v;
    }
    store(a.y, i, v);
}
