// Attention by mma.sync for heads that are too wide for the registers of a warp: the scores of a
// block of keys are shared out by queries and keys and go through the workgroup's memory, the
// outputs by channels. Rows are staged as 16-byte chunks, an odd number of them, so that the eight
// rows of a matrix lie in different banks. Keys and values of a block take turns in a ring.
constexpr u32 DEPTH = parts_of(HEAD_DIM, 128u) * 128u; // channels, zeros past d
constexpr u32 STEPS_D = DEPTH / 16u;
constexpr u32 PITCH = DEPTH / 8u | 1u;
// Blocks of eight channels that a warp has.
constexpr u32 BLOCKS_D = DEPTH / 64u;
static_assert(TILE_M == 32u && TILE_N == 32u, "eight warps have a block of 16x8 scores each");
constexpr u32 BUFFERS = STAGES <= 2u ? 1u : DEPTH > 256u ? 2u : 4u;
constexpr u32 RESIDENT = 1u;
constexpr f32 LOG2_E = 1.44269504f;
// The score of what is no key: no highest score is so low, its weight is zero.
constexpr f32 BELOW = 3.0f * LOWEST;
// Words of a row of scores, chunks of a row of weights.
constexpr u32 SCORES_PITCH = TILE_N + 8u;
constexpr u32 WEIGHTS_PITCH = TILE_N / 8u | 1u;

// At the end a thread has quads of channels, 32 (a chunk) at a time, of rows STEP_M apart.
constexpr u32 QUADS_N = 8u;
constexpr u32 CHUNKS = parts_of(HEAD_DIM, 4u * QUADS_N);
constexpr u32 STEP_M = BLOCK / QUADS_N;
constexpr u32 RESULTS = parts_of(TILE_M, STEP_M);
constexpr u32 SLAB_PITCH = 4u * QUADS_N + 8u;

struct Work {
    uint4 queries[TILE_M * PITCH];
    uint4 ring[BUFFERS][TILE_N * PITCH];
    uint4 weights[TILE_M * WEIGHTS_PITCH];
    union {
        f32 scores[TILE_M * SCORES_PITCH];
        // A chunk of the outputs.
        f32 slab[TILE_M * SLAB_PITCH];
    };
    // What the rise of a row's highest score leaves of older sums; at the end their factor.
    f32 keep[TILE_M];
    // Of each row the highest score and the sum of exponentials.
    float2 stats[TILE_M];
    u32 last;
};

struct Sums {
    // Of rows lane / 4 and 8 more of two blocks of queries, channels of this warp.
    f32 o[2][BLOCKS_D][4];
    // Of row threadIdx.x / 8: the highest score, and what this thread's keys add to the sum of
    // exponentials.
    f32 top, norm;
};

// A row of a head, of which eight threads copy every eighth chunk; zeros past d.
template <class T>
__device__ inline void copy_row(uint4* to, const T* from, bool inside) {
    const u32 c = threadIdx.x % 8u;
#pragma unroll
    for (u32 i = 0u; i < DEPTH / 8u; i += 8u) {
        const bool own = inside && 8u * (c + i) < HEAD_DIM;
        ptx::copy16(to + c + i, own ? from + 8u * (c + i) : from, own);
    }
}

// Keys (of an even number) or values of a block.
__device__ inline void copy_turn(
    const Params& p, const Args& a, const Place& here, Work& work, u32 turn) {
    const u32 row = threadIdx.x / 8u;
    const u32 key = here.first_key + turn / 2u * TILE_N + row;
    uint4* to = work.ring[turn % BUFFERS] + row * PITCH;
    if (turn % 2u == 0u) {
        copy_row(to, a.k + k_base(p, here, key), key < p.tk);
    } else {
        copy_row(to, a.v + v_base(p, here, key), key < p.tk);
    }
}

// Waits for a turn and begins the copy of a later one where all are done with an earlier.
__device__ inline const uint4* take_turn(const Params& p, const Args& a, const Place& here,
    Work& work, u32 turn, u32 turns) {
    if constexpr (BUFFERS == 1u) {
        __syncthreads();
        copy_turn(p, a, here, work, turn);
        ptx::commit();
        ptx::wait<0>();
        __syncthreads();
    } else {
        ptx::wait<BUFFERS < 2u ? 0 : BUFFERS - 2>();
        __syncthreads();
        if (turn + BUFFERS - 1u < turns) {
            copy_turn(p, a, here, work, turn + BUFFERS - 1u);
        }
        ptx::commit();
    }
    return work.ring[turn % BUFFERS];
}

