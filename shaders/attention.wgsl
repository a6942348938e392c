// y = softmax(q k^T * scale) v for each sample and head, with an online softmax.
// q [n, tq, .., heads, d] and k, v [n, tk, ..] by strides and offsets, y [n, tq, heads, d].
// One workgroup TILE_M queries of a head, keys by TILE_N, two products a block of keys; see gemm.
// Compute: 4 n heads tq tk d FLOP; 64 FMA to 8 16-byte workgroup loads, or subgroup broadcasts.
// Reference: src/ops/attention.rs

struct Params {
    n: u32,
    tq: u32,
    tk: u32,
    heads: u32,
    d: u32,
    q_stride: u32,
    k_stride: u32,
    v_stride: u32,
    q_first: u32,
    k_first: u32,
    v_first: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
#ifdef VEC4
@group(0) @binding(1) var<storage, read> q: array<vec4<q_t>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<k_t>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<v_t>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<y_t>>;
#else
@group(0) @binding(1) var<storage, read> q: array<q_t>;
@group(0) @binding(2) var<storage, read> k: array<k_t>;
@group(0) @binding(3) var<storage, read> v: array<v_t>;
@group(0) @binding(4) var<storage, read_write> y: array<y_t>;
#endif

// 16-byte words of a head, and how often the quads of a workgroup's threads go over them.
const WORDS: u32 = (HEAD_DIM + 3u) / 4u;
const CHUNKS: u32 = (WORDS + TILE_N / 4u - 1u) / (TILE_N / 4u);
// The scores of a block of keys, then the output's chunks.
const PARTS: u32 = 1u + CHUNKS;
const STAGED: u32 = 1u;
const LOWEST: f32 = -3.0e38;
//!include gemm

// Scores, or their exponentials, of the block of keys, [row][key / 4].
var<workgroup> weights: array<vec4<f32>, TILE_M * QUADS_N>;
// Of each row the highest score so far, and what its rise has left of older exponentials.
var<workgroup> tops: array<vec2<f32>, TILE_M>;

// Channels 4 word .. of a head's vector that starts at `base`; zero past d.
fn load_q(base: u32, word: u32) -> vec4<f32> {
#ifdef VEC4
    return vec4<f32>(q[base / 4u + word]);
#else
    var r = vec4<f32>();
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(q[base + i]);
    }
    return r;
#endif
}

fn load_k(base: u32, word: u32) -> vec4<f32> {
#ifdef VEC4
    return vec4<f32>(k[base / 4u + word]);
#else
    var r = vec4<f32>();
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(k[base + i]);
    }
    return r;
#endif
}

fn load_v(base: u32, word: u32) -> vec4<f32> {
#ifdef VEC4
    return vec4<f32>(v[base / 4u + word]);
#else
    var r = vec4<f32>();
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(v[base + i]);
    }
    return r;
#endif
}

fn store(base: u32, word: u32, r: vec4<f32>) {
#ifdef VEC4
    y[base / 4u + word] = vec4<y_t>(r);
#else
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        y[base + i] = y_t(r[i % 4u]);
    }
#endif
}

// A head of a sample, and the first query of a workgroup.
struct Place {
    sample: u32,
    head: u32,
    query: u32,
}

// First elements of the vectors of a query and of a key; past the end the last one is read.
fn q_base(at: Place, row: u32) -> u32 {
    let token = at.sample * p.tq + min(at.query + row, p.tq - 1u);
    return p.q_first + token * p.q_stride + at.head * HEAD_DIM;
}

fn k_base(at: Place, key: u32) -> u32 {
    return p.k_first + (at.sample * p.tk + min(key, p.tk - 1u)) * p.k_stride + at.head * HEAD_DIM;
}

fn v_base(at: Place, key: u32) -> u32 {
    return p.v_first + (at.sample * p.tk + min(key, p.tk - 1u)) * p.v_stride + at.head * HEAD_DIM;
}

#ifdef METHOD_SUBGROUP
//!include subgroup

