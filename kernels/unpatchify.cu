// Tokens become the pixels of their patches: y[s i + u, s j + v, k] = x[i, j, (s u + v) c + k].
// x [n, h, w, side side c], y [n, side h, side w, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map.
// Reference: src/ops/unpatchify.rs
//!include vector

struct Params {
    u32 n;
    u32 h;
    u32 w;
    u32 c;
    u32 side;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 wo = p.side * p.w;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.side * p.h * wo * width) {
        return;
    }
    const u32 pixel = i / width;
    const u32 column = pixel % wo;
    const u32 line = pixel / wo; // of all samples, each a multiple of the side
    const u32 token = line / p.side * p.w + column / p.side;
    const u32 part = line % p.side * p.side + column % p.side;
    store(a.y, i, load(a.x, (token * p.side * p.side + part) * width + i % width));
}
