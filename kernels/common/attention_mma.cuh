// Attention by mma.sync (Dao 2023, arXiv:2307.08691): a warp has 16 queries of the block; where
// fewer than eight warps cover it, they share out the keys of a block, and outputs are merged at
// the end. Queries, scores and outputs stay in registers: the sums of a product are laid out as
// the first operand of the next. Keys and values are staged as rows of 16-byte chunks, an odd
// number of them, so that the eight rows of a matrix lie in different banks.
constexpr u32 DEPTH = parts_of(HEAD_DIM, 16u) * 16u; // channels, zeros past d
constexpr u32 STEPS_D = DEPTH / 16u;
constexpr u32 BLOCKS_D = DEPTH / 8u;
constexpr u32 PITCH = DEPTH / 8u | 1u;
constexpr u32 SHARES = BLOCK / 32u / (TILE_M / 16u);
constexpr u32 KEYS = TILE_N / SHARES;
static_assert(SHARES * TILE_M == 128u && KEYS % 16u == 0u, "eight warps");
// Blocks of keys and values that are staged: the next one comes while this one is multiplied.
constexpr u32 RING = STAGES > 2u ? 2u : 1u;
// Outputs of a workgroup of which two fit into the registers of a processor.
#ifdef STORE_MOMENTS
constexpr u32 MOST_OUTPUTS = 64u * 64u;
#else
constexpr u32 MOST_OUTPUTS = 128u * 48u;
#endif
constexpr u32 RESIDENT = TILE_M * DEPTH > MOST_OUTPUTS || DEPTH > 64u ? 1u : 2u;

constexpr f32 LOG2_E = 1.44269504f;
// The score of what is no key: no highest score is so low, its weight is zero.
constexpr f32 BELOW = 3.0f * LOWEST;

// At the end a thread has quads of channels, 32 (a chunk) at a time, of rows STEP_M apart.
constexpr u32 QUADS_N = 8u;
constexpr u32 CHUNKS = parts_of(HEAD_DIM, 4u * QUADS_N);
constexpr u32 STEP_M = BLOCK / QUADS_N;
constexpr u32 RESULTS = parts_of(TILE_M, STEP_M);
constexpr u32 SLAB_PITCH = 4u * QUADS_N + 8u;

struct Work {
    union {
        // Of each stage keys, then values.
        uint4 ring[RING][2][TILE_N * PITCH];
        // A chunk of the outputs of each share.
        f32 slab[SHARES * TILE_M * SLAB_PITCH];
    };
    // Of each share and row the highest score and the sum of exponentials.
    float2 tops[SHARES * TILE_M];
    // Of each row the same of all shares.
    float2 stats[TILE_M];
    u32 last;
};

// What a lane has of rows lane / 4 and 8 more of its warp's.
struct Sums {
    unsigned q[STEPS_D][4];
    f32 o[BLOCKS_D][4];
    f32 top[2];
    f32 norm[2];
};

// Which queries and which share of the keys a warp has.
struct Warp {
    u32 row, share, lane;
};

__device__ inline Warp this_warp() {
    const u32 warp = threadIdx.x / 32u;
    return {warp % (TILE_M / 16u) * 16u, warp / (TILE_M / 16u), threadIdx.x % 32u};
}

// Two channels of a query; zero past d.
__device__ inline unsigned load_pair(const Args& a, u32 base, u32 channel) {
    return channel < HEAD_DIM ? *reinterpret_cast<const unsigned*>(a.q + base + channel) : 0u;
}

__device__ inline void load_queries(
    const Params& p, const Args& a, const Place& here, Sums& sums) {
    const Warp warp = this_warp();
    const u32 low = q_base(p, here, warp.row + warp.lane / 4u);
    const u32 high = q_base(p, here, warp.row + warp.lane / 4u + 8u);
#pragma unroll
    for (u32 step = 0u; step < STEPS_D; step++) {
        const u32 channel = 16u * step + warp.lane % 4u * 2u;
        sums.q[step][0] = load_pair(a, low, channel);
        sums.q[step][1] = load_pair(a, high, channel);
        sums.q[step][2] = load_pair(a, low, channel + 8u);
        sums.q[step][3] = load_pair(a, high, channel + 8u);
    }
}

// The keys from `first` on and their values; zeros past the last and past d. Four threads copy a
// row, so that a thread keeps one address of each.
__device__ inline void copy_block(
    const Params& p, const Args& a, const Place& here, uint4 (&to)[2][TILE_N * PITCH], u32 first) {
    static_assert(4u * TILE_N == BLOCK, "four threads a row");
    const u32 key = threadIdx.x / 4u;
    const u32 c = threadIdx.x % 4u;
    const k_t* from_k = a.k + k_base(p, here, first + key) + 8u * c;
    const v_t* from_v = a.v + v_base(p, here, first + key) + 8u * c;
#pragma unroll
    for (u32 i = 0u; i < BLOCKS_D; i += 4u) {
        const bool inside = first + key < p.tk && 8u * (c + i) < HEAD_DIM;
        if (c + i < BLOCKS_D) {
            ptx::copy16(&to[0][key * PITCH + c + i], inside ? from_k + 8u * i : a.k, inside);
            ptx::copy16(&to[1][key * PITCH + c + i], inside ? from_v + 8u * i : a.v, inside);
        }
    }
}

