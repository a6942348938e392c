// Attention in f32: a thread has a quad of keys, later of channels (in CHUNKS), of ROWS queries,
// which lie STEP_M apart. Operands are staged in the workgroup's memory as 16-byte words.
constexpr u32 QUADS_N = TILE_N / 4u;
constexpr u32 STEP_M = TILE_M * QUADS_N < BLOCK ? TILE_M : BLOCK / QUADS_N;
constexpr u32 ROWS = TILE_M / STEP_M;
constexpr u32 STAGE_K = 16u; // steps of k between barriers
constexpr u32 QUADS_K = STAGE_K / 4u;
// 16-byte words of a head, and how often the quads of a workgroup's threads go over them.
constexpr u32 WORDS = (HEAD_DIM + 3u) / 4u;
constexpr u32 CHUNKS = parts_of(WORDS, QUADS_N);
constexpr u32 RESULTS = ROWS;
constexpr u32 RESIDENT = CHUNKS * ROWS > 4u ? 1u : 2u;

struct Work {
    float4 tile_a[TILE_M * QUADS_K];
    float4 tile_b[STAGE_K * QUADS_N];
    // Scores, or their exponentials, of the block of keys, [row][key / 4]; at the end sums.
    float4 scores[TILE_M * QUADS_N];
    // Of each row the highest score so far, and what its rise has left of older exponentials; at
    // the end the sum of exponentials.
    float2 tops[TILE_M];
};

// Rows 4 i .. 4 i + 4 of the staged keys or values: the quad of columns that is this thread's.
__device__ inline void read_rows(const Work& work, u32 i, float4 (&b)[4]) {
#pragma unroll
    for (u32 k = 0u; k < 4u; k++) {
        b[k] = work.tile_b[(4u * i + k) * QUADS_N + threadIdx.x % QUADS_N];
    }
}

// The sums of a thread: scores of the block of keys, and the output's chunks.
struct Sums {
    float4 scores[ROWS];
    float4 chunks[CHUNKS][ROWS];
    // What this thread's keys add to the sum of exponentials of each of its rows.
    f32 norm[ROWS];
};

// The first row of a thread. Where there are more threads than quads, the others look on.
__device__ inline u32 first_row() {
    return smaller(threadIdx.x / QUADS_N, STEP_M - 1u);
}

// Rows of this thread up to the last query of the map.
__device__ inline u32 own_count(const Params& p, const Place& here) {
    const u32 first = threadIdx.x / QUADS_N;
    const u32 queries = smaller(TILE_M, p.tq - here.query);
    return first < STEP_M && first < queries ? parts_of(queries - first, STEP_M) : 0u;
}

// sum + a b for four steps of k.
__device__ inline float4 row_product(float4 sum, float4 a, const float4* b) {
#pragma unroll
    for (u32 k = 0u; k < 4u; k++) {
        const f32 v = element(a, k);
        sum = make_float4(fmaf(v, b[k].x, sum.x), fmaf(v, b[k].y, sum.y),
            fmaf(v, b[k].z, sum.z), fmaf(v, b[k].w, sum.w));
    }
    return sum;
}

// sum + a b^T for four steps of k.
__device__ inline float4 row_product_transposed(float4 sum, float4 a, const float4* b) {
    f32 v[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        v[i] = fmaf(a.x, b[i].x, v[i]);
        v[i] = fmaf(a.y, b[i].y, v[i]);
        v[i] = fmaf(a.z, b[i].z, v[i]);
        v[i] = fmaf(a.w, b[i].w, v[i]);
    }
    return make_float4(v[0], v[1], v[2], v[3]);
}

// sums.scores = q k^T for the keys from `first` on.
__device__ inline void score(
    const Params& p, const Args& a, const Place& here, Work& work, Sums& sums, u32 first) {
#pragma unroll
    for (u32 row = 0u; row < ROWS; row++) {
        sums.scores[row] = zeros();
    }
    for (u32 word = 0u; word < WORDS; word += QUADS_K) {
        for (u32 i = threadIdx.x; i < TILE_M * QUADS_K; i += BLOCK) {
            const u32 own = word + i % QUADS_K;
            const u32 from = q_base(p, here, i / QUADS_K);
            work.tile_a[i] = own < WORDS ? load_word(a.q, from, own) : zeros();
        }
        // Channels 4 k .. of key 4 quad + j lie at [k][j][quad].
        for (u32 i = threadIdx.x; i < STAGE_K * QUADS_N; i += BLOCK) {
            const u32 key = first + i % QUADS_N * 4u + i / QUADS_N % 4u;
            const u32 own = smaller(word + i / TILE_N, WORDS - 1u);
            work.tile_b[i] = load_word(a.k, k_base(p, here, key), own);
        }
        __syncthreads();
#pragma unroll
        for (u32 i = 0u; i < QUADS_K; i++) {
            float4 b[4];
            read_rows(work, i, b);
#pragma unroll
            for (u32 row = 0u; row < ROWS; row++) {
                const float4 v = work.tile_a[(first_row() + row * STEP_M) * QUADS_K + i];
                sums.scores[row] = row_product_transposed(sums.scores[row], v, b);
            }
        }
        __syncthreads();
    }
}

