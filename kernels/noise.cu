// z = [z0 | z1], standard normal, by the row's draws: src/ops/noise.rs.
// z [2, b, numel], draws [.., b, numel] f32, run as in src/ops/solver_step.rs.
// One thread four consecutive elements of a sample for both draws, 256 threads a workgroup.
// Compute: about 100 integer operations a block of four; an unused draw is not written.
// Reference: src/ops/noise.rs
struct Params {
    u32 b;
    u32 numel;
    u32 mode;
    u32 threads;
    u32 calls;
    u32 per_sample;
};

constexpr u32 THREADS = BLOCK;

__device__ inline u32 state_numel(const Params& p) {
    return p.numel;
}

//!include draw

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 blocks = (p.numel + 3u) / 4u;
    const u32 number = at.block * THREADS + threadIdx.x;
    if (number >= p.b * blocks) {
        return;
    }
    const u32 b = number / blocks;
    const u32 block = number % blocks;
    const Row& row = row_of(a, at, b);
    for (u32 i = 0u; i < 2u; i++) {
        if (!uses_draw(row, i)) {
            continue;
        }
        const float4 v = draw_block(p, a, row, i, b, block);
        const u32 first = (i * p.b + b) * p.numel + 4u * block;
#pragma unroll
        for (u32 lane = 0u; lane < 4u; lane++) {
            if (4u * block + lane < p.numel) {
                a.z[first + lane] = element(v, lane);
            }
        }
    }
}
