//!include last
// What linear and conv2d do with a tile's sums. The including kernel says which row of y a row of
// its tile is (own_row), the size of y (rows_of_y, columns_of_y), and for moments how many rows of
// a slab or of another tile lie inside (slab_count, tile_count), and how many tiles and rows a
// sample has (tiles_of_sample, rows_of_sample).
//
// Where k is split, every workgroup of a tile leaves its sums in `partial`, f32 [SPLITS][rows]
// [quads] of the whole y. The one that comes last adds them in order and finishes the tile, so the
// result does not depend on which it is.

// What the end of a tile needs of the workgroup's memory beside the slab.
struct EndMemory {
    u32 last;
#ifdef HAS_MOMENTS
    float4 scratch[SCRATCH];
#endif
};

__device__ inline void store_partial(const Params& p, const At& at, const Place& here, u32 first,
    const Results& results) {
    const u32 quads = (columns_of_y(p) + 3u) / 4u;
    const u32 quad = here.quad + own_quad();
#pragma unroll
    for (u32 i = 0u; i < OWN_ROWS; i++) {
        const Own own = own_row(p, here, first + slab_row(i));
        if (slab_row(i) < SLAB_M && own.inside && quad < quads) {
            const u32 row = here.split * rows_of_y(p) + own.index;
            store4(at.partial, (row * quads + quad) * 4u, results.v[i]);
        }
    }
}

__device__ inline Results results_of_parts(
    const Params& p, const At& at, const Place& here, u32 first) {
    const u32 quads = (columns_of_y(p) + 3u) / 4u;
    const u32 quad = here.quad + own_quad();
    Results results;
#pragma unroll
    for (u32 i = 0u; i < OWN_ROWS; i++) {
        const Own own = own_row(p, here, first + slab_row(i));
        float4 sum = zeros();
        if (slab_row(i) < SLAB_M && own.inside && quad < quads) {
            for (u32 split = 0u; split < SPLITS; split++) {
                const u32 row = split * rows_of_y(p) + own.index;
                sum = sum + load4(at.partial, (row * quads + quad) * 4u);
            }
        }
        results.v[i] = sum;
    }
    return results;
}

#ifdef STORE_MOMENTS
// The sum of (v - center) to the first or second power over the rows of a slab.
__device__ inline float4 slab_deviations(const Params& p, const Place& here, u32 first,
    const Results& results, float4 center, bool squared, float4* scratch) {
    float4 sum = zeros();
#pragma unroll
    for (u32 i = 0u; i < OWN_ROWS; i++) {
        if (slab_row(i) < SLAB_M && own_row(p, here, first + slab_row(i)).inside) {
            const float4 d = results.v[i] - center;
            sum = sum + (squared ? d * d : d);
        }
    }
    return column_total(sum, scratch);
}

// Over the rows of a slab that are inside.
__device__ inline QuadMoments slab_moments(const Params& p, const Place& here, u32 first,
    const Results& results, float4* scratch) {
    const u32 rows = slab_count(p, here, first);
    const f32 part = 1.0f / (f32)larger(rows, 1u);
    // The mean of the deviations is what rounding left of a mean.
    const float4 near = part * slab_deviations(p, here, first, results, zeros(), false, scratch);
    const float4 rest = part * slab_deviations(p, here, first, results, near, false, scratch);
    const float4 mean = near + rest;
    return {(f32)rows, mean, slab_deviations(p, here, first, results, mean, true, scratch)};
}

