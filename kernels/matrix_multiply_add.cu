// sums = x weight, added rounds * MATRIX_CHAIN times, one after another; the same n times over.
// x [32, 16], weight [16, 32], sums [n, 32, 32] in f32.
// One warp a block of 32x32 sums in registers, eight of them in a workgroup; without mma.sync one
// workgroup a block, four sums a thread.
// Arithmetic: 2 * 32 * 32 * 16 for each product, the most that matrix units do; bytes but for sums.
// Reference: src/ops/matrix_multiply_add.rs
struct Params {
    u32 n;
    u32 rounds;
};

constexpr u32 THREADS = BLOCK;
constexpr u32 SIDE = MATRIX_SIDE, DEPTH = MATRIX_DEPTH;

#ifdef METHOD_MMA
constexpr u32 BLOCKS = TILE_M / SIDE;
static_assert(BLOCKS * 32u == BLOCK && SIDE == 32u && DEPTH == 16u, "a block a warp");

// Two elements, `apart` from each other, as a fragment holds them.
template <class T>
__device__ inline unsigned pair(const T* at, u32 apart) {
    return at[0].bits | static_cast<unsigned>(at[apart].bits) << 16;
}

// Fragments lie as kernels/common/ptx.cuh says.
__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 block = at.block * BLOCKS + threadIdx.x / 32u;
    if (block >= p.n) {
        return;
    }
    const u32 lane = threadIdx.x % 32u, row = lane / 4u, first = 2u * (lane % 4u);
    unsigned of_a[2][4], of_b[4][2];
#pragma unroll
    for (u32 e = 0u; e < 4u; e++) {
        const u32 k = first + 8u * (e / 2u);
        of_a[0][e] = pair(a.x + (row + 8u * (e % 2u)) * DEPTH + k, 1u);
        of_a[1][e] = pair(a.x + (row + 8u * (e % 2u) + 16u) * DEPTH + k, 1u);
        of_b[e][0] = pair(a.weight + first * SIDE + 8u * e + row, SIDE);
        of_b[e][1] = pair(a.weight + (first + 8u) * SIDE + 8u * e + row, SIDE);
    }
    f32 sums[2][4][4] = {};
    for (u32 round = 0u; round < p.rounds; round++) {
#pragma unroll
        for (u32 i = 0u; i < MATRIX_CHAIN * 8u; i++) {
            const u32 j = i % 4u;
            multiply(x_t{}, sums[i / 4u % 2u][j], of_a[i / 4u % 2u], of_b[j][0], of_b[j][1]);
        }
    }
    f32* to = a.sums + (block * SIDE + row) * SIDE + first;
#pragma unroll
    for (u32 i = 0u; i < 8u; i++) {
        const f32(&v)[4] = sums[i / 4u][i % 4u];
        f32* own = to + i / 4u * 16u * SIDE + i % 4u * 8u;
        *reinterpret_cast<float2*>(own) = make_float2(v[0], v[1]);
        *reinterpret_cast<float2*>(own + 8u * SIDE) = make_float2(v[2], v[3]);
    }
}
#else
constexpr u32 BLOCKS = 1u;
constexpr u32 QUADS = SIDE / 4u;
static_assert(SIDE * QUADS == BLOCK, "a block a workgroup");

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    const u32 row = threadIdx.x / QUADS, column = 4u * (threadIdx.x % QUADS);
    float4 sum = zeros();
    for (u32 round = 0u; round < p.rounds * MATRIX_CHAIN; round++) {
        for (u32 k = 0u; k < DEPTH; k++) {
            sum = sum + load1(a.x, row * DEPTH + k) * load4(a.weight, k * SIDE + column);
        }
    }
    store4(a.sums, (at.block * SIDE + row) * SIDE + column, sum);
}
#endif
