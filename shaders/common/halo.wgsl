//!include row_product
// conv2d under METHOD_TILED and METHOD_SUBGROUP: the halo lies in workgroup memory as it is, and
// each thread reads the pixels of its octets from there.
const HALO: u32 = max(HALO_W * HALO_H, TILE_M);
// Quads of channels that are staged at once, in at most 12 KiB. More of them are fewer barriers,
// which cost a software driver most, and less occupancy.
#ifdef METHOD_SUBGROUP
const MOST_K: u32 = 8u;
#else
const MOST_K: u32 = 4u;
#endif
const QUADS_K: u32 = 1u << firstLeadingBit(clamp(768u / HALO, 1u, MOST_K));

// [quad][pixel]: neighbouring lanes read neighbouring pixels.
var<workgroup> halo: array<vec4<f32>, QUADS_K * HALO>;

fn keep_input(quad: u32, line: u32, column: u32, v: vec4<f32>) {
    halo[quad * HALO + line * HALO_W + column] = v;
}

fn keep_skip(quad: u32, i: u32, v: vec4<f32>) {
    halo[quad * HALO + i] = v;
}

// One stage of K: `quads` quads of channels under high x wide taps. An octet's pixels lie `step`
// behind those of the one before; the weight's rows start at `row`. The same for all threads.
struct Stage {
    quads: u32,
    high: u32,
    wide: u32,
    step: u32,
    row: u32,
    row_step: u32,
}

fn input_stage(first: u32) -> Stage {
    let cin = p.ca + p.cb;
    let quads = min(QUADS_K, (cin - first + 3u) / 4u);
    return Stage(quads, p.kh, p.kw, 8u / TILE_W * STRIDE * HALO_W, first, cin);
}

fn skip_stage(first: u32) -> Stage {
    let quads = min(QUADS_K, (p.sa + p.sb - first + 3u) / 4u);
    return Stage(quads, 1u, 1u, 8u, p.kh * p.kw * (p.ca + p.cb) + first, 0u);
}

// Four rows of the weight; those past its end meet zeros.
fn weight_block(row: u32, quad: u32) -> mat4x4<f32> {
    let quads = (p.cout + 3u) / 4u;
    let column = min(quad, quads - 1u);
#ifdef VEC4
    let at = row * quads + column;
    return mat4x4<f32>(vec4<f32>(weight[at]), vec4<f32>(weight[at + quads]),
        vec4<f32>(weight[at + 2u * quads]), vec4<f32>(weight[at + 3u * quads]));
#else
    let last = p.kh * p.kw * (p.ca + p.cb) + p.sa + p.sb - 1u;
    return mat4x4<f32>(vec4<f32>(weight[row * quads + column]),
        vec4<f32>(weight[min(row + 1u, last) * quads + column]),
        vec4<f32>(weight[min(row + 2u, last) * quads + column]),
        vec4<f32>(weight[min(row + 3u, last) * quads + column]));
#endif
}

// Adds the products of one tap whose halo begins at `first`. The loop over octets is short and its
// bound a constant: drivers unroll it, and `sums` stays in registers.
fn multiply(stage: Stage, first: u32, row: u32, quad: u32) {
    for (var q = 0u; q < stage.quads; q++) {
        let b = weight_block(row + 4u * q, quad);
        for (var i = 0u; i < OCTETS; i++) {
            let a = halo[q * HALO + first + i * stage.step];
#ifdef METHOD_SUBGROUP
            sums[i][0] = row_product(sums[i][0], subgroupBroadcast(a, 0u), b);
            sums[i][1] = row_product(sums[i][1], subgroupBroadcast(a, 1u), b);
            sums[i][2] = row_product(sums[i][2], subgroupBroadcast(a, 2u), b);
            sums[i][3] = row_product(sums[i][3], subgroupBroadcast(a, 3u), b);
            sums[i][4] = row_product(sums[i][4], subgroupBroadcast(a, 4u), b);
            sums[i][5] = row_product(sums[i][5], subgroupBroadcast(a, 5u), b);
            sums[i][6] = row_product(sums[i][6], subgroupBroadcast(a, 6u), b);
            sums[i][7] = row_product(sums[i][7], subgroupBroadcast(a, 7u), b);
#else
            sums[i][0] = row_product(sums[i][0], a, b);
#endif
        }
    }
}

fn multiply_taps(stage: Stage, origin: u32, quad: u32) {
    for (var y = 0u; y < stage.high; y++) {
        for (var x = 0u; x < stage.wide; x++) {
            let row = stage.row + (y * stage.wide + x) * stage.row_step;
            multiply(stage, origin + y * HALO_W + x, row, quad);
        }
    }
}

// Adds the products of stage `i`, of which the first `inputs` are of the input.
fn multiply_stage(at: Place, i: u32, inputs: u32, thread: u32, lane: u32) {
    var stage = input_stage(i * 4u * QUADS_K);
    var origin = lane / TILE_W * STRIDE * HALO_W + lane % TILE_W * STRIDE;
#ifdef SHORTCUT
    if i >= inputs {
        stage = skip_stage((i - inputs) * 4u * QUADS_K);
        origin = lane;
    }
#endif
    multiply_taps(stage, origin, at.quad + thread % QUADS_N);
}
