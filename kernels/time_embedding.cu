// y = [sin(s t f) | cos(s t f)], or [cos | sin] if flip; an odd last channel is zero; t or ln t.
// times [..] f32, freqs [dim / 2] f32, y [n, dim].
// One thread one frequency of one vector, 256 threads a workgroup.
// Compute: about 40 operations a pair; n dim is small, so launch-bound.
// Reference: src/ops/time_embedding.rs
//!include rowmap
//!include sincos

struct Params {
    RowMap map;
    u32 n;
    u32 dim;
    u32 flip;
    u32 log;
    f32 scale;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 half = p.dim / 2u;
    const u32 width = (p.dim + 1u) / 2u; // an odd last channel is a pair without frequency
    const u32 number = at.block * THREADS + threadIdx.x;
    if (number >= p.n * width) {
        return;
    }
    const u32 vector = number / width;
    const u32 i = number % width;
    const u32 to = vector * p.dim;
    if (i == half) {
        store1(a.y, to + 2u * half, 0.0f);
        return;
    }
    f32 time = load1(a.times, map_row(p.map, a, at, vector));
    if (p.log != 0u) {
        time = logf(time);
    }
    const float2 sc = sincos(time * load1(a.freqs, i) * p.scale);
    store1(a.y, to + i, p.flip != 0u ? sc.y : sc.x);
    store1(a.y, to + half + i, p.flip != 0u ? sc.x : sc.y);
}
