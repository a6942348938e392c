// y = act((conv(load(x | x2), w) + shortcut(skip | skip2) + bias + row + residual) * scale).
// x, x2 [n, h, w, c], w [k][k][cin][cout padded to 4] and the shortcut's rows, y [n, ho, wo, cout].
// One workgroup TILE_M pixels of a sample x TILE_N couts, summed by conv_load and halo. Compute: 2
// FLOP an output and step of K; 8 pixels x 4 couts a thread are 128 FMA to 12 16-byte loads.
// Reference: src/ops/conv2d.rs
//!include grid
//!include rowmap
//!include epilogue
#ifdef HAS_MOMENTS
//!include moments
#endif

struct Params {
    map: RowMap,
    n: u32,
    h: u32,
    w: u32,
    ca: u32,
    cb: u32,
    ho: u32,
    wo: u32,
    cout: u32,
    k: u32,
    stride: u32,
    pad: u32,
    up: u32,
    groups: u32,
    eps: f32,
    act_in: u32,
    from_a: u32,
    tiles_a: u32,
    from_b: u32,
    tiles_b: u32,
    into: u32,
    tiles: u32,
    sa: u32,
    sb: u32,
    rows_norm: u32,
    bias: u32,
    act: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
#ifndef PART_REDUCE
@group(0) @binding(1) var<storage, read> x: array<x_v>;
#ifdef HAS_X2
@group(0) @binding(2) var<storage, read> x2: array<x2_v>;
#endif
#ifdef METHOD_MATRIX
@group(0) @binding(3) var<storage, read> weight: array<weight_t>;
#else
@group(0) @binding(3) var<storage, read> weight: array<vec4<weight_t>>;
#endif
#endif
#ifdef HAS_VECTORS
@group(0) @binding(4) var<storage, read> vectors: array<f32>;
#endif
#ifdef HAS_MOMENTS
@group(0) @binding(5) var<storage, read_write> moments: array<vec2<f32>>;
#endif
#ifdef HAS_ROWS
@group(0) @binding(6) var<storage, read> rows: array<rows_t>;
#endif
#ifdef HAS_COND
@group(0) @binding(7) var<storage, read> cond: array<cond_t>;
#endif
#ifdef HAS_SKIP
#ifdef SHORTCUT
#ifndef PART_REDUCE
@group(0) @binding(8) var<storage, read> skip: array<skip_v>;
#endif
#else
#ifndef PART_PARTIAL
@group(0) @binding(8) var<storage, read> skip: array<skip_v>;
#endif
#endif
#endif
#ifdef HAS_SKIP2
#ifndef PART_REDUCE
@group(0) @binding(9) var<storage, read> skip2: array<skip2_v>;
#endif
#endif
#ifndef PART_PARTIAL
@group(0) @binding(10) var<storage, read_write> y: array<y_v>;
#endif

// A tile is TILE_H x TILE_W pixels.
const TILE_W: u32 = select(4u, 8u, TILE_M > 16u);
const TILE_H: u32 = TILE_M / TILE_W;
#ifdef METHOD_MATRIX
const PARTS: u32 = 1u;
const STAGE_K: u32 = 16u;
// Lines of the halo that one line of the filter reads, and all that are kept: see halo_matrix.
const LINES: u32 = TILE_H + (KERNEL - 1u) / STRIDE;
const STAGED: u32 = KERNEL * STRIDE * LINES * TILE_W;
//!include matrix
#else
// Its pixels are octets of 8, each 8 / TILE_W lines. Threads of the same couts share its octets by
// their lane, 0 to 7: METHOD_TILED gives a thread one pixel of each octet, METHOD_SUBGROUP all 8,
// of which its lane loads one.
const OCTETS: u32 = TILE_M / 8u;
const QUADS_N: u32 = TILE_N / 4u;
#ifdef METHOD_SUBGROUP
const OWN: u32 = 8u;
#else
const OWN: u32 = 1u;
#endif
const STEP_M: u32 = 8u / OWN;
const THREADS: u32 = STEP_M * QUADS_N;

// The sums of a thread's pixels and four couts.
var<private> sums: array<array<vec4<f32>, OWN>, OCTETS>;
#endif

// What a workgroup computes: a tile of a sample from output pixel (y, x) on, couts from 4 quad on.
struct Place {
    sample: u32,
    tile: u32,
    y: u32,
    x: u32,
    quad: u32,
    split: u32,
}

fn place(number: u32) -> Place {
    let columns = (p.cout + TILE_N - 1u) / TILE_N;
    let across = (p.wo + TILE_W - 1u) / TILE_W;
    let tiles = across * ((p.ho + TILE_H - 1u) / TILE_H);
    let row = number / columns;
    let tile = row % tiles;
    return Place(row / tiles % p.n, tile, tile / across * TILE_H, tile % across * TILE_W,
        number % columns * QUADS_N, row / tiles / p.n);
}

// Pixel `i` of a tile.
fn pixel(at: Place, i: u32) -> Own {
    let y = at.y + i / TILE_W;
    let x = at.x + i % TILE_W;
    return Own((at.sample * p.ho + y) * p.wo + x, y < p.ho && x < p.wo);
}

const RESULTS: u32 = TILE_M / STEP_M;

// The pixel of this thread's result `i`.
fn own_row(at: Place, i: u32, thread: u32) -> Own {
    return pixel(at, i * STEP_M + thread / QUADS_N);
}

// Results of a thread that may lie inside the map.
fn own_count(at: Place) -> u32 {
    return (min(TILE_H, p.ho - at.y) * TILE_W + STEP_M - 1u) / STEP_M;
}

#ifndef PART_REDUCE
//!include conv_load
#ifdef METHOD_MATRIX
//!include halo_matrix
#else
//!include halo
#endif
#endif

// Pixels of the tile that the map has.
fn tile_rows(at: Place) -> u32 {
    return min(TILE_H, p.ho - at.y) * min(TILE_W, p.wo - at.x);
}

fn rows_of_y() -> u32 {
    return p.n * p.ho * p.wo;
}

fn columns_of_y() -> u32 {
    return p.cout;
}

fn weight_width() -> u32 {
    return p.cout;
}
//!include results

#ifndef PART_REDUCE
#ifndef METHOD_MATRIX
fn results_of_sums(thread: u32) -> Results {
    var results: Results;
    for (var i = 0u; i < OCTETS; i++) {
        for (var j = 0u; j < OWN; j++) {
            results[i * OWN + j] = sums[i][j];
        }
    }
    return results;
}
#endif
#endif

#ifndef PART_PARTIAL
// bias + row of the sample.
fn addend(at: Place, column: u32, width: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if width == 0u {
        return v;
    }
#ifdef BIAS
#ifdef GROUPS
    v += vector_quad(2u * (p.ca + p.cb) + column, width);
#else
    v += vector_quad(column, width);
#endif
#endif
#ifdef HAS_ROWS
#ifndef ROWS_NORM
    v += row_quad(map_row(p.map, at.sample) * p.cout + column, width);
#endif
#endif
    return v;
}

fn store_results(at: Place, thread: u32) {
    let column = 4u * (at.quad + thread % QUADS_N);
    let width = min(4u, p.cout - min(column, p.cout));
    let more = addend(at, column, width);
#ifdef PART_REDUCE
    var results = results_of_parts(at, thread);
#else
    var results = results_of_sums(thread);
#endif
    for (var i = 0u; i < own_count(at) && width > 0u; i++) {
        let own = own_row(at, i, thread);
        if own.inside {
            let first = own.index * p.cout + column;
            results[i] = finish(results[i] + more, first, width);
            store_quad(results[i], first, width);
        }
    }
#ifdef STORE_MOMENTS
    store_tile_moments(at, thread, column, &results);
#endif
}
#endif

@compute @workgroup_size(THREADS)
fn conv2d(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
#ifdef METHOD_SUBGROUP
    @builtin(subgroup_invocation_id) invocation: u32,
#endif
#ifdef METHOD_MATRIX
    @builtin(subgroup_id) subgroup: u32,
#endif
    @builtin(local_invocation_index) thread: u32) {
    let at = place(workgroup_number(id, grid));
    if at.split >= DISPATCHED {
        return;
    }
#ifndef PART_REDUCE
#ifdef METHOD_SUBGROUP
    convolve(at, thread, invocation % 8u);
#endif
#ifdef METHOD_TILED
    convolve(at, thread, thread / QUADS_N);
#endif
#ifdef METHOD_MATRIX
    convolve(at, thread, subgroup);
    store_matrices(subgroup);
#endif
#endif
#ifdef PART_PARTIAL
    store_sums(at, thread);
#else
    store_results(at, thread);
#endif
}
