// y = act(((load(x) W + bias) times + residual) scale); with GATE the sum is (v + b) gelu(g + b).
// x [.., k] by row map, W packed [k][n padded to 4] (GATE: v | g), residual and y [m, n].
// One workgroup TILE_M rows of a sample x TILE_N columns, ROWS x 4 outputs a thread; see gemm.
// Compute: 2 m k n FLOP; below 64 rows reads of W bound: k is then cut in SPLITS, f32 partial sums.
// Reference: src/ops/linear.rs
//!include rowmap

// Values and gates are two products.
#ifdef GATE
const PARTS: u32 = 2u;
#else
const PARTS: u32 = 1u;
#endif
#ifdef METHOD_MATRIX
const STAGE_K: u32 = 32u;
const STAGED: u32 = TILE_M;
//!include matrix
#else
const STAGED: u32 = PARTS;
//!include gemm
#endif
#ifdef HAS_MOMENTS
//!include moments
#endif
//!include epilogue

struct Params {
    map: RowMap,
    m: u32,
    k: u32,
    n: u32,
    hw: u32,
    norm: u32,
    groups: u32,
    eps: f32,
    act_in: u32,
    from_x: u32,
    tiles_x: u32,
    into: u32,
    tiles: u32,
    bias: u32,
    rows: u32,
    gate: u32,
    act: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
#ifndef PART_REDUCE
@group(0) @binding(1) var<storage, read> x: array<x_v>;
#ifdef METHOD_MATRIX
@group(0) @binding(2) var<storage, read> weight: array<weight_t>;
#else
@group(0) @binding(2) var<storage, read> weight: array<vec4<weight_t>>;
#endif
#endif
#ifdef HAS_VECTORS
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
#endif
#ifdef HAS_MOMENTS
@group(0) @binding(4) var<storage, read_write> moments: array<vec2<f32>>;
#endif
#ifdef HAS_COND
@group(0) @binding(5) var<storage, read> cond: array<cond_t>;
#endif
#ifndef PART_PARTIAL
#ifdef HAS_SKIP
@group(0) @binding(6) var<storage, read> skip: array<skip_v>;
#endif
@group(0) @binding(7) var<storage, read_write> y: array<y_v>;
#endif
#ifdef HAS_ROWS
@group(0) @binding(8) var<storage, read> rows: array<rows_t>;
#endif

// The part of the product that a workgroup computes: rows row .. end, columns from 4 quad on, steps
// of k from `first_k` to `end_k`.
struct Place {
    row: u32,
    end: u32,
    quad: u32,
    first_k: u32,
    end_k: u32,
    split: u32,
    sample: u32,
    tile: u32, // of the sample's rows
}

fn place(number: u32) -> Place {
    let columns = (p.n + TILE_N - 1u) / TILE_N;
    let hw = select(p.m, p.hw, p.norm == NORM_GROUP || p.tiles > 0u || p.rows > 0u);
    let tiles = (hw + TILE_M - 1u) / TILE_M;
    let rows = number / columns;
    let sample = rows / tiles % (p.m / hw);
    let split = rows / tiles / (p.m / hw);
    let row = sample * hw + rows % tiles * TILE_M;
    // Splits are whole stages of k.
    let depth = ((p.k + STAGE_K - 1u) / STAGE_K + SPLITS - 1u) / SPLITS * STAGE_K;
    let first_k = min(split * depth, p.k);
    return Place(row, min(row + TILE_M, (sample + 1u) * hw), number % columns * QUADS_N, first_k,
        min(first_k + depth, p.k), split, sample, rows % tiles);
}

#ifndef PART_REDUCE
//!include linear_load

#ifdef METHOD_SUBGROUP
fn add_products(at: Place, thread: u32, lane: u32) {
    var base: array<u32, ROWS / 8u>;
    var norm: array<vec4<f32>, ROWS / 8u>;
    for (var i = 0u; i < ROWS / 8u; i++) {
        // Rows past the end read the last one; their sums are not stored.
        base[i] = row_of_x(min(at.row + 8u * i + lane, at.end - 1u)) * p.k;
#ifdef NORM_ROWS
        norm[i] = row_norms[8u * i + lane];
#endif
    }
    for (var k = at.first_k; k < at.end_k; k += 4u) {
        let c = channels(k, lane, at.sample);
        let b = weight_block(k, at.quad + thread, 0u);
#ifdef GATE
        let gate = weight_block(k, at.quad + thread, 1u);
#endif
        for (var i = 0u; i < ROWS / 8u; i++) {
            let a = load_x(base[i], k, c, norm[i]);
            multiply_eight(8u * i, a, b);
#ifdef GATE
            multiply_eight(ROWS + 8u * i, a, gate);
#endif
        }
    }
}
#else
// Quads of the rows of x that one thread stages at most.
const LOADS: u32 = (TILE_M * QUADS_K + THREADS - 1u) / THREADS;

// `lane` is the subgroup under METHOD_MATRIX.
fn add_products(at: Place, thread: u32, lane: u32) {
    let a_quad = thread % QUADS_K;
    var base: array<u32, LOADS>;
    var norm: array<vec4<f32>, LOADS>;
    for (var i = 0u; i < LOADS; i++) {
        // Rows past the end read the last one; their sums are not stored.
        let row = min((thread + i * THREADS) / QUADS_K, TILE_M - 1u);
        base[i] = row_of_x(min(at.row + row, at.end - 1u)) * p.k;
#ifdef NORM_ROWS
        norm[i] = row_norms[row];
#endif
    }
    for (var first = at.first_k; first < at.end_k; first += STAGE_K) {
        let k = first + 4u * a_quad;
        let c = channels(k, lane, at.sample);
        for (var i = 0u; i < LOADS; i++) {
            var a = vec4<f32>();
            if k < at.end_k {
                a = load_x(base[i], k, c, norm[i]);
            }
            if thread + i * THREADS < TILE_M * QUADS_K {
                stage_quad((thread + i * THREADS) / QUADS_K, 4u * a_quad, a);
            }
        }
#ifdef METHOD_MATRIX
        workgroupBarrier();
        for (var part = 0u; part < PARTS; part++) {
            multiply_block(part, 0u, first, 4u * at.quad, lane);
        }
#else
        for (var i = thread; i < STAGED * STAGE_K * QUADS_N; i += THREADS) {
            let row = first + i / QUADS_N % STAGE_K;
            tile_b[i] = load_weight(row, at.quad + i % QUADS_N, i / (STAGE_K * QUADS_N));
        }
        workgroupBarrier();
        multiply_tiles(0u, thread);
#ifdef GATE
        multiply_tiles(1u, thread);
#endif
#endif
        workgroupBarrier();
    }
}
#endif
#endif

const RESULTS: u32 = PARTS * ROWS;

fn own_row(at: Place, i: u32, thread: u32) -> Own {
    let row = at.row + thread / QUADS_N + i * STEP_M;
    return Own(row, row < at.end);
}

// Rows of this thread that may lie inside the tile.
fn own_count(at: Place) -> u32 {
    return (at.end - at.row + STEP_M - 1u) / STEP_M;
}

fn tile_rows(at: Place) -> u32 {
    return at.end - at.row;
}

fn rows_of_y() -> u32 {
    return p.m;
}

fn columns_of_y() -> u32 {
    return p.n;
}

fn weight_width() -> u32 {
    return PARTS * p.n;
}
//!include results

#ifndef PART_REDUCE
#ifndef METHOD_MATRIX
fn results_of_sums(thread: u32) -> Results {
    var results: Results;
    for (var i = 0u; i < RESULTS; i++) {
        results[i] = sums[i];
    }
    return results;
}
#endif
#endif

#ifndef PART_PARTIAL
// The bias of columns column .. column + 4, of values (part 0) or gates.
fn bias_quad(part: u32, column: u32, width: u32) -> vec4<f32> {
#ifdef BIAS
    if width > 0u {
        let first = select(2u * p.k, 0u, p.norm == NORM_NONE);
        return vector_quad(first + part * p.n + column, width);
    }
#endif
    return vec4<f32>();
}

fn store_results(at: Place, thread: u32) {
    let column = 4u * (at.quad + thread % QUADS_N);
    let width = min(4u, p.n - min(column, p.n));
    let bias = bias_quad(0u, column, width);
#ifdef GATE
    let gate_bias = bias_quad(1u, column, width);
#endif
#ifdef TIMES
    let times = row_quad(map_row(p.map, at.sample) * p.n + column, width);
#endif
#ifdef PART_REDUCE
    var results = results_of_parts(at, thread);
#else
    var results = results_of_sums(thread);
#endif
    for (var i = 0u; i < own_count(at) && width > 0u; i++) {
        let own = own_row(at, i, thread);
        if own.inside {
            let first = own.index * p.n + column;
            var v = results[i] + bias;
#ifdef GATE
            v *= activate(results[ROWS + i] + gate_bias, ACT_GELU);
#endif
#ifdef TIMES
            v *= times;
#endif
            results[i] = finish(v, first, width);
            store_quad(results[i], first, width);
        }
    }
#ifdef STORE_MOMENTS
    store_tile_moments(at, thread, column, &results);
#endif
}
#endif

@compute @workgroup_size(THREADS)
fn linear(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
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
    let lane = invocation % 8u;
#else
#ifdef METHOD_MATRIX
    let lane = subgroup;
#else
    let lane = thread;
#endif
#endif
#ifdef GROUPS
    let none = Region(0u, 0u, 0u);
    load_group_norms(Region(p.from_x, p.tiles_x, p.k), none, at.sample, p.eps, thread);
#endif
#ifdef NORM_ROWS
    load_row_norms(at, thread);
#endif
    add_products(at, thread, lane);
#ifdef METHOD_MATRIX
    store_matrices(subgroup);
#endif
#endif
#ifdef PART_PARTIAL
    store_sums(at, thread);
#else
    store_results(at, thread);
#endif
}
