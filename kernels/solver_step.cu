// Guidance F = U + w (C - U), then x0, eps, noise and the update of the row: src/ops/row.rs.
// state, saved [b, c, hw], history [depth, b, c, hw], f [b or 2 b, hw, cf], table one Row a row.
// One thread four consecutive elements of a sample (one Philox block), 256 threads a workgroup.
// Bandwidth: reads f (twice the state under guidance) and the state, writes it; 50 FLOP an element.
// Reference: src/ops/solver_step.rs
struct Params {
//!include step_fields
    u32 per_sample;
};

constexpr u32 THREADS = BLOCK;

//!include step
#ifdef HAS_F
//!include output
#endif

// The network's outputs for the elements of a block.
__device__ inline Outputs outputs_of(
    const Params& p, const Args& a, const At& at, u32 sample, u32 block, u32 lanes) {
    Outputs outputs = no_outputs();
#ifdef HAS_F
    const Row& row = row_of(a, at, sample);
    if (!row_has(row, ROW_EVAL)) {
        return outputs;
    }
    const Reading read = reading_of(row);
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (i < lanes) {
            const u32 pixel = (4u * block + i) % p.hw;
            const u32 c = (4u * block + i) / p.hw;
            const float2 pair = output(p, a, read, sample, pixel, c);
            element(outputs.f, i) = pair.x;
            element(outputs.of_eps, i) = pair.y;
            if (row_has(row, ROW_LEARNED)) {
                element(outputs.noise_scale, i) =
                    output_noise_scale(p, a, row, sample, pixel, c);
            }
        }
    }
#endif
    return outputs;
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 numel = state_numel(p);
    const u32 blocks = (numel + 3u) / 4u;
    const u32 number = at.block * THREADS + threadIdx.x;
    if (number >= p.b * blocks) {
        return;
    }
    const u32 sample = number / blocks;
    const u32 block = number % blocks;
    const u32 lanes = smaller(4u, numel - 4u * block);
    take_step(p, a, at, sample, block, lanes, outputs_of(p, a, at, sample, block, lanes));
}