// sums[0 .. ROWS] = q k^T for the keys from `first` on.
fn score(at: Place, first: u32, thread: u32, lane: u32) {
    var q_at: array<u32, ROWS / 8u>;
    var k_at: array<u32, 4>;
    for (var i = 0u; i < ROWS / 8u; i++) {
        q_at[i] = q_base(at, 8u * i + lane);
    }
    for (var i = 0u; i < 4u; i++) {
        k_at[i] = k_base(at, first + 4u * thread + i);
    }
    for (var word = 0u; word < WORDS; word++) {
        let b = transpose(mat4x4<f32>(load_k(k_at[0], word), load_k(k_at[1], word),
            load_k(k_at[2], word), load_k(k_at[3], word)));
        for (var i = 0u; i < ROWS / 8u; i++) {
            multiply_eight(8u * i, load_q(q_at[i], word), b);
        }
    }
}

// Adds the block of keys from `first` on, weighted, to the output's chunks.
fn weigh(at: Place, first: u32, thread: u32, lane: u32) {
    let keys = min(TILE_N, p.tk - first);
    for (var quad = 0u; 4u * quad < keys; quad++) {
        var base: array<u32, 4>;
        for (var i = 0u; i < 4u; i++) {
            base[i] = v_base(at, first + 4u * quad + i);
        }
        var a: array<vec4<f32>, ROWS / 8u>;
        for (var i = 0u; i < ROWS / 8u; i++) {
            a[i] = weights[(8u * i + lane) * QUADS_N + quad];
        }
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            let word = min(chunk * QUADS_N + thread, WORDS - 1u);
            let b = mat4x4<f32>(load_v(base[0], word), load_v(base[1], word),
                load_v(base[2], word), load_v(base[3], word));
            for (var i = 0u; i < ROWS / 8u; i++) {
                multiply_eight((1u + chunk) * ROWS + 8u * i, a[i], b);
            }
        }
    }
}
#else
// sums[0 .. ROWS] = q k^T for the keys from `first` on.
fn score(at: Place, first: u32, thread: u32, lane: u32) {
    for (var word = 0u; word < WORDS; word += QUADS_K) {
        for (var i = thread; i < TILE_M * QUADS_K; i += THREADS) {
            let inside = word + i % QUADS_K < WORDS;
            let from_q = load_q(q_base(at, i / QUADS_K), min(word + i % QUADS_K, WORDS - 1u));
            tile_a[i] = select(vec4<f32>(), from_q, inside);
        }
        // Channels 4 k .. of key 4 quad + j lie at [k][j][quad].
        for (var i = thread; i < STAGE_K * QUADS_N; i += THREADS) {
            let key = first + i % QUADS_N * 4u + i / QUADS_N % 4u;
            tile_b[i] = load_k(k_base(at, key), min(word + i / TILE_N, WORDS - 1u));
        }
        workgroupBarrier();
        for (var i = 0u; i < QUADS_K; i++) {
            let b = transpose(tile_block(4u * i * QUADS_N + thread % QUADS_N));
            for (var row = 0u; row < ROWS; row++) {
                let a = tile_a[(thread / QUADS_N + row * STEP_M) * QUADS_K + i];
                sums[row] = row_product(sums[row], a, b);
            }
        }
        workgroupBarrier();
    }
}

// Adds the block of keys from `first` on, weighted, to the output's chunks.
fn weigh(at: Place, first: u32, thread: u32, lane: u32) {
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        for (var stage = 0u; stage < min(TILE_N, p.tk - first); stage += STAGE_K) {
            for (var i = thread; i < STAGE_K * QUADS_N; i += THREADS) {
                let base = v_base(at, first + stage + i / QUADS_N);
                tile_b[i] = load_v(base, min(chunk * QUADS_N + i % QUADS_N, WORDS - 1u));
            }
            workgroupBarrier();
            for (var i = 0u; i < QUADS_K; i++) {
                let b = tile_block(4u * i * QUADS_N + thread % QUADS_N);
                for (var row = 0u; row < ROWS; row++) {
                    let of_row = (thread / QUADS_N + row * STEP_M) * QUADS_N;
                    let to = (1u + chunk) * ROWS + row;
                    sums[to] = row_product(sums[to], weights[of_row + stage / 4u + i], b);
                }
            }
            workgroupBarrier();
        }
    }
}
#endif