// scores = q k^T for this warp's share of the staged keys.
__device__ inline void score(const Sums& sums, const uint4* keys, f32 (&scores)[KEYS / 8u][4]) {
    const Warp warp = this_warp();
    // Lanes 8 j .. 8 j + 7 give rows of matrix j: keys 0 to 7 by two chunks, then keys 8 to 15.
    const u32 key = warp.share * KEYS + warp.lane / 16u * 8u + warp.lane % 8u;
    const uint4* own = keys + key * PITCH + warp.lane / 8u % 2u;
#pragma unroll
    for (u32 i = 0u; i < KEYS / 8u; i++) {
#pragma unroll
        for (u32 e = 0u; e < 4u; e++) {
            scores[i][e] = 0.0f;
        }
    }
#pragma unroll
    for (u32 step = 0u; step < STEPS_D; step++) {
#pragma unroll
        for (u32 i = 0u; i < KEYS / 16u; i++) {
            unsigned b[4];
            ptx::load_matrices(b, own + 16u * i * PITCH + 2u * step);
            multiply(q_t{}, scores[2u * i], sums.q[step], b[0], b[1]);
            multiply(q_t{}, scores[2u * i + 1u], sums.q[step], b[2], b[3]);
        }
    }
}

// Adds the staged values, weighted.
__device__ inline void weigh(
    Sums& sums, const uint4* values, const f32 (&weights)[KEYS / 8u][4]) {
    const Warp warp = this_warp();
    // Matrices of keys 0 to 7, then 8 to 15, of one chunk; then of the next.
    const u32 key = warp.share * KEYS + warp.lane % 16u;
    const uint4* own = values + key * PITCH + warp.lane / 16u;
#pragma unroll
    for (u32 step = 0u; step < KEYS / 16u; step++) {
        const f32(&low)[4] = weights[2u * step];
        const f32(&high)[4] = weights[2u * step + 1u];
        const unsigned w[4] = {pack2(q_t{}, low[0], low[1]), pack2(q_t{}, low[2], low[3]),
            pack2(q_t{}, high[0], high[1]), pack2(q_t{}, high[2], high[3])};
#pragma unroll
        for (u32 i = 0u; i < BLOCKS_D; i += 2u) {
            unsigned b[4];
            ptx::load_matrices_transposed(b, own + 16u * step * PITCH + i);
            multiply(q_t{}, sums.o[i], w, b[0], b[1]);
            multiply(q_t{}, sums.o[i + 1u], w, b[2], b[3]);
        }
    }
}

