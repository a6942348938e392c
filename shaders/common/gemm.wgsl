//!include grid
//!include lanes
//!include row_product
// The tile of sums under linear, conv2d and attention: TILE_M rows x TILE_N columns, each thread 4
// columns (a quad) of ROWS rows, which lie STEP_M apart. The including kernel says how many such
// tiles a thread sums up (PARTS) and how many tiles of b are staged at a time (STAGED).
const QUADS_N: u32 = TILE_N / 4u;
#ifdef METHOD_SUBGROUP
const THREADS: u32 = QUADS_N;
#else
const THREADS: u32 = min(256u, TILE_M * QUADS_N / 4u);
#endif
const STEP_M: u32 = THREADS / QUADS_N;
const ROWS: u32 = TILE_M / STEP_M;
const STAGE_K: u32 = 16u; // steps of k between barriers; splits of k are made of them
const QUADS_K: u32 = STAGE_K / 4u;

// The sums of a thread, [PARTS][ROWS].
var<private> sums: array<vec4<f32>, PARTS * ROWS>;

#ifdef METHOD_TILED
// Both operands are staged in workgroup memory as 16-byte words: a as [row][k / 4] over k, b as
// [part][k][column / 4]. The rows that a wave reads together fall into different banks.
var<workgroup> tile_a: array<vec4<f32>, TILE_M * QUADS_K>;
var<workgroup> tile_b: array<vec4<f32>, STAGED * STAGE_K * QUADS_N>;

fn stage_quad(row: u32, k: u32, v: vec4<f32>) {
    tile_a[row * QUADS_K + k / 4u] = v;
}

// Four rows of a quad of columns of tile_b.
fn tile_block(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(tile_b[at], tile_b[at + QUADS_N], tile_b[at + 2u * QUADS_N],
        tile_b[at + 3u * QUADS_N]);
}

// Adds the product of the tiles to this thread's sums.
fn multiply_tiles(part: u32, thread: u32) {
    for (var k = 0u; k < QUADS_K; k++) {
        let b = tile_block((part * STAGE_K + 4u * k) * QUADS_N + thread % QUADS_N);
        for (var i = 0u; i < ROWS; i++) {
            let a = tile_a[(thread / QUADS_N + i * STEP_M) * QUADS_K + k];
            sums[part * ROWS + i] = row_product(sums[part * ROWS + i], a, b);
        }
    }
}
#endif
