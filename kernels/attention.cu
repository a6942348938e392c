// y = (softmax(q k^T * score_scale) v + residual) * scale of each head, with an online softmax.
// q [n, tq, ..], k and v [.., tk, ..] by a row map, strides, offsets; residual, y [n, tq, heads, d].
// One workgroup TILE_M queries of a head, keys by TILE_N; see attention_mma, attention_scalar.
// Compute: 4 n heads tq tk d FLOP; k and v are read once for TILE_M queries.
// Reference: src/ops/attention.rs
//!include rowmap

struct Params {
    RowMap map;
    u32 n;
    u32 tq;
    u32 tk;
    u32 heads;
    u32 d;
    u32 q_stride;
    u32 k_stride;
    u32 v_stride;
    u32 q_first;
    u32 k_first;
    u32 v_first;
    f32 score_scale;
    u32 into;
    u32 tiles;
    f32 scale;
    u32 causal;
};

constexpr u32 THREADS = BLOCK;
// The highest score before the first.
constexpr f32 LOWEST = -1.0e38f;

// Blocks of TILE_M queries that a workgroup takes one after the other: a tile of moments is of 32
// or more.
#ifdef STORE_MOMENTS
constexpr u32 BLOCKS = parts_of(32u, TILE_M);
#else
constexpr u32 BLOCKS = 1u;
#endif

// A head of a sample, the sample whose keys it has, the first query of a block, the tile of the
// sample that it is in, and the keys of the split.
struct Place {
    u32 sample, of_keys, head, query, tile, split, first_key, end_key;
};

// Whether row `row` of a block's queries sees a key.
__device__ inline bool sees(const Params& p, const Place& here, u32 row, u32 key) {
#ifdef CAUSAL
    return key < p.tk && key <= here.query + row;
#else
    return key < p.tk;
#endif
}

// The end of the keys that a block's queries see.
__device__ inline u32 key_end(const Params& p, const Place& here) {
#ifdef CAUSAL
    return smaller(here.end_key, here.query + TILE_M);
#else
    return here.end_key;
#endif
}

// What outputs are multiplied by in place of a division by the sum of exponentials; a split without
// keys has none.
__device__ inline f32 inverse_norm(f32 norm) {
    return norm == 0.0f ? 0.0f : 1.0f / norm;
}

//!include attention_load
#ifdef METHOD_MMA
#ifdef WIDE_HEAD
//!include attention_wide
#else
//!include attention_mma
#endif
#else
//!include attention_scalar
#endif
#ifdef HAS_MOMENTS
//!include moments
#endif
//!include epilogue

struct Shared {
    Work work;
#ifdef STORE_MOMENTS
    float4 scratch[BLOCK];
    // Of four channels each.
    QuadMoments kept[BLOCKS > 1u ? CHUNKS * QUADS_N : QUADS_N];
#endif
};
constexpr u32 SHARED_BYTES = sizeof(Shared);

// The query of a result of this thread, less the first of the block, and whether it is one.
__device__ inline u32 result_row(u32 i) {
    return threadIdx.x / QUADS_N + i * STEP_M;
}

__device__ inline bool result_inside(const Params& p, const Place& here, u32 i) {
    return result_row(i) < TILE_M && here.query + result_row(i) < p.tq;
}

#ifdef METHOD_MMA
//!include attention_splits
#endif

#ifdef STORE_MOMENTS
// The sum of (v - center) to the first or second power over the block's queries.
__device__ inline float4 tile_deviations(const Params& p, const Place& here,
    const float4 (&results)[RESULTS], float4 center, bool squared) {
    float4 sum = zeros();
#pragma unroll
    for (u32 i = 0u; i < RESULTS; i++) {
        if (result_inside(p, here, i)) {
            const float4 d = results[i] - center;
            sum = sum + (squared ? d * d : d);
        }
    }
    return column_total(sum, shared<Shared>().scratch);
}

