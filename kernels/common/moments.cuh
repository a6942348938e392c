// The moments of a map for the norm that reads it next: src/ops/moments.rs. The including kernel
// defines THREADS, its workgroup, and QUADS_N: threads of equal `threadIdx.x % QUADS_N` hold pixels
// of the same four channels.

// Where the moments of a map of `c` channels lie: [tiles] pairs (count, 0), then
// [n][tiles][c] pairs (mean, sum of squared deviations) over the pixels of a tile.
struct Region {
    u32 at, tiles, c;
};

// The tiles of a region that hold anything: where the first has all `pixels`, no other does.
__device__ inline u32 used_tiles(const Args& a, const Region& region, u32 pixels) {
    const f32 first = region.tiles > 0u ? reinterpret_cast<const float2*>(a.moments)[region.at].x
                                        : 0.0f;
    return first == (f32)pixels ? 1u : region.tiles;
}

// Number, mean and sum of squared deviations of some values.
struct Moments {
    f32 count, mean, m2;
};

// The same of four channels.
struct QuadMoments {
    f32 count;
    float4 mean, m2;
};

__device__ inline float2* moment_pairs(const Args& a) {
    return reinterpret_cast<float2*>(a.moments);
}

__device__ inline u32 region_pair(const Region& region, u32 sample, u32 tile, u32 channel) {
    return region.at + region.tiles + (sample * region.tiles + tile) * region.c + channel;
}

// Chan, Golub & LeVeque 1979, eq. 2.1: nothing is squared that has not lost its mean.
__device__ inline Moments merge(const Moments& a, const Moments& b) {
    const f32 count = a.count + b.count;
    const f32 part = b.count / fmaxf(count, 1.0f);
    const f32 d = b.mean - a.mean;
    return {count, a.mean + d * part, a.m2 + b.m2 + d * d * a.count * part};
}

__device__ inline QuadMoments merge_quads(const QuadMoments& a, const QuadMoments& b) {
    QuadMoments all = {a.count + b.count, a.mean, a.m2};
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        const Moments of_a = {a.count, element(a.mean, i), element(a.m2, i)};
        const Moments one = merge(of_a, {b.count, element(b.mean, i), element(b.m2, i)});
        element(all.mean, i) = one.mean;
        element(all.m2, i) = one.m2;
    }
    return all;
}

#ifdef GROUPS
// Threads that share a group.
constexpr u32 LANES = THREADS < GROUPS ? 1u : THREADS / GROUPS;
constexpr u32 SCRATCH = THREADS > GROUPS ? THREADS : GROUPS;
// Pairs that are read before the first is used.
constexpr u32 AHEAD = 4u;

// The group of one of `c` channels, without a division of integers, which is slow.
__device__ inline u32 group_of(u32 channel, u32 c) {
    return (u32)(((f32)channel + 0.5f) * ((f32)GROUPS / (f32)c));
}

// The moments of channels first .. end of `tiles` tiles of a sample, those of its pairs that are
// this lane's.
__device__ inline Moments lane_moments(const Args& a, const Region& region, u32 tiles, u32 sample,
    u32 first, u32 end, u32 lane) {
    const float2* pairs = moment_pairs(a);
    const u32 size = end - first;
    Moments all = {0.0f, 0.0f, 0.0f};
    for (u32 i = lane; i < tiles * size; i += AHEAD * LANES) {
        f32 counts[AHEAD];
        float2 read[AHEAD];
#pragma unroll
        for (u32 e = 0u; e < AHEAD; e++) {
            const u32 own = smaller(i + e * LANES, tiles * size - 1u);
            const u32 tile = own / size;
            counts[e] = i + e * LANES < tiles * size ? pairs[region.at + tile].x : 0.0f;
            read[e] = pairs[region_pair(region, sample, tile, first + own % size)];
        }
#pragma unroll
        for (u32 e = 0u; e < AHEAD; e++) {
            if (counts[e] > 0.0f) {
                all = merge(all, {counts[e], read[e].x, read[e].y});
            }
        }
    }
    return all;
}

