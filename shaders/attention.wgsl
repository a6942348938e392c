// y = (softmax(q k^T * score_scale) v + residual) * scale of each head, with an online softmax.
// q [n, tq, ..], k and v [.., tk, ..] by a row map, strides, offsets; residual, y [n, tq, heads, d].
// One workgroup TILE_M queries of a head, keys by TILE_N, two products a block of keys; see gemm.
// Compute: 4 n heads tq tk d FLOP; 64 FMA to 8 16-byte workgroup loads, or subgroup broadcasts.
// Reference: src/ops/attention.rs
//!include rowmap

struct Params {
    map: RowMap,
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
    score_scale: f32,
    into: u32,
    tiles: u32,
    scale: f32,
    causal: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<q_v>;
@group(0) @binding(2) var<storage, read> k: array<k_v>;
@group(0) @binding(3) var<storage, read> v: array<v_v>;
#ifdef HAS_COND
@group(0) @binding(4) var<storage, read> cond: array<cond_t>;
#endif
#ifdef HAS_MOMENTS
@group(0) @binding(5) var<storage, read_write> moments: array<vec2<f32>>;
#endif
#ifdef HAS_SKIP
@group(0) @binding(6) var<storage, read> skip: array<skip_v>;
#endif
@group(0) @binding(7) var<storage, read_write> y: array<y_v>;

// 16-byte words of a head, and how often the quads of a workgroup's threads go over them.
const WORDS: u32 = (HEAD_DIM + 3u) / 4u;
const CHUNKS: u32 = (WORDS + TILE_N / 4u - 1u) / (TILE_N / 4u);
// The scores of a block of keys, then the output's chunks.
const PARTS: u32 = 1u + CHUNKS;
const STAGED: u32 = 1u;
const LOWEST: f32 = -3.0e38;
//!include gemm
#ifdef HAS_MOMENTS
//!include moments
#endif
//!include epilogue

// Blocks of TILE_M queries that a workgroup takes one after the other: a tile of moments is of 32.
#ifdef STORE_MOMENTS
const BLOCKS: u32 = (31u + TILE_M) / TILE_M;
#else
const BLOCKS: u32 = 1u;
#endif

// Scores, or their exponentials, of the block of keys, [row][key / 4]; at the end sums of results.
var<workgroup> scratch: array<vec4<f32>, TILE_M * QUADS_N>;
// Of each row the highest score so far, and what its rise has left of older exponentials; at the
// end the sum of exponentials.
var<workgroup> tops: array<vec2<f32>, TILE_M>;

// A head of a sample, the sample whose keys it has, the first query of a block, and the tile of the
// sample that it is in.
struct Place {
    sample: u32,
    of_keys: u32,
    head: u32,
    query: u32,
    tile: u32,
}

//!include attention_load

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
    // A loop that walks an array to its end is unrolled however long it is.
    var word: array<u32, CHUNKS>;
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        word[chunk] = min(chunk * QUADS_N + thread, WORDS - 1u);
    }
    for (var quad = 0u; 4u * quad < keys; quad++) {
        var base: array<u32, 4>;
        for (var i = 0u; i < 4u; i++) {
            base[i] = v_base(at, first + 4u * quad + i);
        }
        var a: array<vec4<f32>, ROWS / 8u>;
        for (var i = 0u; i < ROWS / 8u; i++) {
            a[i] = scratch[(8u * i + lane) * QUADS_N + quad];
        }
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            let b = mat4x4<f32>(load_v(base[0], word[chunk]), load_v(base[1], word[chunk]),
                load_v(base[2], word[chunk]), load_v(base[3], word[chunk]));
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
                    sums[to] = row_product(sums[to], scratch[of_row + stage / 4u + i], b);
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

// Raises the row's highest score to those in `scratch`.
fn raise_tops(thread: u32) {
    for (var row = thread; row < TILE_M; row += THREADS) {
        let before = tops[row].x;
        var top = before;
        for (var i = 0u; i < QUADS_N; i++) {
            top = max(top, scratch[row * QUADS_N + i].x);
        }
        tops[row] = vec2<f32>(top, exp(before - top));
    }
}

// Leaves the sum of exponentials of each row, of which every quad of threads has a part.
fn add_norms(thread: u32) {
    for (var row = thread; row < TILE_M; row += THREADS) {
        var all = 0.0;
        for (var i = 0u; i < QUADS_N; i++) {
            all += scratch[row * QUADS_N + i].x;
        }
        tops[row].y = all;
    }
}

// Rows of this thread up to the last query of the map.
fn own_count(at: Place) -> u32 {
    return min(ROWS, (p.tq - at.query + STEP_M - 1u) / STEP_M);
}

// The end of the keys that the block's queries see.
fn key_end(at: Place) -> u32 {
#ifdef CAUSAL
    return min(p.tk, at.query + TILE_M);
#else
    return p.tk;
#endif
}

// Which of the keys a row's query sees.
fn seen(at: Place, row: u32, keys: vec4<u32>) -> vec4<bool> {
#ifdef CAUSAL
    return keys < vec4<u32>(min(p.tk, at.query + row + 1u));
#else
    return keys < vec4<u32>(p.tk);
#endif
}

// All of a block: the output's chunks, not yet divided by the sums of exponentials.
fn attend(at: Place, thread: u32, lane: u32) {
    let quad = thread % QUADS_N;
    let first_row = thread / QUADS_N;
    let rows = own_count(at);
    // What this thread's keys add to the sum of exponentials of each of its rows.
    var norm: array<f32, ROWS>;
    for (var row = thread; row < TILE_M; row += THREADS) {
        tops[row] = vec2<f32>(LOWEST, 0.0);
    }
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        for (var i = 0u; i < ROWS; i++) {
            sums[(1u + chunk) * ROWS + i] = vec4<f32>();
        }
    }

    for (var first = 0u; first < key_end(at); first += TILE_N) {
        for (var i = 0u; i < ROWS; i++) {
            sums[i] = vec4<f32>();
        }
        score(at, first, thread, lane);
        // Plain loops walk a copy: an array that a variable indexes is not kept in registers.
        var scores: array<vec4<f32>, ROWS>;
        for (var i = 0u; i < ROWS; i++) {
            scores[i] = sums[i];
        }
        let keys = vec4<u32>(first + 4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
        for (var i = 0u; i < rows; i++) {
            let inside = seen(at, first_row + i * STEP_M, keys);
            scores[i] = select(vec4<f32>(LOWEST), scores[i] * p.score_scale, inside);
            scratch[(first_row + i * STEP_M) * QUADS_N + quad].x = highest(scores[i]);
        }
        workgroupBarrier();
        raise_tops(thread);
        workgroupBarrier();
        for (var i = 0u; i < rows; i++) {
            let row = first_row + i * STEP_M;
            let inside = seen(at, row, keys);
            let w = select(vec4<f32>(), exp(scores[i] - tops[row].x), inside);
            scratch[row * QUADS_N + quad] = w;
            norm[i] = norm[i] * tops[row].y + total(w);
        }
        var keep: array<f32, ROWS>;
        for (var i = 0u; i < ROWS; i++) {
            keep[i] = tops[first_row + i * STEP_M].y;
        }
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            for (var i = 0u; i < ROWS; i++) {
                sums[(1u + chunk) * ROWS + i] *= keep[i];
            }
        }
        workgroupBarrier();
        weigh(at, first, thread, lane);
        workgroupBarrier();
    }

    for (var i = 0u; i < rows; i++) {
        scratch[(first_row + i * STEP_M) * QUADS_N + quad].x = norm[i];
    }
    workgroupBarrier();
    add_norms(thread);
    workgroupBarrier();
}

