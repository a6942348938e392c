//!include prediction
// The step of the solver for a block, four consecutive elements of a sample: solver_step.rs.

// Elements of a sample, and of the state.
__device__ inline u32 state_numel(const Params& p) {
    return p.c * p.hw;
}

__device__ inline u32 state_elements(const Params& p) {
    return p.b * p.c * p.hw;
}

//!include update
//!include draw

// The network's outputs for a block: F, the output that eps is made of, the factor of the noise.
struct Outputs {
    float4 f, of_eps, noise_scale;
};

__device__ inline Outputs no_outputs() {
    return {zeros(), zeros(), all4(1.0f)};
}

__device__ inline void take_step(const Params& p, const Args& a, const At& at, u32 sample,
    u32 block, u32 lanes, const Outputs& outputs) {
    const u32 first = sample * state_numel(p) + 4u * block;
    const Row& row = row_of(a, at, sample);
    const Reading read = reading_of(row);
    Values v;
    v.x = load_state(a.state, first, lanes);
    v.x0 = predict_x0(read, v.x, outputs.f);
    v.eps = predict_eps(read, v.x, outputs.of_eps, v.x0);
    v.z0 = zeros();
    v.z1 = zeros();
    if (uses_draw(row, 0u)) {
        v.z0 = outputs.noise_scale * draw_block(p, a, row, 0u, sample, block);
    }
    if (uses_draw(row, 1u)) {
        v.z1 = outputs.noise_scale * draw_block(p, a, row, 1u, sample, block);
    }
    store_update(p, a, row, update(p, a, row, v, first, lanes), first, lanes);
}
