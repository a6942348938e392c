// y = act(x): SiLU, GELU, ReLU or Mish; vector i of x is read at map(i).
// x [.., c], y [n, c], channels innermost.
// One thread four channels (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of the map, 8 bytes an element in f32, 4 in f16.
// Reference: src/ops/activation.rs
//!include rowmap
//!include vector
//!include activate

struct Params {
    RowMap map;
    u32 n;
    u32 c;
    u32 act;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * width) {
        return;
    }
    const u32 source = map_row(p.map, a, at, i / width) * width + i % width;
    store(a.y, i, activate(load(a.x, source), p.act));
}
