// y = (a + b) * scale; either operand through a row map, b a map or one row a sample (broadcast).
// a [.., hw, c], b [.., hw, c] or [.., c], y [n, hw, c], channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: two reads and a write, 12 bytes an element in f32, 6 in f16.
// Reference: src/ops/add.rs
//!include rowmap
//!include vector

struct Params {
    RowMap a_map;
    RowMap b_map;
    u32 n;
    u32 hw;
    u32 c;
    u32 broadcast;
    f32 scale;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.hw * width) {
        return;
    }
    const u32 sample = i / (p.hw * width);
    const u32 inner = i % (p.hw * width);
    const u32 a_at = map_row(p.a_map, a, at, sample) * p.hw * width + inner;
    u32 b_at = map_row(p.b_map, a, at, sample);
    if (p.broadcast != 0u) {
        b_at = b_at * width + inner % width;
    } else {
        b_at = b_at * p.hw * width + inner;
    }
    store(a.y, i, p.scale * (load(a.a, a_at) + load(a.b, b_at)));
}
