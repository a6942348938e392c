// Down: the mean of 2x2 pixels. Up: each pixel repeated 2x2.
// x [n, h, w, c], y [n, h / 2, w / 2, c] or [n, 2 h, 2 w, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: down reads four times what it writes, up writes four times what it reads.
// Reference: src/ops/resample.rs
//!include vector

struct Params {
    u32 n;
    u32 h;
    u32 w;
    u32 c;
    u32 mode;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const bool down = p.mode == RESAMPLE_DOWN;
    const u32 ho = down ? p.h / 2u : 2u * p.h;
    const u32 wo = down ? p.w / 2u : 2u * p.w;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * ho * wo * width) {
        return;
    }
    const u32 channel = i % width;
    const u32 pixel = i / width;
    const u32 ox = pixel % wo;
    const u32 oy = pixel / wo % ho;
    const u32 base = pixel / (wo * ho) * p.h;
    if (down) {
        const u32 source = ((base + 2u * oy) * p.w + 2u * ox) * width + channel;
        const u32 below = source + p.w * width;
        store(a.y, i, 0.25f * ((load(a.x, source) + load(a.x, source + width))
            + (load(a.x, below) + load(a.x, below + width))));
    } else {
        store(a.y, i, load(a.x, ((base + oy / 2u) * p.w + ox / 2u) * width + channel));
    }
}