fn highest(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// Raises the row's highest score to those in `weights`.
fn raise_tops(thread: u32) {
    for (var row = thread; row < TILE_M; row += THREADS) {
        let before = tops[row].x;
        var top = before;
        for (var i = 0u; i < QUADS_N; i++) {
            top = max(top, weights[row * QUADS_N + i].x);
        }
        tops[row] = vec2<f32>(top, exp(before - top));
    }
}

// The sum of exponentials of a row.
fn row_norm(row: u32) -> f32 {
    var all = 0.0;
    for (var i = 0u; i < QUADS_N; i++) {
        all += weights[row * QUADS_N + i].x;
    }
    return all;
}

fn store_row(at: Place, row: u32, word: u32, sum: vec4<f32>) {
    if at.query + row < p.tq && word < WORDS {
        let base = ((at.sample * p.tq + at.query + row) * p.heads + at.head) * HEAD_DIM;
        store(base, word, sum / row_norm(row));
    }
}

@compute @workgroup_size(THREADS)
fn attention(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
#ifdef METHOD_SUBGROUP
    @builtin(subgroup_invocation_id) invocation: u32,
#endif
    @builtin(local_invocation_index) thread: u32) {
    let tiles = (p.tq + TILE_M - 1u) / TILE_M;
    let number = workgroup_number(id, grid);
    let at = Place(number / tiles / p.heads, number / tiles % p.heads, number % tiles * TILE_M);
    if at.sample >= p.n {
        return;
    }
#ifdef METHOD_SUBGROUP
    let lane = invocation % 8u;
#else
    let lane = 0u;
#endif
    let quad = thread % QUADS_N;
    let first_row = thread / QUADS_N;
    // Rows of this thread up to the last query of the map.
    let rows = min(ROWS, (p.tq - at.query + STEP_M - 1u) / STEP_M);
    // What this thread's keys add to the sum of exponentials of each of its rows.
    var norm: array<f32, ROWS>;
    for (var row = thread; row < TILE_M; row += THREADS) {
        tops[row] = vec2<f32>(LOWEST, 0.0);
    }

    for (var first = 0u; first < p.tk; first += TILE_N) {
        for (var i = 0u; i < ROWS; i++) {
            sums[i] = vec4<f32>();
        }
        score(at, first, thread, lane);
        // Plain loops walk a copy: an array that a variable indexes is not kept in registers.
        var scores: array<vec4<f32>, ROWS>;
        for (var i = 0u; i < ROWS; i++) {
            scores[i] = sums[i];
        }
        let inside = vec4<u32>(first + 4u * quad) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.tk);
        for (var i = 0u; i < rows; i++) {
            scores[i] = select(vec4<f32>(LOWEST), scores[i] * p.scale, inside);
            weights[(first_row + i * STEP_M) * QUADS_N + quad].x = highest(scores[i]);
        }
        workgroupBarrier();
        raise_tops(thread);
        workgroupBarrier();
        for (var i = 0u; i < rows; i++) {
            let row = first_row + i * STEP_M;
            let w = select(vec4<f32>(), exp(scores[i] - tops[row].x), inside);
            weights[row * QUADS_N + quad] = w;
            norm[i] = norm[i] * tops[row].y + total(w);
        }
        for (var i = 0u; i < ROWS; i++) {
            let keep = tops[first_row + i * STEP_M].y;
            for (var chunk = 0u; chunk < CHUNKS; chunk++) {
                sums[(1u + chunk) * ROWS + i] *= keep;
            }
        }
        workgroupBarrier();
        weigh(at, first, thread, lane);
        workgroupBarrier();
    }

    for (var i = 0u; i < rows; i++) {
        weights[(first_row + i * STEP_M) * QUADS_N + quad].x = norm[i];
    }
    workgroupBarrier();
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        var results: array<vec4<f32>, ROWS>;
        for (var i = 0u; i < ROWS; i++) {
            results[i] = sums[(1u + chunk) * ROWS + i];
        }
        for (var i = 0u; i < rows; i++) {
            store_row(at, first_row + i * STEP_M, chunk * QUADS_N + quad, results[i]);
        }
    }
}
