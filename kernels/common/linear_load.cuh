// The operands of linear: rows of x, normalised and activated.

// What loading four channels of a row applies; of both norms.
struct Channels {
    float4 gamma, beta, mean, rstd;
};

// The row map is that of samples where they have rows.
__device__ inline u32 row_of_x(const Params& p, const Args& a, const At& at, u32 row) {
#ifdef HAS_ROWS
    return row;
#else
    return map_row(p.map, a, at, row);
#endif
}

// Channels k .. k + 4; of the norm of a sample's rows, which it may scale and shift.
__device__ inline Channels channels(const Params& p, const Args& a, u32 k, const Norms& norms) {
    Channels c = {zeros(), zeros(), zeros(), zeros()};
#ifdef NORM
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        const u32 channel = smaller(k + i, p.k - 1u);
        element(c.gamma, i) = a.vectors[channel];
        element(c.beta, i) = a.vectors[p.k + channel];
#ifdef SCALE_SHIFT
        const f32 scale = 1.0f + a.rows[norms.own + channel];
        element(c.gamma, i) *= scale;
        element(c.beta, i) = element(c.beta, i) * scale + a.rows[norms.own + p.k + channel];
#endif
#ifdef GROUPS
        const float2 norm = norms.groups[group_of(channel, p.k)];
        element(c.mean, i) = norm.x;
        element(c.rstd, i) = norm.y;
#endif
    }
#endif
    return c;
}

// x[row][k .. k + 4] as stored, zero past the end of the row, which starts at `base`; k < p.k.
__device__ inline float4 load_raw(const Params& p, const Args& a, u32 base, u32 k) {
#ifdef VEC4
    return load4(a.x, base + k);
#else
    float4 v = zeros();
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (k + i < p.k) {
            element(v, i) = load1(a.x, base + k + i);
        }
    }
    return v;
#endif
}

// x[row][k .. k + 4] as stored, normalised and activated; `row` is of the tile.
__device__ inline float4 on_load(
    const Params& p, float4 x, u32 k, const Channels& c, const Norms& norms, u32 row) {
    float4 v = x;
#ifdef GROUPS
    v = (v - c.mean) * c.rstd * c.gamma + c.beta;
#endif
#ifdef NORM_ROWS
    const float4 norm = norms.rows[row];
    v = norm.z * (v - all4(norm.x) - all4(norm.y)) * c.gamma + c.beta;
#endif
#ifdef ACT_IN
    v = activate(v, ACT_IN);
#endif
#ifndef VEC4
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        element(v, i) = k + i < p.k ? element(v, i) : 0.0f;
    }
#endif
    return v;
}

#ifdef NORM_ROWS
// Threads that share a row: neighbours of a warp.
constexpr u32 SHARE = THREADS / TILE_M;
static_assert(SHARE >= 1u && SHARE <= 32u, "the threads of a row lie in one warp");

// The sum over the threads of a row.
__device__ inline f32 share_total(f32 v) {
#pragma unroll
    for (u32 distance = SHARE / 2u; distance > 0u; distance /= 2u) {
        v += __shfl_xor_sync(0xffffffffu, v, distance);
    }
    return v;
}

// The sum of (x - center) to the first or second power over this thread's values of a row.
__device__ inline f32 deviations(
    const Params& p, const Args& a, u32 base, f32 center, bool squared) {
    float4 sum = zeros();
    for (u32 k = 4u * (threadIdx.x % SHARE); k < p.k; k += 4u * SHARE) {
        const float4 d = load_raw(p, a, base, k) - all4(center);
#pragma unroll
        for (u32 i = 0u; i < 4u; i++) {
            if (k + i < p.k) {
                element(sum, i) += squared ? element(d, i) * element(d, i) : element(d, i);
            }
        }
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// Of each row its first value, its mean less that value, and 1 / sqrt(variance + eps): sums over
// differences, so that a large mean over a tiny variance costs nothing.
__device__ inline void load_row_norms(
    const Params& p, const Args& a, const At& at, const Place& here, Norms& norms) {
    const u32 row = threadIdx.x / SHARE;
    const u32 base = row_of_x(p, a, at, smaller(here.row + row, here.end - 1u)) * p.k;
    const f32 first = load_raw(p, a, base, 0u).x;
    const f32 mean = share_total(deviations(p, a, base, first, false)) / (f32)p.k;
    const f32 m2 = share_total(deviations(p, a, base, first + mean, true));
    if (threadIdx.x % SHARE == 0u) {
        norms.rows[row] = make_float4(first, mean, rsqrtf(m2 / (f32)p.k + p.eps), 0.0f);
    }
    __syncthreads();
}
#endif

#ifdef METHOD_MMA
#ifdef NORM
constexpr bool ON_LOAD = true;
#else
#ifdef ACT_IN
constexpr bool ON_LOAD = true;
#else
constexpr bool ON_LOAD = false;
#endif
#endif
// Chunks of rows of x that a thread stages, of the same channels.
constexpr u32 LOADS = TILE_M * CHUNKS_K / BLOCK;
static_assert(LOADS * BLOCK == TILE_M * CHUNKS_K, "every thread stages as many chunks");

// Chunks on their way, as stored.
struct Loaded {
    uint4 v[LOADS];
};

__device__ inline u32 load_row(u32 i) {
    return (threadIdx.x + i * BLOCK) / CHUNKS_K;
}

// Steps k .. k + STAGE_K of the rows to `staged`, those from `end` on as zeros.
__device__ inline void copy_rows(
    const Args& a, uint4* staged, const u32 (&base)[LOADS], u32 k, u32 end) {
    const u32 c = threadIdx.x % CHUNKS_K;
    const bool inside = k + 8u * c < end;
#pragma unroll
    for (u32 i = 0u; i < LOADS; i++) {
        uint4* to = staged + chunk_at(load_row(i), c, CHUNKS_K);
        ptx::copy16(to, a.x + (inside ? base[i] + k + 8u * c : 0u), inside);
    }
}

__device__ inline Loaded load_rows(const Args& a, const u32 (&base)[LOADS], u32 k, u32 end) {
    const u32 first = k + 8u * (threadIdx.x % CHUNKS_K);
    Loaded loaded;
#pragma unroll
    for (u32 i = 0u; i < LOADS; i++) {
        loaded.v[i] = no_chunk();
        if (first < end) {
            loaded.v[i] = *reinterpret_cast<const uint4*>(a.x + base[i] + first);
        }
    }
    return loaded;
}

__device__ inline void keep_rows(const Params& p, const Args& a, uint4* staged,
    const Loaded& loaded, u32 k, u32 end, const Norms& norms) {
    const u32 c = threadIdx.x % CHUNKS_K;
    const u32 first = k + 8u * c;
    const Channels low = channels(p, a, first, norms);
    const Channels high = channels(p, a, first + 4u, norms);
#pragma unroll
    for (u32 i = 0u; i < LOADS; i++) {
        const u32 row = load_row(i);
        const uint4 v = loaded.v[i];
        uint4 kept = no_chunk();
        if (first < end) {
            kept = narrow(on_load(p, widen(x_t{}, v.x, v.y), first, low, norms, row),
                on_load(p, widen(x_t{}, v.z, v.w), first + 4u, high, norms, row));
        }
        staged[chunk_at(row, c, CHUNKS_K)] = kept;
    }
}
#endif