const RESULTS: u32 = ROWS;

fn own_row(at: Place, i: u32, thread: u32) -> Own {
    let query = at.query + thread / QUADS_N + i * STEP_M;
    return Own(at.sample * p.tq + query, query < p.tq);
}

fn tile_rows(at: Place) -> u32 {
    return min(TILE_M, p.tq - at.query);
}

fn columns_of_y() -> u32 {
    return p.heads * HEAD_DIM;
}
//!include results

#ifdef STORE_MOMENTS
// Of the workgroup's blocks so far, four channels a chunk.
var<private> kept: array<QuadMoments, CHUNKS>;

fn store_kept(at: Place, thread: u32) {
    let region = Region(p.into, p.tiles, columns_of_y());
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        let word = chunk * QUADS_N + thread;
        if thread < QUADS_N && word < WORDS {
            let width = min(4u, HEAD_DIM - 4u * word);
            let channel = at.head * HEAD_DIM + 4u * word;
            store_moments(region, at.sample, at.tile, channel, width, kept[chunk]);
        }
    }
}
#endif

// Finishes the block's outputs.
fn store_results(at: Place, thread: u32) {
    // A copy once more: the loop over chunks is not unrolled.
    var outputs: array<vec4<f32>, CHUNKS * ROWS>;
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        for (var i = 0u; i < ROWS; i++) {
            outputs[chunk * ROWS + i] = sums[(1u + chunk) * ROWS + i];
        }
    }
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        let channel = 4u * (chunk * QUADS_N + thread % QUADS_N);
        let width = min(4u, HEAD_DIM - min(channel, HEAD_DIM));
        var results: Results;
        for (var i = 0u; i < ROWS; i++) {
            results[i] = outputs[chunk * ROWS + i];
        }
        for (var i = 0u; i < own_count(at) && width > 0u; i++) {
            let own = own_row(at, i, thread);
            if own.inside {
                let first = (own.index * p.heads + at.head) * HEAD_DIM + channel;
                let sum = results[i] / tops[thread / QUADS_N + i * STEP_M].y;
                results[i] = finish(sum, first, width);
                store_quad(results[i], first, width);
            }
        }
#ifdef STORE_MOMENTS
        kept[chunk] = merge_quads(kept[chunk], tile_moments(at, thread, &results));
#endif
    }
}

@compute @workgroup_size(THREADS)
fn attention(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
#ifdef METHOD_SUBGROUP
    @builtin(subgroup_invocation_id) invocation: u32,
#endif
    @builtin(local_invocation_index) thread: u32) {
    let tiles = (p.tq + BLOCKS * TILE_M - 1u) / (BLOCKS * TILE_M);
    let number = workgroup_number(id, grid);
    let tile = number % tiles;
    let first = tile * BLOCKS * TILE_M;
    let sample = number / tiles / p.heads;
    if sample >= p.n {
        return;
    }
    var at = Place(sample, map_row(p.map, sample), number / tiles % p.heads, first, tile);
#ifdef METHOD_SUBGROUP
    let lane = invocation % 8u;
#else
    let lane = 0u;
#endif
    let end = min(first + BLOCKS * TILE_M, p.tq);
    for (; at.query < end; at.query += TILE_M) {
        attend(at, thread, lane);
        store_results(at, thread);
        workgroupBarrier();
    }
#ifdef STORE_MOMENTS
    store_kept(at, thread);
#endif
}
