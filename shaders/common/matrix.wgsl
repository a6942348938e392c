//!include grid
//!include lanes
// The tile of sums under linear and conv2d by cooperative matrices: MATRIX x MATRIX each, operands
// in f16, sums in f32. The TILE_M x TILE_N sums are cut into BLOCK x BLOCK, one a subgroup. A subgroup has
// SUBGROUP threads at most, so there are enough of them; where there are more than blocks, some
// compute the same. Rows of a are staged in workgroup memory, the weight is read where it lies. The
// including kernel says how many steps of k (STAGE_K) of how many rows (STAGED) are staged at once,
// and of how many such tiles a thread has results (PARTS).
const ACROSS: u32 = BLOCK / MATRIX; // matrices along a side of a block
const BLOCKS_N: u32 = TILE_N / BLOCK;
const BLOCKS: u32 = TILE_M / BLOCK * BLOCKS_N;
const QUADS_N: u32 = TILE_N / 4u;
const THREADS: u32 = BLOCKS * SUBGROUP;
const STEP_M: u32 = THREADS / QUADS_N;
const ROWS: u32 = TILE_M / STEP_M;
const QUADS_K: u32 = STAGE_K / 4u;

#ifndef PART_REDUCE
// Values from a staged row to the next. Eight more than it has: rows then start in other banks.
const PITCH: u32 = STAGE_K + 8u;

#ifdef MATRIX_16
alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias MatrixC = coop_mat16x16<f32, C>;
#else
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
#endif

// [row of a][k].
var<workgroup> staged: array<f16, STAGED * PITCH>;
// The sums on their way to the threads that finish them, [part][row][column]: which thread holds
// what of a cooperative matrix is not defined.
var<workgroup> tile_y: array<f32, PARTS * TILE_M * TILE_N>;
// The sums of a subgroup, [part][row of matrices][column of matrices].
var<private> matrices: array<MatrixC, PARTS * ACROSS * ACROSS>;

fn stage_quad(row: u32, k: u32, v: vec4<f32>) {
    let at = row * PITCH + k;
    let half = vec4<f16>(v);
    staged[at] = half.x;
    staged[at + 1u] = half.y;
    staged[at + 2u] = half.z;
    staged[at + 3u] = half.w;
}

// Adds to a subgroup's block the product of STAGE_K steps of k: of the staged rows that follow
// `row`, and of rows `weight_row` .. of the weight, columns `column` .. of values or gates.
fn multiply_block(part: u32, row: u32, weight_row: u32, column: u32, subgroup: u32) {
    let block = subgroup % BLOCKS;
    let first_row = row + block / BLOCKS_N * BLOCK;
    let first_column = column + block % BLOCKS_N * BLOCK;
    for (var k = 0u; k < STAGE_K; k += MATRIX) {
        var a: array<MatrixA, ACROSS>;
        for (var i = 0u; i < ACROSS; i++) {
            a[i] = coopLoadT<MatrixA>(&staged[(first_row + i * MATRIX) * PITCH + k], PITCH);
        }
        for (var j = 0u; j < ACROSS; j++) {
            // Columns past the end read the last ones; their sums are not stored.
            let inside = min(first_column + j * MATRIX, columns_of_y() - MATRIX);
            let at = (weight_row + k) * weight_width() + part * columns_of_y() + inside;
            let b = coopLoadT<MatrixB>(&weight[at], weight_width());
            for (var i = 0u; i < ACROSS; i++) {
                let sum = (part * ACROSS + i) * ACROSS + j;
                matrices[sum] = coopMultiplyAdd(a[i], b, matrices[sum]);
            }
        }
    }
}

// Hands the sums to `tile_y`, in uniform control flow.
fn store_matrices(subgroup: u32) {
    let block = subgroup % BLOCKS;
    let row = block / BLOCKS_N * BLOCK;
    let column = block % BLOCKS_N * BLOCK;
    for (var part = 0u; part < PARTS; part++) {
        for (var i = 0u; i < ACROSS; i++) {
            for (var j = 0u; j < ACROSS; j++) {
                let at = (part * TILE_M + row + i * MATRIX) * TILE_N + column + j * MATRIX;
                coopStoreT(matrices[(part * ACROSS + i) * ACROSS + j], &tile_y[at], TILE_N);
            }
        }
    }
    workgroupBarrier();
}

fn results_of_sums(thread: u32) -> Results {
    var results: Results;
    for (var i = 0u; i < RESULTS; i++) {
        let row = i / ROWS * TILE_M + i % ROWS * STEP_M + thread / QUADS_N;
        let at = row * TILE_N + 4u * (thread % QUADS_N);
        results[i] = vec4<f32>(tile_y[at], tile_y[at + 1u], tile_y[at + 2u], tile_y[at + 3u]);
    }
    return results;
}
#endif
