// y[o] = sum_j k[T - 1 - j] x[2 o + j - (T - 1) / 2], or of x spread by zeros, in each direction.
// x [n, h, w, c], y [n, h / 2, w / 2, c] or [n, 2 h, 2 w, c], channels innermost; up to 8 taps.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: a pixel of x is read (T / 2)^2 times, but for the first time from cache.
// Reference: src/ops/fir_resample.rs
//!include vector

struct Params {
    u32 n;
    u32 h;
    u32 w;
    u32 c;
    u32 mode;
    u32 edge;
    u32 taps;
    u32 flat;
    f32 k0;
    f32 k1;
    f32 k2;
    f32 k3;
    f32 k4;
    f32 k5;
    f32 k6;
    f32 k7;
};

constexpr u32 THREADS = BLOCK;

__device__ inline f32 tap(const Params& p, u32 j) {
    switch (j) {
        case 0u: return p.k0;
        case 1u: return p.k1;
        case 2u: return p.k2;
        case 3u: return p.k3;
        case 4u: return p.k4;
        case 5u: return p.k5;
        case 6u: return p.k6;
        default: return p.k7;
    }
}

// The pixel of a side of `size` that the j-th term of output pixel o reads; outside of it: none.
__device__ inline int source(const Params& p, u32 o, u32 j, u32 size) {
    const int shift = int(j) - int((p.taps - 1u) / 2u);
    const int last = int(size) - 1;
    int at = 2 * int(o) + shift;
    if (p.mode == RESAMPLE_UP) {
        at = int(o) + shift - 1;
        if ((at & 1) != 0) {
            return -1 - last;
        }
        at = at / 2;
    }
    if (p.edge == EDGE_MIRROR) {
        const int mirrored = 2 * last - at;
        at = at < 0 ? -at : (mirrored < at ? mirrored : at);
    }
    return at;
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const bool up = p.mode == RESAMPLE_UP;
    const bool flat = p.flat == 1u;
    const u32 ho = flat ? p.h : up ? 2u * p.h : p.h / 2u;
    const u32 wo = up ? 2u * p.w : p.w / 2u;
    const u32 number = at.block * THREADS + threadIdx.x;
    if (number >= p.n * ho * wo * width) {
        return;
    }
    const u32 channel = number % width;
    const u32 pixel = number / width;
    const u32 ox = pixel % wo;
    const u32 oy = pixel / wo % ho;
    const u32 base = pixel / (wo * ho) * p.h;
    V sum = all(0.0f);
    for (u32 i = 0u; i < (flat ? 1u : p.taps); i++) {
        const int py = flat ? int(oy) : source(p, oy, i, p.h);
        if (py < 0 || py >= int(p.h)) {
            continue;
        }
        const f32 ky = flat ? 1.0f : tap(p, p.taps - 1u - i);
        for (u32 j = 0u; j < p.taps; j++) {
            const int px = source(p, ox, j, p.w);
            if (px >= 0 && px < int(p.w)) {
                const u32 from = ((base + u32(py)) * p.w + u32(px)) * width + channel;
                sum = sum + all(ky * tap(p, p.taps - 1u - j)) * load(a.x, from);
            }
        }
    }
    store(a.y, number, sum);
}
