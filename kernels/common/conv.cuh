//!include activate
//!include addends
// A convolution up to the sums of its workgroups, for conv2d and conv_step.
constexpr u32 THREADS = BLOCK;
constexpr u32 PARTS = 1u;
// A tile is TILE_H x TILE_W pixels.
constexpr u32 TILE_W = TILE_M > 64u ? 16u : TILE_M > 16u ? 8u : 4u;
constexpr u32 TILE_H = TILE_M / TILE_W;
// The filter is KERNEL_H x KERNEL taps.
#ifndef KERNEL_H
constexpr u32 KERNEL_H = KERNEL;
#endif
constexpr u32 TAPS = KERNEL_H * KERNEL;
#ifdef METHOD_MMA
//!include fragments
#else
//!include scalar
#endif
#ifdef HAS_MOMENTS
//!include moments
#endif

// What a workgroup computes: a tile of a sample from output pixel (y, x) on, couts from 4 quad on.
struct Place {
    u32 sample, tile, y, x, quad, split;
};

__device__ inline Place place(const Params& p, u32 number) {
    const u32 columns = parts_of(p.cout, TILE_N);
    const u32 across = parts_of(p.wo, TILE_W);
    const u32 tiles = across * parts_of(p.ho, TILE_H);
    const u32 row = number / columns;
    const u32 tile = row % tiles;
    return {row / tiles % p.n, tile, tile / across * TILE_H, tile % across * TILE_W,
        number % columns * QUADS_N, row / tiles / p.n};
}

// A pixel of y, and whether it lies inside the map.
struct Own {
    u32 index;
    bool inside;
};

// Pixel `i` of a tile.
__device__ inline Own own_row(const Params& p, const Place& here, u32 i) {
    const u32 y = here.y + i / TILE_W;
    const u32 x = here.x + i % TILE_W;
    return {(here.sample * p.ho + y) * p.wo + x, y < p.ho && x < p.wo};
}

// Pixels of a slab that the map has.
__device__ inline u32 slab_count(const Params& p, const Place& here, u32 first) {
    const u32 y = smaller(here.y + first / TILE_W, p.ho);
    return smaller(SLAB_M / TILE_W, p.ho - y) * smaller(TILE_W, p.wo - here.x);
}

__device__ inline u32 tiles_of_sample(const Params& p) {
    return parts_of(p.wo, TILE_W) * parts_of(p.ho, TILE_H);
}

__device__ inline u32 rows_of_sample(const Params& p) {
    return p.ho * p.wo;
}

// Pixels of a tile that the map has.
__device__ inline u32 tile_count(const Params& p, u32 tile) {
    const u32 across = parts_of(p.wo, TILE_W);
    return smaller(TILE_H, p.ho - tile / across * TILE_H)
        * smaller(TILE_W, p.wo - tile % across * TILE_W);
}

__device__ inline u32 rows_of_y(const Params& p) {
    return p.n * p.ho * p.wo;
}

__device__ inline u32 columns_of_y(const Params& p) {
    return p.cout;
}

// What norms on load are made of: of the groups, and of the channels of two chunks.
struct Norms {
#ifdef GROUPS
    float2 groups[GROUPS];
#ifdef METHOD_MMA
    f32 mean[2][STAGE_K];
    f32 factor[2][STAGE_K];
    f32 addend[2][STAGE_K];
#endif
#endif
    u32 none;
};

__device__ inline void load_norms(
    const Params& p, const Args& a, const Place& here, Norms& norms, float4* scratch) {
#ifdef GROUPS
    const Region of_x = {p.from_a, p.tiles_a, p.ca};
    const Region of_x2 = {p.from_b, p.tiles_b, p.cb};
    load_group_norms(a, of_x, of_x2, p.h * p.w, here.sample, p.eps, scratch, norms.groups);
#endif
}
//!include conv_load
#ifdef METHOD_MMA
//!include halo_mma
#else
//!include halo
#endif
//!include sums

// The workgroup's memory; the sums lie where the operands were.
struct ConvMemory {
    union {
        Operands operands;
        f32 slab[SLAB_WORDS];
    } work;
    Norms norms;
    EndMemory end;
};

// The sums of the workgroup's split.
__device__ inline void convolve(const Params& p, const Args& a, const At& at, const Place& here,
    ConvMemory& s, Sums& sums) {
    clear(sums);
#ifdef HAS_MOMENTS
    float4* scratch = s.end.scratch;
#else
    float4* scratch = nullptr;
#endif
    add_products(p, a, at, here, s.work.operands, s.norms, scratch, sums);
}

// bias + row of the sample.
__device__ inline float4 addend(
    const Params& p, const Args& a, const At& at, const Place& here, u32 column, u32 width) {
    float4 v = zeros();
    if (width == 0u) {
        return v;
    }
#ifdef BIAS
#ifdef GROUPS
    v = v + vector_quad(a, 2u * (p.ca + p.cb) + column, width);
#else
    v = v + vector_quad(a, column, width);
#endif
#endif
#ifdef HAS_ROWS
#ifndef ROWS_NORM
    v = v + row_quad(a, map_row(p.map, a, at, here.sample) * p.cout + column, width);
#endif
#endif
    return v;
}
