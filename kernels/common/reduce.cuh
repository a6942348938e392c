// Reductions over a workgroup of THREADS, a power of two, in a fixed order; every thread gets the
// result.
__device__ inline float2 operator+(float2 a, float2 b) {
    return make_float2(a.x + b.x, a.y + b.y);
}
__device__ inline float2 operator-(float2 a, float2 b) {
    return make_float2(a.x - b.x, a.y - b.y);
}
__device__ inline float2 operator*(float2 a, float2 b) {
    return make_float2(a.x * b.x, a.y * b.y);
}
__device__ inline float2 operator/(float2 a, f32 b) {
    return make_float2(a.x / b, a.y / b);
}

// An element of a sorted list, told by its bits: `rank` counts from the first element with the bits
// found so far, of which there are `count`.
struct Rank {
    u32 bits;
    u32 rank;
    u32 count;
};

// What the threads of a workgroup share while they reduce.
struct Reduction {
    float2 reduced[THREADS];
    u32 bins[256];
    Rank chosen;
};

__device__ inline float2 workgroup_sum(Reduction& r, float2 value) {
    r.reduced[threadIdx.x] = value;
    __syncthreads();
    for (u32 half = THREADS / 2u; half > 0u; half >>= 1u) {
        if (threadIdx.x < half) {
            r.reduced[threadIdx.x] = r.reduced[threadIdx.x] + r.reduced[threadIdx.x + half];
        }
        __syncthreads();
    }
    const float2 sum = r.reduced[0];
    __syncthreads();
    return sum;
}

__device__ inline u32 workgroup_least(Reduction& r, u32 value) {
    if (threadIdx.x == 0u) {
        r.bins[0] = 0xffffffffu;
    }
    __syncthreads();
    atomicMin(&r.bins[0], value);
    __syncthreads();
    const u32 least = r.bins[0];
    __syncthreads();
    return least;
}

__device__ inline void clear_bins(Reduction& r) {
    for (u32 bin = threadIdx.x; bin < 256u; bin += THREADS) {
        r.bins[bin] = 0u;
    }
    __syncthreads();
}

__device__ inline void count_bin(Reduction& r, u32 bin) {
    atomicAdd(&r.bins[bin], 1u);
}

// Eight more bits, those from `shift` on: the bin in which the rank falls.
__device__ inline Rank narrow(Reduction& r, Rank rank, u32 shift) {
    __syncthreads();
    if (threadIdx.x == 0u) {
        Rank next = rank;
        u32 bin = 0u;
        for (; bin < 255u && next.rank >= r.bins[bin]; bin++) {
            next.rank -= r.bins[bin];
        }
        next.bits |= bin << shift;
        next.count = r.bins[bin];
        r.chosen = next;
    }
    __syncthreads();
    const Rank next = r.chosen;
    __syncthreads();
    return next;
}
