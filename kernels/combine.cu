// The state, the saved copy and the newest prediction from the row's linear update: src/ops/row.rs.
// state, x0, eps, log_scale, saved [b, numel], z [2, b, numel], history [depth, b, numel], all f32.
// One thread four consecutive elements of a sample, 256 threads a workgroup.
// Bandwidth: what the row's coefficients make it read, and one write of the state.
// Reference: src/ops/combine.rs
struct Params {
    u32 b;
    u32 numel;
    u32 depth;
    u32 per_sample;
};

constexpr u32 THREADS = BLOCK;

__device__ inline u32 state_elements(const Params& p) {
    return p.b * p.numel;
}

//!include update

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 blocks = (p.numel + 3u) / 4u;
    const u32 number = at.block * THREADS + threadIdx.x;
    if (number >= p.b * blocks) {
        return;
    }
    const u32 sample = number / blocks;
    const u32 block = number % blocks;
    const u32 lanes = smaller(4u, p.numel - 4u * block);
    const u32 first = sample * p.numel + 4u * block;
    const Row& row = row_of(a, at, sample);
    Values v = {load_state(a.state, first, lanes), zeros(), zeros(), zeros(), zeros()};
#ifdef HAS_X0
    v.x0 = load_state(a.x0, first, lanes);
#endif
#ifdef HAS_EPS
    v.eps = load_state(a.eps, first, lanes);
#endif
    float4 noise_scale = all4(1.0f);
#ifdef HAS_LOG_SCALE
    const float4 log_scale = load_state(a.log_scale, first, lanes);
    noise_scale = make_float4(
        expf(log_scale.x), expf(log_scale.y), expf(log_scale.z), expf(log_scale.w));
#endif
    if (uses_draw(row, 0u)) {
        v.z0 = noise_scale * load_state(a.z, first, lanes);
    }
    if (uses_draw(row, 1u)) {
        v.z1 = noise_scale * load_state(a.z, state_elements(p) + first, lanes);
    }
    store_update(p, a, row, update(p, a, row, v, first, lanes), first, lanes);
}
