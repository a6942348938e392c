// y = x / t with the time t of the sample.
// x, y [n, hw, c], times [..] f32, channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map.
// Reference: src/ops/divide.rs
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
    const f32 time = load1(a.times, map_row(p.map, a, at, i / (p.hw * width)));
    store(a.y, i, load(a.x, i) / all(time));
}
