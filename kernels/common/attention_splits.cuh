//!include last
// Where keys are split, every workgroup of a block leaves its outputs in `partial`, f32 [SPLITS][n]
// [heads][tq][quads of d, then (highest score, sum of exponentials, 0, 0)]. The one that comes last
// merges them in order, so the result does not depend on which it is.
constexpr u32 SPLIT_PITCH = parts_of(HEAD_DIM, 4u) * 4u + 4u;

// The first key of a split: all have whole blocks of keys, and nearly as many.
__device__ inline u32 first_key(const Params& p, u32 split) {
    return smaller(split * parts_of(p.tk, TILE_N) / SPLITS * TILE_N, p.tk);
}

__device__ inline u32 split_row(const Params& p, const Place& here, u32 split, u32 row) {
    const u32 head = (split * p.n + here.sample) * p.heads + here.head;
    return (head * p.tq + here.query + row) * SPLIT_PITCH;
}

// A thread's outputs of a chunk of channels, and with the first what they weigh.
__device__ inline void store_split(const Params& p, const At& at, const Place& here,
    const Work& work, u32 chunk, const float4 (&results)[RESULTS]) {
    const u32 quad = chunk * QUADS_N + threadIdx.x % QUADS_N;
#pragma unroll
    for (u32 i = 0u; i < RESULTS; i++) {
        const u32 row = result_row(i);
        if (!result_inside(p, here, i)) {
            continue;
        }
        const u32 first = split_row(p, here, here.split, row);
        if (4u * quad < HEAD_DIM) {
            store4(at.partial, first + 4u * quad, results[i]);
        }
        if (quad == 0u) {
            const float2 stats = work.stats[row];
            store4(at.partial, first + SPLIT_PITCH - 4u,
                make_float4(stats.x, stats.y, 0.0f, 0.0f));
        }
    }
}

// The outputs of all splits, each by its part of the exponentials.
__device__ inline void merge_splits(const Params& p, const At& at, const Place& here, u32 chunk,
    float4 (&results)[RESULTS]) {
    const u32 quad = chunk * QUADS_N + threadIdx.x % QUADS_N;
#pragma unroll
    for (u32 i = 0u; i < RESULTS; i++) {
        results[i] = zeros();
        if (!result_inside(p, here, i) || 4u * quad >= HEAD_DIM) {
            continue;
        }
        f32 top = LOWEST;
        for (u32 split = 0u; split < SPLITS; split++) {
            const u32 first = split_row(p, here, split, result_row(i));
            top = fmaxf(top, at.partial[first + SPLIT_PITCH - 4u]);
        }
        f32 norm = 0.0f;
        for (u32 split = 0u; split < SPLITS; split++) {
            const u32 first = split_row(p, here, split, result_row(i));
            const f32 own = at.partial[first + SPLIT_PITCH - 4u];
            const f32 part = at.partial[first + SPLIT_PITCH - 3u] * exp2f(own - top);
            results[i] = results[i] + part * load4(at.partial, first + 4u * quad);
            norm += part;
        }
        results[i] = inverse_norm(norm) * results[i];
    }
}

// Leaves this split's outputs; whether those of all are there, and this workgroup is to merge them.
__device__ inline bool leave_split(
    const Params& p, const At& at, const Place& here, Work& work, const Sums& sums) {
#pragma unroll
    for (u32 chunk = 0u; chunk < CHUNKS; chunk++) {
        float4 results[RESULTS];
        results_of(here, work, sums, chunk, results);
        store_split(p, at, here, work, chunk, results);
    }
    return is_last(tile_counter(at), SPLITS, work.last);
}
