//!include swizzle
// The tile of sums by mma.sync: TILE_M x TILE_N, of which a warp has WARP_M x WARP_N. Where fewer
// than eight warps cover the tile, they share out the steps of k of a stage, and their sums are
// added at the end. The including kernel says how many such tiles there are (PARTS).
constexpr u32 WARP_M = TILE_M * TILE_N > 8192u ? 64u
    : TILE_N < 16u || TILE_M < 32u             ? 16u
                                               : 32u;
constexpr u32 WARP_N = TILE_N < 32u ? TILE_N : 32u;
constexpr u32 WARPS_M = TILE_M / WARP_M;
constexpr u32 WARPS_N = TILE_N / WARP_N;
constexpr u32 SHARES_K = BLOCK / 32u / (WARPS_M * WARPS_N);
// Steps of k between barriers; a multiplication takes 16 of them.
constexpr u32 STAGE_K = 16u * (SHARES_K > 2u ? SHARES_K : 2u);
constexpr u32 STEPS = STAGE_K / 16u / SHARES_K;
// Chunks of a staged row of a and of b.
constexpr u32 CHUNKS_K = STAGE_K / 8u;
constexpr u32 CHUNKS_N = TILE_N / 8u;
// Blocks of 16x8 sums that a warp has.
constexpr u32 BLOCKS_M = WARP_M / 16u;
constexpr u32 BLOCKS_N = WARP_N / 8u;
static_assert(SHARES_K * WARPS_M * WARPS_N * 32u == BLOCK, "eight warps");

// Workgroups whose registers a processor must hold.
constexpr u32 RESIDENT = PARTS * WARP_M * WARP_N > 1024u ? 1u : 2u;

//!include slab

// Which part of the tile and of a stage a warp has.
struct Warp {
    u32 m, n, k, lane;
};

__device__ inline Warp this_warp() {
    const u32 warp = threadIdx.x / 32u;
    return {warp / WARPS_N % WARPS_M * WARP_M, warp % WARPS_N * WARP_N,
        warp / (WARPS_M * WARPS_N), threadIdx.x % 32u};
}

// The sums of a lane: rows lane / 4 and 8 more of a block, columns 2 (lane % 4) and the next.
struct Sums {
    f32 v[PARTS][BLOCKS_M][BLOCKS_N][4];
};

__device__ inline void clear(Sums& sums) {
#pragma unroll
    for (u32 i = 0u; i < PARTS * BLOCKS_M * BLOCKS_N; i++) {
#pragma unroll
        for (u32 e = 0u; e < 4u; e++) {
            sums.v[i / (BLOCKS_M * BLOCKS_N)][i / BLOCKS_N % BLOCKS_M][i % BLOCKS_N][e] = 0.0f;
        }
    }
}

// Adds the product of a stage. `a` is staged as rows of STAGE_K, of which rows[i] is this lane's of
// block i: see lane_row. `b` is [part][k][column].
__device__ inline void multiply_stage(
    Sums& sums, const uint4* a, const u32 (&rows)[BLOCKS_M], const uint4* b) {
    const Warp warp = this_warp();
    constexpr u32 PAIR = BLOCKS_N < 2u ? 1u : 2u;
#pragma unroll
    for (u32 step = 0u; step < STEPS; step++) {
        const u32 k = warp.k + step * SHARES_K;
        unsigned of_a[BLOCKS_M][4];
#pragma unroll
        for (u32 i = 0u; i < BLOCKS_M; i++) {
            const u32 c = 2u * k + warp.lane / 16u;
            ptx::load_matrices(of_a[i], a + chunk_at(rows[i], c, CHUNKS_K));
        }
#pragma unroll
        for (u32 j = 0u; j < PARTS * BLOCKS_N; j += PAIR) {
            const u32 part = j / BLOCKS_N;
            const u32 row = part * STAGE_K + 16u * k + warp.lane % 16u;
            const u32 c = warp.n / 8u + j % BLOCKS_N + warp.lane / 16u % PAIR;
            unsigned of_b[4];
            ptx::load_matrices_transposed(of_b, b + chunk_at(row, c, CHUNKS_N));
#pragma unroll
            for (u32 i = 0u; i < BLOCKS_M; i++) {
                f32(&own)[BLOCKS_N][4] = sums.v[part][i];
                multiply(x_t{}, own[j % BLOCKS_N], of_a[i], of_b[0], of_b[1]);
                if constexpr (PAIR == 2u) {
                    multiply(x_t{}, own[j % BLOCKS_N + 1u], of_a[i], of_b[2], of_b[3]);
                }
            }
        }
    }
}

