// y = x row, with a row for each sample.
// x, y [n, hw, c], rows [.., c], channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map; rows stay in cache.
// Reference: src/ops/multiply.rs
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
    const u32 row = map_row(p.map, a, at, i / (p.hw * width)) * width + i % width;
    store(a.y, i, load(a.x, i) * load(a.rows, row));
}
