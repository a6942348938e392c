//!include row
//!include normal
// The noise of a row, by mode: src/ops/noise.rs. Needs the buffers table, run and, for MODE_TABLE,
// draws.

// Four elements of draw i (0 or 1) of the row, of sample `b`, from element `4 block` on; `numel`
// elements a sample, `batch` samples. Lanes past numel hold numbers that nobody stores.
__device__ inline float4 draw_block(
    const Params& p, const Args& a, const Row& row, u32 i, u32 b, u32 block) {
    const DrawName name = draw_name(row, i);
    const uint2 key = make_uint2(a.run[0], a.run[1]);
    const u32 sample = a.run[RUN_HEADER + RUN_SAMPLE * b];
    const u32 numel = state_numel(p);
    float4 z = zeros();
    switch (p.mode) {
    case MODE_PHILOX:
        return normal_block(block, name.step, name.stream, sample, key);
    case MODE_TORCH_CUDA:
#pragma unroll
        for (u32 lane = 0u; lane < 4u; lane++) {
            const u32 e = sample * numel + 4u * block + lane;
            element(z, lane) = normal_torch_cuda(e, name.index * p.calls, p.threads, key);
        }
        return z;
    default:
#ifdef HAS_DRAWS
#pragma unroll
        for (u32 lane = 0u; lane < 4u; lane++) {
            if (4u * block + lane < numel) {
                element(z, lane) = a.draws[(name.index * p.b + b) * numel + 4u * block + lane];
            }
        }
#endif
        return z;
    }
}
