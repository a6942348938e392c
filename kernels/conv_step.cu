// f = conv(load(x), w) + bias, the network's output, and the step of the solver with it at once.
// x [n, h, w, c] and w as in conv2d; state, saved [n, cout, ho, wo]; f stays in workgroup memory.
// One workgroup TILE_M pixels of a sample and all couts; then a thread takes four pixels in a line
// of a channel, one Philox block. Compute: that of conv2d; 50 FLOP an element of the state.
// Reference: src/ops/conv_step.rs
//!include rowmap

struct Params {
//!include conv_fields
//!include step_fields
    u32 per_sample;
};

//!include conv
//!include step
static_assert(COUT <= TILE_N, "a workgroup has all channels of its pixels");

struct Shared {
    ConvMemory conv;
    // The outputs of the tile, [channel][pixel].
    f32 tile[COUT * TILE_M];
};
constexpr u32 SHARED_BYTES = sizeof(Shared);

// Keeps the results of the slab from pixel `first` of the tile on.
__device__ inline void keep_outputs(const Params& p, const Args& a, const At& at,
    const Place& here, u32 first, const Results& results, f32* tile) {
    const u32 column = 4u * own_quad();
    const u32 width = smaller(4u, COUT - smaller(column, COUT));
    const float4 more = addend(p, a, at, here, column, width);
#pragma unroll
    for (u32 i = 0u; i < OWN_ROWS; i++) {
        const float4 v = results.v[i] + more;
#pragma unroll
        for (u32 c = 0u; c < 4u; c++) {
            if (slab_row(i) < SLAB_M && c < width) {
                tile[(column + c) * TILE_M + first + slab_row(i)] = element(v, c);
            }
        }
    }
}

__device__ inline Outputs outputs_of(
    const Params& p, const Row& row, u32 channel, u32 four, const f32* tile) {
    Outputs outputs = no_outputs();
    outputs.f = load4(tile, channel * TILE_M + 4u * four);
    outputs.of_eps = outputs.f;
    if (row_has(row, ROW_LEARNED)) {
        const float4 variance = load4(tile, (p.c + channel) * TILE_M + 4u * four);
#pragma unroll
        for (u32 i = 0u; i < 4u; i++) {
            element(outputs.noise_scale, i) = expf(log_noise_scale(row, element(variance, i)));
        }
    }
    return outputs;
}

__device__ inline void step_tile(
    const Params& p, const Args& a, const At& at, const Place& here, const f32* tile) {
    constexpr u32 FOURS = TILE_M / 4u;
    const Row& row = row_of(a, at, here.sample);
    for (u32 i = threadIdx.x; i < p.c * FOURS; i += THREADS) {
        const u32 channel = i / FOURS;
        const u32 four = i % FOURS;
        const Own own = own_row(p, here, 4u * four);
        if (own.inside) {
            const u32 first = channel * p.hw + own.index - here.sample * p.hw;
            const Outputs outputs = outputs_of(p, row, channel, four, tile);
            take_step(p, a, at, here.sample, first / 4u, 4u, outputs);
        }
    }
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    Shared& s = shared<Shared>();
    const Place here = place(p, at.block);
    Sums sums;
    convolve(p, a, at, here, s.conv, sums);
    const auto store = [&](u32 first, Results& results) {
        keep_outputs(p, a, at, here, first, results, s.tile);
    };
    if (!finish_tile(p, a, at, here, sums, s.conv.work.slab, s.conv.end, store)) {
        return;
    }
    __syncthreads();
    step_tile(p, a, at, here, s.tile);
}
