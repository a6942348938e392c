// y = act((conv(load(x | x2), w) + shortcut(skip | skip2) + bias + row + residual) * scale).
// x, x2 [n, h, w, c], w [kh][kw][cin][cout padded to 4] and the shortcut's rows, y [n, ho, wo, cout].
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
//!include conv_fields
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
#ifdef HAS_TABLE
#ifndef PART_REDUCE
@group(0) @binding(10) var<storage, read> table: array<Row>;
#endif
#endif
#ifndef PART_PARTIAL
@group(0) @binding(11) var<storage, read_write> y: array<y_v>;
#endif
//!include conv

#ifndef PART_PARTIAL
fn store_results(at: Place, thread: u32) {
    let column = 4u * (at.quad + thread % QUADS_N);
    let width = min(4u, p.cout - min(column, p.cout));
    let more = addend(at, column, width);
    var results = results_of(at, thread);
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
