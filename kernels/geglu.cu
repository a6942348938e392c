// y = value * gelu(gate) of vectors [values | gates].
// x [n, 2 c], y [n, c], channels innermost.
// One thread four channels of y (one where c is no multiple of four), 256 threads a workgroup.
// Bandwidth: two reads and one write an element.
// Reference: src/ops/geglu.rs
//!include vector
//!include activate

struct Params {
    u32 n;
    u32 c;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 width = p.c / VEC;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * width) {
        return;
    }
    const u32 value = i / width * 2u * width + i % width;
    store(a.y, i, load(a.x, value) * activate(load(a.x, value + width), ACT_GELU));
}
