// y = act(h (1 + scale) + shift), h = (x - mean) / sqrt(var + eps) * gamma + beta over a group.
// x, y [n, hw, c], gamma, beta [c], rows [.., 2 c] = [scale | shift], channels innermost.
// One workgroup of 256 threads a group of a sample: mean, then centred moments, then the result.
// Bandwidth: one read from memory, two from cache, one write; 8 bytes an element in f32, 4 in f16.
// Reference: src/ops/group_norm.rs
//!include rowmap
//!include vector
//!include activate

struct Params {
    RowMap map;
    u32 n;
    u32 hw;
    u32 c;
    u32 groups;
    f32 eps;
    u32 act;
};

constexpr u32 THREADS = BLOCK;

// A pair of sums of each warp.
struct Shared {
    float2 partial[THREADS / 32u];
};
constexpr u32 SHARED_BYTES = sizeof(Shared);

// The sum of v over the workgroup, in a fixed order: over a warp by a tree, then over the warps.
__device__ inline float2 workgroup_sum(float2 v) {
    float2 (&partial)[THREADS / 32u] = shared<Shared>().partial;
    for (u32 half = 16u; half > 0u; half /= 2u) {
        v.x += __shfl_xor_sync(0xffffffffu, v.x, half);
        v.y += __shfl_xor_sync(0xffffffffu, v.y, half);
    }
    __syncthreads();
    if (threadIdx.x % 32u == 0u) {
        partial[threadIdx.x / 32u] = v;
    }
    __syncthreads();
    float2 sum = partial[0];
    for (u32 i = 1u; i < THREADS / 32u; i++) {
        sum.x += partial[i].x;
        sum.y += partial[i].y;
    }
    return sum;
}

__device__ inline f32 total(f32 v) {
    return v;
}
__device__ inline f32 total(float4 v) {
    return (v.x + v.y) + (v.z + v.w);
}

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    if (at.block >= p.n * p.groups) {
        return;
    }
    const u32 sample = at.block / p.groups;
    const u32 width = p.c / VEC; // of a vector
    const u32 group = p.c / p.groups / VEC; // of a group in it
    const u32 first = at.block % p.groups * group;
    const u32 base = sample * p.hw * width + first;
    const u32 count = p.hw * group;
    const f32 size = static_cast<f32>(p.hw) * static_cast<f32>(p.c / p.groups);

    f32 sum = 0.0f;
    for (u32 i = threadIdx.x; i < count; i += THREADS) {
        sum += total(load(a.x, base + i / group * width + i % group));
    }
    const f32 mean = workgroup_sum(make_float2(sum, 0.0f)).x / size;

    // The first moment about `mean` is what its rounding left: a large mean over a tiny variance
    // stays exact.
    float2 moments = make_float2(0.0f, 0.0f);
    for (u32 i = threadIdx.x; i < count; i += THREADS) {
        const V d = load(a.x, base + i / group * width + i % group) - all(mean);
        moments.x += total(d);
        moments.y += total(d * d);
    }
    moments = workgroup_sum(moments);
    const f32 rest = moments.x / size;
    const f32 gain = 1.0f / sqrtf(fmaxf(moments.y / size - rest * rest, 0.0f) + p.eps);

#ifdef HAS_ROWS
    const u32 row = map_row(p.map, a, at, sample) * 2u * width;
#endif
    for (u32 i = threadIdx.x; i < count; i += THREADS) {
        const u32 c = first + i % group;
        const u32 here = base + i / group * width + i % group;
        const V centred = (load(a.x, here) - all(mean)) - all(rest);
        V v = gain * centred * load(a.gamma, c) + load(a.beta, c);
#ifdef HAS_ROWS
        v = v * (all(1.0f) + load(a.rows, row + c)) + load(a.rows, row + width + c);
#endif
        store(a.y, here, activate(v, p.act));
    }
}
