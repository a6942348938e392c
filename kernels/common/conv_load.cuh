#ifdef HAS_TABLE
//!include row
#endif
// What conv2d loads: the pixels under the filter over a tile, its halo, normalised and activated,
// then the shortcut's pixels. The method says how many channels are staged at once (STAGE_K).

// Pixels of the halo from an output pixel to the next, and of the input from a pixel of the halo to
// the next: a filter of one tap sees no others between.
constexpr u32 SPREAD = TAPS == 1u ? 1u : STRIDE;
constexpr u32 APART = STRIDE / SPREAD;
constexpr u32 HALO_W = (TILE_W - 1u) * SPREAD + KERNEL;
constexpr u32 HALO_H = (TILE_H - 1u) * SPREAD + KERNEL_H;
constexpr u32 HALO_PIXELS = HALO_W * HALO_H;
// Places for them, or for the tile's own pixels of the shortcut.
#ifdef SHORTCUT
constexpr u32 HALO = HALO_PIXELS > TILE_M ? HALO_PIXELS : TILE_M;
#else
constexpr u32 HALO = HALO_PIXELS;
#endif

// The pixel of the halo that pixel `i` of the tile is under, at the first tap.
__device__ inline u32 origin_of(u32 i) {
    return i / TILE_W * SPREAD * HALO_W + i % TILE_W * SPREAD;
}

// Pixel `i` of the halo in x and x2, and whether it is none of the padding.
__device__ inline Own halo_pixel(const Params& p, const Place& here, u32 i) {
    // Those above and to the left of the map are beyond all others, unsigned.
    const u32 y = here.y * STRIDE + i / HALO_W * APART - p.top;
    const u32 x = here.x * STRIDE + i % HALO_W * APART - p.left;
    const bool inside = y < p.h * p.up && x < p.w * p.up;
    const u32 line = p.up == 1u ? y : y / p.up;
    const u32 column = p.up == 1u ? x : x / p.up;
    return {(here.sample * p.h + line) * p.w + column, inside};
}

#ifndef METHOD_MMA
// Channels c .. c + 4 of a pixel of one map, or of two whose channels follow each other; zero past
// the last.
template <bool TWO, class A, class B>
__device__ inline float4 joined_quad(
    const A* x, const B* x2, u32 index, u32 ca, u32 cb, u32 c) {
#ifdef VEC4
    if (TWO && c >= ca) {
        return load4(x2, index * cb + c - ca);
    }
    return load4(x, index * ca + c);
#else
    float4 v = zeros();
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (c + i < ca) {
            element(v, i) = load1(x, index * ca + c + i);
        }
        if (TWO && c + i >= ca && c + i < ca + cb) {
            element(v, i) = load1(x2, index * cb + c + i - ca);
        }
    }
    return v;
#endif
}

#ifdef HAS_TABLE
// Channels c .. c + 4 of a pixel of the network's input, zero past the last: x is the sampler's
// state [states, ca, h, w], of which several samples may read one.
__device__ inline float4 input_quad(
    const Params& p, const Args& a, const At& at, u32 index, u32 c) {
    const u32 pixels = p.h * p.w;
    const u32 state = index / pixels % p.states;
    const f32 gain = p.gain * row_of(a, at, state).c_in;
    float4 v = zeros();
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        if (c + i < p.ca) {
            const u32 from = (state * p.ca + c + i) * pixels + index % pixels;
            element(v, i) = gain * load1(a.x, from) + p.shift;
        }
    }
    return v;
}
#else
// Channels c .. c + 4 of a pixel of x and x2, zero past the last.
__device__ inline float4 input_quad(const Params& p, const Args& a, const At&, u32 index, u32 c) {
#ifdef HAS_X2
    return joined_quad<true>(a.x, a.x2, index, p.ca, p.cb, c);
#else
    return joined_quad<false>(a.x, a.x, index, p.ca, 0u, c);
#endif
}
#endif

// What loading applies to four channels.
struct Channels {
    float4 mean, rstd, gamma, beta, scale, shift;
};

__device__ inline Channels channels(const Params& p, const Args& a, const At& at,
    const Place& here, u32 c, const Norms& norms) {
    Channels affine = {zeros(), zeros(), zeros(), zeros(), zeros(), zeros()};
#ifdef GROUPS
    const u32 cin = p.ca + p.cb;
#ifdef ROWS_NORM
    const u32 row = map_row(p.map, a, at, here.sample) * 2u * cin;
#endif
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        const u32 channel = smaller(c + i, cin - 1u);
        const float2 norm = norms.groups[group_of(channel, cin)];
        element(affine.mean, i) = norm.x;
        element(affine.rstd, i) = norm.y;
        element(affine.gamma, i) = a.vectors[channel];
        element(affine.beta, i) = a.vectors[cin + channel];
#ifdef ROWS_NORM
        element(affine.scale, i) = a.rows[row + channel];
        element(affine.shift, i) = a.rows[row + cin + channel];
#endif
    }
#endif
    return affine;
}

// Channels c .. c + 4 of a pixel of the input as the filter sees it.
__device__ inline float4 load_input(const Params& p, const Args& a, const At& at,
    const Own& pixel, u32 c, const Channels& affine) {
    if (!pixel.inside) {
        return zeros();
    }
    float4 v = input_quad(p, a, at, pixel.index, c);
#ifdef GROUPS
    v = (v - affine.mean) * affine.rstd * affine.gamma + affine.beta;
#ifdef ROWS_NORM
    v = v * (all4(1.0f) + affine.scale) + affine.shift;
#endif
#endif
#ifdef ACT_IN
    v = activate(v, ACT_IN);
#endif
#ifndef VEC4
#pragma unroll
    for (u32 i = 0u; i < 4u; i++) {
        element(v, i) = c + i < p.ca + p.cb ? element(v, i) : 0.0f;
    }
#endif
    return v;
}

#ifdef SHORTCUT
// Channels c .. c + 4 of a pixel of skip and skip2, zero past the last.
__device__ inline float4 skip_quad(const Params& p, const Args& a, u32 index, u32 c) {
#ifdef HAS_SKIP2
    return joined_quad<true>(a.skip, a.skip2, index, p.sa, p.sb, c);
#else
    return joined_quad<false>(a.skip, a.skip, index, p.sa, 0u, c);
#endif
}
#endif
#endif
