// y = act((conv(x, w) + bias + row + residual) * scale): an implicit GEMM over K = k k cin.
// x [N, H, W, Cin], w packed [k][k][Cin][Cout padded to 4], y and residual [N, Ho, Wo, Cout].
// One workgroup a tile of 64 pixels x TILE_N couts, 4 x 4 outputs a thread, K staged by 16.
// Compute: 2 N Ho Wo Cout K FLOP, 128 FMA to 10 16-byte workgroup loads; maps <= 8x8 read weights.
// Reference: src/ops/conv2d.rs
//!include rowmap
//!include lanes
//!include activate
//!include gemm

struct Params {
    map: RowMap,
    n: u32,
    h: u32,
    w: u32,
    cin: u32,
    ho: u32,
    wo: u32,
    cout: u32,
    k: u32,
    stride: u32,
    pad: u32,
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
#ifdef HAS_ROWS
@group(0) @binding(4) var<storage, read> rows: array<rows_t>;
#endif
#ifdef HAS_RESIDUAL
#ifdef STORE4
@group(0) @binding(5) var<storage, read> residual: array<vec4<residual_t>>;
#else
@group(0) @binding(5) var<storage, read> residual: array<residual_t>;
#endif
#endif
#ifdef HAS_COND
@group(0) @binding(6) var<storage, read> cond: array<cond_t>;
#endif
#ifdef STORE4
@group(0) @binding(7) var<storage, read_write> y: array<vec4<y_t>>;
#else
@group(0) @binding(7) var<storage, read_write> y: array<y_t>;
#endif

// The upper left input pixel of an output pixel, and the sample's first pixel.
struct Corner {
    y: i32,
    x: i32,
    base: u32,
}

// A position along K: channel `c` under the filter's pixel (x, y).
struct Tap {
    c: u32,
    x: u32,
    y: u32,
}

fn corner(pixel: u32) -> Corner {
    let n = pixel / (p.ho * p.wo);
    let rest = pixel % (p.ho * p.wo);
    let oy = i32(rest / p.wo * p.stride) - i32(p.pad);
    let ox = i32(rest % p.wo * p.stride) - i32(p.pad);
    return Corner(oy, ox, n * p.h * p.w);
}

// Moves along K by `step` channels.
fn advance(start: Tap, step: u32) -> Tap {
    var tap = start;
    tap.c += step;
    while tap.c >= p.cin {
        tap.c -= p.cin;
        tap.x += 1u;
        if tap.x == p.k {
            tap.x = 0u;
            tap.y += 1u;
        }
    }
    return tap;
}

// Index of the input channel under a tap; -1 outside the map, where the input is zero.
fn input_at(at: Corner, tap: Tap) -> i32 {
    let iy = at.y + i32(tap.y);
    let ix = at.x + i32(tap.x);
    if tap.y >= p.k || iy < 0 || ix < 0 || iy >= i32(p.h) || ix >= i32(p.w) {
        return -1;
    }
    return i32((at.base + u32(iy) * p.w + u32(ix)) * p.cin + tap.c);
}

// Four consecutive inputs along K.
fn load_a(at: Corner, first: Tap) -> vec4<f32> {
    var v = vec4<f32>();
#ifdef VEC4
    let i = input_at(at, first);
    if i >= 0 {
        v = vec4<f32>(x[u32(i) / 4u]);
    }
#else
    var tap = first;
    for (var lane = 0u; lane < 4u; lane++) {
        let i = input_at(at, tap);
        if i >= 0 {
            v[lane] = f32(x[i]);
        }
        tap = advance(tap, 1u);
    }
#endif
    return v;
}

#ifdef HAS_ROWS
fn row_quad(pixel: u32, column: u32) -> vec4<f32> {
    let base = map_row(p.map, pixel / (p.ho * p.wo)) * p.cout + column;
    var v = vec4<f32>();
    for (var i = 0u; i < min(4u, p.cout - column); i++) {
        v[i] = f32(rows[base + i]);
    }
    return v;
}
#endif

@compute @workgroup_size(THREADS)
fn conv2d(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let pixels = p.n * p.ho * p.wo;
    let tiles_n = (p.cout + TILE_N - 1u) / TILE_N;
    let tile = workgroup_number(id, grid);
    let first_pixel = tile / tiles_n * TILE_M;
    let first_column = tile % tiles_n * TILE_N;
    if first_pixel >= pixels {
        return;
    }
    let depth = p.k * p.k * p.cin;
    let quads = (p.cout + 3u) / 4u;
    let b_quad = first_column / 4u + thread % QUADS_N;
    let b_row = thread / QUADS_N;
    var tap = advance(Tap(0u, 0u, 0u), 4u * (thread % QUADS_K));
    var corners: array<Corner, LOADS>;
    for (var i = 0u; i < LOADS; i++) {
        // Pixels past the end read the last one; their sums are not stored.
        let pixel = first_pixel + thread / QUADS_K + i * (THREADS / QUADS_K);
        corners[i] = corner(min(pixel, pixels - 1u));
    }

    var sum: Sums;
    for (var k = 0u; k < depth; k += TILE_K) {
        for (var i = 0u; i < LOADS; i++) {
            tile_a[thread + i * THREADS] = load_a(corners[i], tap);
        }
        tap = advance(tap, TILE_K);
        var b = vec4<f32>();
        if k + b_row < depth && b_quad < quads {
            b = vec4<f32>(weight[(k + b_row) * quads + b_quad]);
        }
        tile_b[thread] = b;
        workgroupBarrier();
        sum = multiply_tiles(sum, thread);
        workgroupBarrier();
    }

    let column = first_column + 4u * (thread % QUADS_N);
    if column >= p.cout {
        return;
    }
    var results = array<vec4<f32>, 4>(sum.r0, sum.r1, sum.r2, sum.r3);
    for (var i = 0u; i < 4u; i++) {
        let pixel = first_pixel + thread / QUADS_N + i * STEP_M;
        if pixel < pixels {
            var v = results[i];
#ifdef HAS_BIAS
            v += bias_quad(column, p.cout);
#endif
#ifdef HAS_ROWS
            v += row_quad(pixel, column);
#endif
            store_quad(v, pixel, column, p.cout);
        }
    }
}