// Adds the block of keys from `first` on, weighted, to the output's chunks.
__device__ inline void weigh(
    const Params& p, const Args& a, const Place& here, Work& work, Sums& sums, u32 first) {
#pragma unroll
    for (u32 chunk = 0u; chunk < CHUNKS; chunk++) {
        for (u32 stage = 0u; stage < smaller(TILE_N, p.tk - first); stage += STAGE_K) {
            for (u32 i = threadIdx.x; i < STAGE_K * QUADS_N; i += BLOCK) {
                const u32 base = v_base(p, here, first + stage + i / QUADS_N);
                const u32 word = smaller(chunk * QUADS_N + i % QUADS_N, WORDS - 1u);
                work.tile_b[i] = load_word(a.v, base, word);
            }
            __syncthreads();
#pragma unroll
            for (u32 i = 0u; i < QUADS_K; i++) {
                float4 b[4];
                read_rows(work, i, b);
#pragma unroll
                for (u32 row = 0u; row < ROWS; row++) {
                    const u32 of_row = (first_row() + row * STEP_M) * QUADS_N;
                    const float4 v = work.scores[of_row + stage / 4u + i];
                    sums.chunks[chunk][row] = row_product(sums.chunks[chunk][row], v, b);
                }
            }
            __syncthreads();
        }
    }
}

__device__ inline f32 highest(float4 v) {
    return fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w));
}

__device__ inline f32 total(float4 v) {
    return (v.x + v.y) + (v.z + v.w);
}

// Raises the row's highest score to those in `scores`.
__device__ inline void raise_tops(Work& work) {
    for (u32 row = threadIdx.x; row < TILE_M; row += BLOCK) {
        const f32 before = work.tops[row].x;
        f32 top = before;
        for (u32 i = 0u; i < QUADS_N; i++) {
            top = fmaxf(top, work.scores[row * QUADS_N + i].x);
        }
        work.tops[row] = make_float2(top, expf(before - top));
    }
}

// Leaves the sum of exponentials of each row, of which every quad of threads has a part.
__device__ inline void add_norms(Work& work) {
    for (u32 row = threadIdx.x; row < TILE_M; row += BLOCK) {
        f32 all = 0.0f;
        for (u32 i = 0u; i < QUADS_N; i++) {
            all += work.scores[row * QUADS_N + i].x;
        }
        work.tops[row].y = all;
    }
}

// The exponentials of the block's scores, and what they make of the sums so far.
__device__ inline void exponentiate(
    const Params& p, const Place& here, Work& work, Sums& sums, u32 first, u32 rows) {
    const u32 quad = threadIdx.x % QUADS_N;
    const u32 key = first + 4u * quad;
#pragma unroll
    for (u32 row = 0u; row < ROWS; row++) {
#pragma unroll
        for (u32 i = 0u; i < 4u; i++) {
            f32& score = element(sums.scores[row], i);
            const bool inside = sees(p, here, first_row() + row * STEP_M, key + i);
            score = inside ? score * p.score_scale : LOWEST;
        }
        if (row < rows) {
            const u32 at = (first_row() + row * STEP_M) * QUADS_N + quad;
            work.scores[at].x = highest(sums.scores[row]);
        }
    }
    __syncthreads();
    raise_tops(work);
    __syncthreads();
#pragma unroll
    for (u32 row = 0u; row < ROWS; row++) {
        const u32 own = first_row() + row * STEP_M;
        const float2 top = work.tops[own];
        float4 w = zeros();
#pragma unroll
        for (u32 i = 0u; i < 4u; i++) {
            if (sees(p, here, own, key + i)) {
                element(w, i) = expf(element(sums.scores[row], i) - top.x);
            }
        }
        if (row < rows) {
            work.scores[own * QUADS_N + quad] = w;
        }
        sums.norm[row] = sums.norm[row] * top.y + total(w);
#pragma unroll
        for (u32 chunk = 0u; chunk < CHUNKS; chunk++) {
            sums.chunks[chunk][row] = top.y * sums.chunks[chunk][row];
        }
    }
    __syncthreads();
}

// All of a block: the output's chunks, not yet divided by the sums of exponentials.
__device__ inline void attend(
    const Params& p, const Args& a, const Place& here, Work& work, Sums& sums) {
    const u32 rows = own_count(p, here);
#pragma unroll
    for (u32 row = 0u; row < ROWS; row++) {
        sums.norm[row] = 0.0f;
#pragma unroll
        for (u32 chunk = 0u; chunk < CHUNKS; chunk++) {
            sums.chunks[chunk][row] = zeros();
        }
    }
    // Rows past the last query stay zero.
    for (u32 i = threadIdx.x; i < TILE_M * QUADS_N; i += BLOCK) {
        work.scores[i] = zeros();
    }
    for (u32 row = threadIdx.x; row < TILE_M; row += BLOCK) {
        work.tops[row] = make_float2(LOWEST, 0.0f);
    }
    for (u32 first = 0u; first < key_end(p, here); first += TILE_N) {
        score(p, a, here, work, sums, first);
        exponentiate(p, here, work, sums, first, rows);
        weigh(p, a, here, work, sums, first);
    }
#pragma unroll
    for (u32 row = 0u; row < ROWS; row++) {
        if (row < rows) {
            const u32 own = first_row() + row * STEP_M;
            work.scores[own * QUADS_N + threadIdx.x % QUADS_N].x = sums.norm[row];
        }
    }
    __syncthreads();
    add_norms(work);
    __syncthreads();
}

// The results of a chunk, of which a thread has RESULTS rows.
__device__ inline void results_of(
    const Place&, Work& work, const Sums& sums, u32 chunk, float4 (&results)[RESULTS]) {
#pragma unroll
    for (u32 row = 0u; row < ROWS; row++) {
        const f32 norm = work.tops[first_row() + row * STEP_M].y;
        const float4 v = sums.chunks[chunk][row];
        results[row] = make_float4(v.x / norm, v.y / norm, v.z / norm, v.w / norm);
    }
}