// The sum over a sample's tiles of (mean - center) by their share of the pixels, or of the squared
// deviations from it, of the four channels from `column` on.
__device__ inline float4 tile_deviations(const Params& p, const Args& a, const Region& region,
    const Place& here, u32 column, float4 center, bool squared, float4* scratch) {
    const float2* pairs = moment_pairs(a);
    const u32 tiles = tiles_of_sample(p);
    const u32 width = smaller(4u, region.c - smaller(column, region.c));
    const f32 part = 1.0f / (f32)rows_of_sample(p);
    float4 sum = zeros();
    for (u32 tile = slab_row(0u); tile < tiles; tile += STEP_M) {
        const f32 count = (f32)tile_count(p, tile);
        const u32 from = region_pair(region, here.sample, tile, column);
#pragma unroll
        for (u32 i = 0u; i < 4u; i++) {
            if (i < width) {
                const float2 pair = pairs[from + i];
                const f32 d = pair.x - element(center, i);
                element(sum, i) += squared ? pair.y + count * d * d : count * part * d;
            }
        }
    }
    return column_total(sum, scratch);
}

// Leaves the moments of the tile. The last workgroup of a sample's tiles with these columns merges
// them into the first, so that who reads them next reads no more than one pair a channel.
__device__ inline void keep_moments(const Params& p, const Args& a, const At& at,
    const Place& here, const QuadMoments& all, EndMemory& end) {
    const u32 column = 4u * (here.quad + own_quad());
    const Region region = {p.into, p.tiles, columns_of_y(p)};
    const u32 width = smaller(4u, region.c - smaller(column, region.c));
    const bool own = threadIdx.x < QUADS_N;
    if (own) {
        store_pairs(a, region, here.sample, here.tile, column, width, all);
    }
    const u32 tiles = tiles_of_sample(p);
    const u32 across = parts_of(region.c, TILE_N);
    // These counters follow those of the tiles.
    u32* counter = at.counters + at.blocks / SPLITS + here.sample * across + here.quad / QUADS_N;
    if (tiles > 1u && !is_last(counter, tiles, end.last)) {
        return;
    }
    if (here.sample == 0u && here.quad == 0u) {
        for (u32 tile = threadIdx.x; tile < region.tiles; tile += THREADS) {
            const f32 count = tile == 0u ? (f32)rows_of_sample(p) : 0.0f;
            moment_pairs(a)[region.at + tile] = make_float2(count, 0.0f);
        }
    }
    if (tiles == 1u) {
        return;
    }
    float4* scratch = end.scratch;
    const float4 near = tile_deviations(p, a, region, here, column, zeros(), false, scratch);
    const float4 rest = tile_deviations(p, a, region, here, column, near, false, scratch);
    const float4 mean = near + rest;
    const float4 m2 = tile_deviations(p, a, region, here, column, mean, true, scratch);
    // All have read the first tile's.
    if (own) {
        store_pairs(a, region, here.sample, 0u, column, width, {0.0f, mean, m2});
    }
}
#endif

// Finishes the tile, if this workgroup is the one to; the others are told. `store` takes the first
// row of a slab and its results, and leaves them as they become part of y.
template <class Store>
__device__ inline bool finish_tile(const Params& p, const Args& a, const At& at,
    const Place& here, const Sums& sums, f32* slab, EndMemory& end, const Store& store) {
    if (SPLITS > 1u) {
        for (u32 first = 0u; first < TILE_M; first += SLAB_M) {
            __syncthreads();
            keep_sums(sums, first, slab);
            __syncthreads();
            store_partial(p, at, here, first, results_of_slab(slab));
        }
        if (!is_last(tile_counter(at), SPLITS, end.last)) {
            return false;
        }
    }
#ifdef STORE_MOMENTS
    QuadMoments all = {0.0f, zeros(), zeros()};
#endif
    for (u32 first = 0u; first < TILE_M; first += SLAB_M) {
        Results results;
        if (SPLITS > 1u) {
            results = results_of_parts(p, at, here, first);
        } else {
            __syncthreads();
            keep_sums(sums, first, slab);
            __syncthreads();
            results = results_of_slab(slab);
        }
        store(first, results);
#ifdef STORE_MOMENTS
        all = merge_quads(all, slab_moments(p, here, first, results, end.scratch));
#endif
    }
#ifdef STORE_MOMENTS
    keep_moments(p, a, at, here, all, end);
#endif
    return true;
}
