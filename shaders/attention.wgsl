// y = softmax(q k^T * scale) v for each sample and head, with an online softmax.
// q [n, tq, .., heads, d] and k, v [n, tk, ..] by strides between tokens, y [n, tq, heads, d].
// One workgroup 32 queries of a head, 8 threads a query; keys by 32, head channels by 32.
// Compute: 4 n heads tq tk d FLOP, 16 FMA to 5 16-byte workgroup loads; 13 KiB of workgroup memory.
// Reference: src/ops/attention.rs
//!include grid

struct Params {
    n: u32,
    tq: u32,
    tk: u32,
    heads: u32,
    d: u32,
    q_stride: u32,
    k_stride: u32,
    v_stride: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
#ifdef VEC4
@group(0) @binding(1) var<storage, read> q: array<vec4<q_t>>;
#else
@group(0) @binding(1) var<storage, read> q: array<q_t>;
#endif
#ifdef VEC4
@group(0) @binding(2) var<storage, read> k: array<vec4<k_t>>;
#else
@group(0) @binding(2) var<storage, read> k: array<k_t>;
#endif
#ifdef VEC4
@group(0) @binding(3) var<storage, read> v: array<vec4<v_t>>;
#else
@group(0) @binding(3) var<storage, read> v: array<v_t>;
#endif
#ifdef VEC4
@group(0) @binding(4) var<storage, read_write> y: array<vec4<y_t>>;
#else
@group(0) @binding(4) var<storage, read_write> y: array<y_t>;
#endif

const TILE_Q: u32 = 32u;
const TILE_KEYS: u32 = 32u;
const LANES: u32 = 8u; // threads a query; also the 16-byte words of a chunk of head channels
const WORDS: u32 = (HEAD_DIM + 3u) / 4u;
const CHUNKS: u32 = (WORDS + LANES - 1u) / LANES;
const PITCH: u32 = LANES + 1u; // odd, so that a column of the tile touches every bank
const LOWEST: f32 = -3.0e38;

var<workgroup> q_tile: array<vec4<f32>, TILE_Q * PITCH>;
var<workgroup> kv_tile: array<vec4<f32>, TILE_KEYS * PITCH>;
var<workgroup> weights: array<vec4<f32>, TILE_Q * LANES>;

// A 16-byte word of a head: channels 4 word .. of the vector that starts at `base`; zero past d.
fn load_q(base: u32, word: u32) -> vec4<f32> {
    var r = vec4<f32>();
#ifdef VEC4
    if word < WORDS {
        r = vec4<f32>(q[base / 4u + word]);
    }
#else
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(q[base + i]);
    }
#endif
    return r;
}

fn load_k(base: u32, word: u32) -> vec4<f32> {
    var r = vec4<f32>();
#ifdef VEC4
    if word < WORDS {
        r = vec4<f32>(k[base / 4u + word]);
    }
#else
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(k[base + i]);
    }
#endif
    return r;
}

fn load_v(base: u32, word: u32) -> vec4<f32> {
    var r = vec4<f32>();
#ifdef VEC4
    if word < WORDS {
        r = vec4<f32>(v[base / 4u + word]);
    }
#else
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        r[i % 4u] = f32(v[base + i]);
    }
#endif
    return r;
}

fn store(base: u32, word: u32, r: vec4<f32>) {
#ifdef VEC4
    if word < WORDS {
        y[base / 4u + word] = vec4<y_t>(r);
    }
#else
    for (var i = 4u * word; i < min(4u * word + 4u, HEAD_DIM); i++) {
        y[base + i] = y_t(r[i % 4u]);
    }
#endif
}

