// y = table[labels[map(s) per + t]] of vector t of sample s.
// table [classes, c], labels [.., per] u32, y [n, per, c].
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
    u32 per;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.per * width) {
        return;
    }
    const u32 vector = i / width;
    const u32 row = map_row(p.map, a, at, vector / p.per) * p.per + vector % p.per;
    const u32 label = smaller(a.labels[row], p.classes - 1u);
    store(a.y, i, load(a.table, label * width + i % width));
}
