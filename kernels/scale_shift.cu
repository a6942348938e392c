// y = x (1 + scale) + shift with the row [scale | shift] of the sample.
// x, y [n, hw, c], rows [.., 2 c], channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map; rows stay in cache.
// Reference: src/ops/scale_shift.rs
//!include rowmap
//!include vector

struct Params {
    RowMap map;
    u32 n;
    u32 hw;
    u32 c;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.hw * width) {
        return;
    }
    const u32 scale = map_row(p.map, a, at, i / (p.hw * width)) * 2u * width + i % width;
    store(a.y, i,
        load(a.x, i) * (all(1.0f) + load(a.rows, scale)) + load(a.rows, scale + width));
}