// Fills `norms`, (mean, 1 / sqrt(variance + eps)) of each group of a sample, from the regions of
// two maps of `pixels` whose channels follow each other (b may have none), in uniform control flow.
__device__ inline void load_group_norms(const Args& args, const Region& a, const Region& b,
    u32 pixels, u32 sample, f32 eps, float4* scratch, float2* norms) {
    const u32 size = (a.c + b.c) / GROUPS;
    const u32 tiles_a = used_tiles(args, a, pixels);
    const u32 tiles_b = used_tiles(args, b, pixels);
    for (u32 i = threadIdx.x; i < GROUPS * LANES; i += THREADS) {
        const u32 first = i / LANES * size;
        const u32 end = first + size;
        const u32 lane = i % LANES;
        const Moments of_a = lane_moments(
            args, a, tiles_a, sample, smaller(first, a.c), smaller(end, a.c), lane);
        const Moments of_b = lane_moments(
            args, b, tiles_b, sample, larger(first, a.c) - a.c, larger(end, a.c) - a.c, lane);
        const Moments all = merge(of_a, of_b);
        scratch[i] = make_float4(all.count, all.mean, all.m2, 0.0f);
    }
    __syncthreads();
    for (u32 group = threadIdx.x; group < GROUPS; group += THREADS) {
        Moments all = {0.0f, 0.0f, 0.0f};
        for (u32 i = 0u; i < LANES; i++) {
            const float4 part = scratch[group * LANES + i];
            all = merge(all, {part.x, part.y, part.z});
        }
        norms[group] = make_float2(all.mean, rsqrtf(all.m2 / all.count + eps));
    }
    __syncthreads();
}
#else
constexpr u32 SCRATCH = THREADS;
#endif

// The sum of v over the threads of the same channels, in uniform control flow; the same on every
// device.
__device__ inline float4 column_total(float4 v, float4* scratch) {
    static_assert(QUADS_N <= 32u && 32u % QUADS_N == 0u, "a warp has whole rows of quads");
#pragma unroll
    for (u32 distance = QUADS_N; distance < 32u; distance *= 2u) {
        const float4 other = make_float4(__shfl_xor_sync(0xffffffffu, v.x, distance),
            __shfl_xor_sync(0xffffffffu, v.y, distance),
            __shfl_xor_sync(0xffffffffu, v.z, distance),
            __shfl_xor_sync(0xffffffffu, v.w, distance));
        v = v + other;
    }
    __syncthreads();
    if (threadIdx.x % 32u < QUADS_N) {
        scratch[threadIdx.x / 32u * QUADS_N + threadIdx.x % 32u] = v;
    }
    __syncthreads();
    float4 total = zeros();
#pragma unroll
    for (u32 warp = 0u; warp < THREADS / 32u; warp++) {
        total = total + scratch[warp * QUADS_N + threadIdx.x % QUADS_N];
    }
    return total;
}

// The moments of a tile's pixels in channels channel .. channel + width. Of the threads with the
// same channels one calls this.
__device__ inline void store_pairs(const Args& a, const Region& region, u32 sample, u32 tile,
    u32 channel, u32 width, const QuadMoments& all) {
    float2* pairs = moment_pairs(a);
    const u32 at = region_pair(region, sample, tile, channel);
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (i < width) {
            pairs[at + i] = make_float2(element(all.mean, i), element(all.m2, i));
        }
    }
}

// The same with the tile's count.
__device__ inline void store_moments(const Args& a, const Region& region, u32 sample, u32 tile,
    u32 channel, u32 width, const QuadMoments& all) {
    moment_pairs(a)[region.at + tile] = make_float2(all.count, 0.0f);
    store_pairs(a, region, sample, tile, channel, width, all);
}