// A warp's block of q k^T: 16 queries by 8 keys.
__device__ inline void score(Work& work, const uint4* keys) {
    const u32 warp = threadIdx.x / 32u;
    const u32 lane = threadIdx.x % 32u;
    const u32 row = warp % 2u * 16u;
    const u32 key = warp / 2u * 8u;
    const uint4* of_q = work.queries + (row + lane % 16u) * PITCH + lane / 16u;
    const uint4* of_k = keys + (key + lane % 8u) * PITCH + lane / 8u;
    // Two sums, so that a product need not wait for the one before.
    f32 sums[2][4] = {};
#pragma unroll
    for (u32 step = 0u; step < STEPS_D; step += 2u) {
        unsigned q[2][4], k[4];
        ptx::load_matrices(k, of_k + 2u * step);
        ptx::load_matrices(q[0], of_q + 2u * step);
        ptx::load_matrices(q[1], of_q + 2u * step + 2u);
        multiply(q_t{}, sums[0], q[0], k[0], k[1]);
        multiply(q_t{}, sums[1], q[1], k[2], k[3]);
    }
    f32* own = work.scores + (row + lane / 4u) * SCORES_PITCH + key + lane % 4u * 2u;
    *reinterpret_cast<float2*>(own) =
        make_float2(sums[0][0] + sums[1][0], sums[0][1] + sums[1][1]);
    *reinterpret_cast<float2*>(own + 8u * SCORES_PITCH) =
        make_float2(sums[0][2] + sums[1][2], sums[0][3] + sums[1][3]);
}

// Scores to weights, of keys from `first` on. Exponents are of two.
__device__ inline void exponentiate(
    const Params& p, const Place& here, Work& work, Sums& sums, u32 first) {
    const u32 row = threadIdx.x / 8u;
    const u32 key = threadIdx.x % 8u * 4u;
    float4 v = load4(work.scores, row * SCORES_PITCH + key);
    f32 top = LOWEST;
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        const bool inside = sees(p, here, row, first + key + i);
        element(v, i) = inside ? element(v, i) * (p.score_scale * LOG2_E) : BELOW;
        top = fmaxf(top, element(v, i));
    }
#pragma unroll
    for (u32 lanes = 1u; lanes < 8u; lanes *= 2u) {
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, lanes));
    }
    top = fmaxf(sums.top, top);
    const f32 keep = exp2f(sums.top - top);
    v = make_float4(exp2f(v.x - top), exp2f(v.y - top), exp2f(v.z - top), exp2f(v.w - top));
    sums.norm = sums.norm * keep + ((v.x + v.y) + (v.z + v.w));
    sums.top = top;
    if (threadIdx.x % 8u == 0u) {
        work.keep[row] = keep;
    }
    uint2* weights = reinterpret_cast<uint2*>(work.weights + row * WEIGHTS_PITCH);
    weights[key / 4u] = make_uint2(pack2(q_t{}, v.x, v.y), pack2(q_t{}, v.z, v.w));
}

// This warp's channels by a factor of each row.
__device__ inline void scale_outputs(const Work& work, Sums& sums) {
    const u32 row = threadIdx.x % 32u / 4u;
#pragma unroll
    for (u32 half = 0u; half < 4u; half++) {
        const f32 factor = work.keep[8u * half + row];
#pragma unroll
        for (u32 i = 0u; i < BLOCKS_D; i++) {
            sums.o[half / 2u][i][half % 2u * 2u] *= factor;
            sums.o[half / 2u][i][half % 2u * 2u + 1u] *= factor;
        }
    }
}

