// The sums of a tile on their way to the threads that finish them: slabs of SLAB_M rows lie one
// after the other in the workgroup's memory, f32 [share][row][part][column]. Needs PARTS, the tiles
// side by side, and SHARES_K, whose sums are added here.
constexpr u32 QUADS_N = TILE_N / 4u;
// Words from a row to the next; eight more than it has, so that rows begin in other banks.
constexpr u32 SLAB_PITCH = PARTS * TILE_N + 8u;
// The most rows that fit into 40 KiB, whole ones of a warp's.
__device__ inline constexpr u32 slab_rows(u32 rows) {
    return rows > 32u && SHARES_K * rows * SLAB_PITCH > 10240u ? slab_rows(rows / 2u) : rows;
}
constexpr u32 SLAB_M = slab_rows(TILE_M);
constexpr u32 SLAB_WORDS = SHARES_K * SLAB_M * SLAB_PITCH;

// Rows that the threads finish at a time, a quad of columns each.
constexpr u32 STEP_M = BLOCK / QUADS_N;
// Results of a thread in a slab, and rows of them.
constexpr u32 OWN_ROWS = parts_of(SLAB_M, STEP_M);
constexpr u32 RESULTS = PARTS * OWN_ROWS;

struct Results {
    float4 v[RESULTS];
};

// The quad of columns and the first row of a slab that this thread finishes.
__device__ inline u32 own_quad() {
    return threadIdx.x % QUADS_N;
}
__device__ inline u32 slab_row(u32 i) {
    return threadIdx.x / QUADS_N + i * STEP_M;
}

// The sums of all shares, in their order.
__device__ inline Results results_of_slab(const f32* slab) {
    Results results;
#pragma unroll
    for (u32 i = 0u; i < RESULTS; i++) {
        const u32 row = slab_row(i % OWN_ROWS);
        float4 sum = zeros();
        if (row < SLAB_M) {
#pragma unroll
            for (u32 share = 0u; share < SHARES_K; share++) {
                const u32 at = (share * SLAB_M + row) * SLAB_PITCH + i / OWN_ROWS * TILE_N;
                sum = sum + load4(slab, at + 4u * own_quad());
            }
        }
        results.v[i] = sum;
    }
    return results;
}
