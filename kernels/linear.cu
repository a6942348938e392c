// y = act(((load(x) W + bias) times + residual) scale); with GATE the sum is (v + b) gelu(g + b).
// x [.., k] by row map, W packed [k][n padded to 4] (GATE: v | g), residual and y [m, n].
// One workgroup TILE_M rows of a sample x TILE_N columns, 256 threads; see fragments and scalar.
// Compute: 2 m k n FLOP; below 64 rows reads of W bound: k is then shared out to SPLITS workgroups.
// Reference: src/ops/linear.rs
//!include rowmap

struct Params {
    RowMap map;
    u32 m;
    u32 k;
    u32 n;
    u32 hw;
    u32 norm;
    u32 groups;
    f32 eps;
    u32 act_in;
    u32 from_x;
    u32 tiles_x;
    u32 into;
    u32 tiles;
    u32 bias;
    u32 rows;
    u32 gate;
    u32 act;
    f32 scale;
};

constexpr u32 THREADS = BLOCK;
// Values and gates are two products.
#ifdef GATE
constexpr u32 PARTS = 2u;
#else
constexpr u32 PARTS = 1u;
#endif
#ifdef METHOD_MMA
//!include fragments
#else
//!include scalar
#endif
#ifdef HAS_MOMENTS
//!include moments
#endif
//!include epilogue

// The part of the product that a workgroup computes: rows row .. end, columns from 4 quad on, steps
// of k from `first_k` to `end_k`.
struct Place {
    u32 row, end, quad, first_k, end_k, split, sample;
    u32 tile; // of the sample's rows
};

__device__ inline Place place(const Params& p, u32 number) {
    const u32 columns = parts_of(p.n, TILE_N);
    const u32 hw = p.norm == NORM_GROUP || p.tiles > 0u || p.rows > 0u ? p.hw : p.m;
    const u32 tiles = parts_of(hw, TILE_M);
    const u32 rows = number / columns;
    const u32 sample = rows / tiles % (p.m / hw);
    const u32 split = rows / tiles / (p.m / hw);
    const u32 row = sample * hw + rows % tiles * TILE_M;
    // Splits are whole stages of k.
    const u32 depth = parts_of(parts_of(p.k, STAGE_K), SPLITS) * STAGE_K;
    const u32 first_k = smaller(split * depth, p.k);
    return {row, smaller(row + TILE_M, (sample + 1u) * hw), number % columns * QUADS_N, first_k,
        smaller(first_k + depth, p.k), split, sample, rows % tiles};
}

// What norms on load are made of.
struct Norms {
#ifdef GROUPS
    float2 groups[GROUPS];
#endif
#ifdef NORM_ROWS
    float4 rows[TILE_M];
#endif
    u32 own; // where the rows of the sample begin
};
//!include linear_load

__device__ inline void load_norms(const Params& p, const Args& a, const At& at,
    const Place& here, Norms& norms, float4* scratch) {
    // Both norms end with all threads at a barrier.
#ifdef SCALE_SHIFT
    if (threadIdx.x == 0u) {
        norms.own = map_row(p.map, a, at, here.sample) * 2u * p.k;
    }
#endif
#ifdef GROUPS
    const Region from = {p.from_x, p.tiles_x, p.k};
    const Region none = {0u, 0u, 0u};
    load_group_norms(a, from, none, p.hw, here.sample, p.eps, scratch, norms.groups);
#endif
#ifdef NORM_ROWS
    load_row_norms(p, a, at, here, norms);
#endif
}
#ifdef METHOD_MMA
//!include linear_mma
#else
//!include linear_scalar
#endif

// A row of y, and whether it lies inside the tile.
struct Own {
    u32 index;
    bool inside;
};

__device__ inline Own own_row(const Params&, const Place& here, u32 row) {
    return {here.row + row, here.row + row < here.end};
}

// Rows of a slab that lie inside.
__device__ inline u32 slab_count(const Params&, const Place& here, u32 first) {
    return smaller(SLAB_M, here.end - smaller(here.row + first, here.end));
}

__device__ inline u32 tiles_of_sample(const Params& p) {
    return parts_of(p.hw, TILE_M);
}

__device__ inline u32 rows_of_sample(const Params& p) {
    return p.hw;
}

// Rows of a tile of a sample.
__device__ inline u32 tile_count(const Params& p, u32 tile) {
    return smaller(TILE_M, p.hw - tile * TILE_M);
}

__device__ inline u32 rows_of_y(const Params& p) {
    return p.m;
}

__device__ inline u32 columns_of_y(const Params& p) {
    return p.n;
}

// The bias of columns column .. column + 4, of values (part 0) or gates.
__device__ inline float4 bias_quad(
    const Params& p, const Args& a, u32 part, u32 column, u32 width) {
#ifdef BIAS
    if (width > 0u) {
        const u32 first = p.norm == NORM_NONE ? 0u : 2u * p.k;
        return vector_quad(a, first + part * p.n + column, width);
    }
#endif
    return zeros();
}

// Finishes the results of the slab from row `first` of the tile on.
__device__ inline void store_results(const Params& p, const Args& a, const At& at,
    const Place& here, u32 first, Results& results) {
    const u32 column = 4u * (here.quad + own_quad());
    const u32 width = smaller(4u, p.n - smaller(column, p.n));
    const float4 bias = bias_quad(p, a, 0u, column, width);
#ifdef GATE
    const float4 gate_bias = bias_quad(p, a, 1u, column, width);
#endif
#ifdef TIMES
    const float4 times = row_quad(a, map_row(p.map, a, at, here.sample) * p.n + column, width);
#endif
#pragma unroll
    for (u32 i = 0u; i < OWN_ROWS; i++) {
        const Own own = own_row(p, here, first + slab_row(i));
        if (slab_row(i) < SLAB_M && own.inside && width > 0u) {
            const u32 element_of_y = own.index * p.n + column;
            float4 v = results.v[i] + bias;
#ifdef GATE
            v = v * activate(results.v[OWN_ROWS + i] + gate_bias, ACT_GELU);
#endif
#ifdef TIMES
            v = v * times;
#endif
            results.v[i] = finish(p, a, v, element_of_y, width);
            store_quad(a, results.v[i], element_of_y, width);
        }
    }
}
//!include sums

struct Shared {
    // The sums lie where the operands were.
    union {
        Operands operands;
        f32 slab[SLAB_WORDS];
    } work;
    Norms norms;
    EndMemory end;
};
constexpr u32 SHARED_BYTES = sizeof(Shared);

__device__ inline void run(const Params& p, const Args& a, const At& at) {
    Shared& s = shared<Shared>();
    const Place here = place(p, at.block);
#ifdef HAS_MOMENTS
    float4* scratch = s.end.scratch;
#else
    float4* scratch = nullptr;
#endif
    Sums sums;
    clear(sums);
    add_products(p, a, at, here, s.work.operands, s.norms, scratch, sums);
    const auto store = [&](u32 first, Results& results) {
        store_results(p, a, at, here, first, results);
    };
    finish_tile(p, a, at, here, sums, s.work.slab, s.end, store);
}
