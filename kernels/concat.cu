// y = [a | b] along channels.
// a [n, ca], b [n, cb], y [n, ca + cb], channels innermost.
// One thread four channels (one where ca or cb is no multiple of four), 256 threads a workgroup.
// Bandwidth: one read and one write of y, 8 bytes an element in f32, 4 in f16.
// Reference: src/ops/concat.rs
//!include vector

struct Params {
    u32 n;
    u32 ca;
    u32 cb;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 a_width = p.ca / VEC;
    const u32 b_width = p.cb / VEC;
    const u32 width = a_width + b_width;
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * width) {
        return;
    }
    const u32 vector = i / width;
    const u32 channel = i % width;
    if (channel < a_width) {
        store(a.y, i, load(a.a, vector * a_width + channel));
    } else {
        store(a.y, i, load(a.b, vector * b_width + channel - a_width));
    }
}
