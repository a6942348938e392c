// sums = x weight, added rounds * MATRIX_CHAIN times, one after another; the same n times over.
// x [32, 16], weight [16, 32], sums [n, 32, 32] in f32.
// A subgroup keeps a block of 32x32 sums, a workgroup TILE_M rows; without matrices 256 threads do.
// Arithmetic: 2 * 32 * 32 * 16 for each product, the most that matrix units do; bytes but for sums.
// Reference: src/ops/matrix_multiply_add.rs
//!include grid

struct Params {
    n: u32,
    rounds: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read> weight: array<weight_t>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

#ifdef METHOD_MATRIX
const BLOCKS: u32 = TILE_M / MATRIX_SIDE;
const THREADS: u32 = BLOCKS * SUBGROUP;
// Matrices along the sides of a product.
const ACROSS: u32 = MATRIX_SIDE / MATRIX;
const DEEP: u32 = MATRIX_DEPTH / MATRIX;

#ifdef MATRIX_16
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;
#else
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
#endif

// Where there are more subgroups than blocks, or fewer blocks than that, some compute the same.
@compute @workgroup_size(THREADS)
fn matrix_multiply_add(@builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>, @builtin(subgroup_id) subgroup: u32) {
    let block = min(workgroup_number(id, grid) * BLOCKS + subgroup % BLOCKS, p.n - 1u);
    var a: array<MatrixA, ACROSS * DEEP>;
    var b: array<MatrixB, DEEP * ACROSS>;
    var c: array<MatrixC, ACROSS * ACROSS>;
    for (var i = 0u; i < ACROSS; i++) {
        for (var k = 0u; k < DEEP; k++) {
            let of_a = i * MATRIX * MATRIX_DEPTH + k * MATRIX;
            a[i * DEEP + k] = coopLoadT<MatrixA>(&x[of_a], MATRIX_DEPTH);
            let of_b = k * MATRIX * MATRIX_SIDE + i * MATRIX;
            b[k * ACROSS + i] = coopLoadT<MatrixB>(&weight[of_b], MATRIX_SIDE);
        }
    }
    for (var round = 0u; round < p.rounds * MATRIX_CHAIN; round++) {
        for (var k = 0u; k < DEEP; k++) {
            for (var i = 0u; i < ACROSS * ACROSS; i++) {
                let right = b[k * ACROSS + i % ACROSS];
                c[i] = coopMultiplyAdd(a[i / ACROSS * DEEP + k], right, c[i]);
            }
        }
    }
    for (var i = 0u; i < ACROSS * ACROSS; i++) {
        let row = block * MATRIX_SIDE + i / ACROSS * MATRIX;
        coopStoreT(c[i], &sums[row * MATRIX_SIDE + i % ACROSS * MATRIX], MATRIX_SIDE);
    }
}
#else
const BLOCKS: u32 = 1u;
const QUADS: u32 = MATRIX_SIDE / 4u;
const THREADS: u32 = MATRIX_SIDE * QUADS;

@compute @workgroup_size(THREADS)
fn matrix_multiply_add(@builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let block = workgroup_number(id, grid);
    if block >= p.n {
        return;
    }
    let row = thread / QUADS;
    let column = 4u * (thread % QUADS);
    var sum = vec4<f32>();
    for (var round = 0u; round < p.rounds * MATRIX_CHAIN; round++) {
        for (var k = 0u; k < MATRIX_DEPTH; k++) {
            let at = k * MATRIX_SIDE + column;
            let b = vec4(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]);
            sum = fma(vec4(f32(x[row * MATRIX_DEPTH + k])), vec4<f32>(b), sum);
        }
    }
    let to = (block * MATRIX_SIDE + row) * MATRIX_SIDE + column;
    for (var i = 0u; i < 4u; i++) {
        sums[to + i] = sum[i];
    }
}
#endif
