// y = f_scale (u + w (c - u)), or c if the row does not guide; channels past c: c's alone.
// f [2 b, hw, cf], c its first half, u its second, y [b, hw, cf], run as in src/ops/solver_step.rs.
// One thread one element of y, 256 threads a workgroup.
// Bandwidth: two reads and a write, 12 bytes an element in f32, 6 in f16.
// Reference: src/ops/guidance.rs
//!include row

struct Params {
    u32 b;
    u32 c;
    u32 cf;
    u32 hw;
    u32 per_sample;
};

constexpr u32 THREADS = BLOCK;

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 i = at.block * THREADS + threadIdx.x;
    const u32 numel = p.hw * p.cf;
    if (i >= p.b * numel) {
        return;
    }
    f32 v = load1(a.f, i);
    const u32 sample = i / numel;
    const Row& row = row_of(a, at, sample);
    if (i % p.cf < p.c && row_has(row, ROW_GUIDE)) {
        const f32 unconditional = load1(a.f, p.b * numel + i);
        const f32 w = __uint_as_float(a.run[RUN_HEADER + RUN_SAMPLE * sample + 1u]);
        v = row.f_scale * (unconditional + w * (v - unconditional));
    }
    store1(a.y, i, v);
}
