// y = table[labels[map(i)]].
// table [classes, c], labels [..] u32, y [n, c].
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of y, a few kilobytes: launch-bound.
// Reference: src/ops/embedding.rs
//!include rowmap
//!include vector

struct Params {
    RowMap map;
    u32 n;
    u32 c;
    u32 classes;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * width) {
        return;
    }
    const u32 label = smaller(a.labels[map_row(p.map, a, at, i / width)], p.classes - 1u);
    store(a.y, i, load(a.table, label * width + i % width));
}
