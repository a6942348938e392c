// y = act((x W + bias + residual) * scale), rows of x through a row map.
// x [.., k], W packed [k][n padded to 4], residual and y [m, n]; f32 sums over k in order.
// One workgroup a tile of 64 rows x TILE_N columns, 4 x 4 outputs a thread, k staged by 16.
// Compute: 2 m k n FLOP, 128 FMA to 16 16-byte workgroup loads; below m = 64 reads of W bound.
// Reference: src/ops/linear.rs
//!include rowmap
//!include lanes
//!include activate
//!include gemm

struct Params {
    map: RowMap,
    m: u32,
    k: u32,
    n: u32,
    act: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
#ifdef VEC4
@group(0) @binding(1) var<storage, read> x: array<vec4<x_t>>;
#else
@group(0) @binding(1) var<storage, read> x: array<x_t>;
#endif
@group(0) @binding(2) var<storage, read> weight: array<vec4<weight_t>>;
#ifdef HAS_BIAS
@group(0) @binding(3) var<storage, read> bias: array<bias_t>;
#endif
#ifdef HAS_RESIDUAL
#ifdef STORE4
@group(0) @binding(4) var<storage, read> residual: array<vec4<residual_t>>;
#else
@group(0) @binding(4) var<storage, read> residual: array<residual_t>;
#endif
#endif
#ifdef HAS_COND
@group(0) @binding(5) var<storage, read> cond: array<cond_t>;
#endif
#ifdef STORE4
@group(0) @binding(6) var<storage, read_write> y: array<vec4<y_t>>;
#else
@group(0) @binding(6) var<storage, read_write> y: array<y_t>;
#endif

// x[row][k .. k + 4], zero past the end.
fn load_a(row: u32, k: u32) -> vec4<f32> {
    var v = vec4<f32>();
#ifdef VEC4
    if k < p.k {
        v = vec4<f32>(x[(row * p.k + k) / 4u]);
    }
#else
    for (var i = 0u; i < min(4u, p.k - min(k, p.k)); i++) {
        v[i] = f32(x[row * p.k + k + i]);
    }
#endif
    return v;
}

@compute @workgroup_size(THREADS)
fn linear(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let tiles_n = (p.n + TILE_N - 1u) / TILE_N;
    let tile = workgroup_number(id, grid);
    let first_row = tile / tiles_n * TILE_M;
    let first_column = tile % tiles_n * TILE_N;
    if first_row >= p.m {
        return;
    }
    let quads = (p.n + 3u) / 4u;
    let b_quad = first_column / 4u + thread % QUADS_N;
    let b_row = thread / QUADS_N;
    let a_quad = thread % QUADS_K;
    var rows: array<u32, LOADS>;
    for (var i = 0u; i < LOADS; i++) {
        // Rows past the end read the last one; their sums are not stored.
        let row = first_row + thread / QUADS_K + i * (THREADS / QUADS_K);
        rows[i] = map_row(p.map, min(row, p.m - 1u));
    }

    var sum: Sums;
    for (var k = 0u; k < p.k; k += TILE_K) {
        for (var i = 0u; i < LOADS; i++) {
            tile_a[thread + i * THREADS] = load_a(rows[i], k + 4u * a_quad);
        }
        var b = vec4<f32>();
        if k + b_row < p.k && b_quad < quads {
            b = vec4<f32>(weight[(k + b_row) * quads + b_quad]);
        }
        tile_b[thread] = b;
        workgroupBarrier();
        sum = multiply_tiles(sum, thread);
        workgroupBarrier();
    }

    let column = first_column + 4u * (thread % QUADS_N);
    if column >= p.n {
        return;
    }
    var results = array<vec4<f32>, 4>(sum.r0, sum.r1, sum.r2, sum.r3);
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + thread / QUADS_N + i * STEP_M;
        if row < p.m {
            var v = results[i];
#ifdef HAS_BIAS
            v += bias_quad(column, p.n);
#endif
            store_quad(v, row, column, p.n);
        }
    }
}
