// f = conv(load(x), w) + bias, the network's output, and the step of the solver with it at once.
// x [n, h, w, c] and w as in conv2d; state, saved [n, cout, ho, wo]; f stays in workgroup memory.
// One workgroup TILE_M pixels of a sample and all couts; then a thread takes four pixels in a line
// of a channel, one Philox block. Compute: that of conv2d; 50 FLOP an element of the state.
// Reference: src/ops/conv_step.rs
//!include grid
//!include rowmap
#ifdef HAS_MOMENTS
//!include moments
#endif

struct Params {
//!include conv_fields
//!include step_fields
    per_sample: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
#ifndef PART_REDUCE
@group(0) @binding(1) var<storage, read> x: array<x_v>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<weight_t>>;
#endif
#ifdef HAS_VECTORS
@group(0) @binding(3) var<storage, read> vectors: array<f32>;
#endif
#ifdef HAS_MOMENTS
@group(0) @binding(4) var<storage, read_write> moments: array<vec2<f32>>;
#endif
#ifndef PART_PARTIAL
@group(0) @binding(5) var<storage, read_write> state: array<state_v>;
@group(0) @binding(6) var<storage, read> table: array<Row>;
@group(0) @binding(7) var<storage, read> run: array<run_t>;
#ifdef HAS_DRAWS
@group(0) @binding(8) var<storage, read> draws: array<draws_t>;
#endif
#ifdef HAS_SAVED
@group(0) @binding(9) var<storage, read_write> saved: array<saved_v>;
#endif
#ifdef HAS_HISTORY
@group(0) @binding(10) var<storage, read_write> history: array<history_v>;
#endif
#endif
//!include conv

#ifndef PART_PARTIAL
//!include step
const FOURS: u32 = TILE_M / 4u;

// The outputs of the tile, [channel][pixel].
var<workgroup> tile: array<f32, COUT * TILE_M>;

fn keep_outputs(at: Place, thread: u32) {
    let column = 4u * (thread % QUADS_N);
    let width = min(4u, COUT - min(column, COUT));
    let more = addend(at, column, width);
    let results = results_of(at, thread);
    for (var i = 0u; i < own_count(at); i++) {
        let own = i * STEP_M + thread / QUADS_N;
        let v = results[i] + more;
        for (var c = 0u; c < width; c++) {
            tile[(column + c) * TILE_M + own] = v[c];
        }
    }
}

fn tile_four(channel: u32, four: u32) -> vec4<f32> {
    let at = channel * TILE_M + 4u * four;
    return vec4<f32>(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]);
}

fn outputs_of(row: u32, channel: u32, four: u32) -> Outputs {
    var outputs = no_outputs();
    outputs.f = tile_four(channel, four);
    outputs.of_eps = outputs.f;
    if row_has(row, ROW_LEARNED) {
        let variance = tile_four(p.c + channel, four);
        for (var i = 0u; i < 4u; i++) {
            outputs.noise_scale[i] = exp(log_noise_scale(row, variance[i]));
        }
    }
    return outputs;
}

fn step_tile(at: Place, thread: u32) {
    let row = row_of(at.sample);
    for (var i = thread; i < p.c * FOURS; i += THREADS) {
        let channel = i / FOURS;
        let four = i % FOURS;
        let own = pixel(at, 4u * four);
        if own.inside {
            let element = channel * p.hw + own.index - at.sample * p.hw;
            take_step(at.sample, element / 4u, 4u, outputs_of(row, channel, four));
        }
    }
}
#endif

@compute @workgroup_size(THREADS)
fn conv_step(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
#ifdef METHOD_SUBGROUP
    @builtin(subgroup_invocation_id) invocation: u32,
#endif
    @builtin(local_invocation_index) thread: u32) {
    let at = place(workgroup_number(id, grid));
    if at.split >= DISPATCHED {
        return;
    }
#ifndef PART_REDUCE
#ifdef METHOD_SUBGROUP
    convolve(at, thread, invocation % 8u);
#endif
#ifdef METHOD_TILED
    convolve(at, thread, thread / QUADS_N);
#endif
#endif
#ifdef PART_PARTIAL
    store_sums(at, thread);
#else
    keep_outputs(at, thread);
    workgroupBarrier();
    step_tile(at, thread);
#endif
}
