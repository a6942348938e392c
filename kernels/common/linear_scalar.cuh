// The product of linear in f32. Both operands are staged: x as [row][k / 4], a quad more from row
// to row, so that rows begin in other banks, the weight as [part][k][column / 4].
constexpr u32 PITCH_K = QUADS_K + 1u;

struct Operands {
    float4 a[TILE_M * PITCH_K];
    float4 b[PARTS * STAGE_K * QUADS_N];
};

// Columns 4 quad .. 4 quad + 4 of a row of the weight (part 1: of the gates), held inside it.
__device__ inline float4 load_weight(const Params& p, const Args& a, u32 k, u32 quad, u32 part) {
    const u32 row = smaller(k, p.k - 1u);
    const u32 inside = smaller(quad, (p.n + 3u) / 4u - 1u);
#ifdef GATE
    const u32 width = (2u * p.n + 3u) / 4u * 4u;
#ifdef STORE4
    return load4(a.weight, row * width + part * p.n + 4u * inside);
#else
    const u32 first = row * width + part * p.n + 4u * inside;
    return quad_of(a.weight, first, smaller(4u, p.n - 4u * inside));
#endif
#else
    return load4(a.weight, (row * ((p.n + 3u) / 4u) + inside) * 4u);
#endif
}

// Adds the product of what is staged to this thread's sums.
__device__ inline void multiply_tiles(const Operands& operands, Sums& sums) {
    const Lane lane = this_lane();
#pragma unroll
    for (u32 k = 0u; k < QUADS_K / SHARES_K; k++) {
        const u32 own = lane.share + k * SHARES_K;
#pragma unroll
        for (u32 part = 0u; part < PARTS; part++) {
            Rows4 b;
#pragma unroll
            for (u32 i = 0u; i < 4u; i++) {
                b.v[i] = operands.b[(part * STAGE_K + 4u * own + i) * QUADS_N + lane.quad];
            }
#pragma unroll
            for (u32 i = 0u; i < ROWS; i++) {
                const float4 x = operands.a[(lane.row + i * ROW_STEP) * PITCH_K + own];
                float4& sum = sums.v[part * ROWS + i];
                sum = row_product(sum, x, b);
            }
        }
    }
}

// Quads of the rows of x that a thread stages at most.
constexpr u32 LOADS = parts_of(TILE_M * QUADS_K, BLOCK);

__device__ inline void add_products(const Params& p, const Args& a, const At& at,
    const Place& here, Operands& operands, Norms& norms, float4* scratch, Sums& sums) {
    load_norms(p, a, at, here, norms, scratch);
    const u32 thread = threadIdx.x;
    const u32 a_quad = thread % QUADS_K;
    u32 base[LOADS];
#pragma unroll
    for (u32 i = 0u; i < LOADS; i++) {
        // Rows past the end read the last one; their sums are not stored.
        const u32 row = smaller((thread + i * BLOCK) / QUADS_K, TILE_M - 1u);
        base[i] = row_of_x(p, a, at, smaller(here.row + row, here.end - 1u)) * p.k;
    }
    for (u32 first = here.first_k; first < here.end_k; first += STAGE_K) {
        const u32 k = first + 4u * a_quad;
        const Channels c = channels(p, a, k, norms);
#pragma unroll
        for (u32 i = 0u; i < LOADS; i++) {
            const u32 row = (thread + i * BLOCK) / QUADS_K;
            float4 v = zeros();
            if (k < here.end_k && row < TILE_M) {
                v = on_load(p, load_raw(p, a, base[i], k), k, c, norms, row);
            }
            if (row < TILE_M) {
                operands.a[row * PITCH_K + a_quad] = v;
            }
        }
        for (u32 i = thread; i < PARTS * STAGE_K * QUADS_N; i += BLOCK) {
            const u32 row = first + i / QUADS_N % STAGE_K;
            operands.b[i] =
                load_weight(p, a, row, here.quad + i % QUADS_N, i / (STAGE_K * QUADS_N));
        }
        __syncthreads();
        multiply_tiles(operands, sums);
        __syncthreads();
    }
}
