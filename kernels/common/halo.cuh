// conv2d under METHOD_TILED: the halo lies in the workgroup's memory as it is, and each thread
// reads its pixels from there; the weight is read where it lies.
struct Operands {
    // [quad][pixel]: neighbouring lanes read neighbouring pixels.
    float4 halo[QUADS_K * HALO];
};

__device__ inline void stage_input(const Params& p, const Args& a, const At& at,
    const Place& here, u32 first, const Norms& norms, float4* halo) {
    const u32 quad = threadIdx.x % QUADS_K;
    const u32 c = first + 4u * quad;
    if (c >= p.ca + p.cb) {
        return;
    }
    const Channels affine = channels(p, a, at, here, c, norms);
    for (u32 i = threadIdx.x / QUADS_K; i < HALO_PIXELS; i += BLOCK / QUADS_K) {
        const Own pixel = halo_pixel(p, here, i);
        halo[quad * HALO + i] = load_input(p, a, at, pixel, c, affine);
    }
}

#ifdef SHORTCUT
// The tile's own pixels of the shortcut.
__device__ inline void stage_skip(
    const Params& p, const Args& a, const Place& here, u32 first, float4* halo) {
    const u32 quad = threadIdx.x % QUADS_K;
    const u32 c = first + 4u * quad;
    if (c >= p.sa + p.sb) {
        return;
    }
    for (u32 i = threadIdx.x / QUADS_K; i < TILE_M; i += BLOCK / QUADS_K) {
        const Own out = own_row(p, here, i);
        halo[quad * HALO + i] = out.inside ? skip_quad(p, a, out.index, c) : zeros();
    }
}
#endif

// One stage of K: `quads` quads of channels under high x wide taps. The weight's rows start at
// `row`; those of a tap lie `row_step` behind those of the one before.
struct Stage {
    u32 quads, high, wide, row, row_step;
};

__device__ inline Stage input_stage(const Params& p, u32 first) {
    const u32 cin = p.ca + p.cb;
    return {smaller(QUADS_K, (cin - first + 3u) / 4u), KERNEL_H, KERNEL, first, cin};
}

__device__ inline Stage skip_stage(const Params& p, u32 first) {
    const u32 quads = smaller(QUADS_K, (p.sa + p.sb - first + 3u) / 4u);
    return {quads, 1u, 1u, TAPS * (p.ca + p.cb) + first, 0u};
}

// Four rows of the weight; those past its end meet zeros.
__device__ inline Rows4 weight_block(const Params& p, const Args& a, u32 row, u32 quad) {
    const u32 quads = (p.cout + 3u) / 4u;
    const u32 column = smaller(quad, quads - 1u);
    Rows4 b;
#ifdef VEC4
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        b.v[i] = load4(a.weight, ((row + i) * quads + column) * 4u);
    }
#else
    const u32 last = TAPS * (p.ca + p.cb) + p.sa + p.sb - 1u;
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        b.v[i] = load4(a.weight, (smaller(row + i, last) * quads + column) * 4u);
    }
#endif
    return b;
}

// Adds the products of a stage; `origin` are the pixels of this thread's rows at the first tap.
__device__ inline void multiply_taps(const Params& p, const Args& a, const Stage& stage,
    const u32 (&origin)[ROWS], u32 quad, const float4* halo, Sums& sums) {
    const Lane lane = this_lane();
    for (u32 y = 0u; y < stage.high; y++) {
        for (u32 x = 0u; x < stage.wide; x++) {
            const u32 row = stage.row + (y * stage.wide + x) * stage.row_step;
            for (u32 q = lane.share; q < stage.quads; q += SHARES_K) {
                const Rows4 b = weight_block(p, a, row + 4u * q, quad);
#pragma unroll
                for (u32 i = 0u; i < ROWS; i++) {
                    const float4 v = halo[q * HALO + origin[i] + y * HALO_W + x];
                    sums.v[i] = row_product(sums.v[i], v, b);
                }
            }
        }
    }
}

__device__ inline void add_products(const Params& p, const Args& a, const At& at,
    const Place& here, Operands& operands, Norms& norms, float4* scratch, Sums& sums) {
    load_norms(p, a, here, norms, scratch);
    const Lane lane = this_lane();
    u32 origin[ROWS], own[ROWS];
#pragma unroll
    for (u32 i = 0u; i < ROWS; i++) {
        own[i] = lane.row + i * ROW_STEP;
        origin[i] = origin_of(own[i]);
    }
    const u32 inputs = parts_of(p.ca + p.cb, STAGE_K);
    const u32 stages = inputs + parts_of(p.sa + p.sb, STAGE_K);
    const u32 share = parts_of(stages, SPLITS);
    const u32 end = smaller(stages, (here.split + 1u) * share);
    for (u32 i = here.split * share; i < end; i++) {
        __syncthreads();
        if (i < inputs) {
            stage_input(p, a, at, here, i * STAGE_K, norms, operands.halo);
        }
#ifdef SHORTCUT
        if (i >= inputs) {
            stage_skip(p, a, here, (i - inputs) * STAGE_K, operands.halo);
        }
#endif
        __syncthreads();
        const bool skip = i >= inputs;
        const Stage stage =
            skip ? skip_stage(p, (i - inputs) * STAGE_K) : input_stage(p, i * STAGE_K);
        u32 from[ROWS];
#pragma unroll
        for (u32 j = 0u; j < ROWS; j++) {
            from[j] = skip ? own[j] : origin[j];
        }
        multiply_taps(p, a, stage, from, here.quad + lane.quad, operands.halo, sums);
    }
}