// The row of the tile whose chunk this lane hands to the others for block i.
__device__ inline u32 lane_row(u32 i) {
    const Warp warp = this_warp();
    return warp.m + 16u * i + warp.lane % 16u;
}

// Four values of two words of a chunk.
__device__ inline float4 widen(f16, u32 low, u32 high) {
    return make_float4(ptx::widen_f16((unsigned short)low),
        ptx::widen_f16((unsigned short)(low >> 16)), ptx::widen_f16((unsigned short)high),
        ptx::widen_f16((unsigned short)(high >> 16)));
}
__device__ inline float4 widen(bf16, u32 low, u32 high) {
    return make_float4(__uint_as_float(low << 16), __uint_as_float(low & 0xffff0000u),
        __uint_as_float(high << 16), __uint_as_float(high & 0xffff0000u));
}

__device__ inline uint4 narrow(float4 low, float4 high) {
    return make_uint4(pack2(x_t{}, low.x, low.y), pack2(x_t{}, low.z, low.w),
        pack2(x_t{}, high.x, high.y), pack2(x_t{}, high.z, high.w));
}

__device__ inline uint4 no_chunk() {
    return make_uint4(0u, 0u, 0u, 0u);
}

// Rows row .. end of the weight, columns from `column` on, of which there are `columns`, to
// `staged`, zeros beyond. A row of the weight has `width` elements, a multiple of four.
__device__ inline void copy_weight(uint4* staged, const weight_t* weight, u32 row, u32 end,
    u32 column, u32 columns, u32 width) {
    // Where rows do not begin at a multiple of 16 bytes, chunks are copied by halves.
    const bool whole = (width | columns) % 8u == 0u;
#pragma unroll
    for (u32 i = 0u; i < parts_of(STAGE_K * CHUNKS_N, BLOCK); i++) {
        const u32 number = threadIdx.x + i * BLOCK;
        if (STAGE_K * CHUNKS_N % BLOCK != 0u && number >= STAGE_K * CHUNKS_N) {
            break;
        }
        const u32 k = number / CHUNKS_N;
        const u32 first = 8u * (number % CHUNKS_N);
        const bool inside = row + k < end;
        const u32 from = inside ? (row + k) * width + column + first : 0u;
        uint4* to = staged + chunk_at(k, number % CHUNKS_N, CHUNKS_N);
        if (whole) {
            ptx::copy16(to, weight + from, inside && first < columns);
        } else {
            ptx::copy8(to, weight + from, inside && first < columns);
            ptx::copy8(reinterpret_cast<uint2*>(to) + 1, weight + from + 4u,
                inside && first + 4u < columns);
        }
    }
}

// Hands the sums of rows first .. first + SLAB_M of the tile to `slab`.
__device__ inline void keep_sums(const Sums& sums, u32 first, f32* slab) {
    const Warp warp = this_warp();
    if (warp.m < first || warp.m >= first + SLAB_M) {
        return;
    }
    f32* own = slab + (warp.k * SLAB_M + warp.m - first + warp.lane / 4u) * SLAB_PITCH + warp.n
        + warp.lane % 4u * 2u;
#pragma unroll
    for (u32 j = 0u; j < PARTS * BLOCKS_M * BLOCKS_N; j++) {
        const u32 part = j / (BLOCKS_M * BLOCKS_N);
        const u32 i = j / BLOCKS_N % BLOCKS_M;
        const f32(&v)[4] = sums.v[part][i][j % BLOCKS_N];
        f32* at = own + 16u * i * SLAB_PITCH + part * TILE_N + 8u * (j % BLOCKS_N);
        *reinterpret_cast<float2*>(at) = make_float2(v[0], v[1]);
        *reinterpret_cast<float2*>(at + 8u * SLAB_PITCH) = make_float2(v[2], v[3]);
    }
}
