// A map at another size: each pixel of y by the four of x around its place, bilinearly.
// x [n, h, w, c], y [n, ho, wo, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: four reads a write, most of them from the cache.
// Reference: src/ops/interpolate.rs
//!include vector

struct Params {
    u32 n;
    u32 h;
    u32 w;
    u32 c;
    u32 ho;
    u32 wo;
    f32 offset;
};

constexpr u32 THREADS = BLOCK;

// Where place `i` of `places` lies along `size` pixels.
__device__ inline f32 place_of(const Params& p, u32 i, u32 size, u32 places) {
    const f32 scale = (f32)size / (f32)places;
    const f32 at = ((f32)i + p.offset) * scale - p.offset;
    return at > 0.0f ? at : 0.0f;
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.ho * p.wo * width) {
        return;
    }
    const u32 channel = i % width;
    const u32 pixel = i / width;
    const f32 down = place_of(p, pixel / p.wo % p.ho, p.h, p.ho);
    const f32 across = place_of(p, pixel % p.wo, p.w, p.wo);
    const u32 above = smaller((u32)down, p.h - 1u);
    const u32 left = smaller((u32)across, p.w - 1u);
    const u32 right = smaller(left + 1u, p.w - 1u) - left;
    const u32 base = pixel / (p.wo * p.ho) * p.h;
    const u32 first = (base + above) * p.w + left;
    const u32 next = (base + smaller(above + 1u, p.h - 1u)) * p.w + left;
    const V v00 = load(a.x, first * width + channel);
    const V v01 = load(a.x, (first + right) * width + channel);
    const V v10 = load(a.x, next * width + channel);
    const V v11 = load(a.x, (next + right) * width + channel);
    const f32 part = across - (f32)left;
    const V upper = v00 + part * (v01 - v00);
    const V lower = v10 + part * (v11 - v10);
    store(a.y, i, upper + (down - (f32)above) * (lower - upper));
}