// The scores of this thread's query (its tile row) with keys 4 lane .. 4 lane + 3 of the tile.
// Key 4 l + j lies in row 8 j + l of the tile: the 8 lanes of a query read consecutive rows.
fn scores(q_base: u32, sample: u32, head: u32, first_key: u32, row: u32, lane: u32) -> vec4<f32> {
    let key = min(first_key + (row % LANES) * 4u + row / LANES, p.tk - 1u);
    let k_base = (sample * p.tk + key) * p.k_stride + head * HEAD_DIM;
    var s = vec4<f32>();
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
        let word = chunk * LANES + lane;
        workgroupBarrier();
        q_tile[row * PITCH + lane] = load_q(q_base, word);
        kv_tile[row * PITCH + lane] = load_k(k_base, word);
        workgroupBarrier();
        for (var i = 0u; i < min(LANES, WORDS - chunk * LANES); i++) {
            let a = q_tile[row * PITCH + i];
            s += vec4<f32>(
                dot(a, kv_tile[lane * PITCH + i]),
                dot(a, kv_tile[(LANES + lane) * PITCH + i]),
                dot(a, kv_tile[(2u * LANES + lane) * PITCH + i]),
                dot(a, kv_tile[(3u * LANES + lane) * PITCH + i]),
            );
        }
    }
    return s * p.scale;
}

@compute @workgroup_size(256)
fn attention(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let tiles = (p.tq + TILE_Q - 1u) / TILE_Q;
    let number = workgroup_number(id, grid);
    if number >= p.n * p.heads * tiles {
        return;
    }
    let head = number / tiles % p.heads;
    let sample = number / tiles / p.heads;
    let row = thread / LANES;
    let lane = thread % LANES;
    let query = number % tiles * TILE_Q + row;
    // Queries past the end compute the last one again and store nothing.
    let token = sample * p.tq + min(query, p.tq - 1u);
    let q_base = token * p.q_stride + head * HEAD_DIM;

    var sum: array<vec4<f32>, CHUNKS>;
    var highest = LOWEST;
    var norm = 0.0;
    for (var first_key = 0u; first_key < p.tk; first_key += TILE_KEYS) {
        let key = vec4<u32>(first_key + 4u * lane) + vec4<u32>(0u, 1u, 2u, 3u);
        let inside = key < vec4<u32>(p.tk);
        var s = scores(q_base, sample, head, first_key, row, lane);
        s = select(vec4<f32>(LOWEST), s, inside);
        weights[row * LANES + lane] = s;
        workgroupBarrier();
        var top = vec4<f32>(highest);
        for (var i = 0u; i < LANES; i++) {
            top = max(top, weights[row * LANES + i]);
        }
        let now = max(max(top.x, top.y), max(top.z, top.w));
        let keep = exp(highest - now);
        highest = now;
        workgroupBarrier();
        weights[row * LANES + lane] = select(vec4<f32>(), exp(s - now), inside);
        workgroupBarrier();
        var added = vec4<f32>();
        for (var i = 0u; i < LANES; i++) {
            added += weights[row * LANES + i];
        }
        norm = norm * keep + (added.x + added.y) + (added.z + added.w);

        let v_key = min(first_key + row, p.tk - 1u);
        let v_base = (sample * p.tk + v_key) * p.v_stride + head * HEAD_DIM;
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            workgroupBarrier();
            kv_tile[row * PITCH + lane] = load_v(v_base, chunk * LANES + lane);
            workgroupBarrier();
            var r = sum[chunk] * keep;
            for (var i = 0u; i < LANES; i++) {
                let w = weights[row * LANES + i];
                r = fma(vec4(w.x), kv_tile[(4u * i) * PITCH + lane], r);
                r = fma(vec4(w.y), kv_tile[(4u * i + 1u) * PITCH + lane], r);
                r = fma(vec4(w.z), kv_tile[(4u * i + 2u) * PITCH + lane], r);
                r = fma(vec4(w.w), kv_tile[(4u * i + 3u) * PITCH + lane], r);
            }
            sum[chunk] = r;
        }
    }

    if query < p.tq {
        let base = (token * p.heads + head) * HEAD_DIM;
        for (var chunk = 0u; chunk < CHUNKS; chunk++) {
            store(base, chunk * LANES + lane, sum[chunk] / norm);
        }
    }
}
