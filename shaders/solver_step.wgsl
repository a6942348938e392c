// Guidance F = U + w (C - U), then x0, eps, noise and the update of the row: src/ops/row.rs.
// x, saved [b, c, hw], history [depth, b, c, hw], f [b or 2 b, hw, cf], table one Row a row.
// One thread four consecutive elements of a sample (one Philox block), 256 threads a workgroup.
// Bandwidth: reads f (twice the state under guidance) and x, writes x; 50 FLOP an element.
// Reference: src/ops/solver_step.rs
//!include grid
//!include prediction
//!include update
//!include draw
#ifdef HAS_F
//!include output
#endif
//!include state

struct Params {
    b: u32,
    c: u32,
    cf: u32,
    hw: u32,
    guided: u32,
    depth: u32,
    mode: u32,
    threads: u32,
    calls: u32,
    per_sample: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<x_v>;
#ifdef HAS_F
@group(0) @binding(2) var<storage, read> f: array<f_t>;
#endif
@group(0) @binding(3) var<storage, read> table: array<Row>;
@group(0) @binding(4) var<storage, read> run: array<run_t>;
#ifdef HAS_DRAWS
@group(0) @binding(5) var<storage, read> draws: array<draws_t>;
#endif
#ifdef HAS_SAVED
@group(0) @binding(6) var<storage, read_write> saved: array<saved_v>;
#endif
#ifdef HAS_HISTORY
@group(0) @binding(7) var<storage, read_write> history: array<history_v>;
#endif

// Elements of a sample, and of the state.
fn state_numel() -> u32 {
    return p.c * p.hw;
}

fn state_elements() -> u32 {
    return p.b * p.c * p.hw;
}

@compute @workgroup_size(256)
fn solver_step(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let numel = state_numel();
    let blocks = (numel + 3u) / 4u;
    let number = workgroup_number(id, grid) * 256u + thread;
    if number >= p.b * blocks {
        return;
    }
    let sample = number / blocks;
    let block = number % blocks;
    let lanes = min(4u, numel - 4u * block);
    let at = sample * numel + 4u * block;

    let row = row_of(sample);
    let read = reading_of(row);
    var v: Values;
    v.x = load_x(at, lanes);
    var f_value = vec4<f32>();
    var of_eps = vec4<f32>();
    var noise_scale = vec4<f32>(1.0);
#ifdef HAS_F
    if row_has(row, ROW_EVAL) {
        for (var i = 0u; i < lanes; i++) {
            let pixel = (4u * block + i) % p.hw;
            let c = (4u * block + i) / p.hw;
            let pair = output(read, sample, pixel, c);
            f_value[i] = pair.x;
            of_eps[i] = pair.y;
            if row_has(row, ROW_LEARNED) {
                noise_scale[i] = output_noise_scale(row, sample, pixel, c);
            }
        }
    }
#endif
    v.x0 = predict_x0(read, v.x, f_value);
    v.eps = predict_eps(read, v.x, of_eps, v.x0);
    if uses_draw(row, 0u) {
        v.z0 = noise_scale * draw_block(row, 0u, sample, block);
    }
    if uses_draw(row, 1u) {
        v.z1 = noise_scale * draw_block(row, 1u, sample, block);
    }
    store_update(row, update(row, v, at, lanes), at, lanes);
}
