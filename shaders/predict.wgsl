// x0 = x0_scale clamp(x0_x x + x0_f F), eps = eps_x x + eps_f F + eps_x0 x0: src/ops/row.rs.
// x, x0, eps, log_scale [b, c, hw] f32, f [b, hw, cf], pair [2 b, hw, cf], table of Row.
// One thread one element of the state, 256 threads a workgroup.
// Bandwidth: reads x and f, writes three times the state.
// Reference: src/ops/predict.rs
//!include grid
//!include prediction

struct Params {
    b: u32,
    c: u32,
    cf: u32,
    hw: u32,
    per_sample: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<x_t>;
@group(0) @binding(2) var<storage, read> f: array<f_t>;
#ifdef HAS_PAIR
@group(0) @binding(3) var<storage, read> pair: array<pair_t>;
#endif
@group(0) @binding(4) var<storage, read> table: array<Row>;
@group(0) @binding(5) var<storage, read_write> x0: array<x0_t>;
@group(0) @binding(6) var<storage, read_write> eps: array<eps_t>;
@group(0) @binding(7) var<storage, read_write> log_scale: array<log_scale_t>;

@compute @workgroup_size(256)
fn predict(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(id, grid) * 256u + thread;
    let numel = p.c * p.hw;
    if at >= p.b * numel {
        return;
    }
    let row = row_of(at / numel);
    let c = at % numel / p.hw;
    let f_at = (at / numel * p.hw + at % p.hw) * p.cf + c;
    let x_value = vec4<f32>(f32(x[at]));
    let f_value = vec4<f32>(f32(f[f_at]));
    let read = reading_of(row);
    let prediction = predict_x0(read, x_value, f_value);
    x0[at] = prediction.x;
    var of_eps = f_value;
#ifdef HAS_PAIR
    if row_has(row, ROW_UNCOND_EPS) {
        of_eps = vec4<f32>(f32(pair[p.b * p.hw * p.cf + f_at]));
    }
#endif
    eps[at] = predict_eps(read, x_value, of_eps, prediction).x;
    var log_value = 0.0;
    if row_has(row, ROW_LEARNED) {
        log_value = log_noise_scale(row, f32(f[f_at + p.c]));
    }
    log_scale[at] = log_value;
}
