// The tile of sums of a thread by itself, in f32: four columns (a quad) of ROWS rows, which lie
// ROW_STEP apart. Where a tile has fewer quads than there are threads, SHARES_K threads share out
// the steps of k of a quad. The including kernel says how many such tiles there are (PARTS).
constexpr u32 QUADS = TILE_M * (TILE_N / 4u);
constexpr u32 SHARES_K = QUADS < BLOCK ? BLOCK / QUADS : 1u;
constexpr u32 ROWS = QUADS > BLOCK ? QUADS / BLOCK : 1u;
constexpr u32 ROW_STEP = TILE_M / ROWS;
// Steps of k that are staged at once.
constexpr u32 STAGE_K = 16u;
constexpr u32 QUADS_K = STAGE_K / 4u;
constexpr u32 RESIDENT = 2u;
static_assert(SHARES_K <= QUADS_K, "a share of a stage for every thread");

//!include slab

// The quad, the first row and the share of k that are this thread's.
struct Lane {
    u32 quad, row, share;
};

__device__ inline Lane this_lane() {
    const u32 own = threadIdx.x % (BLOCK / SHARES_K);
    return {own % (TILE_N / 4u), own / (TILE_N / 4u), threadIdx.x / (BLOCK / SHARES_K)};
}

struct Sums {
    float4 v[PARTS * ROWS];
};

__device__ inline void clear(Sums& sums) {
#pragma unroll
    for (u32 i = 0u; i < PARTS * ROWS; i++) {
        sums.v[i] = zeros();
    }
}

// Four rows of a quad of columns of b.
struct Rows4 {
    float4 v[4];
};

// sum + a b for four steps of k.
__device__ inline float4 row_product(float4 sum, float4 a, const Rows4& b) {
#pragma unroll
    for (u32 k = 0u; k < 4u; k++) {
        const f32 v = element(a, k);
        sum = make_float4(fmaf(v, b.v[k].x, sum.x), fmaf(v, b.v[k].y, sum.y),
            fmaf(v, b.v[k].z, sum.z), fmaf(v, b.v[k].w, sum.w));
    }
    return sum;
}

// Hands the sums of rows first .. first + SLAB_M of the tile to `slab`.
__device__ inline void keep_sums(const Sums& sums, u32 first, f32* slab) {
    const Lane lane = this_lane();
#pragma unroll
    for (u32 j = 0u; j < PARTS * ROWS; j++) {
        const u32 row = lane.row + j % ROWS * ROW_STEP;
        if (row >= first && row < first + SLAB_M) {
            const u32 at = (lane.share * SLAB_M + row - first) * SLAB_PITCH + j / ROWS * TILE_N;
            *reinterpret_cast<float4*>(slab + at + 4u * lane.quad) = sums.v[j];
        }
    }
}
