//!include grid
// The register tile under linear and conv2d: TILE_M rows x TILE_N columns x TILE_K, each thread
// 4 rows x 4 columns. Both operands are staged in workgroup memory as 16-byte words: a as
// [row][k / 4] over k, b as [k][column / 4]. Rows of one thread lie TILE_M / 4 apart, so that the
// rows which a wave reads together fall into different banks.
const TILE_M: u32 = 64u;
const TILE_K: u32 = 16u;
const QUADS_K: u32 = TILE_K / 4u;
const QUADS_N: u32 = TILE_N / 4u;
const STEP_M: u32 = TILE_M / 4u;
const THREADS: u32 = STEP_M * QUADS_N;
// Words of the a tile that one thread stages; of the b tile it is one.
const LOADS: u32 = TILE_M * QUADS_K / THREADS;

var<workgroup> tile_a: array<vec4<f32>, TILE_M * QUADS_K>;
var<workgroup> tile_b: array<vec4<f32>, TILE_K * QUADS_N>;

// The sums of a thread: four columns of each of its rows.
struct Sums {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
}

// sum + a b for four steps of k.
fn row_product(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1],
        fma(vec4(a.x), b[0], sum))));
}

fn multiply_quad(sum: Sums, row: u32, quad: u32, k: u32) -> Sums {
    let at = 4u * k * QUADS_N + quad;
    let b = mat4x4<f32>(tile_b[at], tile_b[at + QUADS_N], tile_b[at + 2u * QUADS_N],
        tile_b[at + 3u * QUADS_N]);
    let a = row * QUADS_K + k;
    return Sums(
        row_product(sum.r0, tile_a[a], b),
        row_product(sum.r1, tile_a[a + STEP_M * QUADS_K], b),
        row_product(sum.r2, tile_a[a + 2u * STEP_M * QUADS_K], b),
        row_product(sum.r3, tile_a[a + 3u * STEP_M * QUADS_K], b),
    );
}

// sum + a_tile b_tile for the rows and columns of this thread. Unrolled by hand: the bound that
// WebGPU puts on loops keeps drivers from doing it.
fn multiply_tiles(sum: Sums, thread: u32) -> Sums {
    let row = thread / QUADS_N;
    let quad = thread % QUADS_N;
    let s0 = multiply_quad(sum, row, quad, 0u);
    let s1 = multiply_quad(s0, row, quad, 1u);
    let s2 = multiply_quad(s1, row, quad, 2u);
    return multiply_quad(s2, row, quad, 3u);
}

// Four values of a vector of `n` f32 from element `at` on; past its end zero.
#ifdef HAS_BIAS
fn bias_quad(at: u32, n: u32) -> vec4<f32> {
    var v = vec4<f32>();
    for (var i = 0u; i < min(4u, n - at); i++) {
        v[i] = bias[at + i];
    }
    return v;
}
#endif

// y[row][column ..] = act((v + residual[row][column ..]) * scale), rows of n.
fn store_quad(sum: vec4<f32>, row: u32, column: u32, n: u32) {
    var v = sum;
#ifdef STORE4
    let at = (row * n + column) / 4u;
#ifdef HAS_RESIDUAL
    v += vec4<f32>(residual[at]);
#endif
    y[at] = vec4<y_t>(activate(v * p.scale, p.act));
#else
    let at = row * n + column;
    let width = min(4u, n - column);
#ifdef HAS_RESIDUAL
    for (var i = 0u; i < width; i++) {
        v[i] += f32(residual[at + i]);
    }
#endif
    v = activate(v * p.scale, p.act);
    for (var i = 0u; i < width; i++) {
        y[at + i] = y_t(v[i]);
    }
#endif
}