// The largest, or the sum, of v over the four lanes of a row.
__device__ inline f32 row_highest(f32 v) {
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

__device__ inline f32 row_total(f32 v) {
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

// Scores to weights, of keys from `first` on; what was summed up so far loses what the rise of the
// highest score takes from it. Exponents are of two.
__device__ inline void exponentiate(
    const Params& p, const Place& here, Sums& sums, f32 (&scores)[KEYS / 8u][4], u32 first) {
    const Warp warp = this_warp();
    const u32 own = first + warp.share * KEYS + warp.lane % 4u * 2u;
    const f32 scale = p.score_scale * LOG2_E;
    // All rows see all keys of the block.
    const bool whole = sees(p, here, 0u, first + TILE_N - 1u);
    const u32 row = warp.row + warp.lane / 4u;
#pragma unroll
    for (u32 half = 0u; half < 2u; half++) {
        f32 top = LOWEST;
#pragma unroll
        for (u32 i = 0u; i < KEYS / 8u; i++) {
#pragma unroll
            for (u32 e = 2u * half; e < 2u * half + 2u; e++) {
                const bool inside =
                    whole || sees(p, here, row + 8u * half, own + 8u * i + e % 2u);
                scores[i][e] = inside ? scores[i][e] * scale : BELOW;
                top = fmaxf(top, scores[i][e]);
            }
        }
        top = fmaxf(sums.top[half], row_highest(top));
        const f32 keep = exp2f(sums.top[half] - top);
        sums.top[half] = top;
        sums.norm[half] *= keep;
#pragma unroll
        for (u32 i = 0u; i < KEYS / 8u; i++) {
#pragma unroll
            for (u32 e = 2u * half; e < 2u * half + 2u; e++) {
                scores[i][e] = exp2f(scores[i][e] - top);
                sums.norm[half] += scores[i][e];
            }
        }
#pragma unroll
        for (u32 i = 0u; i < BLOCKS_D; i++) {
            sums.o[i][2u * half] *= keep;
            sums.o[i][2u * half + 1u] *= keep;
        }
    }
}

// Divides the outputs by the sums of exponentials, those of all shares.
__device__ inline void normalize(Work& work, Sums& sums) {
    const Warp warp = this_warp();
    const u32 row = warp.row + warp.lane / 4u;
    const bool first_lane = warp.lane % 4u == 0u;
#pragma unroll
    for (u32 half = 0u; half < 2u; half++) {
        sums.norm[half] = row_total(sums.norm[half]);
        if (first_lane) {
            work.tops[warp.share * TILE_M + row + 8u * half] =
                make_float2(sums.top[half], sums.norm[half]);
        }
    }
    __syncthreads();
#pragma unroll
    for (u32 half = 0u; half < 2u; half++) {
        const float2* tops = work.tops + row + 8u * half;
        f32 top = LOWEST;
#pragma unroll
        for (u32 share = 0u; share < SHARES; share++) {
            top = fmaxf(top, tops[share * TILE_M].x);
        }
        f32 norm = 0.0f;
#pragma unroll
        for (u32 share = 0u; share < SHARES; share++) {
            norm += tops[share * TILE_M].y * exp2f(tops[share * TILE_M].x - top);
        }
        if (first_lane && warp.share == 0u) {
            work.stats[row + 8u * half] = make_float2(top, norm);
        }
        const f32 factor = exp2f(sums.top[half] - top) * inverse_norm(norm);
#pragma unroll
        for (u32 i = 0u; i < BLOCKS_D; i++) {
            sums.o[i][2u * half] *= factor;
            sums.o[i][2u * half + 1u] *= factor;
        }
    }
}

// All of a block: this lane's outputs.
__device__ inline void attend(
    const Params& p, const Args& a, const Place& here, Work& work, Sums& sums) {
    load_queries(p, a, here, sums);
#pragma unroll
    for (u32 i = 0u; i < BLOCKS_D; i++) {
#pragma unroll
        for (u32 e = 0u; e < 4u; e++) {
            sums.o[i][e] = 0.0f;
        }
    }
#pragma unroll
    for (u32 half = 0u; half < 2u; half++) {
        sums.top[half] = LOWEST;
        sums.norm[half] = 0.0f;
    }
    copy_block(p, a, here, work.ring[0], here.first_key);
    ptx::commit();
    const u32 end_key = key_end(p, here);
    for (u32 first = here.first_key; first < end_key; first += TILE_N) {
        const u32 stage = (first - here.first_key) / TILE_N % RING;
        if (RING > 1u && first + TILE_N < end_key) {
            copy_block(p, a, here, work.ring[(stage + 1u) % RING], first + TILE_N);
        }
        ptx::commit();
        ptx::wait<RING - 1>();
        __syncthreads();
        f32 scores[KEYS / 8u][4];
        score(sums, work.ring[stage][0], scores);
        exponentiate(p, here, sums, scores, first);
        weigh(sums, work.ring[stage][1], scores);
        __syncthreads();
        if (RING == 1u && first + TILE_N < end_key) {
            copy_block(p, a, here, work.ring[0], first + TILE_N);
        }
    }
    // Also the first, if there were no keys: results will lie there.
    ptx::wait<0>();
    normalize(work, sums);
}

// The results of a chunk, of which a thread has RESULTS rows.
__device__ inline void results_of(
    const Place&, Work& work, const Sums& sums, u32 chunk, float4 (&results)[RESULTS]) {
    const Warp warp = this_warp();
    __syncthreads();
    f32* own = work.slab + (warp.share * TILE_M + warp.row + warp.lane / 4u) * SLAB_PITCH
        + warp.lane % 4u * 2u;
#pragma unroll
    for (u32 i = 0u; i < QUADS_N / 2u; i++) {
        const u32 block = chunk * (QUADS_N / 2u) + i;
        if (block < BLOCKS_D) {
            const f32(&v)[4] = sums.o[block];
            *reinterpret_cast<float2*>(own + 8u * i) = make_float2(v[0], v[1]);
            *reinterpret_cast<float2*>(own + 8u * SLAB_PITCH + 8u * i) = make_float2(v[2], v[3]);
        }
    }
    __syncthreads();
#pragma unroll
    for (u32 i = 0u; i < RESULTS; i++) {
        const u32 row = smaller(threadIdx.x / QUADS_N + i * STEP_M, TILE_M - 1u);
        results[i] = zeros();
#pragma unroll
        for (u32 share = 0u; share < SHARES; share++) {
            const u32 at = (share * TILE_M + row) * SLAB_PITCH + threadIdx.x % QUADS_N * 4u;
            results[i] = results[i] + load4(work.slab, at);
        }
    }
}
