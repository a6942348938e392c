// y = scale * c_in * x + offset, with c_in of the row; sample i of y reads state i % b.
// x [b, c, hw] f32, y [n, hw, c].
// One thread one pixel with its channels, 256 threads a workgroup.
// Bandwidth: one read of the state and one write of the input.
// Reference: src/ops/model_input.rs
//!include row

struct Params {
    u32 b;
    u32 n;
    u32 c;
    u32 hw;
    f32 scale;
    f32 offset;
    u32 per_sample;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 i = at.block * THREADS + threadIdx.x;
    if (i >= p.n * p.hw) {
        return;
    }
    const u32 sample = i / p.hw % p.b;
    const u32 source = sample * p.c * p.hw + i % p.hw;
    const f32 gain = p.scale * row_of(a, at, sample).c_in;
    for (u32 c = 0u; c < p.c; c++) {
        store1(a.y, i * p.c + c, gain * load1(a.x, source + c * p.hw) + p.offset);
    }
}