// Over the block's queries.
__device__ inline QuadMoments tile_moments(
    const Params& p, const Place& here, const float4 (&results)[RESULTS]) {
    const f32 count = static_cast<f32>(smaller(TILE_M, p.tq - here.query));
    const f32 part = 1.0f / count;
    // The mean of the deviations is what rounding left of a mean.
    const float4 near = part * tile_deviations(p, here, results, zeros(), false);
    const float4 mean = near + part * tile_deviations(p, here, results, near, false);
    return {count, mean, tile_deviations(p, here, results, mean, true)};
}

// Adds the moments of a chunk to those of the workgroup's blocks before; the last block's are all.
__device__ inline void keep_moments(const Params& p, const Args& a, const Place& here, u32 chunk,
    const QuadMoments& moments) {
    const u32 channel = 4u * (chunk * QUADS_N + threadIdx.x);
    if (threadIdx.x >= QUADS_N || channel >= HEAD_DIM) {
        return;
    }
    const u32 begin = here.tile * BLOCKS * TILE_M;
    QuadMoments& kept = shared<Shared>().kept[BLOCKS > 1u ? channel / 4u : threadIdx.x];
    kept = here.query == begin ? moments : merge_quads(kept, moments);
    if (here.query + TILE_M >= smaller(begin + BLOCKS * TILE_M, p.tq)) {
        const Region region = {p.into, p.tiles, p.heads * HEAD_DIM};
        const u32 width = smaller(4u, HEAD_DIM - channel);
        const u32 of_y = here.head * HEAD_DIM + channel;
        store_moments(a, region, here.sample, here.tile, of_y, width, kept);
    }
}
#endif

// Finishes this thread's results of a chunk of channels.
__device__ inline void store_results(const Params& p, const Args& a, const Place& here, u32 chunk,
    float4 (&results)[RESULTS]) {
    const u32 channel = 4u * (chunk * QUADS_N + threadIdx.x % QUADS_N);
    const u32 width = smaller(4u, HEAD_DIM - smaller(channel, HEAD_DIM));
#pragma unroll
    for (u32 i = 0u; i < RESULTS; i++) {
        if (width > 0u && result_inside(p, here, i)) {
            const u32 row = here.sample * p.tq + here.query + result_row(i);
            const u32 first = (row * p.heads + here.head) * HEAD_DIM + channel;
            results[i] = finish(p, a, results[i], first, width);
            store_quad(a, results[i], first, width);
        }
    }
}

// The place of a workgroup's first block.
__device__ inline Place place(const Params& p, const Args& a, const At& at) {
    const u32 number = at.block;
    const u32 tiles = parts_of(p.tq, BLOCKS * TILE_M);
    const u32 head = number / tiles;
    const u32 tile = number % tiles;
    const u32 sample = head / p.heads % p.n;
    Place here = {sample, map_row(p.map, a, at, sample), head % p.heads, tile * BLOCKS * TILE_M,
        tile, head / p.heads / p.n, 0u, p.tk};
#ifdef METHOD_MMA
    here.first_key = first_key(p, here.split);
    here.end_key = first_key(p, here.split + 1u);
#endif
    return here;
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    Place here = place(p, a, at);
    Work& work = shared<Shared>().work;
    const u32 end = smaller(here.query + BLOCKS * TILE_M, p.tq);
    for (; here.query < end; here.query += TILE_M) {
        Sums sums;
        attend(p, a, here, work, sums);
#ifdef METHOD_MMA
        if (SPLITS > 1u && !leave_split(p, at, here, work, sums)) {
            return;
        }
#endif
#pragma unroll
        for (u32 chunk = 0u; chunk < CHUNKS; chunk++) {
            float4 results[RESULTS];
#ifdef METHOD_MMA
            if (SPLITS > 1u) {
                merge_splits(p, at, here, chunk, results);
            } else {
                results_of(here, work, sums, chunk, results);
            }
#else
            results_of(here, work, sums, chunk, results);
#endif
            store_results(p, a, here, chunk, results);
#ifdef STORE_MOMENTS
            keep_moments(p, a, here, chunk, tile_moments(p, here, results));
#endif
        }
        __syncthreads();
    }
}