// Adds the staged values, weighted.
__device__ inline void weigh(const Work& work, Sums& sums, const uint4* values) {
    const u32 warp = threadIdx.x / 32u;
    const u32 lane = threadIdx.x % 32u;
    const uint4* own = values + lane % 16u * PITCH + warp * BLOCKS_D + lane / 16u;
#pragma unroll
    for (u32 step = 0u; step < TILE_N / 16u; step++) {
        unsigned w[2][4];
#pragma unroll
        for (u32 block = 0u; block < 2u; block++) {
            const u32 row = 16u * block + lane % 16u;
            ptx::load_matrices(
                w[block], work.weights + row * WEIGHTS_PITCH + 2u * step + lane / 16u);
        }
#pragma unroll
        for (u32 i = 0u; i < BLOCKS_D; i += 2u) {
            unsigned b[4];
            ptx::load_matrices_transposed(b, own + 16u * step * PITCH + i);
#pragma unroll
            for (u32 block = 0u; block < 2u; block++) {
                multiply(q_t{}, sums.o[block][i], w[block], b[0], b[1]);
                multiply(q_t{}, sums.o[block][i + 1u], w[block], b[2], b[3]);
            }
        }
    }
}

// All of a block: this lane's outputs.
__device__ inline void attend(
    const Params& p, const Args& a, const Place& here, Work& work, Sums& sums) {
#pragma unroll
    for (u32 i = 0u; i < 8u * BLOCKS_D; i++) {
        sums.o[i / (4u * BLOCKS_D)][i / 4u % BLOCKS_D][i % 4u] = 0.0f;
    }
    sums.top = LOWEST;
    sums.norm = 0.0f;
    const u32 query = threadIdx.x / 8u;
    copy_row(work.queries + query * PITCH, a.q + q_base(p, here, query), true);
    // A split may have none of the keys that the block sees.
    const u32 end_key = key_end(p, here);
    const u32 keys = end_key > here.first_key ? end_key - here.first_key : 0u;
    const u32 turns = 2u * parts_of(keys, TILE_N);
    for (u32 turn = 0u; turn + 1u < BUFFERS; turn++) {
        if (turn < turns) {
            copy_turn(p, a, here, work, turn);
        }
        ptx::commit();
    }
    for (u32 turn = 0u; turn < turns; turn += 2u) {
        score(work, take_turn(p, a, here, work, turn, turns));
        __syncthreads();
        exponentiate(p, here, work, sums, here.first_key + turn / 2u * TILE_N);
        const uint4* values = take_turn(p, a, here, work, turn + 1u, turns);
        scale_outputs(work, sums);
        weigh(work, sums, values);
    }
    // Also the queries, if there were no keys: results will lie there.
    ptx::commit();
    ptx::wait<0>();
#pragma unroll
    for (u32 lanes = 1u; lanes < 8u; lanes *= 2u) {
        sums.norm += __shfl_xor_sync(0xffffffffu, sums.norm, lanes);
    }
    __syncthreads();
    if (threadIdx.x % 8u == 0u) {
        work.keep[query] = inverse_norm(sums.norm);
        work.stats[query] = make_float2(sums.top, sums.norm);
    }
    __syncthreads();
    scale_outputs(work, sums);
}

// The results of a chunk, of which a thread has RESULTS rows.
__device__ inline void results_of(
    const Place&, Work& work, const Sums& sums, u32 chunk, float4 (&results)[RESULTS]) {
    const u32 lane = threadIdx.x % 32u;
    __syncthreads();
#pragma unroll
    for (u32 i = 0u; i < BLOCKS_D; i++) {
        const u32 block = threadIdx.x / 32u * BLOCKS_D + i;
        if (block / (QUADS_N / 2u) == chunk) {
            f32* own = work.slab + lane / 4u * SLAB_PITCH + block % (QUADS_N / 2u) * 8u
                + lane % 4u * 2u;
#pragma unroll
            for (u32 half = 0u; half < 4u; half++) {
                const f32(&v)[4] = sums.o[half / 2u][i];
                const u32 e = half % 2u * 2u;
                *reinterpret_cast<float2*>(own + 8u * half * SLAB_PITCH) =
                    make_float2(v[e], v[e + 1u]);
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (u32 i = 0u; i < RESULTS; i++) {
        const u32 row = threadIdx.x / QUADS_N + i * STEP_M;
        results[i] = load4(work.slab, row * SLAB_PITCH + threadIdx.x % QUADS_N * 4u);
    }
}
