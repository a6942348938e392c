//!include lanes
//!include activate
//!include addends
// A convolution up to the sums of its workgroups, for conv2d and conv_step.

// The filter is KERNEL_H x KERNEL taps.
#ifndef KERNEL_H
const KERNEL_H: u32 = KERNEL;
#endif
// A tile is TILE_H x TILE_W pixels.
const TILE_W: u32 = select(4u, 8u, TILE_M > 16u);
const TILE_H: u32 = TILE_M / TILE_W;
#ifdef METHOD_MATRIX
const PARTS: u32 = 1u;
const STAGE_K: u32 = 16u;
// Lines of the halo that one line of the filter reads, and all that are kept: see halo_matrix.
const LINES: u32 = TILE_H + (KERNEL_H - 1u) / STRIDE;
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
// The sums of this thread's pixels, whole.
fn results_of(at: Place, thread: u32) -> Results {
#ifdef PART_REDUCE
    return results_of_parts(at, thread);
#else
    return results_of_sums(thread);
#endif
}

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
#endif
